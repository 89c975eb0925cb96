"""EMR managed scaling: from what YARN asks for to the units of the fleets, within the policy's limits. Pure.

EMR's own algorithm is not published; its documented behaviour is: it looks every few seconds, scales out at once when
containers or applications wait, and scales in when what is there has not been needed for a while, the least used
instances first. Source: Amazon EMR Management Guide, "Using managed scaling in Amazon EMR".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tidegate_local.yarn import site
from tidegate_local.yarn.figures import Figures

SCALE_IN_AFTER_S = 30.0
"""So long fewer units must have been enough. EMR takes minutes; a laptop's steps are over by then."""


@dataclass(frozen=True)
class Limits:
    """A policy's ComputeLimits, in units; what it doesn't say is no limit."""

    minimum: int
    maximum: int
    maximum_on_demand: int
    maximum_core: int

    @classmethod
    def of(cls, policy: dict[str, Any]) -> Limits:
        limits = policy["ComputeLimits"]
        most = int(limits["MaximumCapacityUnits"])
        return cls(
            int(limits["MinimumCapacityUnits"]),
            most,
            int(limits.get("MaximumOnDemandCapacityUnits", most)),
            int(limits.get("MaximumCoreCapacityUnits", most)),
        )


@dataclass(frozen=True)
class Target:
    """Units of the task fleet, by market."""

    on_demand: int
    spot: int


def needed_units(figures: Figures) -> int:
    """Units that have containers, and as many again as hold what waits, a master for each application included.

    By units and not by memory alone: what is free on several nodes holds no executor.
    """
    busy = sum(node.state == "RUNNING" and node.containers > 0 for node in figures.nodes.values())
    waiting_mb = figures.pending_mb + site.MASTER_MB * figures.apps_pending
    return busy + math.ceil(waiting_mb / site.UNIT_MB)


def decide_units(limits: Limits, units: int, needed: int, enough_for_s: float) -> int:
    """How many units there should be. `enough_for_s`: since when fewer than `units` would have been enough."""
    bounded = min(limits.maximum, max(limits.minimum, needed))
    if bounded > units or units > limits.maximum:
        return bounded if bounded > units else limits.maximum
    return bounded if enough_for_s >= SCALE_IN_AFTER_S else max(units, limits.minimum)


def task_target(limits: Limits, units: int, core_units: int, core_on_demand: int) -> Target:
    """What of `units` is left for the task fleet: On-Demand as far as its limit goes, and then Spot."""
    left = max(0, units - core_units)
    on_demand = min(left, max(0, limits.maximum_on_demand - core_on_demand))
    return Target(on_demand, left - on_demand)
