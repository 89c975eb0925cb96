"""Plan batches: take a table's lease, claim or pick up its batch, stage what can't be read in place, write the work.

One table's trouble stops no other: what can't be planned is held, with the reason.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tidegate.batches import GROUPS_A_ROUND, group_steps
from tidegate.contracts import Contracts
from tidegate.dispatch import deadline_of, may_maintain
from tidegate.errors import ClaimMoved, LeaseHeld, LedgerBehind, SourceGone
from tidegate.ports import Batch, Clusters, Lease, Ledger, Machine, Objects, Table
from tidegate.prices import PriceSheet
from tidegate.receipts import receipt_uri
from tidegate.run_size import TableWork
from tidegate.runs import Run
from tidegate.stack_limits import ANYTHING, StackLimits
from tidegate.usecases.claim_batch import claim_batch
from tidegate.usecases.locate_files import locate_files

WORK_SCHEMA = 1


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
    load_prices: Callable[[], PriceSheet]
    """Raises NoPriceSheet or InvalidPrices."""
    limits: StackLimits = ANYTHING


@dataclass(frozen=True)
class Planned:
    """A batch that this attempt merges, or voids. `locations` are staged copies by the file's index in the manifest."""

    batch: Batch
    lease: Lease
    locations: Mapping[str, str]
    is_void: bool
    maintenance: bool = False
    """May the job maintain the table behind the batch?"""


@dataclass(frozen=True)
class Plan:
    """What an attempt does, and which tables it had to leave alone."""

    work: list[Planned] = field(default_factory=list)
    held: list[dict[str, Any]] = field(default_factory=list)

    def hold(self, table: str, reason: str, by_run: str | None = None) -> None:
        self.held.append({"table": table, "run_id": by_run, "reason": reason[:500]})

    @property
    def batches(self) -> list[tuple[str, int]]:
        return [(each.batch.table, each.batch.number) for each in self.work]

    @property
    def files(self) -> int:
        return sum(each.batch.files for each in self.work)

    @property
    def size_bytes(self) -> int:
        return sum(each.batch.size_bytes for each in self.work)


def plan_batches(run: Run, tables: Iterable[str], *, ports: PlanPorts, contracts: Contracts, now: datetime) -> Plan:
    """The next batch of each of the tables, its lease taken. Doing it twice gives the same batches.

    Raises Throttled.
    """
    plan = Plan()
    pause = ports.ledger.paused_stack()
    before = {table for table, _ in run.batches}
    for table in ports.ledger.tables(list(tables)).values():
        reason = pause or table.paused_reason
        if reason is not None:
            plan.hold(table.name, f"paused: {reason}. `tidegate resume` ends it")
            continue
        lease = _lease(table, run, plan, ports)
        if lease is None:
            continue
        planned = _plan_table(table.name, lease, run, plan, ports=ports, contracts=contracts, now=now)
        if planned is not None:
            plan.work.append(planned)
        elif table.name not in before:
            ports.ledger.free_lease(table.name, run.run_id, run.attempt)
    return plan


def table_work(plan: Plan, contracts: Contracts, now: datetime) -> list[TableWork]:
    """What sizing needs to know of a plan. `asap` promises no time, and a void is done in none."""

    def deadline_in_s(batch: Batch) -> float | None:
        deadline = _deadline(batch, contracts)
        return None if deadline is None else (deadline - now).total_seconds()

    return [
        TableWork(each.batch.table, each.batch.size_bytes, each.batch.files, deadline_in_s=deadline_in_s(each.batch))
        for each in plan.work
        if not each.is_void
    ]


def _deadline(batch: Batch, contracts: Contracts) -> datetime | None:
    """When a batch must be queryable; None if nothing is promised."""
    freshness = contracts.by_table[batch.table].freshness
    return None if freshness.kind == "asap" else deadline_of(batch.oldest_event_time, freshness)


