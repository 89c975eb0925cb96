"""EMR clusters, found by name: ListClusters knows no tags."""

from typing import Any

import boto3
from botocore.exceptions import ClientError

from tidegate.adapters.clients import CONFIG, code_of, throttling_named
from tidegate.clusters import EndReason
from tidegate.sizing import is_cluster_of

_ALIVE = ["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING", "TERMINATING"]


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
