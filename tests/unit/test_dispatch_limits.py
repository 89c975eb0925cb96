"""Dispatch within limits: rates, warm clusters, ceilings, quiet hours. What waits is shown, and never dropped."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from fakes.contracts import contract
from hypothesis import given, settings
from hypothesis import strategies as st
from tidegate.contracts import Contract
from tidegate.dispatch import Dispatch, TableSnapshot, decide_dispatch, decide_more, start_by
from tidegate.freshness_check import check_freshness
from tidegate.history import MergeSample, StartUpSample, learn
from tidegate.quiet_hours import QuietHours
from tidegate.rates import ASSUMED, MERGE_OVERHEAD_S, START_UP_S, MergeRates, Rates, estimate_rates
from tidegate.stack_limits import LiveCluster, Stack, StackLimits

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
FAST = Rates(240, tables={"flights": MergeRates(10, 200e6, 0.0, "measured")})
GIB = 1024**3


def table(name: str = "flights", seconds: int | None = 3600, **changes: Any) -> Contract:
    freshness: dict[str, Any] = {"kind": "asap"} if seconds is None else {"kind": "within", "seconds": seconds}
    return replace(contract(freshness=freshness), table=name, **changes)


def waiting(name: str = "flights", since_s: float = 60, seconds: int | None = 3600, **fields: Any) -> TableSnapshot:
    quiet = {"quiet_hours": fields.pop("quiet_hours")} if "quiet_hours" in fields else {}
    given: dict[str, Any] = {"pending_files": 1, "pending_bytes": 100}
    oldest = NOW - timedelta(seconds=since_s)
    return TableSnapshot(table(name, seconds, **quiet), oldest_event_time=oldest, **given | fields)


def late(name: str = "flights", **fields: Any) -> TableSnapshot:
    return waiting(name, since_s=3599, **fields)


def decide(*snapshots: TableSnapshot, **options: Any) -> Dispatch:
    return decide_dispatch(snapshots, NOW, **options)


class TestRates:
    def test_a_table_starts_as_late_as_its_own_rates_allow(self) -> None:
        # 1 GiB takes 5.4 s at 200 MB/s, after 10 s and a start-up of 240 s
        snapshot = waiting(pending_bytes=GIB)
        assert start_by(snapshot, FAST) == NOW + timedelta(seconds=3600 - 60 - 240 - 10 - GIB / 200e6)
        assert not decide(waiting(since_s=3300), rates=FAST).tables
        assert decide(waiting(since_s=3300)).tables == ("flights",)
        assert decide(waiting(since_s=3351), rates=FAST).tables == ("flights",)

    def test_a_look_counts_on_the_next_one(self) -> None:
        # "a table that is not due yet must be early enough at the next look"
        snapshot = waiting(since_s=3600 - 240 - 11 - 59)
        assert not decide(snapshot, rates=FAST).tables
        assert decide(snapshot, rates=FAST, limits=StackLimits(tick_s=60)).tables == ("flights",)

    def test_a_merge_that_takes_long_does_not_wait_for_company(self) -> None:
        # Design: "or when waiting longer saves nothing"
        slow = Rates(240, MergeRates(10, 1e6, 0.0, "slow"))
        decision = decide(waiting(seconds=10**6, pending_bytes=3 * 10**9), rates=slow)
        assert decision.tables == ("flights",)
        assert "it takes 3010 s to merge that, so waiting saves next to nothing" in decision.reason
        assert not decide(waiting(seconds=10**6, pending_bytes=10**9), rates=slow).tables

    def test_a_history_of_failures_changes_nothing(self) -> None:
        start_ups: tuple[StartUpSample, ...] = ()
        merges: tuple[MergeSample, ...] = ()
        for number in range(100):
            start_ups = learn(start_ups, StartUpSample(NOW, str(number), 3000), NOW, succeeded=False)
            merges = learn(merges, MergeSample(NOW, str(number), 1, 100, 1), NOW, succeeded=False)
        learned = estimate_rates(start_ups, {"flights": merges}, NOW)
        for since_s in range(0, 3600, 60):
            assert decide(waiting(since_s=since_s), rates=learned) == decide(waiting(since_s=since_s))

    @settings(deadline=None)
    @given(
        st.integers(60, 10**6),
        st.integers(0, 10**12),
        st.integers(0, 5000),
        st.integers(0, 10**6),
        st.integers(60, 900),
    )
    def test_what_is_not_due_keeps_its_freshness_at_the_next_look(
        self, seconds: int, size_bytes: int, files: int, since_s: int, start_up_s: int
    ) -> None:
        rates = Rates(start_up_s, MergeRates(7, 5e6, 0.03, "measured"))
        snapshot = waiting(since_s=since_s, seconds=seconds, pending_bytes=size_bytes, pending_files=files + 1)
        if not decide(snapshot, rates=rates, limits=StackLimits(tick_s=60)).tables:
            through = NOW + timedelta(seconds=60 + start_up_s + rates.merge_s("flights", size_bytes, files + 1))
            assert through < NOW - timedelta(seconds=since_s) + timedelta(seconds=seconds) + timedelta(milliseconds=1)

    @settings(deadline=None)
    @given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**12), st.integers(0, 10**12))
    def test_older_or_more_is_never_less_due(self, one: int, other: int, some: int, many: int) -> None:
        (newer, older), (fewer, more) = sorted((one, other)), sorted((some, many))
        if decide(waiting(since_s=newer, pending_bytes=fewer), rates=FAST).tables:
            assert decide(waiting(since_s=older, pending_bytes=more), rates=FAST).tables

    def test_lateness_of_what_promises_no_time_goes_by_the_rates(self) -> None:
        assert decide(waiting(since_s=400, seconds=None)).lateness_s == 0
        assert decide(waiting(since_s=400, seconds=None), rates=FAST).lateness_s == pytest.approx(150)


class TestDaily:
    @settings(deadline=None)
    @given(
        st.integers(0, 366 * 24 * 60),
        st.integers(0, 23),
        st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia", "Pacific/Kiritimati"]),
    )
    def test_the_hour_comes_within_a_day_by_the_clocks_of_its_zone(self, minute: int, hour: int, zone: str) -> None:
        landed = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
        daily = contract(freshness={"kind": "daily", "at": f"{hour:02}:30", "zone": zone})
        deadline = start_by(TableSnapshot(daily, 1, 0, landed), Rates(0, MergeRates(0)))
        assert landed < deadline <= landed + timedelta(hours=25)
        shown = deadline.astimezone(ZoneInfo(zone))
        # a time that the clocks skip is as much later as they go forward
        assert (shown.hour, shown.minute) in {(hour, 30), (hour + 1, 30)}


class TestClockSkew:
    @pytest.mark.parametrize("ahead_s", [1, 60, 299])
    def test_a_clock_that_is_a_little_ahead_only_makes_an_arrival_younger(self, ahead_s: int) -> None:
        decision = decide(waiting(since_s=-ahead_s))
        assert (decision.tables, decision.lateness_s) == ((), 0)
        assert "the oldest 0 s old" in decision.decisions[0].reason

    def test_an_arrival_from_next_year_does_not_wait_until_then(self) -> None:
        decision = decide(waiting(since_s=-365 * 86400))
        assert decision.tables == ("flights",)
        assert "clocks differ" in decision.reason


class TestCrowd:
    def test_tables_that_have_time_alone_may_have_none_together(self) -> None:
        # GIVEN 300 tables of 100 MiB, each of which could wait
        many = [waiting(f"t{number:03}", since_s=1500, pending_bytes=100 * 1024**2) for number in range(300)]
        assert not decide(*many).tables
        # WHEN one at a time is merged, THEN the last would be late: 900 + 60 + 300 * 3 + 300 * 5 / 4 s on four units
        decision = decide(*many, limits=StackLimits(side_by_side=1))
        assert len(decision.tables) == 300
        assert "tables are to be fresh before it, and together they take" in decision.reason
        assert not decide(*many, limits=StackLimits(side_by_side=4)).tables

    @settings(deadline=None)
    @given(st.lists(st.integers(0, 3600), min_size=1, max_size=20), st.integers(1, 8))
    def test_a_crowd_never_makes_anything_wait_longer(self, ages: list[int], side_by_side: int) -> None:
        many = [waiting(f"t{number}", since_s=age) for number, age in enumerate(ages)]
        if decide(*many).tables:
            assert decide(*many, limits=StackLimits(side_by_side=side_by_side)).tables


def warm(minutes: float | None, **fields: Any) -> Stack:
    ends = None if minutes is None else NOW + timedelta(minutes=minutes)
    return Stack((LiveCluster("r1", round_ends_at=ends, **fields),))


class TestWarmClusters:
    def test_a_live_cluster_that_takes_a_table_in_time_is_preferred(self) -> None:
        decision = decide(late(), stack=warm(3))
        assert (decision.tables, dict(decision.waiting)) == (
            (),
            {"flights": "the warm cluster of run r1 takes it by 12:05:00 UTC"},
        )
        assert decision.reason == "no new run: flights: the warm cluster of run r1 takes it by 12:05:00 UTC"

    def test_the_warm_cluster_does_take_it(self) -> None:
        # GIVEN a table that is left to a warm cluster, THEN the run takes it on when it looks
        for snapshot in (late(), waiting(seconds=None)):
            assert decide(snapshot, stack=warm(3)).waiting
            at = NOW + timedelta(minutes=3)
            assert decide_more([snapshot], [], NOW - timedelta(hours=1), at) == ("flights",)

    @pytest.mark.parametrize(
        "stack", [warm(30), warm(None), warm(3, takes_more=False), warm(-3), Stack()],
        ids=["later than a new one", "nobody knows when", "hands over", "overdue", "none"],
    )  # fmt: skip
    def test_one_that_does_not_help_is_not_waited_for(self, stack: Stack) -> None:
        assert decide(late(), stack=stack).tables == ("flights",)

    def test_one_that_is_still_starting_is_preferred_to_another_one(self) -> None:
        # GIVEN a cluster whose first round is through in a start-up and a merge from now, as a new one's would be
        through_min = (START_UP_S + MERGE_OVERHEAD_S) / 60
        assert decide(late(), stack=warm(through_min)).waiting
        # THEN one that is later is of no use
        assert decide(late(), stack=warm(through_min + 1)).tables == ("flights",)

    def test_nobody_waits_for_ever_for_a_warm_cluster(self) -> None:
        # GIVEN a warm cluster that is always three minutes from its next look
        assert decide(waiting(since_s=3600 + START_UP_S - 1), stack=warm(3)).waiting
        assert decide(waiting(since_s=3600 + START_UP_S), stack=warm(3)).tables == ("flights",)

    def test_what_a_new_cluster_is_for_leaves_the_rest_to_the_warm_one(self) -> None:
        # GIVEN a table whose batch is full and whose deadline is far, and one whose deadline is before the warm cluster
        patient, urgent = waiting("clicks", seconds=4 * 3600, pending_files=5000), late()
        decision = decide(patient, urgent, stack=warm(20))
        assert (decision.tables, set(decision.waiting)) == (("flights",), {"clicks"})
        assert decide(patient, urgent, stack=warm(300)).tables == ("clicks", "flights")


class TestCeilings:
    def test_no_more_clusters_than_are_allowed(self) -> None:
        busy = Stack((LiveCluster("r1"), LiveCluster("r2")))
        decision = decide(late(), waiting("clicks"), limits=StackLimits(maximum_clusters=2), stack=busy)
        why = "no more than 2 clusters at once (r1, r2)"
        assert (decision.tables, decision.reason) == ((), f"1 tables wait: {why}")
        assert dict(decision.waiting) == {"flights": why}
        assert decision.decisions[1].reason.endswith(f"a later start would miss its freshness; {why}")
        assert decide(late(), limits=StackLimits(maximum_clusters=3), stack=busy).tables == ("flights",)

    @pytest.mark.parametrize(
        ("spent", "run", "starts"),
        [(0, 1, True), (8, 1, True), (9, 1, True), (9.5, 1, False), (12, 0, False), (0, 99, True)],
    )
    def test_no_more_money_than_is_allowed_but_one_run_a_day(self, spent: float, run: float, starts: bool) -> None:
        stack = Stack(spent_usd=spent, run_usd=run)
        decision = decide(late(), limits=StackLimits(daily_budget_usd=10), stack=stack)
        assert bool(decision.tables) is starts
        if not starts:
            assert "the day's $10.00" in decision.waiting["flights"]
            assert decision.lateness_s == 0

    def test_a_ceiling_holds_a_person_too(self) -> None:
        decision = decide(waiting(), at_once=True, limits=StackLimits(maximum_clusters=0))
        assert decision.reason == "1 tables wait: no more than 0 clusters at once (none is allowed)"

    def test_what_waits_is_still_late(self) -> None:
        held = decide(waiting(since_s=4000), limits=StackLimits(maximum_clusters=0))
        assert held.lateness_s == 400


NOON = QuietHours("12:00", "14:00", "UTC")
AFTERNOON = QuietHours("13:00", "15:00", "UTC")


class TestQuietHours:
    @pytest.mark.parametrize("of_stack", [True, False])
    def test_nothing_begins_in_them_and_what_is_due_is_shown(self, of_stack: bool) -> None:
        limits = StackLimits(quiet_hours=NOON if of_stack else None)
        snapshot = late(quiet_hours=None if of_stack else NOON)
        decision = decide(snapshot, limits=limits)
        assert decision.tables == ()
        assert dict(decision.waiting) == {"flights": "quiet hours (12:00 to 14:00 UTC) until 2026-03-01 14:00 UTC"}
        assert decide_more([snapshot], ["flights"], NOW, NOW, limits=limits) == ()
        after = NOW + timedelta(hours=2)
        assert decide_dispatch([snapshot], after, limits=limits).tables == ("flights",)

    def test_they_are_one_tables_own(self) -> None:
        decision = decide(late(quiet_hours=NOON), late("clicks"), waiting("airlines", quiet_hours=NOON))
        assert decision.tables == ("clicks",)
        assert set(decision.waiting) == {"flights"}

    def test_a_person_does_not_wait_for_them(self) -> None:
        assert decide(waiting(quiet_hours=NOON), at_once=True).tables == ("flights",)

    def test_what_must_be_fresh_within_them_is_merged_before(self) -> None:
        # GIVEN a table whose latest start is at 13:30, in quiet hours from 13:00 on
        snapshot = waiting(since_s=0, seconds=5400 + 660, quiet_hours=AFTERNOON, pending_bytes=0)
        early = decide(snapshot)
        assert (early.tables, early.decisions[0].reason) == (
            (),
            "1 files of 0 bytes, the oldest 0 s old: due at 2026-03-01 12:58:00 UTC, "
            "before quiet hours (13:00 to 15:00 UTC)",
        )
        before = decide_dispatch([snapshot], NOW + timedelta(minutes=58))
        assert before.tables == ("flights",)
        assert "a later start would be in quiet hours (13:00 to 15:00 UTC)" in before.reason

    def test_two_that_meet_are_both_avoided(self) -> None:
        # GIVEN a latest start at 13:30, quiet hours of the stack from 13:00 and of the table from 12:30 to 13:00
        just_before = QuietHours("12:30", "13:00", "UTC")
        snapshot = waiting(since_s=0, seconds=5400 + 660, quiet_hours=just_before, pending_bytes=0)
        decision = decide(snapshot, limits=StackLimits(quiet_hours=AFTERNOON))
        assert "due at 2026-03-01 12:28:00 UTC" in decision.decisions[0].reason

    def test_what_may_be_fresh_after_them_waits(self) -> None:
        snapshot = waiting(since_s=0, seconds=4 * 3600, quiet_hours=AFTERNOON)
        assert not decide_dispatch([snapshot], NOW + timedelta(minutes=58)).tables

    @settings(deadline=None)
    @given(st.integers(0, 48 * 60), st.integers(60, 12 * 60), st.integers(0, 23), st.integers(1, 12))
    def test_no_run_begins_in_them_whenever_they_are(self, minute: int, fresh_min: int, begin: int, long: int) -> None:
        # The clocks of Berlin go forward in this night.
        hours = QuietHours(f"{begin:02}:30", f"{(begin + long) % 24:02}:30", "Europe/Berlin")
        now = datetime(2026, 3, 28, 6, tzinfo=UTC) + timedelta(minutes=minute)
        landed = now - timedelta(minutes=fresh_min)
        snapshot = TableSnapshot(table(seconds=fresh_min * 60, quiet_hours=hours), 1, 1, landed)
        decision = decide_dispatch([snapshot], now)
        assert bool(decision.tables) is (hours.around(now) is None)
        assert bool(decision.tables) or decision.waiting


class TestSmallestFreshness:
    def test_what_no_start_up_can_meet_is_refused_with_what_can_be(self) -> None:
        check = check_freshness(table(seconds=600), NOW)
        assert (check.can_be_kept, check.smallest_s) == (False, 960)
        assert check.reason == (
            "a start-up takes up to 900 s and a merge 60 s: 10m can't be kept; write 16m or more, or asap"
        )
        assert check_freshness(table(seconds=960), NOW).can_be_kept

    @settings(deadline=None)
    @given(st.integers(1, 3000), st.integers(0, 10**11), st.integers(30, 3000), st.sampled_from([0, 60]))
    def test_the_smallest_can_be_kept_and_is_not_due_before_it_lands(
        self, minutes: int, size_bytes: int, start_up_s: int, tick_s: int
    ) -> None:
        rates, limits = replace(ASSUMED, start_up_s=start_up_s), StackLimits(tick_s=tick_s)
        check = check_freshness(table(seconds=minutes * 60), NOW, size_bytes=size_bytes, rates=rates, limits=limits)
        assert check.can_be_kept is (minutes * 60 >= check.smallest_s)
        kept = waiting(since_s=0, seconds=check.smallest_s, pending_bytes=size_bytes)
        assert start_by(kept, rates) >= NOW + timedelta(seconds=tick_s)

    def test_quiet_hours_are_a_part_of_it(self) -> None:
        check = check_freshness(table(seconds=3600, quiet_hours=NOON), NOW)
        assert (check.can_be_kept, check.smallest_s) == (False, 960 + 7200)
        assert "after up to 2.0 h of quiet hours" in check.reason
        night = StackLimits(quiet_hours=QuietHours("22:00", "06:00", "Europe/Berlin"))
        assert check_freshness(table(), NOW, limits=night).smallest_s == 9 * 3600 + 960

    def test_by_the_hour_and_as_soon_as_possible_can_always_be_kept(self) -> None:
        daily = replace(contract(freshness={"kind": "daily", "at": "06:00", "zone": "Europe/Berlin"}))
        check = check_freshness(daily, NOW)
        assert check.can_be_kept
        assert "what lands less than 16 min before 06:00 Europe/Berlin is so much late" in check.reason
        assert check_freshness(table(seconds=None), NOW).can_be_kept


snapshots = st.builds(
    waiting,
    name=st.sampled_from([f"t{number}" for number in range(9)]),
    since_s=st.integers(-1000, 20_000),
    seconds=st.one_of(st.none(), st.integers(60, 20_000)),
    pending_files=st.integers(0, 6000),
    held_by=st.sampled_from([None, None, "r9"]),
    paused_reason=st.sampled_from([None, None, "p"]),
    unsettled_batch=st.sampled_from([None, None, 3]),
    quiet_hours=st.sampled_from([None, NOON, AFTERNOON]),
)
stacks = st.builds(
    Stack,
    clusters=st.lists(
        st.builds(
            LiveCluster,
            run_id=st.sampled_from(["r1", "r2"]),
            takes_more=st.booleans(),
            round_ends_at=st.one_of(
                st.none(), st.integers(-9, 90).map(lambda minutes: NOW + timedelta(minutes=minutes))
            ),
        ),
        max_size=3,
    ).map(tuple),
    spent_usd=st.floats(0, 20),
    run_usd=st.floats(0, 20),
)
all_limits = st.builds(
    StackLimits,
    maximum_clusters=st.one_of(st.none(), st.integers(0, 3)),
    daily_budget_usd=st.one_of(st.none(), st.floats(0, 20)),
    quiet_hours=st.sampled_from([None, NOON]),
    tick_s=st.sampled_from([0, 60]),
    side_by_side=st.sampled_from([None, 1, 4]),
)


@settings(deadline=None, max_examples=300)
@given(st.lists(snapshots, max_size=9, unique_by=lambda each: each.contract.table), stacks, all_limits, st.booleans())
def test_every_table_is_in_the_run_or_has_its_reason(
    some: Any, stack: Stack, limits: StackLimits, at_once: bool
) -> None:
    # "what waits then is shown and alarmed, never dropped"
    decision = decide_dispatch(some, NOW, at_once=at_once, limits=limits, stack=stack)
    assert decision.reason
    assert [each.table for each in decision.decisions] == sorted(each.contract.table for each in some)
    for each in decision.decisions:
        assert each.reason
        assert each.is_due <= (each.table in decision.tables or each.table in decision.waiting)
        assert not (each.table in decision.tables and each.table in decision.waiting)
    if decision.tables and limits.maximum_clusters is not None:
        assert len(stack.clusters) < limits.maximum_clusters
    if decision.tables and limits.daily_budget_usd is not None and stack.spent_usd > 0:
        assert stack.spent_usd + stack.run_usd <= limits.daily_budget_usd
    # AND without limits exactly those that are due, and what rides along, are in the run
    free = decide_dispatch(some, NOW, at_once=at_once)
    assert set(decision.tables) <= {each.table for each in free.decisions if each.snapshot.has_work}
