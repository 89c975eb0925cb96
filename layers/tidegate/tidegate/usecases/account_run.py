"""Account for a run: what its clusters have cost, and its tables' shares. No run fails because of its account."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tidegate.costs import RunAccount
from tidegate.errors import TidegateError
from tidegate.ports import Clusters, Ledger
from tidegate.prices import PriceSheet
from tidegate.run_costs import (
    ClusterAccount,
    MergedBatch,
    RunCost,
    next_try,
    price_cluster,
    share_run,
    with_account,
    without_account,
    words_for_cost,
)
from tidegate.runs import Run


@dataclass(frozen=True)
class CostPorts:
    """What accounting needs from outside. `load_prices` raises NoPriceSheet or InvalidPrices."""

    ledger: Ledger
    clusters: Clusters
    stack: str
    load_prices: Callable[[], PriceSheet]


def account_ended_run(run_id: str, *, ports: CostPorts, now: datetime) -> dict[str, Any]:
    """Account for a run that has just ended; dollars and words for its output.

    Never raises: what can't be accounted now is tried again by the reaper.
    """
    try:
        run = ports.ledger.run(run_id)
        cost = ports.ledger.cost_of(run_id, run.started_at) if run is not None else None
        if run is None or (cost is None and run.cluster_name is None):
            return {"cost_usd": None, "cost": "it had no cluster"}
        cost = cost or _not_estimated(run)
        if not cost.is_final:
            cost = account_run(cost, run, ports=ports, now=now)
    except Exception as trouble:  # noqa: BLE001 - a run that has merged must not fail for what it has cost
        return {
            "cost_usd": None,
            "cost": f"not accounted, it is tried again: {type(trouble).__name__}: {trouble}"[:500],
        }
    accounted = cost.accounted_usd
    return {"cost_usd": None if accounted is None else float(accounted), "cost": words_for_cost(cost, now)}


def account_run(cost: RunCost, run: Run | None, *, ports: CostPorts, now: datetime) -> RunCost:
    """Account for a run as it is now, and write it down. Doing it twice changes nothing.

    A cluster that has ended was priced for good; the others are priced to `now`. Why an account can't be made is
    written down instead, and what was known before stays. Raises Throttled if the ledger can't be written.
    """
    if run is None:
        made = without_account(cost, "the ledger doesn't know the run", run, now)
        ports.ledger.record_cost(made, next_try(made, now))
        return made
    try:
        clusters, account = _account(cost, run, ports, now)
    except TidegateError as trouble:
        made = without_account(cost, str(trouble), run, now)
    except Exception as trouble:  # noqa: BLE001 - one run's trouble stops no other's account
        made = without_account(cost, f"{type(trouble).__name__}: {trouble}", run, now)
    else:
        if not (clusters or run.ended_at):
            return cost  # nothing is there yet
        made = with_account(cost, clusters, account, run, now)
        if made.is_final:
            # First: whoever dies in between does both again.
            ports.ledger.record_shares(made, account.by_table)
    ports.ledger.record_cost(made, next_try(made, now))
    return made


def _account(cost: RunCost, run: Run, ports: CostPorts, now: datetime) -> tuple[dict[str, ClusterAccount], RunAccount]:
    sheet = ports.load_prices()
    clusters = dict(cost.clusters)
    for cluster in ports.clusters.of_run(ports.stack, cost.run_id, cost.began_at):
        known = clusters.get(cluster.cluster_id)
        if known is None or not known.is_final:
            instances = ports.clusters.instances(cluster.cluster_id)
            clusters[cluster.cluster_id] = price_cluster(sheet, cluster, instances, now)
    merged = [
        MergedBatch(batch.table, batch.files, batch.merge_s)
        for batch in ports.ledger.batches_named(run.batches)
        if batch.state == "merged" and batch.run_id == cost.run_id
    ]
    return clusters, share_run(sheet, clusters, merged, sorted({table for table, _ in run.batches}))


def _not_estimated(run: Run) -> RunCost:
    """Of a run that was planned by a release that didn't estimate."""
    reason = "it was planned before runs were estimated"
    return RunCost(run.run_id, run.started_at, run.attempt, run.planned_at or run.started_at, None, reason)
