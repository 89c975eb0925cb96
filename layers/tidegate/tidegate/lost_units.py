"""Lost units of a cluster that is up: which of its units are lost, and how many may be On-Demand in their place."""

import math
from dataclasses import dataclass
from datetime import datetime

from tidegate.late_capacity import Capacity, Need, decide_on_capacity
from tidegate.readings import Metrics, Progress, left_unit_s


@dataclass(frozen=True)
class UnitsKnown:
    """What is known of a cluster's units from one reading to the next. Units of 4 vCPU."""

    had: float | None = None
    """The most that ran at once and are still asked for."""
    lost_since: datetime | None = None
    """Since when fewer run than that; None if none is lost."""


@dataclass(frozen=True)
class Replacement:
    """How many lost units may be On-Demand instead; 0, with the reason, for none."""

    units: int
    reason: str


def observe_units(known: UnitsKnown, metrics: Metrics, *, has_gap: bool) -> UnitsKnown:
    """What is known of the units after one more reading.

    Units that never came are not lost, so what counts is what ran before. Nor are those that nobody asks for any more:
    managed scaling first asks for fewer, then takes them away. A reading that lacks one of the two says nothing, and
    after a gap in the readings nobody knows what was asked for meanwhile.
    """
    running, requested = metrics.units_running, metrics.units_requested
    if running is None or requested is None:
        return known
    before = known.had if known.had is not None and not has_gap else running
    had = min(requested, max(running, before))
    return UnitsKnown(had, (known.lost_since or metrics.at) if running < had else None)


def decide_on_lost_units(
    known: UnitsKnown, metrics: Metrics, progress: Progress | None, now: datetime, *, room: int, launch: int
) -> Replacement | None:
    """Decide whether lost units are waited for, or may be On-Demand; None if none is lost.

    `room` is how many more units may be On-Demand by the limits and caps; below 1 none may.
    """
    if known.had is None or known.lost_since is None or metrics.units_running is None:
        return None
    lost = known.had - metrics.units_running
    if progress is None:
        return Replacement(0, f"{lost:g} of {known.had:g} units are lost, and nothing is known of the running work")
    need = Need(progress.deadline, start_up_s=0.0, work_unit_s=left_unit_s(progress), overhead_s=progress.overhead_s)
    left = metrics.units_running
    capacity = Capacity(now, launch, is_ready=True, units_running=left, lost_since=known.lost_since)
    decision = decide_on_capacity(capacity, need, known.had, now)
    if decision.step != "on_demand":
        return Replacement(0, decision.reason)
    if room < 1:
        return Replacement(0, f"{decision.reason}, but no more may be On-Demand")
    # As many as are lost and no more: managed scaling takes On-Demand up to the limit first, so that more would have
    # it give up Spot units that are at work.
    return Replacement(min(room, math.ceil(lost)), decision.reason)
