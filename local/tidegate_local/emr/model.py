"""What a cluster and a step are, and how the API shows them. No I/O, no clock."""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Json = dict[str, Any]
_ALPHABET = string.ascii_uppercase + string.digits


class ClusterState(StrEnum):
    """As in the EMR API."""

    STARTING = "STARTING"
    BOOTSTRAPPING = "BOOTSTRAPPING"
    RUNNING = "RUNNING"
    WAITING = "WAITING"
    TERMINATING = "TERMINATING"
    TERMINATED = "TERMINATED"
    TERMINATED_WITH_ERRORS = "TERMINATED_WITH_ERRORS"


class StepState(StrEnum):
    """As in the EMR API."""

    PENDING = "PENDING"
    CANCEL_PENDING = "CANCEL_PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"
    INTERRUPTED = "INTERRUPTED"


UP = frozenset({ClusterState.RUNNING, ClusterState.WAITING})
GOING_UP = frozenset({ClusterState.STARTING, ClusterState.BOOTSTRAPPING})
OVER = frozenset({ClusterState.TERMINATED, ClusterState.TERMINATED_WITH_ERRORS})
ACTIVE_STEP = frozenset({StepState.PENDING, StepState.RUNNING, StepState.CANCEL_PENDING})
"""What counts towards the limit of 256."""


def new_id(prefix: str) -> str:
    """`j-`, `s-`, `if-` or `ci-` and thirteen random letters and digits, as EMR's."""
    return f"{prefix}-" + "".join(secrets.choice(_ALPHABET) for _ in range(13))


@dataclass(frozen=True)
class Reason:
    """A `StateChangeReason`."""

    code: str = ""
    message: str = ""

    def as_json(self) -> Json:
        return {
            **({"Code": self.code} if self.code else {}),
            **({"Message": self.message} if self.message else {}),
        }


@dataclass
class Step:
    """One step. Times are seconds since the epoch."""

    id: str
    name: str
    jar: str
    args: list[str]
    action_on_failure: str
    created_s: float
    main_class: str = ""
    properties: dict[str, str] = field(default_factory=dict)
    state: StepState = StepState.PENDING
    reason: Reason = Reason()
    failure: Json | None = None
    started_s: float | None = None
    ended_s: float | None = None

    def as_json(self) -> Json:
        """The API's `Step`."""
        status: Json = {
            "State": self.state.value,
            "StateChangeReason": self.reason.as_json(),
            "Timeline": _timeline(
                CreationDateTime=self.created_s, StartDateTime=self.started_s, EndDateTime=self.ended_s
            ),
        }
        if self.failure:
            status["FailureDetails"] = self.failure
        config: Json = {"Jar": self.jar, "Properties": self.properties, "Args": self.args}
        if self.main_class:
            config["MainClass"] = self.main_class
        return {
            "Id": self.id,
            "Name": self.name,
            "Config": config,
            "ActionOnFailure": self.action_on_failure,
            "Status": status,
        }


class InstanceState(StrEnum):
    """As in the EMR API, and LEAVING: RUNNING to the API, but nothing new is started on it."""

    PROVISIONING = "PROVISIONING"
    RUNNING = "RUNNING"
    LEAVING = "LEAVING"
    TERMINATED = "TERMINATED"


@dataclass
class Instance:
    """One instance of a fleet: one unit. With `--yarn` it is a daemon of YARN that really runs."""

    id: str
    ec2_id: str
    type: str
    market: str
    """`ON_DEMAND` or `SPOT`."""
    created_s: float
    state: InstanceState = InstanceState.PROVISIONING
    reason: Reason = Reason()
    ready_s: float | None = None
    ended_s: float | None = None

    def end(self, now_s: float, reason: Reason) -> None:
        """It is gone, for good."""
        if self.state is not InstanceState.TERMINATED:
            self.state, self.ended_s, self.reason = InstanceState.TERMINATED, now_s, reason

    def as_json(self, fleet_id: str) -> Json:
        """The API's `Instance`."""
        shown = InstanceState.RUNNING if self.state is InstanceState.LEAVING else self.state
        return {
            "Id": self.id,
            "Ec2InstanceId": self.ec2_id,
            "PrivateDnsName": "localhost",
            "PrivateIpAddress": "127.0.0.1",
            "Status": {
                "State": shown.value,
                "StateChangeReason": self.reason.as_json(),
                "Timeline": _timeline(
                    CreationDateTime=self.created_s, ReadyDateTime=self.ready_s, EndDateTime=self.ended_s
                ),
            },
            "InstanceFleetId": fleet_id,
            "Market": self.market,
            "InstanceType": self.type,
            "EbsVolumes": [],
        }


