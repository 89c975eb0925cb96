"""Reaping: which clusters have nobody left who needs them, and which runs nobody goes on with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tidegate.clusters import Cluster
from tidegate.runs import Run
from tidegate.sizing import parse_cluster_name

UNKNOWN_RUN_GRACE = timedelta(minutes=15)
"""A cluster of which the ledger knows no run: restored to an earlier moment, perhaps. Somebody may be looking."""

OTHER_ATTEMPT_GRACE = timedelta(minutes=45)
"""The machine ends the cluster of an earlier attempt itself, and waits half an hour for it."""

OLDEST_CLUSTER = timedelta(hours=25)
"""The state machine gives a run 24 hours. Whatever is older was left by all who should have ended it."""


@dataclass(frozen=True)
class RunSeen:
    """A run as the ledger has it, and whether its execution runs."""

    run: Run
    execution_runs: bool

    @property
    def is_open(self) -> bool:
        return self.run.state in {"running", "fenced"}

    @property
    def is_dead(self) -> bool:
        """Open in the ledger, with an execution that has ended: nobody goes on with it."""
        return self.is_open and not self.execution_runs


@dataclass(frozen=True)
class Reaping:
    """What is to be done, in this order, each with its reason."""

    fence: tuple[tuple[Run, str], ...]
    """Runs whose later calls are refused from now on."""
    end: tuple[tuple[str, str], ...]
    """Ids of clusters."""
    finish: tuple[Run, ...]
    """Dead runs of which no cluster is left: settled by their receipts, and closed."""
    oldest_age_s: float
    """Of this stack's clusters; 0 if there is none."""


def decide_reaping(clusters: Sequence[Cluster], runs: Mapping[str, RunSeen], now: datetime, stack: str) -> Reaping:
    """Decide over clusters and runs that were seen in this order: first the clusters, then their runs.

    A cluster that isn't ours is never touched. A run is fenced before its cluster is ended, so that nothing of it can
    begin anew meanwhile, and finished when TERMINATED has proven that no driver of it lives.
    """
    ours = [each for each in clusters if each.is_ours]
    alive = {_run_of(each, stack) for each in ours}
    dead = [seen for seen in runs.values() if seen.is_dead]
    return Reaping(
        fence=tuple((seen.run, "its execution has ended") for seen in dead if seen.run.state == "running"),
        end=tuple(
            (each.cluster_id, reason)
            for each in ours
            if each.state != "TERMINATING"
            for reason in [_why_end(each, runs.get(_run_of(each, stack)), now)]
            if reason is not None
        ),
        finish=tuple(seen.run for seen in dead if seen.run.run_id not in alive),
        oldest_age_s=max((_age_of(each, now).total_seconds() for each in ours), default=0.0),
    )


def _why_end(cluster: Cluster, seen: RunSeen | None, now: datetime) -> str | None:
    age = _age_of(cluster, now)
    if age > OLDEST_CLUSTER:
        return f"it is {age} old, and no run may take as long"
    if seen is None:
        return "the ledger knows no run of it" if age > UNKNOWN_RUN_GRACE else None
    if not seen.is_open:
        return f"run {seen.run.run_id} has ended: {seen.run.state}"
    if seen.is_dead:
        return f"the execution of run {seen.run.run_id} has ended"
    if seen.run.cluster_name != cluster.name and age > OTHER_ATTEMPT_GRACE:
        return f"run {seen.run.run_id} is on {seen.run.cluster_name} by now"
    return None


def _run_of(cluster: Cluster, stack: str) -> str:
    parsed = parse_cluster_name(cluster.name, stack)
    return parsed[0] if parsed else ""


def _age_of(cluster: Cluster, now: datetime) -> timedelta:
    return now - cluster.created_at
