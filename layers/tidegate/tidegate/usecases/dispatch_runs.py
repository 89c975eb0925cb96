"""Look which tables are due and start a run for them."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from tidegate.arrivals import Arrival
from tidegate.contracts import Contracts
from tidegate.dispatch import Dispatch, TableSnapshot, decide_dispatch
from tidegate.ports import Ledger, Machine


@dataclass(frozen=True)
class Started:
    """What came of a dispatch. `run_id` is None if nothing was due; `is_new` is False if it ran before."""

    dispatch: Dispatch
    run_id: str | None
    is_new: bool


@dataclass
class Waiting:
    """What is pending for a table, added up as it is read: a backlog may be larger than the function's memory."""

    files: int = 0
    size_bytes: int = 0
    oldest: datetime | None = None

    def add(self, arrival: Arrival) -> None:
        self.files += 1
        self.size_bytes += arrival.size_bytes
        self.oldest = arrival.event_time if self.oldest is None else min(self.oldest, arrival.event_time)


def dispatch_due_runs(
    *,
    ledger: Ledger,
    machine: Machine,
    contracts: Contracts,
    now: datetime,
    run_id: str,
    at_once: bool = False,
) -> Started:
    """Start run `run_id` for the tables that are due; with `at_once` for all that can be merged.

    The same run id twice starts one run: the name of its execution follows from it.

    Raises Throttled.
    """
    dispatch = decide_dispatch(take_snapshots(ledger, machine, contracts), now, at_once=at_once)
    if not dispatch.tables:
        return Started(dispatch, None, is_new=False)
    run_input = {"run": run_id, "tables": list(dispatch.tables), "reason": dispatch.reason}
    is_new = machine.start(f"{run_id}-1"[:80], run_input)
    return Started(dispatch, run_id, is_new)


def take_snapshots(
    ledger: Ledger, machine: Machine, contracts: Contracts, by_run: str | None = None
) -> list[TableSnapshot]:
    """What the ledger says of every table that has a contract: it reads what is pending and nothing else.

    The leases of run `by_run`, who asks, hold nobody back. A lease whose run has no running execution holds nobody back: Plan run takes it over once the cluster is gone.
    """
    pending: dict[str, Waiting] = defaultdict(Waiting)
    for arrival in ledger.pending():
        if arrival.table is not None:
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