@dataclass
class Fleet:
    """One instance fleet."""

    id: str
    config: Json
    created_s: float
    state: str = "PROVISIONING"
    reason: Reason = Reason()
    instances: list[Instance] = field(default_factory=list)
    """All that it ever had, the oldest first."""
    resized_s: float | None = None
    """When a running resize will be through."""
    ready_s: float | None = None
    ended_s: float | None = None

    @property
    def type(self) -> str:
        return str(self.config["InstanceFleetType"])

    @property
    def on_demand(self) -> int:
        return int(self.config.get("TargetOnDemandCapacity") or 0)

    @property
    def spot(self) -> int:
        return int(self.config.get("TargetSpotCapacity") or 0)

    def living(self, market: str | None = None) -> list[Instance]:
        """Those that are there or come, and are not to go."""
        there = (InstanceState.PROVISIONING, InstanceState.RUNNING)
        return [each for each in self.instances if each.state in there and market in (None, each.market)]

    def running(self, market: str | None = None) -> int:
        """How many units work."""
        return sum(each.state is InstanceState.RUNNING for each in self.living(market))

    def as_json(self) -> Json:
        """The API's `InstanceFleet`."""
        specifications = [
            {
                "EbsBlockDevices": [],
                "WeightedCapacity": 1,
                **{key: value for key, value in config.items() if key != "EbsConfiguration"},
            }
            for config in self.config.get("InstanceTypeConfigs", [])
        ]
        shown = {
            "Id": self.id,
            "Name": self.config.get("Name", ""),
            "Status": {
                "State": self.state,
                "StateChangeReason": self.reason.as_json(),
                "Timeline": _timeline(
                    CreationDateTime=self.created_s, ReadyDateTime=self.ready_s, EndDateTime=self.ended_s
                ),
            },
            "InstanceFleetType": self.type,
            "TargetOnDemandCapacity": self.on_demand,
            "TargetSpotCapacity": self.spot,
            "ProvisionedOnDemandCapacity": self.running("ON_DEMAND"),
            "ProvisionedSpotCapacity": self.running("SPOT"),
            "InstanceTypeSpecifications": specifications,
        }
        for key in ("LaunchSpecifications", "ResizeSpecifications", "Context"):
            if key in self.config:
                shown[key] = self.config[key]
        return shown


