"""Scaling: EMR's metrics and a run's progress against its deadline, to the limits of managed scaling.

Managed scaling itself adds and removes nodes, every few seconds, by what YARN asks for. What is decided here, once a
minute and on alarms, is how far it may go.
"""

import math
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from tidegate.launches import LAUNCH_OPTIONS
from tidegate.lost_units import Replacement, UnitsKnown, decide_on_lost_units, observe_units
from tidegate.readings import (
    BUSY_MEMORY_PERCENT,
    BUSY_RATIO,
    IDLE_MEMORY_PERCENT,
    STALE_S,
    Metrics,
    Progress,
    is_recent,
    memory_and_queues,
    units_for_deadline,
    why_unusable,
)
from tidegate.run_size import UnitCaps

RAISE_COOL_DOWN_S = 180
"""From any change to a raise: as long as an instance takes from its request to its first container."""

LOWER_COOL_DOWN_S = 600
"""From any change to a lowering."""

CHANGES_AN_HOUR = 8
"""At most, whatever the metrics say."""

BUSY_FOR_S = 120
IDLE_FOR_S = 300
"""So long a reading must have been busy, or idle, before it counts: one reading is no trend."""

FULL_HDFS_PERCENT = 80.0
ROOMY_HDFS_PERCENT = 60.0
"""Of HDFSUtilization: above the one a core unit is added, between them nothing is taken away."""

SPARE = 1.25
"""What is left for running work after a lowering, and for estimates that are too good."""

LEAST_PRICED_S = 900.0
"""For so long at least what the run may still cost has to last."""

Action = Literal["raise", "lower", "hold"]


@dataclass(frozen=True)
class ScalingLimits:
    """Managed scaling's ComputeLimits, in units of 4 vCPU. The primary is not among them."""

    minimum_units: int
    maximum_units: int
    maximum_on_demand_units: int
    maximum_core_units: int = 1

    def allows_more_than(self, other: "ScalingLimits") -> bool:
        """Of anything."""
        is_larger = self.maximum_units > other.maximum_units or self.maximum_core_units > other.maximum_core_units
        return is_larger or self.maximum_on_demand_units > other.maximum_on_demand_units


@dataclass(frozen=True)
class ScalingState:
    """What is known of a cluster from one decision to the next. It is on the run, with `reason`."""

    cluster_id: str
    limits: ScalingLimits
    caps: UnitCaps
    is_alive: bool = True
    changes: tuple[datetime, ...] = ()
    """When the limits were changed within the last hour, the newest last."""
    busy_since: datetime | None = None
    idle_since: datetime | None = None
    seen_at: datetime | None = None
    """The time of the newest metric that was believed."""
    budget_usd: float | None = None
    """What the run may still cost."""
    launch: int = 0
    """The cluster's launch option: an index into `launches.LAUNCH_OPTIONS`."""
    units: UnitsKnown = field(default_factory=UnitsKnown)


@dataclass(frozen=True)
class ScalingDecision:
    action: Action
    limits: ScalingLimits
    reason: str
    state: ScalingState
    """With which the next decision is made."""


def decide_scaling(
    state: ScalingState, metrics: Metrics | None, progress: Progress | None, now: datetime
) -> ScalingDecision:
    """Decide on the limits of managed scaling.

    Raised when the deadline is at risk, or when containers have waited for a while and no deadline is known to be kept
    without more; lowered when memory has been idle for a while and nothing shuffles. Lost units may be On-Demand if
    those that are left are too few for the deadline. Whatever is not known, or doesn't fit together, changes nothing.
    Never above the caps, never below what running work holds; what is above a cap already is not lowered below running
    work either.
    """
    ending = None if state.is_alive else f"cluster {state.cluster_id} is ending: nothing of it is changed"
    why_not = ending or why_unusable(metrics, state.cluster_id, state.seen_at, now)
    if metrics is None or why_not is not None:
        return _hold(state, (why_not or "there are no metrics") + _said_of(progress, state, now))
    if progress is not None and not is_recent(progress.at, now):
        progress = None
    state = _observed(state, metrics)
    cap = _cap(state, progress, now)
    wanted, why = _wanted(state, metrics, progress, now, cap)
    # On-Demand is dearer: a cluster that may be larger than its cap allows by now gets no more of it.
    room = state.limits.maximum_units - state.limits.maximum_on_demand_units if state.limits.maximum_units <= cap else 0
    lost = decide_on_lost_units(state.units, metrics, progress, now, room=room, launch=state.launch)
    wanted, why = _replacing(state.limits, wanted, why, lost)
    decision = _within_bounds(state, wanted, why, progress, now)
    if lost is None or not lost.units or decision.action == "hold":
        return decision
    # What was lost is asked for anew: until it comes it is no more lost than what never came.
    return replace(decision, state=replace(decision.state, units=UnitsKnown(metrics.units_running)))


