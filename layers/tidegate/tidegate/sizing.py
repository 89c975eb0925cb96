"""How large a cluster is: from what its batches weigh to instance fleets and the first limits of managed scaling."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tidegate.launches import LAUNCH_OPTIONS, LaunchOption
from tidegate.run_size import MAXIMUM_STEPS, MAXIMUM_UNITS, RunSize, units_by_size
from tidegate.scaling import ScalingLimits

IDLE_TIMEOUT_S = 600
"""EMR itself ends a cluster that has been idle for so long, whoever forgot it."""

SPOT_TIMEOUT_MINUTES = 10
"""How long EMR waits for Spot capacity at launch before it takes On-Demand."""

_PASS_AND_LAUNCH = re.compile(r"[0-9]+-[0-9]+")
_CLUSTER_NAME = re.compile(r"(?P<run>.+)-(?P<attempt>[0-9]+)-(?P<launch>[0-9]+)")


@dataclass(frozen=True)
class ClusterPlan:
    """What the machine hands to createCluster. `fleets` are EMR InstanceFleetConfigs; units are of 4 vCPU."""

    name: str
    fleets: tuple[dict[str, Any], ...]
    step_concurrency: int
    minimum_units: int
    maximum_units: int
    maximum_on_demand_units: int
    maximum_core_units: int
    idle_timeout_s: int
    tags: tuple[dict[str, str], ...]
    reason: str
    spark: Mapping[str, str] | None = None
    """Spark's settings by the run's size; None: the release's own."""

    def as_payload(self) -> dict[str, Any]:
        """As the state machine reads it."""
        payload = {
            "name": self.name,
            "fleets": list(self.fleets),
            "step_concurrency": self.step_concurrency,
            "scaling": {
                "minimum_units": self.minimum_units,
                "maximum_units": self.maximum_units,
                "maximum_on_demand_units": self.maximum_on_demand_units,
                "maximum_core_units": self.maximum_core_units,
            },
            "idle_timeout_s": self.idle_timeout_s,
            "tags": list(self.tags),
            "reason": self.reason,
        }
        return payload if self.spark is None else payload | {"spark": dict(self.spark)}


def cluster_name(stack: str, run_id: str, pass_: int, launch: int = 1) -> str:
    """The name by which a cluster is found again: RunJobFlow is not idempotent, and ListClusters knows no tags."""
    return f"{stack}-{run_id}-{pass_}-{launch}"


def is_cluster_of(name: str, stack: str, run_id: str) -> bool:
    """Whether a cluster of this name is one of the run's, of whatever pass and launch.

    The whole name is compared: what run `a` is called begins what run `a-1` is called.
    """
    prefix = f"{stack}-{run_id}-"
    return name.startswith(prefix) and _PASS_AND_LAUNCH.fullmatch(name.removeprefix(prefix)) is not None


def parse_cluster_name(name: str, stack: str) -> tuple[str, int, int] | None:
    """(run, attempt, launch) of a cluster that is named as this stack's are; None for any other."""
    match = _CLUSTER_NAME.fullmatch(name.removeprefix(f"{stack}-")) if name.startswith(f"{stack}-") else None
    return (match["run"], int(match["attempt"]), int(match["launch"])) if match else None


def size_cluster(
    stack: str,
    run_id: str,
    pass_: int,
    size_bytes: int,
    steps: int,
    *,
    launch: int = 0,
    size: RunSize | None = None,
) -> ClusterPlan:
    """Size the cluster for batches of `size_bytes` in `steps` steps, of launch option `launch`.

    `size` is what was decided from rates and deadlines; without it the bytes alone count. The primary is On-Demand
    because the drivers live there, and one core node On-Demand because the application masters do; executors beyond it
    come as Spot task nodes, which may go without taking an attempt with them. Where Spot is short, they are On-Demand
    too.
    """
    option = LAUNCH_OPTIONS[launch]
    types = option.types
    task_units = (size.units if size is not None else min(MAXIMUM_UNITS, units_by_size(size_bytes))) - 1
    concurrency = size.step_concurrency if size is not None else max(1, min(MAXIMUM_STEPS, steps))
    fleets = [
        _fleet("primary", "MASTER", on_demand=1, types=_of_one_unit(types)),
        _fleet("core", "CORE", on_demand=1, types=_of_one_unit(types)),
    ]
    if task_units and option.uses_spot:
        fleets.append(_fleet("task", "TASK", spot=task_units, types=types))
    elif task_units:
        fleets.append(_fleet("task", "TASK", on_demand=task_units, types=types))
    limits = first_limits(size.maximum_units if size is not None else 1 + max(1, task_units), option)
    what = size.reason if size is not None else f"{size_bytes:,} bytes in {steps} steps"
    return ClusterPlan(
        name=cluster_name(stack, run_id, pass_, launch + 1),
        fleets=tuple(fleets),
        step_concurrency=concurrency,
        minimum_units=limits.minimum_units,
        maximum_units=limits.maximum_units,
        maximum_on_demand_units=limits.maximum_on_demand_units,
        maximum_core_units=limits.maximum_core_units,
        idle_timeout_s=IDLE_TIMEOUT_S,
        tags=(
            {"Key": "tidegate:stack", "Value": stack},
            {"Key": "tidegate:run", "Value": run_id},
            # AmazonEMRServicePolicy_v2 acts on resources with this tag alone.
            {"Key": "for-use-with-amazon-emr-managed-policies", "Value": "true"},
        ),
        reason=f"{what}: one core and {task_units} task units ({option.name})",
        spark=size.spark.as_configuration() if size is not None else None,
    )


def first_limits(maximum_units: int, option: LaunchOption) -> ScalingLimits:
    """What managed scaling is told at first: one core unit, and On-Demand for no other where Spot is used."""
    return ScalingLimits(
        minimum_units=1,
        maximum_units=maximum_units,
        maximum_on_demand_units=1 if option.uses_spot else maximum_units,
        maximum_core_units=1,
    )


def _of_one_unit(types: Mapping[str, int]) -> Mapping[str, int]:
    return {name: weight for name, weight in types.items() if weight == 1}


def _fleet(name: str, kind: str, *, types: Mapping[str, int], on_demand: int = 0, spot: int = 0) -> dict[str, Any]:
    fleet: dict[str, Any] = {
        "Name": name,
        "InstanceFleetType": kind,
        "TargetOnDemandCapacity": on_demand,
        "TargetSpotCapacity": spot,
        "InstanceTypeConfigs": [
            {"InstanceType": instance_type, "WeightedCapacity": weight} for instance_type, weight in types.items()
        ],
        "LaunchSpecifications": {"OnDemandSpecification": {"AllocationStrategy": "lowest-price"}},
    }
    if spot:
        fleet["LaunchSpecifications"] = {
            "SpotSpecification": {
                "AllocationStrategy": "price-capacity-optimized",
                "TimeoutDurationMinutes": SPOT_TIMEOUT_MINUTES,
                "TimeoutAction": "SWITCH_TO_ON_DEMAND",
            }
        }
    return fleet
