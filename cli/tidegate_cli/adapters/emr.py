"""Reads clusters and their steps."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from tidegate.sizing import parse_cluster_name

from tidegate_cli.adapters.aws import client, translated
from tidegate_cli.connection import Connection

if TYPE_CHECKING:
    from mypy_boto3_emr import EMRClient
    from mypy_boto3_emr.literals import ClusterStateType

_ALIVE: list[ClusterStateType] = ["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING", "TERMINATING"]


@dataclass(frozen=True)
class Step:
    """One spark-submit."""

    name: str
    state: str
    created_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True)
class Cluster:
    """A cluster and its life."""

    cluster_id: str
    name: str
    state: str
    created_at: datetime | None
    ready_at: datetime | None
    ended_at: datetime | None
    steps: tuple[Step, ...]


class Clusters:
    """The clusters of one account and region."""

    def __init__(self, connection: Connection) -> None:
        self._emr: EMRClient = client(connection, "emr")

    def cluster(self, cluster_id: str) -> Cluster | None:
        """A cluster with its steps; None if EMR has forgotten it."""
        with translated():
            try:
                described = self._emr.describe_cluster(ClusterId=cluster_id)["Cluster"]
                pages = self._emr.get_paginator("list_steps").paginate(ClusterId=cluster_id)
                steps = [step for page in pages for step in page["Steps"]]
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") == "InvalidRequestException":
                    return None
                raise
        status = described["Status"]
        timeline = status.get("Timeline", {})
        return Cluster(
            cluster_id=cluster_id,
            name=described["Name"],
            state=status["State"],
            created_at=timeline.get("CreationDateTime"),
            ready_at=timeline.get("ReadyDateTime"),
            ended_at=timeline.get("EndDateTime"),
            steps=tuple(_step(step) for step in reversed(steps)),  # EMR lists the newest first
        )

    def alive(self, stack: str) -> list[str]:
        """Ids of the clusters that are not terminated and named as the stack's are."""
        with translated():
            pages = self._emr.get_paginator("list_clusters").paginate(ClusterStates=_ALIVE)
            named = [(each["Id"], each["Name"]) for page in pages for each in page["Clusters"]]
        return [cluster_id for cluster_id, name in named if parse_cluster_name(name, stack) is not None]

    def of_run(self, stack: str, run_id: str, since: datetime) -> Cluster | None:
        """The last cluster of a run, by its name: `<stack>-<run>-<pass>-<launch>`."""
        prefix = f"{stack}-{run_id}-"
        with translated():
            pages = self._emr.get_paginator("list_clusters").paginate(CreatedAfter=since - timedelta(minutes=1))
            for page in pages:
                for cluster in page["Clusters"]:
                    rest = cluster["Name"].removeprefix(prefix)
                    if rest != cluster["Name"] and re.fullmatch(r"\d+-\d+", rest):
                        return self.cluster(cluster["Id"])
        return None


def _step(step: Any) -> Step:
    timeline = step["Status"].get("Timeline", {})
    return Step(
        name=step["Name"],
        state=step["Status"]["State"],
        created_at=timeline.get("CreationDateTime"),
        started_at=timeline.get("StartDateTime"),
        ended_at=timeline.get("EndDateTime"),
    )
