"""Capacity that comes late or goes: what is done about it before the deadline is lost.

`launches` answers what EMR says of a cluster that has ended. Here it has not ended: it does not come, or has lost nodes
that a resize will not bring back in time. A resize never switches to On-Demand (EMR Management Guide, "Instance fleet
options"), only a launch does.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from tidegate.launches import LAUNCH_OPTIONS, MAXIMUM_LAUNCHES

END_S = 300
"""A cluster takes one to five minutes to terminate, and only then may another one write its tables."""

LOOK_S = 60
"""How often this is looked at: what can wait until the next look waits."""

CAPACITY_SHARE = 0.5
"""Of a start-up, the part in which instances come; the rest is bootstrapping."""

PATIENCE = 2.0
"""Start-ups after which nobody waits for instances any longer, whatever time there is."""

LOST_FOR_S = 180
"""So long managed scaling may take to replace lost nodes by itself."""

LONGEST_S = 10 * 365 * 86400.0
"""Nothing is taken to last longer: the moment when it is through has to be one of the calendar."""

Step = Literal["wait", "next_option", "on_demand"]


@dataclass(frozen=True)
class Capacity:
    """A cluster and what it has. `asked_at`: when it was asked for; units of 4 vCPU without the primary."""

    asked_at: datetime
    launch: int
    """Its launch option: an index into `launches.LAUNCH_OPTIONS`."""
    launches: int = 0
    """New clusters that this pass has asked for so far."""
    has_instances: bool = False
    """It has left STARTING: what is to come is bootstrapping."""
    is_ready: bool = False
    units_running: float | None = None
    lost_since: datetime | None = None
    """Since when it has fewer units than it was given; None if it has them all."""


@dataclass(frozen=True)
class Need:
    """What is still to be done: `start_up_s` of a new cluster, `work_unit_s` in seconds on one unit."""

    deadline: datetime | None
    start_up_s: float
    work_unit_s: float
    overhead_s: float = 0.0

    def takes_s(self, units: float) -> float:
        return min(LONGEST_S, self.overhead_s + self.work_unit_s / max(units, 0.1))


@dataclass(frozen=True)
class CapacityDecision:
    """`next_option`: end the cluster and launch option `launch`; `on_demand`: let its units be On-Demand."""

    step: Step
    launch: int
    reason: str


def decide_on_capacity(capacity: Capacity, need: Need, units: float, now: datetime) -> CapacityDecision:
    """Decide whether to go on waiting for capacity. `units` are those that the run was given."""
    if not capacity.is_ready:
        return _while_starting(capacity, need, units, now)
    return _while_running(capacity, need, units, now)


def last_chance(need: Need, units: float) -> datetime | None:
    """The latest moment at which another cluster can still keep the deadline; None if there is no deadline."""
    if need.deadline is None:
        return None
    return need.deadline - timedelta(seconds=END_S + need.start_up_s + need.takes_s(units))


def _while_starting(capacity: Capacity, need: Need, units: float, now: datetime) -> CapacityDecision:
    """Instances come late: wait as long as another cluster would still be in time, then take it.

    Once that moment is past, a new cluster is later than this one may be; only one that never comes is worse.
    """
    option = LAUNCH_OPTIONS[capacity.launch].name
    waited_s = max(0.0, (now - capacity.asked_at).total_seconds())
    if capacity.has_instances:
        return CapacityDecision("wait", capacity.launch, f"{option}: it has its instances and is being set up")
    if waited_s <= CAPACITY_SHARE * need.start_up_s:
        return CapacityDecision("wait", capacity.launch, f"{option}: {waited_s:.0f} s after it was asked for: not late")
    late = f"{option}: no instances after {waited_s:.0f} s"
    next_launch = _next_launch(capacity, need, units, now)
    if next_launch is None:
        return CapacityDecision("wait", capacity.launch, f"{late}, and there is no other option to try")
    to = LAUNCH_OPTIONS[next_launch].name
    chance = last_chance(need, units)
    if waited_s >= PATIENCE * need.start_up_s:
        return CapacityDecision("next_option", next_launch, f"{late}, nobody waits longer: {to} is next")
    if chance is not None and now <= chance < now + timedelta(seconds=LOOK_S):
        why = f"after {chance:%H:%M:%S} UTC another one would miss the deadline: {to} is next"
        return CapacityDecision("next_option", next_launch, f"{late}; {why}")
    return CapacityDecision("wait", capacity.launch, f"{late}; {_why_no_other_yet(chance, now)}")


def _why_no_other_yet(chance: datetime | None, now: datetime) -> str:
    if chance is None:
        return "there is no deadline"
    if now > chance:
        return "it is too late for another one to keep the deadline, so the first to come is best"
    return f"until {chance:%H:%M:%S} UTC another one would be in time"


def _next_launch(capacity: Capacity, need: Need, units: float, now: datetime) -> int | None:
    """The option after this one; if Spot was late and there is time for one more try alone, one of On-Demand."""
    if capacity.launches >= MAXIMUM_LAUNCHES:
        return None
    later = range(capacity.launch + 1, len(LAUNCH_OPTIONS))
    chance = last_chance(need, units)
    one_try_s = END_S + CAPACITY_SHARE * need.start_up_s
    if chance is not None and now + timedelta(seconds=one_try_s) > chance:
        on_demand = [number for number in later if not LAUNCH_OPTIONS[number].uses_spot]
        return on_demand[0] if on_demand else next(iter(later), None)
    return next(iter(later), None)


def _while_running(capacity: Capacity, need: Need, units: float, now: datetime) -> CapacityDecision:
    """Nodes are lost: as long as those that are left, or the same again after a while, keep the deadline, wait.

    The cluster is kept: what it has merged is merged, and its core and primary are On-Demand. Those gone, it ends, and
    `launches` answers that.
    """
    option = LAUNCH_OPTIONS[capacity.launch]
    why = _why_the_rest_will_do(capacity, need, units, now)
    if why is not None:
        return CapacityDecision("wait", capacity.launch, f"{option.name}: {why}")
    left = _left(capacity, units, now)
    if not option.uses_spot:
        words = f"{left}; they are On-Demand already, and managed scaling asks for others"
        return CapacityDecision("wait", capacity.launch, f"{option.name}: {words}")
    words = f"{left}, too few for the deadline; a resize never switches to On-Demand by itself"
    return CapacityDecision("on_demand", capacity.launch, f"{option.name}: {words}")


def _why_the_rest_will_do(capacity: Capacity, need: Need, units: float, now: datetime) -> str | None:
    """Why nothing has to be done about lost nodes; None if something has."""
    if capacity.lost_since is None or capacity.units_running is None:
        return "no units are known to be lost"
    if capacity.units_running >= units:
        return "it has all its units again"
    left = _left(capacity, units, now)
    if need.deadline is None:
        return f"{left}; nothing is promised, so Spot is waited for"
    # Those that are left work on while others come, so both moments are on the safe side.
    through_at = now + timedelta(seconds=need.takes_s(capacity.units_running))
    if through_at <= need.deadline:
        return f"{left}, and they are through by {through_at:%H:%M:%S} UTC, in time"
    replaced_at = capacity.lost_since + timedelta(seconds=LOST_FOR_S)
    if now < replaced_at and replaced_at + timedelta(seconds=LOOK_S + need.takes_s(units)) <= need.deadline:
        return f"{left}; managed scaling is replacing them"
    return None


def _left(capacity: Capacity, units: float, now: datetime) -> str:
    lost_s = max(0.0, (now - capacity.lost_since).total_seconds()) if capacity.lost_since is not None else 0.0
    return f"{capacity.units_running or 0:g} of {units:g} units are left since {lost_s:.0f} s"
