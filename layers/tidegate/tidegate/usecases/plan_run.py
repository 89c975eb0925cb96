"""Plan a run: which batches it merges, where they are read from, on what cluster."""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from tidegate.batches import group_steps, location_of, staged_name
from tidegate.contracts import Contracts
from tidegate.errors import ClaimMoved, LeaseHeld, RunIsLive, SourceGone
from tidegate.ports import Batch, Clusters, Lease, Ledger, Machine, Objects, Table
from tidegate.runs import Execution, Run, RunRequest, attempt_of, read_request
from tidegate.sizing import size_cluster
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


@dataclass(frozen=True)
class Planned:
    """A batch that this attempt merges. `locations` are staged copies by the file's index in the manifest."""

    batch: Batch
    lease: Lease
    locations: Mapping[str, str]


def plan_run(
    execution_input: Any, execution: Execution, *, ports: PlanPorts, contracts: Contracts, now: datetime
) -> dict[str, Any]:
    """Plan the run that an execution is about, in the execution's pass. Planning twice gives the same plan.

    Returns what the state machine goes on with: `work` is "merge" with groups and cluster, or "none" with the reason.

    Raises InvalidRunInput, UnknownTable, RunIsLive, LeaseHeld, StalePass, Throttled.
    """
    request = read_request(execution_input, execution.name, list(contracts.by_table))
    known = ports.ledger.run(request.run_id)
    if known is not None and known.state == "succeeded":
        return _nothing(request, known.attempt, f"run {known.run_id} is settled: {_said(known)}", summary=known.summary)
    if known is not None and known.execution_arn != execution.arn and ports.machine.is_running(known.execution_arn):
        raise RunIsLive(
            f"run {known.run_id} is being done by execution {known.execution_arn}: wait for it, or stop it first"
        )
    tables = tuple(_tables_of(request, known, ports.ledger, contracts))
    run = Run(
        request.run_id,
        "running",
        execution.redrive_count,
        execution.arn,
        request.reason,
        now,
        attempt=attempt_of(known, execution),
        tables=tables,
    )
    ports.ledger.begin_run(run, known)
    if known is not None:
        _check_no_cluster_lives(run, ports)

    held: list[dict[str, Any]] = []
    work: list[Planned] = []
    for table in ports.ledger.tables(tables).values():
        lease = _lease(table, run.run_id, held, ports)
        if lease is None:
            continue
        planned = _plan_table(table.name, lease, run, held, ports=ports, contracts=contracts)
        if planned is None:
            ports.ledger.free_lease(table.name, run.run_id)
        else:
            work.append(planned)
    if not work:
        names = "; ".join(f"{each['table']}: {each['reason']}" for each in held)
        reason = f"nothing can be merged now: {names}" if held else "nothing is pending"
        ports.ledger.end_run(run.run_id, "nothing_to_do", {"message": reason}, None, now)
        return _nothing(request, run.attempt, reason, held=held)
    # Batches of earlier passes stay the run's, so that its summary names all that it merged.
    earlier = known.batches if known is not None else ()
    batches = dict.fromkeys((*earlier, *((each.batch.table, each.batch.number) for each in work)))
    return _plan(replace(run, batches=tuple(batches)), work, held, ports)


def _check_no_cluster_lives(run: Run, ports: PlanPorts) -> None:
    """An earlier attempt of this run may have left a cluster whose driver still writes.

    Raises LeaseHeld; the machine's failure path finds that cluster by its name and ends it.
    """
    alive = ports.clusters.alive(ports.stack, run.run_id)
    if alive:
        raise LeaseHeld(
            f"cluster {', '.join(alive)} of an earlier attempt at run {run.run_id} was still there and may have been "
            "writing. It is ended now: redrive this execution to go on"
        )


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


def _lease(table: Table, run_id: str, held: list[dict[str, Any]], ports: PlanPorts) -> Lease | None:
    """The lease on a table, or None after noting who holds it.

    It is taken over only from an owner that is proven dead: its execution has ended and none of its clusters lives.
    """
    owner = table.lease.run_id if table.lease is not None else None
    if owner is not None and owner != run_id and not _is_dead(owner, ports):
        held.append(_held(table.name, owner, f"run {owner} is at it"))
        return None
    try:
        return ports.ledger.take_lease(table.name, run_id, owner)
    except LeaseHeld as taken:
        held.append(_held(table.name, None, str(taken)))
        return None


