"""Rates: sane with little, true with much, and not to be had by outliers."""

import math
import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tidegate.history import MERGES_KEPT, START_UPS_KEPT, MergeSample, StartUpSample
from tidegate.rates import (
    ASSUMED,
    MERGE_BYTES_PER_S,
    MERGE_OVERHEAD_S,
    MISS_RATE,
    START_UP_S,
    MergeRates,
    estimate_merge,
    estimate_rates,
    estimate_start_up,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MIB = 1024**2


def start_ups(*seconds: float, age: timedelta = timedelta(0)) -> list[StartUpSample]:
    return [
        StartUpSample(NOW - age - timedelta(hours=number), str(number), each) for number, each in enumerate(seconds)
    ]


def start_up_s(*seconds: float, age: timedelta = timedelta(0)) -> float:
    return estimate_start_up(start_ups(*seconds, age=age), NOW)[0]


def merges(count: int, overhead_s: float, bytes_per_s: float, largest: int, spread: float = 0.1) -> list[MergeSample]:
    dice = random.Random(f"{count} {overhead_s} {bytes_per_s}")
    made = []
    for number in range(count):
        size_bytes = int(largest * dice.random() ** 2)
        seconds = (overhead_s + size_bytes / bytes_per_s) * dice.lognormvariate(0, spread)
        made.append(MergeSample(NOW - timedelta(hours=number), str(number), seconds, size_bytes, 1))
    return made


class TestStartUp:
    def test_without_history_it_is_what_is_assumed(self) -> None:
        seconds, reason = estimate_start_up([], NOW)
        assert seconds == pytest.approx(START_UP_S)
        assert "assumed" in reason
        assert estimate_merge([], NOW) == MergeRates() == ASSUMED.of("flights")

    def test_few_samples_move_it_and_many_make_it(self) -> None:
        assert START_UP_S > start_up_s(300) > start_up_s(*[300] * 3) > start_up_s(*[300] * 20) > 300
        assert start_up_s(*[300] * START_UPS_KEPT) < 365
        assert start_up_s(*[1200] * 3) > START_UP_S

    @pytest.mark.parametrize("spread", [0.05, 0.15, 0.3])
    def test_it_keeps_the_promise(self, spread: float) -> None:
        # Design: "Freshness is missed in < 0.1 % of table-periods without capacity faults". Half of it is a start-up's.
        dice = random.Random(7)
        missed = 0.0
        for _ in range(60):
            estimate = start_up_s(*[400 * dice.lognormvariate(0, spread) for _ in range(START_UPS_KEPT)])
            missed += 0.5 * math.erfc(math.log(estimate / 400) / spread / math.sqrt(2)) / 60
        assert missed < 2 * MISS_RATE / 2

    @pytest.mark.parametrize("count", [3, 5, 20, START_UPS_KEPT])
    def test_one_outlier_is_an_accident(self, count: int) -> None:
        usual = [300.0 + number % 7 for number in range(count - 1)]
        assert start_up_s(*usual, 30_000) < 1.25 * start_up_s(*usual, 300)

    def test_more_of_them_are_a_habit_and_still_held_down(self) -> None:
        usual, slow = [300.0] * 57, [30_000.0] * 7
        assert 2 * start_up_s(*usual) < start_up_s(*usual, *slow) <= 4.1 * 300

    @given(st.lists(st.floats(1, 40_000), max_size=START_UPS_KEPT))
    def test_it_is_sane_whatever_was_measured(self, seconds: list[float]) -> None:
        estimate = start_up_s(*seconds)
        assert min(*seconds, 420, 420) <= estimate <= 4 * max(*seconds, 420, 420)

    @given(st.lists(st.floats(60, 3000), min_size=1, max_size=20), st.floats(1.0, 3.0))
    def test_slower_start_ups_are_never_thought_faster(self, seconds: list[float], times: float) -> None:
        assert start_up_s(*[each * times for each in seconds]) >= start_up_s(*seconds) * 0.999

    def test_old_samples_are_forgotten(self) -> None:
        estimates = [start_up_s(*[100] * 20, age=timedelta(days=days)) for days in (0, 14, 60, 365, 36500)]
        assert estimates == sorted(estimates)
        assert estimates[-1] == pytest.approx(START_UP_S)

    def test_a_clock_that_is_ahead_changes_nothing(self) -> None:
        assert start_up_s(*[300] * 9, age=timedelta(days=-400)) == pytest.approx(start_up_s(*[300] * 9), rel=0.01)

    def test_a_stricter_promise_takes_longer(self) -> None:
        some = start_ups(280, 300, 310, 290, 330)
        strict, loose = (estimate_start_up(some, NOW, miss_rate=rate)[0] for rate in (0.0001, 0.05))
        assert strict > loose


class TestMerge:
    @pytest.mark.parametrize(
        ("overhead_s", "bytes_per_s", "largest"), [(10, 100e6, 10**10), (10, 5e6, 10**9), (100, 50e6, 10**10)]
    )
    def test_it_learns_what_a_table_takes(self, overhead_s: float, bytes_per_s: float, largest: int) -> None:
        learned = estimate_merge(merges(MERGES_KEPT, overhead_s, bytes_per_s, largest), NOW)
        for size_bytes in (largest // 10, largest):
            really_s = overhead_s + size_bytes / bytes_per_s
            assert really_s < learned.merge_s(size_bytes, 1) < 2.5 * really_s

    def test_small_batches_teach_nothing_of_large_ones(self) -> None:
        # GIVEN a table of which only small batches are known, each of 5 s
        learned = estimate_merge([MergeSample(NOW, str(n), 5, 1000 + n, 1) for n in range(MERGES_KEPT)], NOW)
        # THEN they are known, and the rate for large ones stays a cautious one
        assert learned.merge_s(1000, 1) < 15
        assert learned.bytes_per_s < 2.5 * MERGE_BYTES_PER_S

    def test_thousands_of_files_are_learned(self) -> None:
        many = [MergeSample(NOW, str(n), 20 + 0.05 * n * 150, 10**6, n * 150) for n in range(MERGES_KEPT)]
        learned = estimate_merge(many, NOW)
        assert learned.merge_s(10**6, 4000) > 200
        assert learned.merge_s(10**6, 1) < 80

    def test_units_are_counted_out(self) -> None:
        alone = merges(20, 10, 20e6, 10**10)
        by_eight = [
            MergeSample(each.at, each.name, 10 + (each.seconds - 10) / 8, each.size_bytes, each.files, 8.0)
            for each in alone
        ]
        one, eight = estimate_merge(alone, NOW), estimate_merge(by_eight, NOW)
        assert eight.merge_s(10**10, 1, 8.0) == pytest.approx(one.merge_s(10**10, 1) / 8, rel=0.6)

    def test_one_outlier_is_held_down(self) -> None:
        usual = merges(20, 10, 50e6, 10**9)
        stuck = MergeSample(NOW, "stuck", 30_000, 10**6, 1)
        with_it, without = (estimate_merge(some, NOW).merge_s(10**9) for some in ([*usual, stuck], usual))
        assert with_it < 1.5 * without

    @given(
        st.lists(
            st.builds(
                MergeSample,
                at=st.just(NOW),
                name=st.integers(0, 10**6).map(str),
                seconds=st.floats(0.1, 40_000),
                size_bytes=st.integers(0, 10**13),
                files=st.integers(0, 10_000),
                units=st.floats(1, 17),
            ),
            max_size=MERGES_KEPT,
        ),
        st.integers(0, 10**13),
        st.integers(0, 10**13),
        st.integers(0, 5000),
        st.integers(0, 5000),
    )
    def test_more_bytes_or_files_never_take_less(
        self, some: list[MergeSample], one: int, other: int, few: int, many: int
    ) -> None:
        learned = estimate_merge(some, NOW)
        assert learned.reason
        assert 0 < learned.merge_s(0) < math.inf
        (less, more), (fewer, further) = sorted((one, other)), sorted((few, many))
        assert learned.merge_s(less, fewer) <= learned.merge_s(more, further)

    def test_old_merges_are_forgotten(self) -> None:
        old = [MergeSample(NOW - timedelta(days=2000), str(n), 1, 1000, 1) for n in range(20)]
        learned = estimate_merge(old, NOW)
        assert learned.merge_s(10 * MIB) == pytest.approx(MergeRates().merge_s(10 * MIB), rel=0.01)


def test_a_table_without_history_is_as_the_others_together() -> None:
    rates = estimate_rates(start_ups(*[300] * 30), {"flights": merges(20, 5, 100e6, 10**9), "new": []}, NOW)
    assert rates.start_up_s < START_UP_S
    assert rates.of("new") == rates.merge
    assert rates.merge_s("new", 10**9, 1) == pytest.approx(rates.merge_s("flights", 10**9, 1), rel=0.01)
    assert rates.merge_s("new", 0) < MERGE_OVERHEAD_S
    assert (rates.reason, rates.merge.reason) != ("", "")
    assert estimate_rates([], {}, NOW).merge_s("x", 100) == ASSUMED.merge_s("x", 100)
