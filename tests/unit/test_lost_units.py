"""Lost units: told from those that never came and those that were given back; replaced by no more than are lost."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tidegate.lost_units import UnitsKnown, observe_units
from tidegate.readings import STALE_S, Metrics, Progress
from tidegate.run_size import UnitCaps
from tidegate.scaling import (
    CHANGES_AN_HOUR,
    RAISE_COOL_DOWN_S,
    ScalingDecision,
    ScalingLimits,
    ScalingState,
    decide_scaling,
)

NOW = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
MIB = 1024**2
OURS = "j-OURS"
SPOT, ON_DEMAND = 0, 2


def metrics(running: float | None, requested: float | None = 4.0, at: datetime = NOW, **fields: Any) -> Metrics:
    given: dict[str, Any] = {"memory_available_percent": 40.0, "pending_ratio": 0.0, "apps_pending": 0.0}
    return Metrics(OURS, at, units_running=running, units_requested=requested, **given | fields)


def left(work_s: float = 3000, in_s: float | None = 1200, **fields: Any) -> Progress:
    """So many seconds of work on one unit are left."""
    deadline = None if in_s is None else NOW + timedelta(seconds=in_s)
    return Progress(**{"at": NOW, "total_bytes": int(work_s * 20 * MIB), "deadline": deadline} | fields)


def state(lost_since: datetime | None = None, **fields: Any) -> ScalingState:
    """Of a cluster that had four units and may have four, one of them On-Demand."""
    given: dict[str, Any] = {
        "limits": ScalingLimits(1, 4, 1), "caps": UnitCaps(10), "units": UnitsKnown(4.0, lost_since),
    }  # fmt: skip
    return ScalingState(OURS, **given | fields)


def decide(running: float | None, seen: Progress | None, of: ScalingState | None = None) -> ScalingDecision:
    return decide_scaling(of or state(), metrics(running), seen, NOW)


class TestObserving:
    @pytest.mark.parametrize(
        ("readings", "had", "lost_at"),
        [
            ([(4, 1), (4, 2), (4, 4)], 4, None),  # a cluster that scales out
            ([(4, 1), (4, 2), (4, 2)], 2, None),  # what never came
            ([(4, 4), (4, 2)], 4, 1),
            ([(4, 4), (4, 2), (4, 3), (4, 1)], 4, 1),
            ([(4, 4), (4, 2), (4, 4)], 4, None),  # it has them all again
            ([(4, 4), (2, 4), (2, 3), (2, 2)], 2, None),  # managed scaling gives back what nobody uses
            ([(4, 4), (2, 4), (4, 3), (4, 4)], 4, None),  # and changes its mind meanwhile
            ([(4, 4), (2, 1)], 2, 1),  # fewer are asked for, and of those one is lost
            ([(4, 4), (8, 2)], 4, 1),  # lost while more are asked for
            ([(4, 4), (None, 2)], 4, None),
            ([(4, 4), (4, None)], 4, None),
            ([(4, 4), (4, 2), (None, None), (4, 2)], 4, 1),
            ([(None, None)], None, None),
        ],
    )
    def test_lost_is_what_ran_and_is_asked_for_and_is_gone(
        self, readings: list[tuple[float | None, float | None]], had: float | None, lost_at: int | None
    ) -> None:
        known = UnitsKnown()
        for minute, (requested, running) in enumerate(readings):
            seen = metrics(running, requested, NOW + timedelta(minutes=minute))
            known = observe_units(known, seen, has_gap=False)
        lost_since = None if lost_at is None else NOW + timedelta(minutes=lost_at)
        assert known == UnitsKnown(had, lost_since)

    def test_a_gap_in_the_readings_begins_anew(self) -> None:
        before = state(NOW - timedelta(minutes=9), seen_at=NOW - timedelta(seconds=STALE_S + 1))
        decision = decide(2, left(), before)
        assert (decision.action, decision.state.units) == ("hold", UnitsKnown(2.0))

    def test_what_a_lower_limit_takes_away_is_not_lost(self) -> None:
        idle = state(idle_since=NOW - timedelta(minutes=9))
        seen = metrics(4, memory_available_percent=95.0)
        lowered = decide_scaling(idle, seen, left(0, shuffles=False), NOW)
        assert lowered.action == "lower"
        # WHEN units go before anything says that fewer are asked for
        later = NOW + timedelta(minutes=1)
        after = decide_scaling(lowered.state, metrics(1, at=later), left(0), later)
        assert after.state.units.lost_since is None


class TestReplacing:
    def test_what_spot_does_not_bring_back_in_time_may_be_on_demand(self) -> None:
        # GIVEN 3,000 s of work that are due in 1,200 s: four units are in time, the two that are left are not
        decision = decide(2, left(), state(NOW - timedelta(minutes=4)))
        # THEN as many may be On-Demand as are lost; Spot units that are at work stay
        assert (decision.action, decision.limits) == ("raise", ScalingLimits(1, 4, 3))
        assert decision.reason == (
            "Graviton, Spot: 2 of 4 units are left since 240 s, too few for the deadline; a resize never switches to "
            "On-Demand by itself: 2 more may be On-Demand"
        )

    @pytest.mark.parametrize(
        ("running", "seen", "of", "why"),
        [
            (2, left(), state(), "managed scaling is replacing them"),
            (3, left(), state(NOW - timedelta(minutes=4)), "they are through by 00:46:40 UTC, in time"),
            (2, left(in_s=None), state(NOW - timedelta(minutes=4)), "nothing is promised"),
            (2, None, state(NOW - timedelta(minutes=4)), "nothing is known of the running work"),
            (2, left(at=NOW - timedelta(hours=1)), state(NOW - timedelta(minutes=4)), "nothing is known of the"),
            (2, left(), state(NOW - timedelta(minutes=4), launch=ON_DEMAND), "they are On-Demand already"),
            (2, left(), state(NOW - timedelta(minutes=4), limits=ScalingLimits(1, 4, 4)), "no more may be On-Demand"),
            (None, left(), state(NOW - timedelta(minutes=4)), "nothing to change"),
        ],
    )
    def test_otherwise_it_waits_and_says_why(
        self, running: float | None, seen: Progress | None, of: ScalingState, why: str
    ) -> None:
        decision = decide(running, seen, of)
        assert (decision.action, why in decision.reason) == ("hold", True), decision.reason

    def test_units_that_never_came_are_not_replaced(self) -> None:
        assert decide(2, left(), state(units=UnitsKnown())).action == "hold"

    def test_a_later_deadline_in_the_same_look_makes_one_change_of_both(self) -> None:
        decision = decide(2, left(6000), state(NOW - timedelta(minutes=4)))
        assert decision.limits == ScalingLimits(1, 7, 3)
        assert "2 more may be On-Demand; the deadline is at risk" in decision.reason
        assert len(decision.state.changes) == 1

    def test_nothing_is_taken_away_in_the_same_look(self) -> None:
        idle = state(NOW - timedelta(minutes=4), idle_since=NOW - timedelta(minutes=9), limits=ScalingLimits(1, 8, 1))
        seen = metrics(2, memory_available_percent=95.0)
        decision = decide_scaling(idle, seen, left(shuffles=False), NOW)
        assert decision.limits == ScalingLimits(1, 8, 3)

    def test_what_was_lost_is_replaced_once(self) -> None:
        # GIVEN On-Demand units that don't come either, for an hour
        held, raised = state(NOW - timedelta(minutes=4)), []
        for minute in range(60):
            now = NOW + timedelta(minutes=minute)
            seen = replace(left(in_s=1200), at=now, deadline=now + timedelta(seconds=1200))
            decision = decide_scaling(held, metrics(2, at=now), seen, now)
            held = decision.state
            raised += [decision.limits] if decision.action != "hold" else []
        # THEN the limit was raised once, and once more when another one is lost
        assert raised == [ScalingLimits(1, 4, 3)]
        now += timedelta(minutes=1)
        seen = left(at=now, deadline=now + timedelta(seconds=1000))
        assert decide_scaling(held, metrics(1, at=now), seen, now).limits == ScalingLimits(1, 4, 4)

    def test_units_that_were_replaced_may_be_lost_again(self) -> None:
        replaced = decide(2, left(), state(NOW - timedelta(minutes=4))).state
        later = NOW + timedelta(minutes=5)
        back = decide_scaling(replaced, metrics(4, at=later), left(at=later), later).state
        assert back.units == UnitsKnown(4.0)

    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ((NOW - timedelta(seconds=RAISE_COOL_DOWN_S - 1),), "so it waits"),
            (tuple(NOW - timedelta(minutes=number) for number in range(50, 50 - CHANGES_AN_HOUR, -1)), "enough"),
        ],
    )
    def test_the_cool_down_and_the_bound_hold_for_it_too(self, changes: tuple[datetime, ...], why: str) -> None:
        lost_since = NOW - timedelta(minutes=4)
        decision = decide(2, left(), state(lost_since, changes=changes))
        assert (decision.action, why in decision.reason) == ("hold", True)
        assert decision.state.units.lost_since == lost_since

    def test_the_caps_in_dollars_hold(self) -> None:
        # GIVEN units of $0.20 an hour On-Demand, for four of which there is money
        lost_since = NOW - timedelta(minutes=4)
        enough = UnitCaps(10, usd_an_hour=0.8, unit_usd_an_hour=0.2)
        assert decide(2, left(), state(lost_since, caps=enough)).limits == ScalingLimits(1, 4, 3)
        # WHEN there is money for three
        scarce = UnitCaps(10, usd_an_hour=0.6, unit_usd_an_hour=0.2)
        decision = decide(2, left(), state(lost_since, caps=scarce))
        assert "no more may be On-Demand" in decision.reason
        # OR what the run may still cost is spent
        spent = state(lost_since, caps=UnitCaps(10, unit_usd_an_hour=0.2), budget_usd=0.1)
        assert decide(2, left(), spent).limits.maximum_on_demand_units == 1
