"""End clusters that nobody needs, and finish runs that nobody goes on with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tidegate.contracts import Contracts
from tidegate.ports import Clusters, Ledger, Machine, Objects, Table
from tidegate.prices import PriceSheet
from tidegate.reaping import Reaping, RunSeen, decide_reaping
from tidegate.runs import Run
from tidegate.sizing import parse_cluster_name
from tidegate.usecases.publish_tables import Publishing, PublishPorts, publish_tables
from tidegate.usecases.settle_batches import SettlePorts
from tidegate.usecases.settle_dead_run import settle_dead_run


@dataclass(frozen=True)
class ReapPorts:
    """What reaping needs from outside."""

    ledger: Ledger
    objects: Objects
    machine: Machine
    clusters: Clusters
    stack: str
    control_bucket: str
    publishing: Publishing
    load_prices: Callable[[], PriceSheet]
    """Raises NoPriceSheet or InvalidPrices."""


def is_about_another(event: Any, stack: str) -> bool:
    """Whether an event tells of a cluster that has not our names: an account may have many."""
    detail = event.get("detail") if isinstance(event, dict) else None
    name = detail.get("name") if isinstance(detail, dict) and event.get("source") == "aws.emr" else None
    return isinstance(name, str) and parse_cluster_name(name, stack) is None


def reap_clusters(*, ports: ReapPorts, contracts: Contracts, now: datetime) -> dict[str, Any]:
    """Look at every cluster and every open run, and carry out what is decided. Doing it twice changes nothing.

    Raises Throttled.
    """
    clusters = ports.clusters.of_stack(ports.stack)  # before the runs: see decide_reaping
    runs = {run.run_id: _seen(run, ports) for run in ports.ledger.running_runs()}
    for cluster in clusters:
        parsed = parse_cluster_name(cluster.name, ports.stack)
        if cluster.is_ours and parsed is not None and parsed[0] not in runs:
            run = ports.ledger.run(parsed[0])
            if run is not None:
                runs[run.run_id] = _seen(run, ports)
    reaping = decide_reaping(clusters, runs, now, ports.stack)
    fenced = {run.run_id for run, reason in reaping.fence if ports.ledger.fence_run(run, reason, now)}
    moved_on = {run.run_id for run, _ in reaping.fence} - fenced
    ended = _end_clusters(reaping, {each.cluster_id: each.name for each in clusters}, moved_on, ports)
    finished = [_finish(run, ports, now) for run in reaping.finish if run.run_id not in moved_on]
    tables = ports.ledger.tables(sorted(contracts.by_table))
    freed = _free_stray_leases(tables, ports)
    untold = _tell_what_nobody_told(tables, freed, ports, now)
    return {
        "fenced": sorted(fenced),
        "ended": ended,
        "finished": finished,
        "freed": freed,
        "told": untold,
        "oldest_age_s": reaping.oldest_age_s,
    }


def _seen(run: Run, ports: ReapPorts) -> RunSeen:
    is_open = run.state in {"running", "fenced"}
    return RunSeen(run, execution_runs=is_open and ports.machine.is_running(run.execution_arn))


def _end_clusters(
    reaping: Reaping, names: dict[str, str], moved_on: set[str], ports: ReapPorts
) -> list[dict[str, str]]:
    """End the clusters, but those of a run that somebody has redriven at this very moment."""
    ended = []
    for cluster_id, reason in reaping.end:
        parsed = parse_cluster_name(names[cluster_id], ports.stack)
        if parsed is None or parsed[0] in moved_on:
            continue
        ports.clusters.end(cluster_id)
        ended.append({"cluster_id": cluster_id, "name": names[cluster_id], "reason": reason})
    return ended


def _finish(run: Run, ports: ReapPorts, now: datetime) -> dict[str, str]:
    """Close a dead run as it is now: fenced, and perhaps by another reaper."""
    current = ports.ledger.run(run.run_id)
    if current is None or current.state != "fenced":
        return {"run_id": run.run_id, "outcome": current.state if current else "unknown"}
    settle = SettlePorts(
        ports.ledger,
        ports.objects,
        ports.clusters,
        ports.stack,
        ports.control_bucket,
        ports.publishing,
        ports.load_prices,
    )
    summary = settle_dead_run(current, ports=settle, now=now)
    return {"run_id": run.run_id, "outcome": summary["outcome"]}


def _free_stray_leases(tables: Mapping[str, Table], ports: ReapPorts) -> list[str]:
    """Leases of runs that have ended: a function of theirs may have woken late and taken one."""
    freed = []
    for table in tables.values():
        owner = ports.ledger.run(table.lease.run_id) if table.lease is not None else None
        if owner is None or owner.state in {"running", "fenced"} or ports.machine.is_running(owner.execution_arn):
            continue
        if not ports.clusters.alive(ports.stack, owner.run_id):
            ports.ledger.free_lease(table.name, owner.run_id, owner.attempt)
            freed.append(table.name)
    return freed


def _tell_what_nobody_told(
    tables: Mapping[str, Table], freed: Sequence[str], ports: ReapPorts, now: datetime
) -> list[str]:
    """News of tables that no run could tell before it ended. A run that has a lease is at it itself."""
    untold = [
        table.name for table in tables.values() if table.is_unpublished and (table.lease is None or table.name in freed)
    ]
    publish_tables(untold, ports=PublishPorts(ports.ledger, ports.objects, ports.publishing), now=now)
    return untold
