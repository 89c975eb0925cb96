"""Dispatch: as late as freshness allows, never for a table that cannot be merged."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fakes.contracts import contract
from hypothesis import given
from hypothesis import strategies as st
from tidegate.dispatch import (
    TableSnapshot,
    decide_dispatch,
    lateness_of,
    may_maintain,
    start_by,
)
from tidegate.rates import MERGE_OVERHEAD_S, START_UP_S

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
WITHIN_1H = {"kind": "within", "seconds": 3600}


def daily(at: str, zone: str = "Europe/Berlin") -> dict[str, Any]:
    return {"kind": "daily", "at": at, "zone": zone}


def waiting(
    table: str = "flights", *, since_s: int = 60, freshness: dict[str, Any] | None = None, **fields: Any
) -> TableSnapshot:
    given: dict[str, Any] = {
        "pending_files": 1,
        "pending_bytes": 100,
        "oldest_event_time": NOW - timedelta(seconds=since_s),
    }
    return TableSnapshot(contract(table, freshness=freshness or {"kind": "asap"}), **given | fields)


def tables(*snapshots: TableSnapshot, at_once: bool = False) -> tuple[str, ...]:
    return decide_dispatch(snapshots, NOW, at_once=at_once).tables


def test_nothing_pending_nothing_due() -> None:
    nothing = TableSnapshot(contract())
    for at_once in (False, True):
        decision = decide_dispatch([nothing], NOW, at_once=at_once)
        assert (decision.tables, decision.decisions[0].reason) == ((), "nothing is pending")


def test_as_soon_as_possible_is_now() -> None:
    assert tables(waiting()) == ("flights",)


class TestWithin:
    @pytest.mark.parametrize(
        ("since_s", "is_due"),
        [(60, False), (3600 - START_UP_S - MERGE_OVERHEAD_S - 2, False), (3600 - START_UP_S, True), (9999, True)],
    )
    def test_starts_when_a_later_start_would_be_late(self, since_s: int, is_due: bool) -> None:
        assert bool(tables(waiting(since_s=since_s, freshness=WITHIN_1H))) is is_due

    def test_what_takes_longer_starts_earlier(self) -> None:
        small = start_by(waiting(freshness=WITHIN_1H))
        assert start_by(waiting(freshness=WITHIN_1H, pending_bytes=20 * 1024**3)) < small

    def test_what_has_more_units_waits_longer(self) -> None:
        # GIVEN 40 GiB, for which a run has five units at least: 410 s to merge, not 2,048
        large = start_by(waiting(freshness=WITHIN_1H, pending_bytes=40 * 1024**3))
        small = start_by(waiting(freshness=WITHIN_1H, pending_bytes=0))
        assert (small - large).total_seconds() == pytest.approx(2048 / 5, abs=1)

    def test_a_full_batch_does_not_wait(self) -> None:
        # Design: "or when waiting longer saves nothing"
        for full in ({"pending_files": 5000}, {"pending_bytes": 50 * 1024**3}):
            decision = decide_dispatch([waiting(freshness=WITHIN_1H, **full)], NOW)
            assert decision.tables == ("flights",)
            assert "waiting saves nothing" in decision.reason

    @given(st.integers(60, 31 * 86400), st.integers(0, 10**11), st.integers(0, 31 * 86400))
    def test_a_tick_that_is_not_due_is_early_enough_for_the_next_one(
        self, seconds: int, size: int, since_s: int
    ) -> None:
        # GIVEN any freshness and any amount: whenever it isn't due yet, starting then would still be in time
        snapshot = waiting(since_s=since_s, freshness={"kind": "within", "seconds": seconds}, pending_bytes=size)
        if not tables(snapshot):
            deadline = NOW - timedelta(seconds=since_s) + timedelta(seconds=seconds)
            assert NOW + timedelta(seconds=START_UP_S) < deadline


class TestDaily:
    @pytest.mark.parametrize(
        ("oldest", "deadline", "freshness"),
        [
            ("2026-03-01T12:00:00Z", "2026-03-02T05:00:00Z", daily("06:00")),
            ("2026-03-01T04:59:59Z", "2026-03-01T05:00:00Z", daily("06:00")),
            ("2026-03-01T05:00:00Z", "2026-03-02T05:00:00Z", daily("06:00")),
            # The clocks of Berlin go forward on 2026-03-29 and back on 2026-10-25.
            ("2026-03-28T12:00:00Z", "2026-03-29T04:00:00Z", daily("06:00")),
            ("2026-10-24T12:00:00Z", "2026-10-25T05:00:00Z", daily("06:00")),
            ("2026-03-01T12:00:00Z", "2026-03-01T23:30:00Z", daily("18:30", "America/New_York")),
        ],
    )
    def test_the_deadline_is_the_next_such_time_of_that_zone(
        self, oldest: str, deadline: str, freshness: dict[str, Any]
    ) -> None:
        snapshot = TableSnapshot(contract(freshness=freshness), 1, 0, datetime.fromisoformat(oldest))
        wanted = datetime.fromisoformat(deadline) - timedelta(seconds=START_UP_S + MERGE_OVERHEAD_S)
        assert start_by(snapshot) == wanted


class TestObstacles:
    @pytest.mark.parametrize(
        ("fields", "reason"),
        [
            ({"held_by": "r1"}, "run r1 is at it"),
            ({"blocked_reason": "five attempts failed"}, "blocked: five attempts failed"),
            (
                {"unsettled_batch": 3, "retry_after": NOW + timedelta(minutes=5)},
                "batch 3 is tried again at 12:05:00 UTC",
            ),
        ],
    )
    def test_keep_a_table_out_however_long_it_has_waited(self, fields: dict[str, Any], reason: str) -> None:
        decision = decide_dispatch([waiting(since_s=10**6, **fields), waiting("airlines")], NOW)
        assert decision.tables == ("airlines",)
        assert {each.table: each.reason for each in decision.decisions}["flights"] == reason

    def test_whoever_says_now_waits_for_no_pause_and_opens_nothing_that_is_held(self) -> None:
        later = NOW + timedelta(minutes=5)
        assert tables(waiting(unsettled_batch=3, retry_after=later), at_once=True) == ("flights",)
        assert tables(waiting(held_by="r"), waiting("airlines", blocked_reason="b"), at_once=True) == ()


def test_an_unsettled_batch_is_due_once_its_pause_is_over() -> None:
    for retry_after in (None, NOW, NOW - timedelta(seconds=1)):
        snapshot = TableSnapshot(contract(freshness=WITHIN_1H), unsettled_batch=3, retry_after=retry_after)
        assert tables(snapshot) == ("flights",)


def test_what_can_be_merged_rides_along_once_a_run_starts() -> None:
    patient = waiting("airlines", freshness=daily("06:00"))
    assert tables(patient) == ()
    assert tables(patient, waiting()) == ("airlines", "flights")
    assert tables(patient, at_once=True) == ("airlines",)


def test_every_table_has_its_reason_and_a_run_a_short_one() -> None:
    snapshots = [waiting(table) for table in ("airlines", "clicks", "flights")] * 2
    decision = decide_dispatch(snapshots, NOW)
    assert len(decision.decisions) == 6
    assert decision.reason.endswith("and 3 more")
    assert "1 files of 100 bytes, the oldest 60 s old, as soon as possible" in decision.reason


class TestLateness:
    def test_is_counted_from_when_the_oldest_file_should_have_been_queryable(self) -> None:
        for since_s, late_s in ((3599, 0), (3600, 0), (3661, 61)):
            assert lateness_of(waiting(since_s=since_s, freshness=WITHIN_1H), NOW) == late_s
        # 6 o'clock in Berlin was seven hours ago, and the file landed before
        assert lateness_of(waiting(since_s=8 * 3600, freshness=daily("06:00")), NOW) == 7 * 3600

    def test_of_what_promises_no_time_begins_when_a_cluster_would_have_been_through(self) -> None:
        through_s = START_UP_S + MERGE_OVERHEAD_S
        assert lateness_of(waiting(since_s=through_s), NOW) == 0
        assert lateness_of(waiting(since_s=through_s + 100), NOW) == pytest.approx(100, abs=1)

    def test_is_nothing_where_nothing_is_pending(self) -> None:
        assert lateness_of(TableSnapshot(contract()), NOW) == 0
        assert decide_dispatch([], NOW).lateness_s == 0

    @pytest.mark.parametrize("fields", [{}, {"held_by": "r"}, {"blocked_reason": "b"}, {"paused_reason": "p"}])
    def test_counts_whatever_holds_a_table_up(self, fields: dict[str, Any]) -> None:
        late, early = waiting(since_s=4000, freshness=WITHIN_1H, **fields), waiting("airlines", freshness=WITHIN_1H)
        assert decide_dispatch([early, late], NOW).lateness_s == 400

    def test_tables_that_wait_for_a_person_are_named(self) -> None:
        snapshots = [
            waiting(blocked_reason="b"),
            waiting("airlines"),
            TableSnapshot(contract("clicks"), paused_reason="p"),
        ]
        assert decide_dispatch(snapshots, NOW).stopped == ("clicks", "flights")


@pytest.mark.parametrize(
    ("files", "share", "reopened", "has_time"),
    [(1, 0.1, 0, True), (0, 0.1, 0, True), (None, 0.1, 0, False), (1, 0.9, 0, False), (1, 0.1, 1, False)],
)
def test_a_table_is_maintained_when_nothing_more_of_it_waits(
    files: int | None, share: float, reopened: int, has_time: bool
) -> None:
    limits = contract()
    many = limits.max_files if files is None else files
    assert may_maintain(limits, many, int(share * limits.max_bytes), reopened=reopened) is has_time
