"""History: bounded, the same in whatever order it is put together, and never of what failed."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tidegate.history import (
    MERGES_KEPT,
    START_UPS_KEPT,
    MergeSample,
    StartUpSample,
    decode_merges,
    decode_start_ups,
    encode_history,
    learn,
    merge_histories,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

samples = st.builds(
    MergeSample,
    at=st.integers(0, 50).map(lambda minutes: NOW - timedelta(minutes=minutes)),
    name=st.integers(1, 20).map(str),
    seconds=st.floats(0.1, 9999),
    size_bytes=st.integers(0, 10**12),
    files=st.integers(0, 5000),
    units=st.floats(1, 17),
)
histories = st.lists(samples, max_size=30).map(lambda some: merge_histories(some, (), limit=7))


@given(histories, histories, histories)
def test_histories_come_together_in_any_order_and_with_any_repetition(one: Any, other: Any, third: Any) -> None:
    def join(left: Any, right: Any) -> Any:
        return merge_histories(left, right, limit=7)

    assert join(one, other) == join(other, one)
    assert join(join(one, other), third) == join(one, join(other, third))
    assert join(one, one) == one == join(one, ())
    assert len(join(one, other)) <= 7
    assert len({each.name for each in join(one, other)}) == len(join(one, other))


@given(st.lists(samples, max_size=40))
def test_what_is_kept_is_read_again_and_is_small(some: list[MergeSample]) -> None:
    whole_seconds = merge_histories(some, ())
    written = encode_history(whole_seconds)
    assert decode_merges(written) == whole_seconds
    assert len(written) < 4096


def test_a_full_history_of_start_ups_is_a_few_kilobytes() -> None:
    full = [StartUpSample(NOW - timedelta(minutes=n), f"tidegate-run-20260301T1200Z-0-{n}", 301.5) for n in range(99)]
    kept = merge_histories(full, (), limit=START_UPS_KEPT)
    assert kept == tuple(full[:START_UPS_KEPT])
    assert decode_start_ups(encode_history(kept)) == kept
    assert len(encode_history(kept)) < 6000


def test_a_row_that_cannot_be_read_is_left_out() -> None:
    good = MergeSample(NOW, "7", 30.0, 10, 1)
    bad: list[Any] = [[], ["x"], [1, "n", "fast", 1, 1, 1], [1, "n", -3, 1, 1, 1], [10**30, "n", 1, 1, 1, 1], [1, "n"]]
    assert decode_merges(json.dumps([*bad, *json.loads(encode_history([good]))])) == (good,)
    assert decode_start_ups('[[1, "n", NaN]]') == ()
    for text in ("", "no JSON", '{"not": "a list"}', "[1, null]"):
        assert decode_merges(text) == ()


@given(st.lists(samples, max_size=20), st.lists(samples, max_size=50))
def test_a_history_full_of_failures_is_as_if_nothing_had_been(good: list[MergeSample], bad: list[MergeSample]) -> None:
    known: tuple[MergeSample, ...] = ()
    for sample in good:
        known = learn(known, sample, NOW, succeeded=True)
    after = known
    for sample in bad:
        after = learn(after, sample, NOW, succeeded=False)
    assert after == known


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 10**6])
def test_what_cannot_have_been_is_not_learned(seconds: float) -> None:
    assert learn((), MergeSample(NOW, "1", seconds, 1, 1), NOW, succeeded=True) == ()
    assert learn((), StartUpSample(NOW, "c", seconds), NOW, succeeded=True) == ()


@pytest.mark.parametrize("changed", [{"size_bytes": -1}, {"files": -1}, {"units": 0.0}, {"units": float("nan")}])
def test_a_batch_that_cannot_have_been_is_not_learned(changed: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"seconds": 30, "size_bytes": 1, "files": 1} | changed
    assert learn((), MergeSample(NOW, "1", **fields), NOW, succeeded=True) == ()


def test_a_clock_that_is_ahead_does_not_stay_for_ever() -> None:
    # GIVEN a sample from next year
    known = learn((), MergeSample(NOW + timedelta(days=365), "1", 30, 1, 1), NOW, succeeded=True)
    assert known[0].at == NOW
    # WHEN others come, THEN it goes like any other
    for number in range(2, 2 + MERGES_KEPT):
        at = NOW + timedelta(minutes=number)
        known = learn(known, MergeSample(at, str(number), 30, 1, 1), at, succeeded=True)
    assert len(known) == MERGES_KEPT
    assert "1" not in {each.name for each in known}
