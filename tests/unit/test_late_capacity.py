"""Capacity that comes late or goes: another option while there is time for it, and not before."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tidegate.late_capacity import END_S, LOOK_S, Capacity, Need, decide_on_capacity, last_chance
from tidegate.launches import LAUNCH_OPTIONS, MAXIMUM_LAUNCHES

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SPOT_GRAVITON, SPOT_X86, ON_DEMAND_GRAVITON, ON_DEMAND_X86 = range(4)


def asked(minutes_ago: float, launch: int = SPOT_GRAVITON, **fields: int | bool) -> Capacity:
    return Capacity(NOW - timedelta(minutes=minutes_ago), launch, **fields)  # type: ignore[arg-type]


def need(in_minutes: float | None, work_unit_s: float = 600) -> Need:
    deadline = None if in_minutes is None else NOW + timedelta(minutes=in_minutes)
    return Need(deadline, start_up_s=600, work_unit_s=work_unit_s)


class TestStarting:
    def test_instances_that_are_not_late_are_awaited(self) -> None:
        for minutes in (-3, 0, 5):
            decision = decide_on_capacity(asked(minutes), need(10), 1, NOW)
            assert (decision.step, "not late" in decision.reason) == ("wait", True)

    def test_late_instances_are_awaited_while_another_cluster_would_be_in_time(self) -> None:
        # another one is through after 300 s of ending, 600 s of start-up and 600 s of work
        decision = decide_on_capacity(asked(6), need(60), 1, NOW)
        assert (decision.step, decision.reason) == (
            "wait",
            "Graviton, Spot: no instances after 360 s; until 12:35:00 UTC another one would be in time",
        )

    def test_the_last_chance_is_taken_and_goes_to_on_demand(self) -> None:
        decision = decide_on_capacity(asked(6), need(25.5), 1, NOW)
        assert (decision.step, decision.launch) == ("next_option", ON_DEMAND_GRAVITON)
        assert "after 12:00:30 UTC another one would miss the deadline: Graviton, On-Demand is next" in decision.reason

    def test_what_is_too_late_anyway_waits_for_the_first_to_come(self) -> None:
        assert decide_on_capacity(asked(6), need(10), 1, NOW).step == "wait"

    def test_nobody_waits_for_ever(self) -> None:
        for minutes in (None, 600):
            decision = decide_on_capacity(asked(20), need(minutes), 1, NOW)
            assert (decision.step, decision.launch) == ("next_option", SPOT_X86)
        assert decide_on_capacity(asked(20), need(-5), 1, NOW).launch == ON_DEMAND_GRAVITON

    def test_a_cluster_with_its_instances_is_kept(self) -> None:
        assert decide_on_capacity(asked(60, has_instances=True), need(25.5), 1, NOW).step == "wait"

    def test_the_last_option_is_kept(self) -> None:
        assert "no other option" in decide_on_capacity(asked(60, ON_DEMAND_X86), need(25.5), 1, NOW).reason
        assert decide_on_capacity(asked(60, launches=MAXIMUM_LAUNCHES), need(25.5), 1, NOW).step == "wait"

    @settings(deadline=None)
    @given(st.integers(20, 600), st.integers(1, 100), st.integers(0, 59), st.integers(300, 900))
    def test_a_cluster_that_never_comes_is_left_before_the_deadline_is_lost(
        self, in_minutes: int, work_minutes: int, second: int, start_up_s: int
    ) -> None:
        # GIVEN a cluster of which no instance comes, looked at each minute
        aim = replace(need(in_minutes, work_minutes * 60), start_up_s=float(start_up_s))
        chance = last_chance(aim, 2)
        assert chance is not None
        for look in range(in_minutes):
            now = NOW + timedelta(minutes=look, seconds=second)
            decision = decide_on_capacity(asked(0), aim, 2, now)
            if decision.step == "next_option":
                break
        # THEN, if another one could be in time once it is late, another one is asked for in time
        is_late_at = NOW + timedelta(seconds=start_up_s / 2 + LOOK_S)
        if is_late_at < chance:
            assert decision.step == "next_option"
            assert now <= chance
            assert decision.launch > SPOT_GRAVITON
            through = now + timedelta(seconds=END_S + start_up_s + aim.takes_s(2))
            assert aim.deadline is not None
            assert through <= aim.deadline


def running(units: float | None, lost_minutes_ago: float | None = 1, launch: int = SPOT_GRAVITON) -> Capacity:
    lost_since = None if lost_minutes_ago is None else NOW - timedelta(minutes=lost_minutes_ago)
    return Capacity(NOW, launch, is_ready=True, units_running=units, lost_since=lost_since)


class TestRunning:
    @pytest.mark.parametrize(
        ("capacity", "in_minutes", "why"),
        [
            (running(4, None), 5, "no units are known to be lost"),
            (running(None), 5, "no units are known to be lost"),
            (running(4), 5, "it has all its units again"),
            (running(1), None, "nothing is promised"),
            (running(2), 60, "2 of 4 units are left since 60 s, and they are through by 12:20:00 UTC, in time"),
            (running(1), 30, "managed scaling is replacing them"),
            (running(1, 60, ON_DEMAND_GRAVITON), 5, "they are On-Demand already"),
        ],
    )
    def test_waits_while_the_deadline_is_safe_or_nothing_helps(
        self, capacity: Capacity, in_minutes: float | None, why: str
    ) -> None:
        decision = decide_on_capacity(capacity, need(in_minutes, 2400), 4, NOW)
        assert (decision.step, why in decision.reason) == ("wait", True), decision.reason

    def test_what_spot_does_not_bring_back_in_time_is_on_demand(self) -> None:
        for capacity, in_minutes in ((running(1, 4), 30), (running(1, 1), 12), (running(0, 1), 11)):
            decision = decide_on_capacity(capacity, need(in_minutes, 2400), 4, NOW)
            assert decision.step == "on_demand"
            assert "a resize never switches to On-Demand by itself" in decision.reason


@settings(deadline=None)
@given(
    st.integers(-100, 100),
    st.one_of(st.none(), st.integers(-100, 600)),
    st.integers(0, len(LAUNCH_OPTIONS) - 1),
    st.booleans(),
    st.tuples(st.one_of(st.none(), st.floats(0, 17)), st.one_of(st.none(), st.integers(-5, 60))),
)
def test_every_decision_has_a_reason_and_an_option_that_is_there(
    minutes: int, in_minutes: int | None, launch: int, is_ready: bool, left: tuple[float | None, int | None]
) -> None:
    units, lost = left
    lost_since = None if lost is None else NOW - timedelta(minutes=lost)
    capacity = Capacity(NOW - timedelta(minutes=minutes), launch, 0, False, is_ready, units, lost_since)
    decision = decide_on_capacity(capacity, need(in_minutes), 4, NOW)
    assert decision.reason.startswith(LAUNCH_OPTIONS[launch].name)
    assert decision.launch in range(launch, len(LAUNCH_OPTIONS))
    assert (decision.launch > launch) is (decision.step == "next_option")
