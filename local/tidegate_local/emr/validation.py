"""What the real EMR refuses, refused here with its words where they are known. Pure.

Only what Tidegate uses is checked; instance groups are refused as not supported, since a cluster that
they make would teach nothing about fleets.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tidegate_local.emr.model import ACTIVE_STEP, OVER, Cluster, ClusterState, Json

MAX_ACTIVE_STEPS = 256
MAX_STEP_CHARACTERS = 10_240
MAX_TAGS = 50
IDLE_TIMEOUT_S = (60, 604_800)
_RELEASE = re.compile(r"^emr-(?:[5-7]\.\d+\.\d+|spark-\d+\.\d+\.\d+)$")
_ACTIONS = ("TERMINATE_JOB_FLOW", "TERMINATE_CLUSTER", "CANCEL_AND_WAIT", "CONTINUE")
_GRAVITON = re.compile(r"^[a-z]+\d+g[a-z]*\.")


class EmrError(Exception):
    """An API error: its code and its message are what boto3 shows."""

    def __init__(self, message: str, code: str = "ValidationException") -> None:
        super().__init__(message)
        self.code = code


def invalid_request(message: str) -> EmrError:
    """The error for ids that name nothing."""
    return EmrError(message, "InvalidRequestException")


def check_run_job_flow(request: Json) -> None:
    """Raises :class:`EmrError` for a RunJobFlow that EMR would refuse."""
    if not request.get("Name"):
        raise EmrError("Name is required.")
    if len(request["Name"]) > 256:
        raise EmrError("The job flow name must have length less than or equal to 256.")
    label = request.get("ReleaseLabel")
    if not label or not _RELEASE.match(label):
        raise EmrError(f"The supplied release label is invalid: {label}.")
    for key, meaning in (("ServiceRole", "ServiceRole"), ("JobFlowRole", "JobFlowRole / InstanceProfile")):
        if not request.get(key):
            raise EmrError(f"{meaning} is required for creating cluster.")
    if request.get("LogUri") and not re.match(r"^s3[an]?://[^/]+", request["LogUri"]):
        raise EmrError(f"The given log URI is not valid: {request['LogUri']}.")
    instances = request.get("Instances") or {}
    check_fleets(instances)
    check_concurrency(request.get("StepConcurrencyLevel", 1))
    check_tags(request.get("Tags") or [])
    if request.get("ManagedScalingPolicy"):
        check_managed_scaling(request["ManagedScalingPolicy"])
    if request.get("AutoTerminationPolicy"):
        check_auto_termination(request["AutoTerminationPolicy"])
    check_configurations(request.get("Configurations") or [])
    check_steps(request.get("Steps") or [], request.get("StepConcurrencyLevel", 1), active=0)
    if not instances.get("KeepJobFlowAliveWhenNoSteps") and instances.get("TerminationProtected"):
        raise EmrError("Termination protection cannot be set on a cluster that terminates after its steps.")


def check_fleets(instances: Json) -> None:
    """Exactly one MASTER of one unit, at most one CORE and one TASK, each with its instance types."""
    if instances.get("InstanceGroups") or instances.get("MasterInstanceType"):
        raise EmrError("Instance groups are not supported by the local cloud: use InstanceFleets.")
    fleets = instances.get("InstanceFleets") or []
    types = [fleet.get("InstanceFleetType") for fleet in fleets]
    if types.count("MASTER") != 1:
        raise EmrError("Exactly one MASTER instance fleet must be specified.")
    for kind in ("CORE", "TASK"):
        if types.count(kind) > 1:
            raise EmrError(f"At most one {kind} instance fleet can be specified.")
    if "TASK" in types and "CORE" not in types:
        raise EmrError("A TASK instance fleet requires a CORE instance fleet.")
    for fleet in fleets:
        _check_fleet(fleet)
    names = [fleet["Name"] for fleet in fleets if fleet.get("Name")]
    if len(set(names)) != len(names):
        raise EmrError("Instance fleet names must be unique within a cluster.")
    architectures = {
        bool(_GRAVITON.match(config.get("InstanceType", "")))
        for fleet in fleets
        for config in fleet.get("InstanceTypeConfigs") or []
    }
    if len(architectures) > 1:
        raise EmrError("All instance types of a cluster must have the same processor architecture.")


def _check_fleet(fleet: Json) -> None:
    kind = fleet.get("InstanceFleetType")
    if kind not in ("MASTER", "CORE", "TASK"):
        raise EmrError(f"InstanceFleetType {kind!r} is not one of MASTER, CORE, TASK.")
    on_demand, spot = fleet.get("TargetOnDemandCapacity") or 0, fleet.get("TargetSpotCapacity") or 0
    if kind == "MASTER" and (on_demand, spot) not in ((1, 0), (0, 1), (3, 0)):
        raise EmrError("The MASTER instance fleet must have a target capacity of 1, either On-Demand or Spot.")
    if kind == "CORE" and on_demand + spot < 1:
        raise EmrError("The CORE instance fleet must have a target capacity of at least 1.")
    configs = fleet.get("InstanceTypeConfigs") or []
    launch = fleet.get("LaunchSpecifications") or {}
    strategic = any(specification.get("AllocationStrategy") for specification in launch.values())
    most = 30 if strategic else 5
    if not 1 <= len(configs) <= most:
        raise EmrError(
            f"The {kind} instance fleet must have 1 to {most} instance types "
            f"({'with' if strategic else 'without'} an allocation strategy), not {len(configs)}."
        )
    for config in configs:
        if not config.get("InstanceType"):
            raise EmrError(f"An instance type of the {kind} instance fleet is missing.")
        if kind == "MASTER" and (config.get("WeightedCapacity") or 1) != 1:
            raise EmrError("WeightedCapacity of the MASTER instance fleet must be 1.")
    spot_launch = launch.get("SpotSpecification")
    if spot_launch:
        minutes = spot_launch.get("TimeoutDurationMinutes")
        if not isinstance(minutes, int) or not 5 <= minutes <= 1440:
            raise EmrError("TimeoutDurationMinutes of a Spot specification must be from 5 to 1440.")
        if spot_launch.get("TimeoutAction") not in ("SWITCH_TO_ON_DEMAND", "TERMINATE_CLUSTER"):
            raise EmrError("TimeoutAction must be SWITCH_TO_ON_DEMAND or TERMINATE_CLUSTER.")
    elif spot:
        raise EmrError(f"The {kind} instance fleet has a Spot target capacity but no Spot specification.")


def check_concurrency(level: object) -> None:
    if not isinstance(level, int) or not 1 <= level <= 256:
        raise EmrError("StepConcurrencyLevel must be between 1 and 256.")


def check_tags(tags: Sequence[Json]) -> None:
    """As EC2's: they go to every instance."""
    if len(tags) > MAX_TAGS:
        raise EmrError(f"The number of tags exceeds the limit of {MAX_TAGS}.")
    keys = [tag.get("Key") or "" for tag in tags]
    for tag, key in zip(tags, keys, strict=True):
        if not 1 <= len(key) <= 128 or len(tag.get("Value") or "") > 256:
            raise EmrError(f"Tag {key!r} is invalid: a key has 1 to 128 characters, a value up to 256.")
        if key.lower().startswith("aws:"):
            raise EmrError(f"Tag key {key!r} is reserved: it starts with aws:.")
    if len(set(keys)) != len(keys):
        raise EmrError("Tag keys must be unique.")


