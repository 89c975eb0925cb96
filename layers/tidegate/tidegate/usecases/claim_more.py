"""Claim more while the cluster is warm: what is due, or would be before a new cluster could be there."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from tidegate.contracts import Contracts
from tidegate.dispatch import decide_more
from tidegate.errors import ClusterLost, StalePass, StepUnclear
from tidegate.ports import Table
from tidegate.run_size import round_s
from tidegate.runs import Execution, Run, check_pass, run_id_of, why_hand_over
from tidegate.usecases.plan_batches import PlanPorts, plan_batches, table_work, words_of, write_work
from tidegate.usecases.take_rates import take_rates
from tidegate.usecases.take_snapshots import take_snapshots


@dataclass(frozen=True)
class MoreRequest:
    """What the machine says when a round is through.

    `attempt` is that of the round; `unclear` are its groups of whose steps nobody knows whether they have ended, and
    `unsettled` those whose receipts could not be read.
    """

    execution: Execution
    execution_input: Any
    attempt: int
    cluster_id: str
    unclear: tuple[str, ...] = ()
    unsettled: tuple[str, ...] = ()


def claim_more(request: MoreRequest, *, ports: PlanPorts, contracts: Contracts, now: datetime) -> dict[str, Any]:
    """Plan the next round of a run on its cluster. Asked twice for the same round, it plans the same one.

    Returns `work` "merge" with groups, or "none" with the reason why the cluster can go.

    Raises StepUnclear and ClusterLost, after which the cluster ends and the run is planned again; StalePass, Throttled.
    """
    run = ports.ledger.run(run_id_of(request.execution_input, request.execution.name))
    check_pass(run, request.execution)
    if run is None or run.attempt not in (request.attempt, request.attempt + 1):
        raise StalePass(f"attempt {request.attempt} of {request.execution.name} is over")
    if request.unclear:
        raise StepUnclear(
            f"nobody knows whether the steps of {', '.join(request.unclear)} have ended, so their cluster has to"
        )
    own = ports.ledger.tables(run.tables)
    _check_the_cluster(run, own, request.cluster_id, ports)
    if request.unsettled:
        # They would be taken for unmerged, and merged again round after round.
        return _none(run, f"{', '.join(request.unsettled)} could not be settled: the run ends, and settles them then")
    hand_over = why_hand_over(run, now)
    if hand_over is not None:
        return _none(run, hand_over)
    snapshots = take_snapshots(ports.ledger, ports.machine, contracts, by_run=run.run_id)
    rates = take_rates(ports.ledger, [each.contract.table for each in snapshots if each.has_work], now)
    mine = [name for name in run.tables if name in contracts.by_table]
    tables = decide_more(snapshots, mine, run.started_at, now, rates=rates, limits=ports.limits)
    if not tables:
        # Its cluster takes minutes to end: until then, what falls due waits for nothing.
        ports.ledger.plan_batches(replace(run, round_ends_at=None))
        return _none(run, "nothing more is due")
    if run.attempt == request.attempt:
        run = ports.ledger.next_attempt(run, run.launch, run.launches)
    run = replace(run, tables=tuple(dict.fromkeys((*run.tables, *tables))))
    ports.ledger.plan_batches(run)  # the tables first: whoever finds the run dead frees their leases
    plan = plan_batches(run, tables, ports=ports, contracts=contracts, now=now)
    if not plan.work:
        return _none(run, words_of(plan.held) or "nothing more is pending")
    takes_s = round_s(table_work(plan, contracts, now), run.units, rates)
    batches = tuple(dict.fromkeys((*run.batches, *plan.batches)))
    ends_at = now + timedelta(seconds=takes_s)
    run = replace(run, batches=batches, round_bytes=plan.size_bytes, round_ends_at=ends_at)
    ports.ledger.plan_batches(run)
    return {
        "run_id": run.run_id,
        "pass": run.attempt,
        "work": "merge",
        "reason": f"{len(plan.work)} more tables of {plan.size_bytes:,} bytes while the cluster is warm",
        "groups": write_work(run, plan, ports=ports, contracts=contracts),
        "held": plan.held[:20],
    }


def _check_the_cluster(run: Run, own: dict[str, Table], cluster_id: str, ports: PlanPorts) -> None:
    """Raise ClusterLost if the cluster has ended under batches of the run that may still be tried."""
    left = [name for name, table in own.items() if (name, table.unsettled_batch) in set(run.batches)]
    ended = ports.clusters.why_ended(cluster_id) if left else None
    if ended is not None:
        raise ClusterLost(f"cluster {cluster_id} ended before {', '.join(left[:10])} could be merged: {ended}")


def _none(run: Run, reason: str) -> dict[str, Any]:
    return {"run_id": run.run_id, "pass": run.attempt, "work": "none", "reason": reason, "groups": [], "held": []}
