"""Follows a run while it goes on: what is new since the last look, as lines."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from tidegate_cli.connection import Connection

if TYPE_CHECKING:
    from tidegate_cli.adapters.emr import Cluster
    from tidegate_cli.adapters.stepfunctions import Execution


SPARK_IS_AT_WORK = "spark-submit has started"


@dataclass(frozen=True)
class Line:
    """One piece of news."""

    at: datetime
    text: str


@dataclass
class News:
    """Remembers what was told, so that each look tells only what is new. Pure."""

    _told_states: int = 0
    _told: set[str] = field(default_factory=set)

    def of(self, execution: Execution, cluster: Cluster | None) -> list[Line]:
        """The news since the last call, in the order in which they happened."""
        return sorted([*self._of_states(execution), *self._of_cluster(cluster)], key=lambda line: line.at)

    def _of_states(self, execution: Execution) -> Iterator[Line]:
        for visit in execution.visits[self._told_states :]:
            if not visit.name.endswith("?"):  # a Choice takes no time and decides what the next state shows
                yield Line(visit.entered_at, visit.name)
        self._told_states = len(execution.visits)

    def _of_cluster(self, cluster: Cluster | None) -> Iterator[Line]:
        if cluster is None:
            return
        yield from self._once(cluster.created_at, f"  cluster {cluster.cluster_id} is starting")
        yield from self._once(cluster.ready_at, f"  cluster {cluster.cluster_id} is ready")
        for step in cluster.steps:
            yield from self._once(step.started_at, f"  {SPARK_IS_AT_WORK}: {step.name}")
            yield from self._once(step.ended_at, f"  spark-submit has ended ({step.state.lower()}): {step.name}")

    def _once(self, at: datetime | None, text: str) -> Iterator[Line]:
        if at is not None and text not in self._told:
            self._told.add(text)
            yield Line(at, text)


@dataclass(frozen=True)
class Look:
    """What one look at a run showed."""

    execution: Execution
    lines: tuple[Line, ...]

    @property
    def has_ended(self) -> bool:
        return self.execution.status != "RUNNING"


def follow(connection: Connection, run_id: str, execution_arn: str, *, every_s: float = 1.0) -> Iterator[Look]:
    """Look at a run until it has ended; the last look shows how."""
    from tidegate_cli.adapters.emr import Clusters  # noqa: PLC0415 - boto3 is slow to import
    from tidegate_cli.adapters.stepfunctions import StateMachine  # noqa: PLC0415

    machine, clusters, news = StateMachine(connection), Clusters(connection), News()
    cluster_id: str | None = None
    while True:
        execution = machine.execution(execution_arn)
        if execution is None:
            return
        has_cluster = any(visit.name == "Create cluster" and visit.left_at for visit in execution.visits)
        cluster = None
        if cluster_id is not None:
            cluster = clusters.cluster(cluster_id)
        elif has_cluster:
            cluster = clusters.of_run(connection.stack_name, run_id, execution.started_at)
            cluster_id = cluster.cluster_id if cluster else None
        look = Look(execution, tuple(news.of(execution, cluster)))
        yield look
        if look.has_ended:
            return
        time.sleep(every_s)
