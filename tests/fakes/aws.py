"""Executions and clusters in memory."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tidegate.catalog import FoundEntry, TableInput
from tidegate.clusters import Cluster, EndReason, RunCluster
from tidegate.errors import NotRegistered, TidegateError
from tidegate.readings import Metrics
from tidegate.scaling import ScalingLimits
from tidegate.sizing import is_cluster_of, parse_cluster_name


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
        self.states: dict[str, str] = {}
        self.created: dict[str, datetime] = {}
        self.tags: dict[str, str] = {}
        """The stack that a cluster is tagged with, if it is not the one that its name begins with."""
        self.ended: list[str] = []
        self.limits: dict[str, list[ScalingLimits]] = {}
        """Those that were set, the newest last."""
        self.refuses: TidegateError | None = None
        """What setting limits is answered with."""
        self.gone: dict[str, tuple[str, datetime]] = {}
        """Name and end of the clusters that have ended."""
        self.instances_of: dict[str, list[Mapping[str, Any]]] = {}
        self.hides: TidegateError | None = None
        """What asking for instances is answered with."""
        self.asked_for_clusters: list[str] = []
        self.asked_for_instances: list[str] = []

    def alive(self, stack: str, run_id: str) -> list[str]:
        return [cluster for cluster, name in self.names.items() if is_cluster_of(name, stack, run_id)]

    def of_stack(self, stack: str) -> list[Cluster]:
        return [
            Cluster(
                cluster_id,
                name,
                self.states.get(cluster_id, "WAITING"),
                self.created.get(cluster_id, datetime.now(UTC)),
                is_ours=self.tags.get(cluster_id, stack) == stack,
            )
            for cluster_id, name in self.names.items()
            if parse_cluster_name(name, stack) is not None
        ]

    def of_run(self, stack: str, run_id: str, since: datetime) -> list[RunCluster]:
        self.asked_for_clusters.append(run_id)
        alive = [RunCluster(cluster_id, has_ended=False) for cluster_id in self.alive(stack, run_id)]
        gone = [
            RunCluster(cluster_id, True, ended_at)
            for cluster_id, (name, ended_at) in self.gone.items()
            if is_cluster_of(name, stack, run_id)
        ]
        return alive + gone

    def instances(self, cluster_id: str) -> list[Mapping[str, Any]]:
        self.asked_for_instances.append(cluster_id)
        if self.hides is not None:
            raise self.hides
        return self.instances_of.get(cluster_id, [])

    def terminate(self, cluster_id: str, at: datetime) -> None:
        """It has ended, and EMR lists it as such."""
        self.gone[cluster_id] = (self.names.pop(cluster_id), at)

    def end(self, cluster_id: str) -> None:
        self.ended.append(cluster_id)
        if cluster_id in self.names:
            self.states[cluster_id] = "TERMINATING"

    def why_ended(self, cluster_id: str) -> EndReason | None:
        return self.reasons.get(cluster_id)

    def scale(self, cluster_id: str, limits: ScalingLimits) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.limits.setdefault(cluster_id, []).append(limits)


class FakeReadings:
    """Keeps to `tidegate.ports.Readings`."""

    def __init__(self) -> None:
        self.metrics: dict[str, Metrics] = {}

    def of(self, cluster_ids: Collection[str], now: datetime) -> dict[str, Metrics]:
        return {cluster_id: self.metrics[cluster_id] for cluster_id in cluster_ids if cluster_id in self.metrics}


class FakeCatalog:
    """Keeps to `tidegate.ports.Catalog`."""

    def __init__(self) -> None:
        self.entries: dict[str, tuple[TableInput, int]] = {}
        self.calls: list[tuple[str, str]] = []
        self.fails: str | None = None
        """What every call is answered with."""

    def entry(self, name: str) -> FoundEntry | None:
        self._call("entry", name)
        if name not in self.entries:
            return None
        found, version = self.entries[name]
        return FoundEntry(found, str(version))

    def create(self, table_input: TableInput) -> bool:
        self._call("create", table_input["Name"])
        if table_input["Name"] in self.entries:
            return False
        self.entries[table_input["Name"]] = (table_input, 1)
        return True

    def update(self, table_input: TableInput, version: str | None) -> bool:
        self._call("update", table_input["Name"])
        known = self.entries.get(table_input["Name"])
        if known is None or (version is not None and version != str(known[1])):
            return False
        self.entries[table_input["Name"]] = (table_input, known[1] + 1)
        return True

    def _call(self, what: str, name: str) -> None:
        self.calls.append((what, name))
        if self.fails is not None:
            raise NotRegistered(f"{what} of {name}: {self.fails}")


class FakeBus:
    """Keeps to `tidegate.ports.Bus`."""

    def __init__(self) -> None:
        self.sent: list[Mapping[str, Any]] = []
        self.calls = 0
        self.fails: dict[str, str] = {}
        """Why events about a table are refused."""

    def send(self, details: Sequence[Mapping[str, Any]]) -> list[str | None]:
        self.calls += 1
        failed = [self.fails.get(each["table"]) for each in details]
        self.sent += [each for each, why in zip(details, failed, strict=True) if why is None]
        return failed
