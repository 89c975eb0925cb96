"""Close a run that nobody goes on with."""

from datetime import datetime
from typing import Any

from tidegate.failures import words_for_failed_run
from tidegate.runs import Run
from tidegate.usecases.free_leases import free_leases
from tidegate.usecases.settle_batches import SettlePorts, settle_batches_of, summary_of


def settle_dead_run(run: Run, *, ports: SettlePorts, now: datetime) -> dict[str, Any]:
    """Close a run whose execution has died and of which no cluster lives: what its receipts say stands.

    For whoever proved that, which is the reaper. Doing it twice changes nothing. One that died before it had a batch
    has failed: started again with the same input, it must go on, not say that it is settled. Raises Throttled.
    """
    settled = settle_batches_of(run, ports, now)
    free_leases(run, ports.ledger)
    summary = summary_of(run, settled)
    if not run.batches:
        summary |= {"outcome": "failed"}
    words = None
    if summary["outcome"] != "succeeded":
        words = words_for_failed_run(
            run.run_id, settled.unsettled, {"Error": "ExecutionDied", "Cause": run.error or ""}
        )
    ports.ledger.end_run(run, summary["outcome"], summary, words, now)
    return summary
