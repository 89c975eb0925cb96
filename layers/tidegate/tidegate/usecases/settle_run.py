"""Settle a run: believe its receipts, assess what failed, close it. One function for each of the machine's actions."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tidegate.errors import RunFailed, StalePass
from tidegate.failures import decide_retry, words_for_failed_run
from tidegate.ports import Batch, Clusters, Ledger, Objects
from tidegate.receipts import Merged, NotMerged, judge_receipts
from tidegate.runs import Execution, Run, check_pass, may_plan_again, outcome_of, run_id_of, sentence_for


@dataclass(frozen=True)
class SettlePorts:
    """What settling needs from outside."""

    ledger: Ledger
    objects: Objects
    clusters: Clusters
    stack: str
    control_bucket: str


@dataclass(frozen=True)
class SettleRequest:
    """What the machine says when it calls."""

    execution: Execution
    execution_input: Any
    cluster_id: str | None = None
    error: Mapping[str, Any] | None = None

    @property
    def run_id(self) -> str:
        return run_id_of(self.execution_input, self.execution.name)


def settle_batches(request: SettleRequest, *, ports: SettlePorts, now: datetime) -> dict[str, Any]:
    """Settle every batch of the run by its receipts. Doing it twice changes nothing.

    Raises StalePass after a redrive, Throttled.
    """
    run = _current_run(request, ports)
    return _settle(run, ports, now)


def assess_failure(request: SettleRequest, *, ports: SettlePorts, now: datetime) -> dict[str, Any]:
    """Settle what was merged all the same, and find the run's cluster, by name if its id was lost.

    Raises Throttled.
    """
    run = ports.ledger.run(request.run_id)
    is_mine = run is not None and run.execution_arn == request.execution.arn
    if run is not None and is_mine and run.pass_ == request.execution.redrive_count:
        _settle(run, ports, now)
    alive = ports.clusters.alive(ports.stack, request.run_id) if is_mine else []
    cluster_id = request.cluster_id or (alive[0] if alive else None)
    ended = ports.clusters.why_ended(request.cluster_id) if request.cluster_id else None
    return {
        "run_id": request.run_id,
        "pass": request.execution.redrive_count,
        "cluster_id": cluster_id,
        "cause": (request.error or {}).get("Error", "unknown"),
        "message": ended or (request.error or {}).get("Cause", "nobody recorded why"),
    }


def settle_run(request: SettleRequest, *, ports: SettlePorts, now: datetime) -> dict[str, Any]:
    """Free the leases and, if every batch is merged, close the run.

    Called when the cluster is TERMINATED, so no driver of the run lives. Raises StalePass after a redrive, Throttled.
    """
    run = _current_run(request, ports)
    settled = _settle(run, ports, now)
    _free_leases(run, ports)
    outcome = outcome_of(settled["unsettled"])
    message = sentence_for(settled["merged"], settled["unsettled"])
    summary = {**settled, "outcome": outcome, "message": message}
    if outcome == "succeeded":
        ports.ledger.end_run(run.run_id, outcome, summary, None, now)
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
    if run.execution_arn != execution.arn:
        raise RunFailed(words_for_failed_run(run.run_id, [], request.error))
    unsettled = _settle(run, ports, now)["unsettled"]
    left = ports.clusters.alive(ports.stack, run.run_id)
    if not left:
        _free_leases(run, ports)
    words = words_for_failed_run(run.run_id, unsettled, request.error, left)
    ports.ledger.end_run(run.run_id, "failed", {"message": words, "unsettled": unsettled}, words, now)
    raise RunFailed(words)


def _current_run(request: SettleRequest, ports: SettlePorts) -> Run:
    run = ports.ledger.run(request.run_id)
    check_pass(run, request.execution)
    if run is None:  # check_pass has refused it; said again for the type checker
        raise StalePass(request.run_id)
    return run


def _settle(run: Run, ports: SettlePorts, now: datetime) -> dict[str, Any]:
    merged: list[dict[str, Any]] = []
    unsettled: list[dict[str, Any]] = []
    for table, number in run.batches:
        batch = ports.ledger.batch(table, number)
        receipts = _receipts_of(batch, ports)
        verdict = judge_receipts(receipts, batch.manifest_sha256, run_id=run.run_id, pass_=run.attempt)
        if isinstance(verdict, Merged):
            _settle_merged(batch, run, verdict, ports, now)
            merged.append({
                "table": table, "batch": number, "delta_version": verdict.delta_version, "rows": dict(verdict.rows),
                "rejected_files": len(verdict.rejected),
            })  # fmt: skip
        else:
            _settle_failed(batch, run, verdict, ports, now)
            unsettled.append({"table": table, "batch": number, "error": verdict.message, "cause": verdict.cause})
    return {"run_id": run.run_id, "pass": run.attempt, "merged": merged, "unsettled": unsettled}


def _settle_merged(batch: Batch, run: Run, verdict: Merged, ports: SettlePorts, now: datetime) -> None:
    if batch.state == "merged" and ports.ledger.table(batch.table).unsettled_batch != batch.number:
        return
    if verdict.rejected:
        files = json.loads(ports.objects.read(batch.manifest_uri) or b"{}")["files"]
        for rejected in verdict.rejected:
            ports.ledger.quarantine(files[rejected.index], batch.number, rejected.reason)
    ports.ledger.settle_merged(batch, run.run_id, verdict, now)


def _settle_failed(batch: Batch, run: Run, verdict: NotMerged, ports: SettlePorts, now: datetime) -> None:
    table = ports.ledger.table(batch.table)
    if table.lease is None or table.lease.run_id != run.run_id:
        return  # another run is at the batch, or this one has settled it before: there was no attempt to count
    retry = decide_retry(verdict, table.attempts, table.failures, now)
    ports.ledger.settle_failed(batch, f"{run.run_id}-{run.attempt}", verdict.message, retry)


def _receipts_of(batch: Batch, ports: SettlePorts) -> list[tuple[str, Mapping[str, Any]]]:
    folder = f"s3://{ports.control_bucket}/receipts/{batch.table}/{batch.number:012d}/"
    receipts = []
    for uri in ports.objects.names(folder):
        written = ports.objects.read(uri)
        if written is not None:
            receipts.append((uri, json.loads(written)))
    return sorted(receipts, key=lambda each: str(each[1].get("started_at", "")))


def _free_leases(run: Run, ports: SettlePorts) -> None:
    for table in dict.fromkeys((*run.tables, *(table for table, _ in run.batches))):
        ports.ledger.free_lease(table, run.run_id)
