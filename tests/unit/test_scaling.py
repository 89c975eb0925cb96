"""Scaling: raised in time, lowered when idle, and otherwise left alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tidegate.readings import Metrics, Progress, left_unit_s, units_for_deadline
from tidegate.run_size import UnitCaps
from tidegate.scaling import (
    CHANGES_AN_HOUR,
    LOWER_COOL_DOWN_S,
    RAISE_COOL_DOWN_S,
    ScalingDecision,
    ScalingLimits,
    ScalingState,
    decide_scaling,
)

NOW = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
MIB, GIB = 1024**2, 1024**3
CAPS = UnitCaps(maximum_units=10)
OURS = "j-OURS"


def state(maximum_units: int = 4, **fields: Any) -> ScalingState:
    return ScalingState(OURS, ScalingLimits(1, maximum_units, 1), CAPS, **fields)


def metrics(at: datetime = NOW, **fields: Any) -> Metrics:
    given: dict[str, Any] = {"memory_available_percent": 40.0, "pending_ratio": 0.0, "apps_pending": 0.0}
    return Metrics(**{"cluster_id": OURS, "at": at} | given | fields)


def busy(at: datetime = NOW) -> Metrics:
    return metrics(at, memory_available_percent=2.0, pending_ratio=3.0)


def idle(at: datetime = NOW, free: float = 95.0) -> Metrics:
    return metrics(at, memory_available_percent=free, units_running=4.0)


def progress(**fields: Any) -> Progress:
    return Progress(**{"at": NOW, "shuffles": False} | fields)


def late(left_s: float = 600, **fields: Any) -> Progress:
    """100 GiB are left: 5,120 s on one unit at the assumed rate."""
    given: dict[str, Any] = {"total_bytes": 100 * GIB, "deadline": NOW + timedelta(seconds=left_s)}
    return progress(**given | fields)


def minutes(count: int, make: Any, start: ScalingState, seen: Progress | None = None) -> list[ScalingDecision]:
    """Decide each minute, on what `make` gives for it."""
    decisions, now_state = [], start
    for minute in range(count):
        now = NOW + timedelta(minutes=minute)
        decision = decide_scaling(now_state, make(now), replace(seen, at=now) if seen else None, now)
        decisions.append(decision)
        now_state = decision.state
    return decisions


class TestRaising:
    def test_a_deadline_at_risk_raises_at_once(self) -> None:
        decision = decide_scaling(state(), metrics(), late(), NOW)
        assert (decision.action, decision.limits.maximum_units) == ("raise", 10)
        assert "the deadline is at risk: 8.5 units are needed" in decision.reason

    @pytest.mark.parametrize("left_s", [200, 0, -3600])
    def test_what_is_late_is_brought_to_an_end_and_no_more(self, left_s: float) -> None:
        # GIVEN 10 GiB that should be through before an instance that is asked for now could be there: 512 s on one unit
        decision = decide_scaling(state(1), metrics(), late(left_s, total_bytes=10 * GIB), NOW)
        # THEN it gets what merges it in four minutes, with a quarter to spare, and not all that there is
        assert (decision.action, decision.limits.maximum_units) == ("raise", 3)
        assert ("the deadline is past" in decision.reason) is (left_s <= 0)

    def test_no_further_than_the_deadline_asks(self) -> None:
        assert decide_scaling(state(), metrics(), late(1200), NOW).limits.maximum_units == 6
        assert decide_scaling(state(), metrics(), late(3000), NOW).action == "hold"

    def test_what_the_run_shows_counts_more_than_what_was_assumed(self) -> None:
        # GIVEN a run that needs half the assumed seconds a byte, with half of it done
        fast = late(1200, done_bytes=50 * GIB, used_unit_s=50 * GIB / (40 * 1024**2))
        slow = late(1200, done_bytes=50 * GIB, used_unit_s=50 * GIB / (10 * 1024**2))
        assert (units_for_deadline(fast, NOW) or 99) < 1.2
        assert (units_for_deadline(slow, NOW) or 0) > 4

    def test_a_run_of_small_files_is_heard_too(self) -> None:
        # GIVEN 8 MiB in thousands of files, of which a quarter took ten minutes of a unit
        seen = late(1200, total_bytes=8 * MIB, done_bytes=2 * MIB, used_unit_s=600.0)
        # THEN the rest is taken to need as long again and more, whatever is known of large files
        assert left_unit_s(seen) > 600

    def test_containers_that_wait_raise_after_two_minutes(self) -> None:
        actions = [decision.action for decision in minutes(4, busy, state())]
        assert actions == ["hold", "hold", "raise", "hold"]
        assert minutes(3, busy, state())[-1].limits.maximum_units == 6

    def test_containers_may_wait_while_the_deadline_is_kept(self) -> None:
        # GIVEN 5,120 s of work on one unit for four, with a quarter to spare until the deadline; and without
        safe, at_risk = (late(5120 * share / 4, total_bytes=100 * GIB) for share in (1.6, 1.2))
        assert {each.action for each in minutes(4, busy, state(), safe)} == {"hold"}
        assert "raise" in {each.action for each in minutes(4, busy, state(), at_risk)}

    def test_applications_that_wait_raise_too(self) -> None:
        made = minutes(3, lambda at: metrics(at, apps_pending=2.0), state())
        assert made[-1].action == "raise"
        assert "as do 2 applications" in made[-1].reason

    def test_what_was_asked_for_is_awaited(self) -> None:
        coming = minutes(9, lambda at: replace(busy(at), units_requested=4.0, units_running=2.0), state())
        assert {each.action for each in coming} == {"hold"}

    def test_a_full_hdfs_gets_a_core_unit_that_is_on_demand(self) -> None:
        decision = decide_scaling(state(), metrics(hdfs_percent=85.0), None, NOW)
        assert decision.limits == ScalingLimits(1, 4, 2, 2)

    def test_on_demand_clusters_stay_on_demand(self) -> None:
        start = replace(state(), limits=ScalingLimits(1, 4, 4), launch=2)
        assert decide_scaling(start, metrics(), late(), NOW).limits == ScalingLimits(1, 10, 10)


class TestLowering:
    def test_idle_memory_lowers_after_five_minutes(self) -> None:
        made = minutes(6, idle, state(), progress(units_in_use=0.2))
        assert [each.action for each in made] == ["hold"] * 5 + ["lower"]
        assert made[-1].limits.maximum_units == 1
        assert "idle: down to 1 units" in made[-1].reason

    def test_never_below_what_running_work_holds(self) -> None:
        assert minutes(6, idle, state(), progress(units_in_use=2.2))[-1].limits.maximum_units == 3
        assert minutes(9, idle, state(), progress(units_in_use=4.0))[-1].limits.maximum_units == 4

    @pytest.mark.parametrize(
        ("seen", "why"),
        [
            (progress(shuffles=True), "a shuffle is under way"),
            (progress(shuffles=None), "nobody knows whether a shuffle is under way"),
            (None, "nothing is known of the running work"),
        ],
    )
    def test_never_under_a_shuffle(self, seen: Progress | None, why: str) -> None:
        made = minutes(30, idle, state(), seen)
        assert {each.action for each in made} == {"hold"}
        assert why in made[-1].reason

    def test_not_what_the_deadline_needs(self) -> None:
        seen = late(4200, total_bytes=100 * GIB)
        assert minutes(6, idle, state(), seen)[-1].limits.maximum_units == 2

    def test_not_while_hdfs_is_in_use(self) -> None:
        made = minutes(9, lambda at: replace(idle(at), hdfs_percent=70.0), state(), progress())
        assert {each.action for each in made} == {"hold"}

    def test_a_lower_cap_lowers_as_far_as_running_work_lets_it(self) -> None:
        start = replace(state(8), caps=UnitCaps(10, usd_an_hour=1.0, unit_usd_an_hour=0.25))
        assert decide_scaling(start, metrics(), progress(units_in_use=2), NOW).limits.maximum_units == 4
        assert decide_scaling(start, metrics(), progress(units_in_use=5.5), NOW).limits.maximum_units == 6
        assert decide_scaling(start, metrics(), progress(shuffles=True), NOW).action == "hold"


class TestCaps:
    def test_dollars_an_hour_are_a_cap(self) -> None:
        start = replace(state(2), caps=UnitCaps(10, usd_an_hour=1.0, unit_usd_an_hour=0.2))
        assert decide_scaling(start, metrics(), late(), NOW).limits.maximum_units == 5

    def test_what_the_run_may_still_cost_is_a_cap(self) -> None:
        start = replace(state(2, budget_usd=0.2), caps=UnitCaps(10, unit_usd_an_hour=0.2))
        assert decide_scaling(start, metrics(), late(1200), NOW).limits.maximum_units == 3


class TestHolding:
    @pytest.mark.parametrize(
        ("seen", "why"),
        [
            (None, "there are no metrics"),
            (busy(NOW - timedelta(minutes=10)), "the newest metrics are 600 s old"),
            (busy(NOW + timedelta(minutes=10)), "from 600 s ahead: a clock is wrong"),
            (replace(busy(), cluster_id="j-OTHER"), "the metrics are of j-OTHER, not of j-OURS: ignored"),
            (metrics(memory_available_percent=None), "not all metrics have come"),
            (metrics(pending_ratio=float("nan")), "a metric of nan can't be"),
            (metrics(memory_available_percent=140.0), "a metric of 140.0 can't be"),
            (metrics(apps_pending=-1.0), "a metric of -1.0 can't be"),
            (metrics(memory_available_percent=90.0, pending_ratio=2.0), "contradictory"),
        ],
    )
    def test_whatever_says_nothing_changes_nothing(self, seen: Metrics | None, why: str) -> None:
        for run in (None, progress(), late(10)):
            decision = decide_scaling(state(), seen, run, NOW)
            assert (decision.action, decision.limits, decision.state) == ("hold", state().limits, state())
            assert why in decision.reason
        assert "the run is late" in decide_scaling(state(), seen, late(10), NOW).reason

    def test_a_cluster_that_is_ending_is_left_alone(self) -> None:
        decision = decide_scaling(state(is_alive=False), busy(), late(), NOW)
        assert (decision.action, decision.reason[:24]) == ("hold", "cluster j-OURS is ending")

    def test_an_alarm_that_comes_late_is_ignored(self) -> None:
        first = decide_scaling(state(), metrics(), None, NOW)
        second = decide_scaling(first.state, busy(NOW - timedelta(minutes=2)), None, NOW)
        assert "newer metrics were seen already" in second.reason

    def test_a_gap_in_the_readings_begins_anew(self) -> None:
        first = decide_scaling(state(), busy(), None, NOW)
        later = NOW + timedelta(minutes=20)
        assert decide_scaling(first.state, busy(later), None, later).action == "hold"

    def test_stale_progress_is_not_believed(self) -> None:
        assert decide_scaling(state(), metrics(), late(at=NOW - timedelta(hours=1)), NOW).action == "hold"

    def test_changes_wait_for_each_other(self) -> None:
        changed = state(changes=(NOW - timedelta(seconds=RAISE_COOL_DOWN_S - 1),))
        assert decide_scaling(changed, metrics(), late(), NOW).action == "hold"
        changed = state(changes=(NOW - timedelta(seconds=RAISE_COOL_DOWN_S),))
        assert decide_scaling(changed, metrics(), late(), NOW).action == "raise"
        lowering = minutes(10, idle, state(changes=(NOW,)), progress())
        assert {each.action for each in lowering} == {"hold"}

    def test_no_more_changes_an_hour_than_are_allowed(self) -> None:
        # GIVEN room for many units, and containers that wait for an hour
        start = replace(state(1), caps=UnitCaps(1000))
        made = minutes(61, busy, start)
        assert [each.action for each in made].count("raise") == CHANGES_AN_HOUR
        assert "that is enough" in made[-1].reason

    def test_a_change_by_a_wrong_clock_does_not_hold_for_ever(self) -> None:
        changed = state(changes=(NOW + timedelta(days=365),))
        assert decide_scaling(changed, metrics(), late(), NOW).action == "raise"


percents = st.one_of(st.none(), st.floats(-1, 101), st.sampled_from([0.0, 5.0, 50.0, 61.0, 99.0, 100.0]))
ratios = st.one_of(st.none(), st.sampled_from([0.0, 0.0, 0.4, 0.6, 5.0]), st.floats(0, 9))
readings = st.one_of(
    st.none(),
    st.builds(
        Metrics,
        cluster_id=st.sampled_from([OURS, OURS, OURS, OURS, "j-OTHER"]),
        at=st.integers(-400, 130).map(lambda seconds: NOW + timedelta(seconds=seconds)),
        memory_available_percent=percents,
        pending_ratio=ratios,
        apps_pending=ratios,
        hdfs_percent=percents,
        units_requested=st.one_of(st.none(), st.floats(0, 17)),
        units_running=st.one_of(st.none(), st.floats(0, 17)),
    ),
    st.sampled_from([busy(), idle(), metrics()]),
)
runs = st.one_of(
    st.none(),
    st.builds(
        Progress,
        at=st.just(NOW),
        done_bytes=st.integers(0, 10 * GIB),
        total_bytes=st.integers(0, 1000 * GIB),
        used_unit_s=st.floats(0, 10**5),
        units_in_use=st.floats(0, 10),
        shuffles=st.sampled_from([True, False, False, None]),
        deadline=st.one_of(st.none(), st.integers(-600, 9000).map(lambda seconds: NOW + timedelta(seconds=seconds))),
    ),
)


def at_minute(seen: Any, minute: int) -> Any:
    """A reading or a progress, as many minutes later."""
    return None if seen is None else replace(seen, at=seen.at + timedelta(minutes=minute))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(readings, runs), max_size=120), st.integers(1, 10), st.integers(0, 2))
def test_no_flapping_whatever_the_metrics_say(steps: list[Any], maximum_units: int, speed: int) -> None:
    # "bounded changes an hour under any metric sequence", "never above caps", "every decision has a reason"
    held, changes = state(maximum_units), []
    for number, (seen, run) in enumerate(steps):
        minute = number * (speed + 1)
        now = NOW + timedelta(minutes=minute)
        decision = decide_scaling(held, at_minute(seen, minute), at_minute(run, minute), now)
        assert decision.reason
        assert decision.limits == decision.state.limits
        limits, before = decision.limits, held.limits
        assert limits.minimum_units <= limits.maximum_units <= CAPS.units
        assert limits.maximum_core_units <= limits.maximum_units
        assert limits.maximum_on_demand_units <= limits.maximum_units
        assert (decision.action == "hold") is (limits == before)
        if decision.action == "lower":
            # "never a shrink under a running shuffle", "never below what running work needs"
            assert run is not None
            assert run.shuffles is False
            assert limits.maximum_units >= run.units_in_use
        if decision.action != "hold":
            cool_down_s = RAISE_COOL_DOWN_S if decision.action == "raise" else LOWER_COOL_DOWN_S
            assert not changes or (now - changes[-1]).total_seconds() >= cool_down_s
            changes.append(now)
        held = decision.state
    for change in changes:
        within = [each for each in changes if change - timedelta(hours=1) < each <= change]
        assert len(within) <= CHANGES_AN_HOUR


@settings(deadline=None)
@given(runs, readings, st.integers(1, 10), st.integers(0, 5000), st.integers(0, 10**12))
def test_an_earlier_deadline_or_more_bytes_never_mean_fewer_units(
    run: Progress | None, seen: Metrics | None, maximum_units: int, earlier_s: int, more_bytes: int
) -> None:
    if run is None or run.deadline is None:
        return
    idle_for_long = state(maximum_units, idle_since=NOW - timedelta(hours=1))
    decided = decide_scaling(idle_for_long, seen, run, NOW).limits.maximum_units
    urgent = replace(run, deadline=run.deadline - timedelta(seconds=earlier_s))
    larger = replace(run, total_bytes=run.total_bytes + more_bytes)
    assert decide_scaling(idle_for_long, seen, urgent, NOW).limits.maximum_units >= decided
    assert decide_scaling(idle_for_long, seen, larger, NOW).limits.maximum_units >= decided
