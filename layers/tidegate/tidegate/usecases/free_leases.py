"""Give up what a run holds."""

from tidegate.ports import Ledger
from tidegate.runs import Run


def free_leases(run: Run, ledger: Ledger) -> None:
    """Give up every lease that the run may hold. For whoever knows that none of its drivers lives. Raises Throttled."""
    for table in dict.fromkeys((*run.tables, *(table for table, _ in run.batches))):
        ledger.free_lease(table, run.run_id, run.attempt)
