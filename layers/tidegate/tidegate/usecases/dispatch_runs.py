"""Look which tables are due and start a run for them."""

from dataclasses import dataclass
from datetime import UTC, datetime

from tidegate.contracts import Contracts
from tidegate.dispatch import Dispatch, decide_dispatch
from tidegate.ports import Ledger, Machine
from tidegate.run_costs import spending_of
from tidegate.runs import Run, why_hand_over
from tidegate.stack_limits import ALONE, ANYTHING, LiveCluster, Stack, StackLimits
from tidegate.usecases.take_rates import take_rates
from tidegate.usecases.take_snapshots import take_snapshots


@dataclass(frozen=True)
class Started:
    """What came of a dispatch. `run_id` is None if nothing was due; `is_new` is False if it ran before."""

    dispatch: Dispatch
    run_id: str | None
    is_new: bool


def dispatch_due_runs(
    *,
    ledger: Ledger,
    machine: Machine,
    contracts: Contracts,
    now: datetime,
    run_id: str,
    at_once: bool = False,
    limits: StackLimits = ANYTHING,
) -> Started:
    """Start run `run_id` for the tables that are due; with `at_once` for all that can be merged.

    The same run id twice starts one run: the name of its execution follows from it.

    Raises Throttled.
    """
    snapshots = take_snapshots(ledger, machine, contracts)
    working = [each.contract.table for each in snapshots if each.has_work]
    dispatch = decide_dispatch(
        snapshots,
        now,
        at_once=at_once,
        rates=take_rates(ledger, working, now),
        limits=limits,
        stack=_stack(ledger, machine, limits, now) if working else ALONE,
    )
    if not dispatch.tables:
        return Started(dispatch, None, is_new=False)
    run_input = {"run": run_id, "tables": list(dispatch.tables), "reason": dispatch.reason}
    is_new = machine.start(f"{run_id}-1"[:80], run_input)
    return Started(dispatch, run_id, is_new)


def _stack(ledger: Ledger, machine: Machine, limits: StackLimits, now: datetime) -> Stack:
    """The runs that have not ended: each has a cluster, or is about to. A dead one takes nothing more.

    What the day has cost is asked only for a ceiling. A run is expected to cost what the day's runs do.
    """

    def takes_more(run: Run) -> bool:
        return run.state == "running" and why_hand_over(run, now) is None and machine.is_running(run.execution_arn)

    clusters = tuple(LiveCluster(run.run_id, takes_more(run), run.round_ends_at) for run in ledger.running_runs())
    if limits.daily_budget_usd is None:
        return Stack(clusters)
    today = spending_of(ledger.costs_of_day(now.astimezone(UTC).date()), now)
    return Stack(clusters, spent_usd=float(today.usd), run_usd=float(today.usd_a_run))