def _observed(state: ScalingState, metrics: Metrics) -> ScalingState:
    """Note since when it has been busy or idle; a gap in the readings begins anew."""
    free, pending, apps = memory_and_queues(metrics)
    is_busy = pending >= BUSY_RATIO or apps >= 1 or (free <= BUSY_MEMORY_PERCENT and pending > 0)
    is_idle = free >= IDLE_MEMORY_PERCENT and not pending and not apps
    has_gap = state.seen_at is not None and (metrics.at - state.seen_at).total_seconds() > STALE_S

    def since(before: datetime | None, *, holds: bool) -> datetime | None:
        if not holds:
            return None
        return metrics.at if before is None or has_gap else before

    return replace(
        state,
        seen_at=metrics.at,
        busy_since=since(state.busy_since, holds=is_busy),
        idle_since=since(state.idle_since, holds=is_idle),
        units=observe_units(state.units, metrics, has_gap=has_gap),
    )


def _cap(state: ScalingState, progress: Progress | None, now: datetime) -> int:
    """The most units: by number, by dollars an hour, and by what the run may still cost until its deadline."""
    cap = state.caps.units
    price = state.caps.unit_usd_an_hour
    if state.budget_usd is not None and price > 0:
        left_h = 1.0
        if progress is not None and progress.deadline is not None:
            left_h = max(LEAST_PRICED_S, (progress.deadline - now).total_seconds()) / 3600
        cap = int(min(cap, state.budget_usd / price / left_h))
    return max(1, cap)


def _wanted(
    state: ScalingState, metrics: Metrics, progress: Progress | None, now: datetime, cap: int
) -> tuple[ScalingLimits, str]:
    """The limits that would be right, without regard to what was changed before; the same ones for none."""
    limits = state.limits
    needed = units_for_deadline(progress, now) if progress is not None else None
    for_deadline = min(cap, math.ceil(needed * SPARE)) if needed is not None else 0
    # What waits is in time all the same, and an instance that shortens it is paid for its own start-up, too.
    has_deadline = progress is not None and progress.deadline is not None
    is_in_time = has_deadline and (needed or 0.0) * SPARE <= limits.maximum_units
    waiting = 0 if is_in_time else _units_for_waiting(state, metrics, cap)
    hdfs = metrics.hdfs_percent or 0.0
    if hdfs >= FULL_HDFS_PERCENT and limits.maximum_core_units < cap:
        core = limits.maximum_core_units + 1
        raised = replace(limits, maximum_core_units=core, maximum_units=max(limits.maximum_units, core, for_deadline))
        return raised, f"HDFS is {hdfs:.0f} % full: a core unit more"
    most = max(for_deadline, waiting)
    if most > limits.maximum_units:
        why = _why_late(needed, progress, now) if for_deadline >= waiting else _why_waiting(metrics)
        return replace(limits, maximum_units=most), f"{why}: up to {most} units"
    lower, why = _units_when_idle(state, metrics, progress, for_deadline)
    if cap < limits.maximum_units and (lower is None or cap < lower):
        lower, why = cap, f"no more than {cap} units are allowed by now"
    if lower is not None and lower < limits.maximum_units:
        return replace(limits, maximum_units=lower), why
    return limits, why


def _units_for_waiting(state: ScalingState, metrics: Metrics, cap: int) -> int:
    """Half as many units again while containers wait; none if those that were asked for are still to come."""
    requested, running = metrics.units_requested, metrics.units_running
    is_coming = requested is not None and running is not None and running < requested
    if not _has_lasted(state.busy_since, metrics.at, BUSY_FOR_S) or is_coming:
        return 0
    return min(cap, max(state.limits.maximum_units + 1, math.ceil(state.limits.maximum_units * 1.5)))


def _has_lasted(since: datetime | None, at: datetime, seconds: float) -> bool:
    return since is not None and (at - since).total_seconds() >= seconds


def _why_late(needed: float | None, progress: Progress | None, now: datetime) -> str:
    if progress is not None and progress.deadline is not None and progress.deadline <= now:
        return f"the deadline is past: {needed or 0:.1f} units bring what is left to an end"
    return f"the deadline is at risk: {needed or 0:.1f} units are needed to keep it"


def _why_waiting(metrics: Metrics) -> str:
    free, pending, apps = memory_and_queues(metrics)
    return f"{free:.0f} % of the memory is free, containers wait (ratio {pending:.1f}), as do {apps:.0f} applications"


