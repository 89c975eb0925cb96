"""What a run takes on while its cluster is warm, and what it leaves for the next one."""

from datetime import UTC, datetime, timedelta
from typing import Any

from fakes.contracts import contract
from hypothesis import given
from hypothesis import strategies as st
from tidegate.dispatch import TableSnapshot, decide_more
from tidegate.rates import MergeRates, Rates

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BEGAN = NOW - timedelta(minutes=8)
RATES = Rates(start_up_s=600, merge=MergeRates(60, 20e6))


def waiting(table: str = "flights", *, since_s: float = 60, seconds: int = 3600, **fields: Any) -> TableSnapshot:
    given_: dict[str, Any] = {
        "pending_files": 1,
        "pending_bytes": 100,
        "oldest_event_time": NOW - timedelta(seconds=since_s),
    }
    return TableSnapshot(contract(table, freshness={"kind": "within", "seconds": seconds}), **given_ | fields)


def more(*snapshots: TableSnapshot, mine: tuple[str, ...] = ("flights",)) -> tuple[str, ...]:
    return decide_more(snapshots, mine, BEGAN, NOW, rates=RATES)


class TestWhatHasLandedSince:
    def test_is_taken_if_the_next_cluster_comes_so_much_later_for_it(self) -> None:
        # GIVEN a file that landed as the cluster was asked for, eight minutes ago; it has 2,460 s until its own start
        # THEN 60 s for a round now cost less than a start-up in 2,460 s instead of 2,940
        assert more(waiting(since_s=479)) == ("flights",)

    def test_is_left_if_it_is_as_good_as_new(self) -> None:
        # GIVEN a file that landed while the round before was merged
        assert more(waiting(since_s=60)) == ()

    def test_is_left_if_its_freshness_is_so_long_that_the_next_cluster_is_far(self) -> None:
        assert more(waiting(since_s=479, seconds=86_400)) == ()

    def test_of_the_table_for_which_the_next_cluster_would_start_decides(self) -> None:
        # GIVEN an old file that has a day, and a new one that has an hour
        patient = waiting("clicks", since_s=7000, seconds=86_400)
        assert more(waiting(since_s=60), patient, mine=("flights",)) == ()
        assert more(waiting(since_s=479), patient, mine=("flights",)) == ("clicks", "flights")

    @given(st.integers(0, 40_000), st.integers(60, 90_000), st.integers(0, 10_000))
    def test_a_longer_wait_never_makes_it_less_worth(self, since_s: int, seconds: int, longer_s: int) -> None:
        if more(waiting(since_s=since_s, seconds=seconds), mine=()):
            assert more(waiting(since_s=since_s + longer_s, seconds=seconds), mine=())


class TestRidingAlong:
    def test_what_is_small_does(self) -> None:
        # GIVEN a table that is due, and one that has landed a minute ago
        assert more(waiting(since_s=3600), waiting("clicks")) == ("clicks", "flights")

    def test_what_would_hold_the_others_up_does_not(self) -> None:
        large = waiting("clicks", pending_bytes=2 * 10**9)  # 100 s beside an overhead of 60
        assert more(waiting(since_s=3600), large) == ("flights",)

    def test_never_alone(self) -> None:
        assert more(waiting("clicks"), mine=()) == ()

    def test_not_what_another_run_has(self) -> None:
        assert more(waiting(since_s=3600), waiting("clicks", held_by="r9")) == ("flights",)


def test_what_had_landed_before_the_run_is_merged_by_it_however_large() -> None:
    backlog = waiting(since_s=500, pending_bytes=10**10, seconds=86_400)
    assert more(backlog) == ("flights",)
