"""Settle a run: believe its receipts, assess what failed, close it. One function for each of the machine's actions."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tidegate import failures
from tidegate.batches import FIRST_GROUP
from tidegate.errors import RunFailed, StalePass
from tidegate.failures import words_for_failed_run
from tidegate.history import StartUpSample
from tidegate.runs import Execution, Run, check_pass, may_plan_again, run_id_of
from tidegate.usecases.account_run import CostPorts, account_ended_run
from tidegate.usecases.free_leases import free_leases
from tidegate.usecases.settle_batches import Settled, SettlePorts, settle_batches_of, summary_of


@dataclass(frozen=True)
class SettleRequest:
    """What the machine says when it calls."""

    execution: Execution
    execution_input: Any
    cluster_id: str | None = None
    error: Mapping[str, Any] | None = None
    failed_in: str | None = None
    attempt: int | None = None
    work_uri: str | None = None

    @property
    def run_id(self) -> str:
        return run_id_of(self.execution_input, self.execution.name)


def settle_group(request: SettleRequest, *, ports: SettlePorts, now: datetime) -> dict[str, Any]:
    """Settle the batches of one step group by their receipts, as soon as its step is through.

    Raises StalePass after a redrive, Throttled.
    """
    run = _current_run(request, ports)
    work = json.loads(ports.objects.read(request.work_uri or "") or b'{"batches": []}')
    of_group = {(each["table"], each["batch"]) for each in work["batches"]}
    settled = settle_batches_of(run, ports, now, only=of_group)
    if run.rounds == 0 and work.get("group") == FIRST_GROUP:
        _learn_start_up(run, settled, ports, now)
    return {
        "run_id": run.run_id,
        "pass": run.attempt,
        "merged": len(settled.merged),
        "voided": len(settled.voided),
        "unsettled": len(settled.unsettled),
        "rejected_files": sum(each["rejected_files"] for each in settled.merged),
        "quarantined_rows": sum(each["rows"].get("quarantined", 0) for each in settled.merged),
        "failed_files": sum(each["failed_files"] for each in settled.voided),
    }


def assess_failure(request: SettleRequest, *, ports: SettlePorts, now: datetime) -> dict[str, Any]:
    """Settle what was merged all the same, find the run's cluster, and decide whether another launch may help.

    The cluster is found by its name if its id was lost. Raises Throttled.
    """
    run = ports.ledger.run(request.run_id)
    is_mine = run is not None and run.execution_arn == request.execution.arn
    alive = ports.clusters.alive(ports.stack, request.run_id) if is_mine else []
    cluster_id = request.cluster_id or (alive[0] if alive else None)
    answer = {
        "run_id": request.run_id,
        "pass": request.execution.redrive_count,
        "cluster_id": cluster_id,
        "go_on": False,
        "error": dict(request.error or {}),
    }
    if run is None or run.state != "running" or not is_mine or run.pass_ != request.execution.redrive_count:
        return answer
    settle_batches_of(run, ports, now)
    end = ports.clusters.why_ended(cluster_id) if cluster_id else None
    ordered = run.ordered_launch
    following = failures.assess_failure(
        request.error or {},
        request.failed_in or "",
        end,
        launch=run.launch,
        launches=run.launches,
        ordered=ordered[1] if ordered is not None and ordered[0] == run.cluster_name else None,
    )
    answer["error"] = {"Error": following.cause, "Cause": following.reason}
    if following.go_on:
        # A Lambda that is retried has counted this attempt already.
        if request.attempt is None or run.attempt == request.attempt:
            ports.ledger.next_attempt(run, following.launch, run.launches + 1)
        answer["go_on"] = True
    return answer


def settle_run(request: SettleRequest, *, ports: SettlePorts, now: datetime) -> dict[str, Any]:
    """Free the leases and, if every batch is merged, close the run.

    Called when the cluster is TERMINATED, so no driver of the run lives. Raises StalePass after a redrive, Throttled.
    """
    run = _current_run(request, ports)
    settled = settle_batches_of(run, ports, now)
    free_leases(run, ports.ledger)
    summary = summary_of(run, settled)
    if summary["outcome"] == "succeeded":
        ports.ledger.end_run(run, "succeeded", summary, None, now)
        summary |= account_ended_run(run.run_id, ports=_cost_ports(ports), now=now)
    return summary


def fail_run(request: SettleRequest, *, ports: SettlePorts, now: datetime) -> dict[str, Any]:
    """Close the run as failed and raise RunFailed with words for the operator.

    Redriven, it returns instead, so that the run is planned again: see docs/decisions/0004-fail-run-is-a-task.md.
    """
    execution = request.execution
    run = ports.ledger.run(request.run_id)
    if may_plan_again(run, execution, ports.ledger.admitted_pass(execution.arn)):
        ports.ledger.admit_pass(execution.arn, execution.redrive_count, now)
        return {"run_id": request.run_id, "redriven": True}
    if run is None:  # it failed before it was planned; it is recorded so that `status` shows it
        run = Run(request.run_id, "failed", execution.redrive_count, execution.arn, "", now)
        ports.ledger.begin_run(run, None)
    is_over = run.execution_arn != execution.arn or run.pass_ > execution.redrive_count or run.state == "fenced"
    if is_over:  # somebody else is at the run, or has given it up: what this execution still says changes nothing
        raise RunFailed(words_for_failed_run(run.run_id, [], request.error))
    if run.state == "succeeded":
        raise RunFailed(
            f"Run {run.run_id} has merged all of its batches, but its execution did not hear of it. Nothing is left to "
            "do; redrive it to see it succeed."
        )
    settled = settle_batches_of(run, ports, now)
    left = ports.clusters.alive(ports.stack, run.run_id)
    if not left:
        free_leases(run, ports.ledger)
    words = words_for_failed_run(run.run_id, settled.unsettled, request.error, left)
    ports.ledger.end_run(run, "failed", summary_of(run, settled) | {"message": words}, words, now)
    account_ended_run(run.run_id, ports=_cost_ports(ports), now=now)
    raise RunFailed(words)


def _cost_ports(ports: SettlePorts) -> CostPorts:
    return CostPorts(ports.ledger, ports.clusters, ports.stack, ports.load_prices)


def _learn_start_up(run: Run, settled: Settled, ports: SettlePorts, now: datetime) -> None:
    """From the plan that asked for the cluster to its first step. A step that failed says nothing of it."""
    began = [each.step_began_at for each in settled.receipts.values() if each.step_began_at is not None]
    if began and run.planned_at is not None and run.cluster_name is not None:
        took_s = (min(began) - run.planned_at).total_seconds()
        ports.ledger.learn_start_up(StartUpSample(run.planned_at, run.cluster_name, took_s), now)


def _current_run(request: SettleRequest, ports: SettlePorts) -> Run:
    run = ports.ledger.run(request.run_id)
    check_pass(run, request.execution)
    if run is None:  # check_pass has refused it; said again for the type checker
        raise StalePass(request.run_id)
    return run
