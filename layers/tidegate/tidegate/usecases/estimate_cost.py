"""Write down what a run is expected to cost, before it has a cluster."""

from collections.abc import Callable
from datetime import datetime

from tidegate.costs import estimate_run
from tidegate.errors import TidegateError
from tidegate.ports import Ledger
from tidegate.prices import PriceSheet
from tidegate.run_costs import RunCost
from tidegate.runs import Run
from tidegate.sizing import ClusterPlan


def estimate_cost(
    run: Run,
    cluster: ClusterPlan,
    *,
    ledger: Ledger,
    load_prices: Callable[[], PriceSheet],
    start_up_s: float,
    merge_s: float,
    now: datetime,
) -> RunCost:
    """Estimate the run's newest cluster, and open its account. `run.started_at` is when the run first began.

    Without a price the account is open all the same, and says why. Raises Throttled: a cluster that nobody accounts for
    must not start.
    """
    try:
        estimate = estimate_run(load_prices(), cluster, start_up_s, merge_s)
    except TidegateError as trouble:
        cost = RunCost(run.run_id, run.started_at, run.attempt, now, None, f"not estimated: {trouble}")
    else:
        cost = RunCost(run.run_id, run.started_at, run.attempt, now, estimate, estimate.reason)
    ledger.begin_cost(cost)
    return cost
