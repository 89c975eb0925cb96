"""What EMR says of a cluster that did not come or did not stay. Pure.

The codes are those of `ClusterStateChangeReason` in the Amazon EMR API reference. The sentences are worded after EC2's
own errors ("Error codes for the Amazon EC2 API") and EMR's troubleshooting pages; whoever tells causes apart by them
must do so by the words that are likely to stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tidegate_local.emr.model import Cluster, Json, Reason
from tidegate_local.faults import kinds


@dataclass(frozen=True)
class Death:
    """Why a cluster ended: its StateChangeReason, and the first of its ErrorDetails if it has any."""

    reason: Reason
    error: Json | None = None


BOOTSTRAP_FAILED = Reason(
    "BOOTSTRAP_FAILURE", "On the master instance (i-0), bootstrap action 1 returned a non-zero return code"
)

OF_A_LIVE_CLUSTER: Mapping[str, Reason] = {
    kinds.LOST_NODES: Reason(
        "INSTANCE_FAILURE", "All slaves in the job flow were terminated due to Spot interruptions"
    ),
    kinds.INTERNAL_ERROR: Reason("INTERNAL_ERROR", "An internal error occurred. Failed to provision the cluster."),
    kinds.ENDED_BY_HAND: Reason("USER_REQUEST", "Terminated by user request"),
}

_CAPACITY_ERROR: Json = {
    "ErrorCode": "INTERNAL_ERROR_EC2_INSUFFICIENT_CAPACITY_AZ",
    "ErrorMessage": "Amazon EC2 has insufficient capacity in the Availability Zone for the instance types.",
    "ErrorData": [],
}


def while_starting(fault: str, cluster: Cluster) -> Death:
    """How a cluster ends that finds no capacity, no quota or a wrong configuration."""
    if fault == kinds.QUOTA:
        return Death(
            Reason(
                "VALIDATION_ERROR",
                "You have requested more vCPU capacity than your current vCPU limit of 32 allows for the instance "
                "bucket that the specified instance type belongs to. (VcpuLimitExceeded)",
            )
        )
    if fault == kinds.BAD_CONFIGURATION:
        return Death(
            Reason(
                "VALIDATION_ERROR",
                "The subnet configuration was invalid: Cannot find route to InternetGateway in main RouteTable",
            )
        )
    types = sorted(
        {config["InstanceType"] for fleet in cluster.fleets for config in fleet.config["InstanceTypeConfigs"]}
    )
    return Death(
        Reason(
            "INTERNAL_ERROR",
            "Amazon EC2 has insufficient capacity for the requested instance types "
            f"[{', '.join(types)}]: there is not enough Spot or On-Demand capacity to launch the cluster.",
        ),
        _CAPACITY_ERROR,
    )
