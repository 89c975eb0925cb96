"""Executions and clusters in memory."""

from collections.abc import Mapping
from typing import Any

from tidegate.clusters import EndReason
from tidegate.sizing import is_cluster_of


class FakeMachine:
    """Keeps to `tidegate.ports.Machine`."""

    def __init__(self) -> None:
        self.started: dict[str, Mapping[str, Any]] = {}
        self.running: set[str] = set()

    def start(self, name: str, run_input: Mapping[str, Any]) -> bool:
        is_new = name not in self.started
        self.started.setdefault(name, run_input)
        return is_new

    def is_running(self, execution_arn: str) -> bool:
        return execution_arn in self.running


class FakeClusters:
    """Keeps to `tidegate.ports.Clusters`."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.reasons: dict[str, EndReason] = {}

    def alive(self, stack: str, run_id: str) -> list[str]:
        return [cluster for cluster, name in self.names.items() if is_cluster_of(name, stack, run_id)]

    def why_ended(self, cluster_id: str) -> EndReason | None:
        return self.reasons.get(cluster_id)