def check_managed_scaling(policy: Json) -> None:
    limits = policy.get("ComputeLimits") or {}
    if not limits:
        raise EmrError("ComputeLimits are required in a managed scaling policy.")
    if limits.get("UnitType") != "InstanceFleetUnits":
        raise EmrError("UnitType must be InstanceFleetUnits for clusters that use instance fleets.")
    least, most = limits.get("MinimumCapacityUnits"), limits.get("MaximumCapacityUnits")
    if not isinstance(least, int) or not isinstance(most, int) or least < 1:
        raise EmrError("MinimumCapacityUnits and MaximumCapacityUnits must be at least 1.")
    if least > most:
        raise EmrError("MinimumCapacityUnits must be less than or equal to MaximumCapacityUnits.")
    for key in ("MaximumOnDemandCapacityUnits", "MaximumCoreCapacityUnits"):
        value = limits.get(key)
        if value is not None and not 0 <= value <= most:
            raise EmrError(f"{key} must be less than or equal to MaximumCapacityUnits.")
    core = limits.get("MaximumCoreCapacityUnits")
    if core is not None and core < 1:
        raise EmrError("MaximumCoreCapacityUnits must be at least 1.")


def check_auto_termination(policy: Json) -> None:
    timeout = policy.get("IdleTimeout")
    if not isinstance(timeout, int) or not IDLE_TIMEOUT_S[0] <= timeout <= IDLE_TIMEOUT_S[1]:
        raise EmrError(f"IdleTimeout must be from {IDLE_TIMEOUT_S[0]} to {IDLE_TIMEOUT_S[1]} seconds.")