def _held(table: str, run_id: str | None, reason: str) -> dict[str, Any]:
    return {"table": table, "run_id": run_id, "reason": reason}


def _is_dead(run_id: str, ports: PlanPorts) -> bool:
    run = ports.ledger.run(run_id)
    if run is not None and ports.machine.is_running(run.execution_arn):
        return False
    return not ports.clusters.alive(ports.stack, run_id)


def _plan_table(
    name: str, lease: Lease, run: Run, held: list[dict[str, Any]], *, ports: PlanPorts, contracts: Contracts
) -> Planned | None:
    """The table's batch and where its files are read, or None. What is wrong with one table stops no other."""
    # Read again: until the lease was ours, another run may have settled or sealed a batch.
    table = ports.ledger.table(name)
    try:
        batch = _batch_of(table, run, lease, ports, contracts)
        return None if batch is None else Planned(batch, lease, _locations(batch, ports))
    except ClaimMoved as moved:
        held.append(_held(name, None, str(moved)))
    except SourceGone as gone:
        ports.ledger.block_table(name, str(gone))
        held.append(_held(name, None, str(gone)))
    return None


def _batch_of(table: Table, run: Run, lease: Lease, ports: PlanPorts, contracts: Contracts) -> Batch | None:
    """The batch to merge: one that is not settled yet comes before a new one."""
    if table.unsettled_batch is not None:
        return ports.ledger.batch(table.name, table.unsettled_batch)
    return claim_batch(
        table,
        contracts.by_table[table.name],
        run_id=run.run_id,
        claim_id=str(lease.fence),
        ledger=ports.ledger,
        objects=ports.objects,
        lake_bucket=ports.lake_bucket,
        control_bucket=ports.control_bucket,
    )


def _plan(run: Run, work: Sequence[Planned], held: list[dict[str, Any]], ports: PlanPorts) -> dict[str, Any]:
    groups = group_steps({each.batch.table: each.batch.size_bytes for each in work})
    entries = {each.batch.table: _work_entry(run, each, ports) for each in work}
    payload = []
    for group in groups:
        uri = f"s3://{ports.control_bucket}/runs/{run.run_id}/{run.attempt}/{group.name}.json"
        document = {
            "schema": WORK_SCHEMA,
            "run_id": run.run_id,
            "pass": run.attempt,
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
    size_bytes = sum(each.batch.size_bytes for each in work)
    cluster = size_cluster(ports.stack, run.run_id, run.attempt, size_bytes, len(groups))
    ports.ledger.plan_batches(replace(run, cluster_name=cluster.name))
    files = sum(each.batch.files for each in work)
    return {
        "run_id": run.run_id,
        "pass": run.attempt,
        "work": "merge",
        "reason": f"{files} files of {size_bytes:,} bytes for {len(work)} tables. {run.reason}".strip(),
        "cluster": cluster.as_payload(),
        "groups": payload,
        "held": held,
    }


def _work_entry(run: Run, planned: Planned, ports: PlanPorts) -> dict[str, Any]:
    """What the job is told of one batch in this attempt."""
    batch = planned.batch
    folder = f"{batch.table}/{batch.number:012d}"
    return {
        "table": batch.table,
        "batch": batch.number,
        "manifest_uri": batch.manifest_uri,
        "manifest_sha256": batch.manifest_sha256,
        "fence": planned.lease.fence,
        "locations": dict(planned.locations),
        "receipt_uri": f"s3://{ports.control_bucket}/receipts/{folder}/{run.run_id}-{run.attempt}.json",
    }


def _locations(batch: Batch, ports: PlanPorts) -> dict[str, str]:
    """Stage what can't be read in place; the URIs of the copies by the file's index in the manifest."""
    manifest = json.loads(ports.objects.read(batch.manifest_uri) or b"")
    folder = f"s3://{ports.control_bucket}/staging/{batch.table}/{batch.number:012d}"

    def stage(entry: Mapping[str, Any]) -> tuple[str, str] | None:
        version, etag = ports.objects.current(entry["bucket"], entry["key"])
        if location_of(entry, version, etag).in_place:
            return None
        if entry["version_id"] is None and entry["etag"] and entry["etag"] != etag:
            # Copying what is there now would merge other bytes under this arrival's name.
            raise SourceGone(
                f"s3://{entry['bucket']}/{entry['key']} was overwritten or deleted before it was merged, and its "
                "bucket keeps no versions. Switch versioning on, and land the file again under another name"
            )
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
    held: Sequence[Mapping[str, Any]] = (),
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
