"""EMR clusters, found by name: ListClusters knows no tags."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import boto3
from botocore.exceptions import ClientError

from tidegate.adapters.clients import CONFIG, code_of, throttling_named
from tidegate.clusters import Cluster, EndReason, RunCluster
from tidegate.errors import CostUnknown, ScalingRefused
from tidegate.scaling import ScalingLimits
from tidegate.sizing import is_cluster_of, parse_cluster_name

_ALIVE = ["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING", "TERMINATING"]


_ENDED = frozenset({"TERMINATED", "TERMINATED_WITH_ERRORS"})
_SKEW = timedelta(hours=2)
"""By which our clock may be ahead of EMR's. Generous: a page has 50 clusters, and none may be missed."""


class EmrClusters:
    """Keeps to `tidegate.ports.Clusters`."""

    def __init__(self) -> None:
        self._client: Any = boto3.client("emr", config=CONFIG)

    def alive(self, stack: str, run_id: str) -> list[str]:
        found: list[str] = []
        with throttling_named("elasticmapreduce:ListClusters"):
            for page in self._client.get_paginator("list_clusters").paginate(ClusterStates=_ALIVE):
                found += [each["Id"] for each in page["Clusters"] if is_cluster_of(each["Name"], stack, run_id)]
        return found

    def of_stack(self, stack: str) -> list[Cluster]:
        found = []
        with throttling_named("elasticmapreduce:ListClusters"):
            for page in self._client.get_paginator("list_clusters").paginate(ClusterStates=_ALIVE):
                found += [each for each in page["Clusters"] if parse_cluster_name(each["Name"], stack) is not None]
        return [
            Cluster(
                cluster_id=each["Id"],
                name=each["Name"],
                state=each["Status"]["State"],
                created_at=each["Status"]["Timeline"]["CreationDateTime"],
                is_ours=self._is_tagged(each["Id"], stack),
            )
            for each in found
        ]

    def of_run(self, stack: str, run_id: str, since: datetime) -> list[RunCluster]:
        found = []
        try:
            with throttling_named("elasticmapreduce:ListClusters"):
                for page in self._client.get_paginator("list_clusters").paginate(CreatedAfter=since - _SKEW):
                    found += [each for each in page["Clusters"] if is_cluster_of(each["Name"], stack, run_id)]
        except ClientError as error:
            raise CostUnknown(f"EMR does not list the clusters of run {run_id}: {error}") from error
        return [
            RunCluster(
                each["Id"], each["Status"]["State"] in _ENDED, each["Status"].get("Timeline", {}).get("EndDateTime")
            )
            for each in found
        ]

    def instances(self, cluster_id: str) -> list[Mapping[str, Any]]:
        by_id: dict[str, Mapping[str, Any]] = {}  # an instance that moves between pages while they are read counts once
        try:
            with throttling_named("elasticmapreduce:ListInstances"):
                for page in self._client.get_paginator("list_instances").paginate(ClusterId=cluster_id):
                    by_id |= {each["Id"]: each for each in page["Instances"]}
        except ClientError as error:
            raise CostUnknown(f"EMR does not list the instances of cluster {cluster_id}: {error}") from error
        return list(by_id.values())

    def _is_tagged(self, cluster_id: str, stack: str) -> bool:
        """What stack `a` calls its clusters may begin as those of stack `a-b` do; the tag tells them apart."""
        try:
            with throttling_named("elasticmapreduce:DescribeCluster"):
                tags = self._client.describe_cluster(ClusterId=cluster_id)["Cluster"].get("Tags", [])
        except ClientError as error:
            # A cluster with another stack's tag, or none, may not even be looked at.
            if code_of(error) in {"InvalidRequestException", "AccessDeniedException"}:
                return False
            raise
        return {"Key": "tidegate:stack", "Value": stack} in tags

    def end(self, cluster_id: str) -> None:
        with throttling_named("elasticmapreduce:TerminateJobFlows"):
            self._client.terminate_job_flows(JobFlowIds=[cluster_id])

    def why_ended(self, cluster_id: str) -> EndReason | None:
        try:
            with throttling_named("elasticmapreduce:DescribeCluster"):
                status = self._client.describe_cluster(ClusterId=cluster_id)["Cluster"]["Status"]
        except ClientError as error:
            if code_of(error) == "InvalidRequestException":
                return None
            raise
        if not status["State"].startswith("TERMINAT"):
            return None
        reason = status.get("StateChangeReason", {})
        was_ready = "ReadyDateTime" in status.get("Timeline", {})
        return EndReason(reason.get("Code", ""), reason.get("Message", ""), status["State"], was_ready)

    def scale(self, cluster_id: str, limits: ScalingLimits) -> None:
        policy = {
            "ComputeLimits": {
                "UnitType": "InstanceFleetUnits",
                "MinimumCapacityUnits": limits.minimum_units,
                "MaximumCapacityUnits": limits.maximum_units,
                "MaximumOnDemandCapacityUnits": limits.maximum_on_demand_units,
                "MaximumCoreCapacityUnits": limits.maximum_core_units,
            }
        }
        try:
            with throttling_named("elasticmapreduce:PutManagedScalingPolicy"):
                self._client.put_managed_scaling_policy(ClusterId=cluster_id, ManagedScalingPolicy=policy)
        except ClientError as error:
            if code_of(error) in {"InvalidRequestException", "ValidationException", "AccessDeniedException"}:
                raise ScalingRefused(
                    f"EMR refuses limits {policy['ComputeLimits']} for {cluster_id}: {error}"
                ) from error
            raise