def check_configurations(configurations: Sequence[Any]) -> None:
    for configuration in configurations:
        properties = configuration.get("Properties") or {}
        if not configuration.get("Classification"):
            raise EmrError("Classification is required in a configuration.")
        for key, value in properties.items():
            if not isinstance(value, str):
                raise EmrError(f"The value of configuration property {key} must be a string.")


def check_steps(steps: Sequence[Json], concurrency: int, *, active: int) -> None:
    if active + len(steps) > MAX_ACTIVE_STEPS:
        raise EmrError(
            "Maximum number of active steps(State = 'Running', 'Pending' or 'Cancel_Pending') for cluster "
            f"exceeded: {MAX_ACTIVE_STEPS}."
        )
    for step in steps:
        if not step.get("Name"):
            raise EmrError("Name of a step is required.")
        action = step.get("ActionOnFailure", "TERMINATE_JOB_FLOW")
        if action not in _ACTIONS:
            raise EmrError(f"ActionOnFailure {action!r} is not valid.")
        if concurrency > 1 and action != "CONTINUE":
            raise EmrError(
                f"ActionOnFailure {action} is not valid: a cluster with StepConcurrencyLevel greater than 1 "
                "accepts CONTINUE alone."
            )
        jar_step = step.get("HadoopJarStep") or {}
        if not jar_step.get("Jar"):
            raise EmrError("HadoopJarStep.Jar is required.")
        if step_characters(jar_step) > MAX_STEP_CHARACTERS:
            raise EmrError(f"The total length of the strings of a HadoopJarStep exceeds {MAX_STEP_CHARACTERS:,}.")


def step_characters(jar_step: Json) -> int:
    """Length of all strings of one HadoopJarStep."""
    properties = jar_step.get("Properties") or []
    return (
        len(jar_step.get("Jar") or "")
        + len(jar_step.get("MainClass") or "")
        + sum(len(argument) for argument in jar_step.get("Args") or [])
        + sum(len(pair.get("Key") or "") + len(pair.get("Value") or "") for pair in properties)
    )


def check_add_steps(cluster: Cluster, steps: Sequence[Json]) -> None:
    if cluster.state in OVER or cluster.state is ClusterState.TERMINATING:
        raise EmrError("A job flow that is shutting down, terminated, or finished may not be modified.")
    if not steps:
        raise EmrError("Steps must not be empty.")
    active = sum(1 for step in cluster.steps if step.state in ACTIVE_STEP)
    check_steps(steps, cluster.concurrency, active=active)
