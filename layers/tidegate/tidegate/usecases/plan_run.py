"""Plan a run: which batches it merges, where they are read from, on what cluster."""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from tidegate.batches import group_steps, location_of, staged_name
from tidegate.contracts import Contracts
from tidegate.errors import LeaseHeld, RunIsLive
from tidegate.ports import Batch, Clusters, Lease, Ledger, Machine, Objects, Table
from tidegate.runs import Execution, Run, RunRequest, read_request
from tidegate.sizing import cluster_prefix, size_cluster
from tidegate.usecases.claim_batch import claim_batch

WORK_SCHEMA = 1
THREADS = 16
"""For calls that only wait: heads, copies, marks."""


@dataclass(frozen=True)
class PlanPorts:
    """What planning needs from outside."""

    ledger: Ledger
    objects: Objects
    machine: Machine
    clusters: Clusters
    stack: str
    lake_bucket: str
    control_bucket: str


def plan_run(
    execution_input: Any, execution: Execution, *, ports: PlanPorts, contracts: Contracts, now: datetime
) -> dict[str, Any]:
    """Plan the run that an execution is about, in the execution's pass. Planning twice gives the same plan.

    Returns what the state machine goes on with: `work` is "merge" with groups and cluster, or "none" with the reason.

    Raises InvalidRunInput, UnknownTable, RunIsLive, ClaimMoved, SourceGone, Throttled.
    """
    request = read_request(execution_input, execution.name, list(contracts.by_table))
    known = ports.ledger.run(request.run_id)
    if known is not None and known.state == "succeeded":
        return _nothing(request, known.pass_, f"run {known.run_id} is settled: {_said(known)}", summary=known.summary)
    if known is not None and known.execution_arn != execution.arn and ports.machine.is_running(known.execution_arn):
        raise RunIsLive(
            f"run {known.run_id} is being done by execution {known.execution_arn}: wait for it, or stop it first"
        )
    tables = _tables_of(request, known, ports.ledger, contracts)
    run = Run(request.run_id, "running", execution.redrive_count, execution.arn, request.reason, now)
    ports.ledger.begin_run(run, tables)

    held: list[dict[str, str]] = []
    work: list[tuple[Batch, Lease]] = []
    for table in ports.ledger.tables(tables).values():
        lease = _lease(table, run.run_id, held, ports)
        if lease is None:
            continue
        batch = _batch_of(table, run.run_id, ports, contracts)
        if batch is None:
            ports.ledger.free_lease(table.name, run.run_id)
        else:
            work.append((batch, lease))
    if not work:
        names = ", ".join(f"{each['table']} is held by run {each['run_id']}" for each in held)
        reason = f"nothing can be merged now: {names}" if held else "nothing is pending"
        ports.ledger.end_run(run.run_id, "nothing_to_do", {"message": reason}, None, now)
        return _nothing(request, run.pass_, reason, held=held)
    # Batches of earlier passes stay the run's, so that its summary names all that it merged.
    earlier = known.batches if known is not None else ()
    batches = dict.fromkeys((*earlier, *((batch.table, batch.number) for batch, _ in work)))
    return _plan(replace(run, batches=tuple(batches)), work, held, ports)


def _tables_of(request: RunRequest, known: Run | None, ledger: Ledger, contracts: Contracts) -> list[str]:
    """The tables to look at: those that were asked for, those that the run had before, or all with something to do.

    A blocked table is tried only when somebody names it.
    """
    if request.tables is not None:
        return list(request.tables)
    mine = {table for table, _ in known.batches} if known is not None else set()
    waiting = {arrival.table for arrival in ledger.pending()}
    return [
        table.name
        for table in ledger.tables(sorted(contracts.by_table)).values()
        if table.name in mine
        or (
            table.blocked_reason is None
            and (table.name in waiting or table.unsettled_batch is not None or table.open_claim is not None)
        )
    ]


def _lease(table: Table, run_id: str, held: list[dict[str, str]], ports: PlanPorts) -> Lease | None:
    """The lease on a table, or None after noting who holds it.

    It is taken over only from an owner that is proven dead: its execution has ended and none of its clusters lives.
    """
    owner = table.lease.run_id if table.lease is not None else None
    if owner is not None and owner != run_id and not _is_dead(owner, ports):
        held.append({"table": table.name, "run_id": owner})
        return None
    try:
        return ports.ledger.take_lease(table.name, run_id, owner)
    except LeaseHeld:
        held.append({"table": table.name, "run_id": "another run, taken at this moment"})
        return None