def write_work(run: Run, plan: Plan, *, ports: PlanPorts, contracts: Contracts) -> list[dict[str, Any]]:
    """Write the work files of an attempt; the step groups as the state machine reads them.

    What is beyond a round's limit stays unsettled, and the next round picks it up.
    """
    entries = {each.batch.table: _work_entry(run, each, ports, _deadline(each.batch, contracts)) for each in plan.work}
    payload = []
    for group in group_steps({each.batch.table: each.batch.size_bytes for each in plan.work})[:GROUPS_A_ROUND]:
        uri = f"s3://{ports.control_bucket}/runs/{run.run_id}/{run.attempt}/{group.name}.json"
        document = {
            "schema": WORK_SCHEMA,
            "run_id": run.run_id,
            "pass": run.attempt,
            "group": group.name,
            "progress_uri": progress_uri(ports.control_bucket, run, group.name),
            "batches": [entries[table] for table in group.tables],
        }
        ports.objects.write(uri, json.dumps(document).encode())
        payload.append({
            "group": group.name,
            "work_uri": uri,
            "tables": list(group.tables)[:10],
            "step_name": f"tidegate {run.run_id} {run.attempt} {group.name}",
        })  # fmt: skip
    return payload


def progress_uri(control_bucket: str, run: Run, group: str) -> str:
    """Where a group of this attempt tells how far it is."""
    return f"s3://{control_bucket}/progress/{run.run_id}/{run.attempt}/{group}.json"


def is_dead(run_id: str, ports: PlanPorts) -> bool:
    """Whether nothing of a run can still write: its execution has ended and none of its clusters lives."""
    run = ports.ledger.run(run_id)
    if run is not None and ports.machine.is_running(run.execution_arn):
        return False
    return not ports.clusters.alive(ports.stack, run_id)


def _lease(table: Table, run: Run, plan: Plan, ports: PlanPorts) -> Lease | None:
    """The lease on a table, or None after noting who holds it.

    It is taken over only from an owner that is proven dead.
    """
    owner = table.lease.run_id if table.lease is not None else None
    if owner is not None and owner != run.run_id and not is_dead(owner, ports):
        plan.hold(table.name, f"run {owner} is at it", owner)
        return None
    try:
        return ports.ledger.take_lease(table.name, run.run_id, owner, run.attempt)
    except LeaseHeld as taken:
        plan.hold(table.name, str(taken))
        return None


def _plan_table(
    name: str, lease: Lease, run: Run, plan: Plan, *, ports: PlanPorts, contracts: Contracts, now: datetime
) -> Planned | None:
    """The table's batch and where its files are read, or None."""
    # Read again: until the lease was ours, another run may have settled or sealed a batch.
    table = ports.ledger.table(name)
    try:
        batch = _batch_of(table, run, lease, ports=ports, contracts=contracts, now=now)
    except ClaimMoved as moved:
        plan.hold(name, str(moved))
        return None
    except LedgerBehind as behind:
        ports.ledger.block_table(name, str(behind))
        plan.hold(name, str(behind))
        return None
    if batch is None:
        return None
    if table.void_reason is not None and table.unsettled_batch == batch.number:
        return Planned(batch, lease, {}, is_void=True)
    has_time = may_maintain(contracts.by_table[name], batch.files, batch.size_bytes, reopened=len(table.reopened))
    try:
        locations = locate_files(batch, ports.objects, ports.control_bucket)
        return Planned(batch, lease, locations, is_void=False, maintenance=has_time)
    except SourceGone as gone:
        # It can never be merged as it is: it is opened up until the file that is gone is alone.
        ports.ledger.order_void(batch, str(gone))
        return Planned(batch, lease, {}, is_void=True)


def _batch_of(
    table: Table, run: Run, lease: Lease, *, ports: PlanPorts, contracts: Contracts, now: datetime
) -> Batch | None:
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
        now=now,
    )


def _work_entry(run: Run, planned: Planned, ports: PlanPorts, deadline: datetime | None) -> dict[str, Any]:
    """What the job is told of one batch in this attempt. Size and deadline are for scaling, which reads it too."""
    batch = planned.batch
    return {
        "table": batch.table,
        "batch": batch.number,
        "action": "void" if planned.is_void else "merge",
        "manifest_uri": batch.manifest_uri,
        "manifest_sha256": batch.manifest_sha256,
        "fence": planned.lease.fence,
        "locations": dict(planned.locations),
        "receipt_uri": receipt_uri(ports.control_bucket, batch.table, batch.number, run.run_id, run.attempt),
        "maintenance": planned.maintenance,
        "size_bytes": batch.size_bytes,
        "files": batch.files,
        "deadline": None if deadline is None else deadline.isoformat(),
    }


def words_of(held: Sequence[Mapping[str, Any]]) -> str:
    """Why tables were left alone, in one line."""
    return "; ".join(f"{each['table']}: {each['reason']}" for each in held)
