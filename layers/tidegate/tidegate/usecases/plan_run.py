"""Plan a run: which batches it merges, where they are read from, on what cluster."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from tidegate.contracts import Contracts
from tidegate.errors import ClusterLeft, RunIsLive, StalePass
from tidegate.ports import Ledger
from tidegate.run_size import decide_size, round_s
from tidegate.runs import MAXIMUM_BATCHES, Execution, Run, RunRequest, attempt_of, is_same_pass, read_request
from tidegate.sizing import size_cluster
from tidegate.usecases.estimate_cost import estimate_cost
from tidegate.usecases.free_leases import free_leases
from tidegate.usecases.plan_batches import Plan, PlanPorts, plan_batches, table_work, words_of, write_work
from tidegate.usecases.replay import queue_replay
from tidegate.usecases.take_rates import take_rates


def plan_run(
    execution_input: Any, execution: Execution, *, ports: PlanPorts, contracts: Contracts, now: datetime
) -> dict[str, Any]:
    """Plan the run that an execution is about, in the execution's pass. Planning twice gives the same plan.

    Returns what the state machine goes on with: `work` is "merge" with groups and cluster, or "none" with the reason.

    Raises InvalidRunInput, UnknownTable, RunIsLive, ClusterLeft, StalePass, Throttled.
    """
    request = read_request(execution_input, execution.name, list(contracts.by_table))
    try:
        return _plan_as_known(request, execution, ports=ports, contracts=contracts, now=now)
    except RunIsLive:
        # Between the look and the write somebody else changed the run. The reaper, which has given an execution up that
        # was just stopped, is no reason to refuse the new one; another execution is, and is named then.
        return _plan_as_known(request, execution, ports=ports, contracts=contracts, now=now)


def _plan_as_known(
    request: RunRequest, execution: Execution, *, ports: PlanPorts, contracts: Contracts, now: datetime
) -> dict[str, Any]:
    """Plan a run, going on from what the ledger has of it now. Raises RunIsLive if that changes meanwhile."""
    known = ports.ledger.run(request.run_id)
    if known is not None and known.state == "succeeded":
        return _nothing(request, known.attempt, f"run {known.run_id} is settled: {_said(known)}", summary=known.summary)
    _check_it_is_free(known, execution, ports)
    tables = (
        queue_replay(request, known, ports=ports, contracts=contracts)
        if request.replay is not None
        else tuple(_tables_of(request, known, ports.ledger, contracts))
    )
    tables = tables[:MAXIMUM_BATCHES]  # the rest is for the next run
    is_same = is_same_pass(known, execution)
    run = Run(
        request.run_id,
        "running",
        execution.redrive_count,
        execution.arn,
        request.reason,
        now,
        attempt=attempt_of(known, execution),
        launch=known.launch if known is not None and is_same else 0,
        launches=known.launches if known is not None and is_same else 0,
        rounds=known.rounds if known is not None and is_same else 0,
        batches=known.batches if known is not None else (),
        tables=tuple(dict.fromkeys((*(known.tables if known is not None else ()), *tables))),
    )
    ports.ledger.begin_run(run, known)
    if known is not None:
        _check_no_cluster_lives(run, ports)

    plan = plan_batches(run, tables, ports=ports, contracts=contracts, now=now)
    if not plan.work:
        free_leases(run, ports.ledger)
        reason = "no arrival is as the replay asks for" if request.replay is not None else "nothing is pending"
        if plan.held:
            reason = f"nothing can be merged now: {words_of(plan.held)}"
        ports.ledger.end_run(run, "nothing_to_do", {"message": reason}, None, now)
        return _nothing(request, run.attempt, reason, held=plan.held)
    # Batches of earlier attempts stay the run's, so that its summary names all that it merged.
    run = replace(run, batches=tuple(dict.fromkeys((*run.batches, *plan.batches))))
    began_at = known.started_at if known is not None else now
    return _payload(run, plan, began_at, ports=ports, contracts=contracts, now=now)


def _check_it_is_free(known: Run | None, execution: Execution, ports: PlanPorts) -> None:
    """Refuse what would plan beside another execution, or after this one was given up for dead."""
    if known is None:
        return
    if known.state == "fenced" and is_same_pass(known, execution):
        raise StalePass(f"run {known.run_id} was given up for dead: redrive this execution to go on")
    if known.execution_arn != execution.arn and ports.machine.is_running(known.execution_arn):
        raise RunIsLive(
            f"run {known.run_id} is being done by execution {known.execution_arn}: wait for it, or stop it first"
        )


def _check_no_cluster_lives(run: Run, ports: PlanPorts) -> None:
    """An earlier attempt of this run may have left a cluster whose driver still writes.

    Raises ClusterLeft; the machine's failure path finds that cluster by its name, ends it and plans again.
    """
    alive = ports.clusters.alive(ports.stack, run.run_id)
    if alive:
        raise ClusterLeft(
            f"cluster {', '.join(alive)} of an earlier attempt at run {run.run_id} is still there and may be writing: "
            "it is ended before the run is planned again"
        )


def _tables_of(request: RunRequest, known: Run | None, ledger: Ledger, contracts: Contracts) -> list[str]:
    """The tables to look at: those that were asked for, or all with something to do, and those that the run had.

    A blocked table is tried only when somebody names it.
    """
    mine = dict.fromkeys(table for table, _ in known.batches) if known is not None else {}
    if request.tables is not None:
        return list(dict.fromkeys((*request.tables, *mine)))
    waiting = {arrival.table for arrival in ledger.waiting()}
    return [
        table.name
        for table in ledger.tables(sorted(contracts.by_table)).values()
        if table.name in mine or (table.blocked_reason is None and (table.name in waiting or table.has_work))
    ]


def _payload(
    run: Run, plan: Plan, began_at: datetime, *, ports: PlanPorts, contracts: Contracts, now: datetime
) -> dict[str, Any]:
    groups = write_work(run, plan, ports=ports, contracts=contracts)
    work = table_work(plan, contracts, now)
    rates = take_rates(ports.ledger, [each.table for each in work], now)
    size = decide_size(work, len(groups), rates=rates)
    cluster = size_cluster(
        ports.stack, run.run_id, run.attempt, plan.size_bytes, len(groups), launch=run.launch, size=size
    )
    merge_s = round_s(work, size.units, rates)
    ends_at = now + timedelta(seconds=rates.start_up_s + merge_s)
    # Before there is a cluster, so that none is without an account.
    cost = estimate_cost(
        replace(run, started_at=began_at),
        cluster,
        ledger=ports.ledger,
        load_prices=ports.load_prices,
        start_up_s=round(rates.start_up_s, 1),
        merge_s=round(merge_s, 1),
        now=now,
    )
    run = replace(run, cluster_name=cluster.name, units=size.units, round_bytes=plan.size_bytes, round_ends_at=ends_at)
    ports.ledger.plan_batches(run)
    what = f"{plan.files} files of {plan.size_bytes:,} bytes for {len(plan.work)} tables"
    return {
        "run_id": run.run_id,
        "pass": run.attempt,
        "work": "merge",
        "reason": f"{what}. {run.reason[:1000]}".strip(),
        "cluster": cluster.as_payload(),
        "cost": cost.reason,
        "groups": groups,
        "held": plan.held[:20],
    }


def _nothing(
    request: RunRequest,
    attempt: int,
    reason: str,
    *,
    held: Sequence[Mapping[str, Any]] = (),
    summary: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    plan = {
        "run_id": request.run_id,
        "pass": attempt,
        "work": "none",
        "reason": reason[:4000],
        "groups": [],
        "held": list(held)[:20],
    }
    return plan | ({"summary": dict(summary)} if summary else {})


def _said(run: Run) -> str:
    ended = f" at {run.ended_at:%Y-%m-%d %H:%M:%S} UTC" if run.ended_at else ""
    return f"{(run.summary or {}).get('message', 'it succeeded')}{ended}"
