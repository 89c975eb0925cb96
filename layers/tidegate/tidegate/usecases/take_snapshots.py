"""What the ledger says of the tables at one moment: what dispatch and a run with a warm cluster decide on."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from tidegate.contracts import Contracts
from tidegate.dispatch import TableSnapshot
from tidegate.ports import Ledger, Machine, Waiting


@dataclass
class Sum:
    """What is pending for a table, added up as it is read: a backlog may be larger than the function's memory."""

    files: int = 0
    size_bytes: int = 0
    oldest: datetime | None = None

    def add(self, arrival: Waiting) -> None:
        self.files += 1
        self.size_bytes += arrival.size_bytes
        self.oldest = arrival.event_time if self.oldest is None else min(self.oldest, arrival.event_time)


def take_snapshots(
    ledger: Ledger, machine: Machine, contracts: Contracts, by_run: str | None = None
) -> list[TableSnapshot]:
    """What the ledger says of every table that has a contract: it reads what is pending and nothing else.

    The leases of run `by_run`, who asks, hold nobody back. Nor does a lease whose run has no running execution: Plan
    run takes it over once the cluster is gone.
    """
    pending: dict[str, Sum] = defaultdict(Sum)
    for arrival in ledger.waiting():
        pending[arrival.table].add(arrival)
    tables = ledger.tables(sorted(contracts.by_table))
    stack_pause = ledger.paused_stack()
    owners = {table.lease.run_id for table in tables.values() if table.lease is not None} - {by_run}
    live_owners = {run_id for run_id in owners if is_live(run_id, ledger, machine)}
    snapshots = []
    for name, contract in contracts.by_table.items():
        table, waiting = tables[name], pending[name]
        snapshots.append(
            TableSnapshot(
                contract=contract,
                pending_files=waiting.files,
                pending_bytes=waiting.size_bytes,
                oldest_event_time=waiting.oldest,
                held_by=table.lease.run_id if table.lease and table.lease.run_id in live_owners else None,
                unsettled_batch=table.unsettled_batch or (table.open_claim.batch if table.open_claim else None),
                reopened=len(table.reopened),
                retry_after=table.retry_after,
                blocked_reason=table.blocked_reason,
                paused_reason=stack_pause or table.paused_reason,
            )
        )
    return snapshots


def is_live(run_id: str, ledger: Ledger, machine: Machine) -> bool:
    """Whether the execution that is at a run has not ended."""
    run = ledger.run(run_id)
    return run is not None and machine.is_running(run.execution_arn)