@dataclass
class Cluster:
    """One cluster. `request` is the RunJobFlow that made it."""

    id: str
    arn: str
    request: Json
    created_s: float
    state_since_s: float
    fleets: list[Fleet]
    steps: list[Step] = field(default_factory=list)
    state: ClusterState = ClusterState.STARTING
    reason: Reason = Reason()
    errors: list[Json] = field(default_factory=list)
    ready_s: float | None = None
    ended_s: float | None = None
    idle_since_s: float | None = None
    stuck_until_s: float = 0
    """Until then a planned fault holds it in its state."""
    was_stuck_in: set[ClusterState] = field(default_factory=set)
    """States in which such a fault was asked for."""
    ends_with_errors: bool = False
    termination_protected: bool = False
    concurrency: int = 1
    tags: dict[str, str] = field(default_factory=dict)
    managed_scaling: Json | None = None
    auto_termination: Json | None = None
    visible_to_all: bool = True
    flaw: Reason | None = None
    """Found only while the cluster starts, though known from its beginning."""
    used: dict[str, int] = field(default_factory=dict)
    """Containers on each instance, by its id, as YARN has told last."""
    has_nodes: bool = False
    """Its instances are daemons of YARN, which say by themselves when they are there and when they are gone."""

    @property
    def name(self) -> str:
        return str(self.request["Name"])

    @property
    def keep_alive(self) -> bool:
        return bool(self.request["Instances"].get("KeepJobFlowAliveWhenNoSteps", False))

    @property
    def log_uri(self) -> str | None:
        return self.request.get("LogUri")

    def fleet(self, kind: str) -> Fleet | None:
        """`MASTER`, `CORE` or `TASK`."""
        return next((fleet for fleet in self.fleets if fleet.type == kind), None)

    @property
    def instances(self) -> list[Instance]:
        """All that it ever had."""
        return [each for fleet in self.fleets for each in fleet.instances]

    @property
    def workers(self) -> list[Instance]:
        """All instances but the primary."""
        return [each for fleet in self.fleets if fleet.type != "MASTER" for each in fleet.instances]

    def step(self, step_id: str) -> Step | None:
        return next((step for step in self.steps if step.id == step_id), None)

    def status_as_json(self) -> Json:
        status: Json = {
            "State": self.state.value,
            "StateChangeReason": self.reason.as_json(),
            "Timeline": _timeline(
                CreationDateTime=self.created_s, ReadyDateTime=self.ready_s, EndDateTime=self.ended_s
            ),
        }
        if self.errors:
            status["ErrorDetails"] = self.errors
        return status

    def summary_as_json(self) -> Json:
        """The API's `ClusterSummary`."""
        return {
            "Id": self.id,
            "Name": self.name,
            "Status": self.status_as_json(),
            "NormalizedInstanceHours": 0,
            "ClusterArn": self.arn,
        }

    def as_json(self) -> Json:
        """The API's `Cluster`."""
        instances = self.request["Instances"]
        subnets = instances.get("Ec2SubnetIds") or [subnet for subnet in [instances.get("Ec2SubnetId")] if subnet]
        attributes: Json = {
            "RequestedEc2SubnetIds": subnets,
            "RequestedEc2AvailabilityZones": [],
            "IamInstanceProfile": self.request.get("JobFlowRole", ""),
            **({"Ec2SubnetId": subnets[0]} if subnets else {}),
        }
        for key in (
            "Ec2KeyName",
            "EmrManagedMasterSecurityGroup",
            "EmrManagedSlaveSecurityGroup",
            "ServiceAccessSecurityGroup",
            "AdditionalMasterSecurityGroups",
            "AdditionalSlaveSecurityGroups",
        ):
            if instances.get(key):
                attributes[key] = instances[key]
        shown: Json = {
            **self.summary_as_json(),
            "Ec2InstanceAttributes": attributes,
            "InstanceCollectionType": "INSTANCE_FLEET",
            "ReleaseLabel": self.request["ReleaseLabel"],
            "AutoTerminate": not self.keep_alive,
            "TerminationProtected": self.termination_protected,
            "VisibleToAllUsers": self.visible_to_all,
            "Applications": self.request.get("Applications", []),
            "Tags": [{"Key": key, "Value": value} for key, value in self.tags.items()],
            "ServiceRole": self.request["ServiceRole"],
            "Configurations": self.request.get("Configurations", []),
            "ScaleDownBehavior": self.request.get("ScaleDownBehavior", "TERMINATE_AT_TASK_COMPLETION"),
            "StepConcurrencyLevel": self.concurrency,
        }
        if self.state not in GOING_UP:
            shown["MasterPublicDnsName"] = "localhost"
        for key in (
            "LogUri",
            "LogEncryptionKmsKeyId",
            "SecurityConfiguration",
            "CustomAmiId",
            "EbsRootVolumeSize",
            "OSReleaseLabel",
            "PlacementGroupConfigs",
        ):
            if self.request.get(key):
                shown["PlacementGroups" if key == "PlacementGroupConfigs" else key] = self.request[key]
        return shown


def _timeline(**times: float | None) -> Json:
    return {name: round(time_s, 3) for name, time_s in times.items() if time_s is not None}