def _is_dead(run_id: str, ports: PlanPorts) -> bool:
    run = ports.ledger.run(run_id)
    if run is not None and ports.machine.is_running(run.execution_arn):
        return False
    return not ports.clusters.alive(cluster_prefix(ports.stack, run_id))


def _batch_of(table: Table, run_id: str, ports: PlanPorts, contracts: Contracts) -> Batch | None:
    """The batch to merge: one that is not settled yet comes before a new one."""
    if table.unsettled_batch is not None:
        return ports.ledger.batch(table.name, table.unsettled_batch)
    return claim_batch(
        table,
        contracts.by_table[table.name],
        run_id=run_id,
        ledger=ports.ledger,
        objects=ports.objects,
        lake_bucket=ports.lake_bucket,
        control_bucket=ports.control_bucket,
    )


def _plan(
    run: Run, work: Sequence[tuple[Batch, Lease]], held: list[dict[str, str]], ports: PlanPorts
) -> dict[str, Any]:
    groups = group_steps({batch.table: batch.size_bytes for batch, _ in work})
    entries = {batch.table: _work_entry(run, batch, lease, ports) for batch, lease in work}
    payload = []
    for group in groups:
        uri = f"s3://{ports.control_bucket}/runs/{run.run_id}/{run.pass_}/{group.name}.json"
        document = {
            "schema": WORK_SCHEMA,
            "run_id": run.run_id,
            "pass": run.pass_,
            "group": group.name,
            "batches": [entries[table] for table in group.tables],
        }
        ports.objects.write(uri, json.dumps(document).encode())
        payload.append({
            "group": group.name,
            "work_uri": uri,
            "tables": list(group.tables)[:10],
            "step_name": f"tidegate {run.run_id} {group.name}",
        })  # fmt: skip
    size_bytes = sum(batch.size_bytes for batch, _ in work)
    cluster = size_cluster(ports.stack, run.run_id, run.pass_, size_bytes, len(groups))
    ports.ledger.plan_batches(replace(run, cluster_name=cluster.name))
    files = sum(batch.files for batch, _ in work)
    return {
        "run_id": run.run_id,
        "pass": run.pass_,
        "work": "merge",
        "reason": f"{files} files of {size_bytes:,} bytes for {len(work)} tables. {run.reason}".strip(),
        "cluster": cluster.as_payload(),
        "groups": payload,
        "held": held,
    }


def _work_entry(run: Run, batch: Batch, lease: Lease, ports: PlanPorts) -> dict[str, Any]:
    """What the job is told of one batch in this attempt."""
    folder = f"{batch.table}/{batch.number:012d}"
    return {
        "table": batch.table,
        "batch": batch.number,
        "manifest_uri": batch.manifest_uri,
        "manifest_sha256": batch.manifest_sha256,
        "fence": lease.fence,
        "locations": _locations(batch, ports),
        "receipt_uri": f"s3://{ports.control_bucket}/receipts/{folder}/{run.run_id}-{run.pass_}.json",
    }


def _locations(batch: Batch, ports: PlanPorts) -> dict[str, str]:
    """Stage what can't be read in place; the URIs of the copies by the file's index in the manifest."""
    manifest = json.loads(ports.objects.read(batch.manifest_uri) or b"")
    folder = f"s3://{ports.control_bucket}/staging/{batch.table}/{batch.number:012d}"

    def stage(entry: Mapping[str, Any]) -> tuple[str, str] | None:
        version, etag = ports.objects.current(entry["bucket"], entry["key"])
        if location_of(entry, version, etag).in_place:
            return None
        target = f"{folder}/{staged_name(entry['index'], entry['key'])}"
        ports.objects.copy_version(entry["bucket"], entry["key"], entry["version_id"], target)
        return str(entry["index"]), target

    with ThreadPoolExecutor(THREADS) as pool:
        return dict(staged for staged in pool.map(stage, manifest["files"]) if staged is not None)


def _nothing(
    request: RunRequest,
    pass_: int,
    reason: str,
    *,
    held: Sequence[Mapping[str, str]] = (),
    summary: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    plan = {
        "run_id": request.run_id,
        "pass": pass_,
        "work": "none",
        "reason": reason,
        "groups": [],
        "held": list(held),
    }
    return plan | ({"summary": dict(summary)} if summary else {})


def _said(run: Run) -> str:
    ended = f" at {run.ended_at:%Y-%m-%d %H:%M:%S} UTC" if run.ended_at else ""
    return f"{(run.summary or {}).get('message', 'it succeeded')}{ended}"