def _units_when_idle(
    state: ScalingState, metrics: Metrics, progress: Progress | None, for_deadline: int
) -> tuple[int | None, str]:
    """To how many units to go down; None, with the reason, for not at all."""
    free, pending, _ = memory_and_queues(metrics)
    now_is = f"{free:.0f} % of the memory is free, pending ratio {pending:.1f}"
    if not _has_lasted(state.idle_since, metrics.at, IDLE_FOR_S):
        return None, f"{now_is}: nothing to change"
    if (metrics.hdfs_percent or 0.0) > ROOMY_HDFS_PERCENT:
        return None, f"{now_is}, but HDFS is {metrics.hdfs_percent:.0f} % full"
    running = metrics.units_running if metrics.units_running is not None else state.limits.maximum_units
    used = max(running * (1 - free / 100), progress.units_in_use if progress is not None else 0.0)
    return max(math.ceil(used * SPARE), for_deadline, 1), f"{now_is}, for {IDLE_FOR_S} s or longer: idle"


def _replacing(
    limits: ScalingLimits, wanted: ScalingLimits, why: str, lost: Replacement | None
) -> tuple[ScalingLimits, str]:
    """With room for On-Demand units in place of lost ones; nothing is taken away in the same look."""
    if lost is None:
        return wanted, why
    if not lost.units:
        return wanted, f"{why}; {lost.reason}"
    is_raise = wanted.allows_more_than(limits)
    on_demand = max(limits.maximum_on_demand_units, wanted.maximum_core_units) + lost.units
    replaced = replace(wanted if is_raise else limits, maximum_on_demand_units=on_demand)
    words = f"{lost.reason}: {lost.units} more may be On-Demand"
    return replaced, f"{words}; {why}" if is_raise else words


def _within_bounds(
    state: ScalingState, wanted: ScalingLimits, why: str, progress: Progress | None, now: datetime
) -> ScalingDecision:
    """Make a change only if it is due by the cool-downs and takes nothing from running work."""
    limits = state.limits
    if wanted == limits:
        return _hold(state, why)
    is_raise = wanted.allows_more_than(limits)
    if not is_raise:
        floor, why_not = _floor(limits, progress)
        if why_not is not None:
            return _hold(state, f"{why}, but {why_not}")
        lowered = max(wanted.maximum_units, floor, limits.minimum_units, limits.maximum_core_units)
        if lowered >= limits.maximum_units:
            return _hold(state, f"{why}, but running work holds {floor} units")
        wanted, why = replace(wanted, maximum_units=lowered), f"{why}: down to {lowered} units"
    waits = _why_too_soon(state, now, RAISE_COOL_DOWN_S if is_raise else LOWER_COOL_DOWN_S)
    if waits is not None:
        return _hold(state, f"{why}; {waits}")
    # Where Spot is used no more becomes On-Demand than the core units and what replaces lost ones.
    on_demand = max(wanted.maximum_on_demand_units, wanted.maximum_core_units)
    on_demand = on_demand if LAUNCH_OPTIONS[state.launch].uses_spot else wanted.maximum_units
    wanted = replace(wanted, maximum_on_demand_units=min(on_demand, wanted.maximum_units))
    # What is taken away by a lower limit is not lost.
    units = state.units if is_raise else UnitsKnown()
    changes = (*_recent(state.changes, now), now)
    after = replace(state, limits=wanted, changes=changes, busy_since=None, idle_since=None, units=units)
    return ScalingDecision("raise" if is_raise else "lower", wanted, why, after)


def _floor(limits: ScalingLimits, progress: Progress | None) -> tuple[int, str | None]:
    """The least that running work needs; and why nothing may be taken away at all."""
    if progress is None:
        return limits.maximum_units, "nothing is known of the running work"
    if progress.shuffles is None:
        return limits.maximum_units, "nobody knows whether a shuffle is under way"
    if progress.shuffles:
        return limits.maximum_units, "a shuffle is under way"
    return max(1, math.ceil(progress.units_in_use)), None


def _recent(changes: tuple[datetime, ...], now: datetime) -> tuple[datetime, ...]:
    """Those of the last hour. One from far ahead was made by a wrong clock, and must not stop everything until then."""
    hour = timedelta(hours=1)
    return tuple(at for at in changes if now - hour < at < now + hour)[-CHANGES_AN_HOUR:]


def _why_too_soon(state: ScalingState, now: datetime, cool_down_s: float) -> str | None:
    recent = _recent(state.changes, now)
    if len(recent) >= CHANGES_AN_HOUR:
        return f"the limits were changed {len(recent)} times within the hour: that is enough"
    since_s = (now - max(recent)).total_seconds() if recent else math.inf
    return f"the last change is {since_s:.0f} s ago, so it waits" if since_s < cool_down_s else None


def _hold(state: ScalingState, reason: str) -> ScalingDecision:
    return ScalingDecision("hold", state.limits, reason, state)


def _said_of(progress: Progress | None, state: ScalingState, now: datetime) -> str:
    """Without metrics nothing is changed; that a run is late must be seen all the same."""
    needed = units_for_deadline(progress, now) if progress is not None else None
    return (
        f"; the run is late: {_why_late(needed, progress, now)}" if (needed or 0) > state.limits.maximum_units else ""
    )
