"""Runs in the ledger, and the executions that may plan them again."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from tidegate.adapters.clients import throttling_named
from tidegate.adapters.ledger_calls import LedgerCalls
from tidegate.adapters.ledger_items import (
    RECORDS_KEPT,
    RUNNING_PK,
    epoch,
    execution_key,
    iso,
    read_run,
    run_key,
)
from tidegate.errors import RunIsLive, StalePass
from tidegate.runs import Run, RunState

_IS_AS_SEEN = "execution_arn = :seen_arn AND #pass = :seen_pass AND attempt = :seen_attempt AND #state = :seen_state"
"""Holds for a run that nobody has planned anew, ended or fenced since it was read."""


class RunsInLedger(LedgerCalls):
    """The part of `tidegate.ports.Ledger` that is about runs."""

    def run(self, run_id: str) -> Run | None:
        item = self._get(run_key(run_id))
        return read_run(item) if item else None

    def begin_run(self, run: Run, known: Run | None) -> None:
        if known is None:
            condition, seen = "attribute_not_exists(pk)", {}
        else:
            condition = (
                "execution_arn = :seen_arn AND #pass = :seen_pass AND #state = :seen_state AND attempt = :seen_attempt"
            )
            seen = {
                ":seen_arn": known.execution_arn,
                ":seen_pass": known.pass_,
                ":seen_state": known.state,
                ":seen_attempt": known.attempt,
            }
        begun = self._update(
            run_key(run.run_id),
            "SET #kind = :kind, #state = :running, #pass = :pass, attempt = :attempt, launch = :launch,"
            " launches = :launches, rounds = :rounds, execution_arn = :arn, #reason = :reason, #tables = :tables,"
            " started_at = if_not_exists(started_at, :now), planned_at = :now,"
            " pending_pk = :open, pending_sk = :run"
            " REMOVE ended_at, #error, summary, expires_at",
            {
                ":kind": "run",
                ":running": "running",
                ":pass": run.pass_,
                ":attempt": run.attempt,
                ":launch": run.launch,
                ":launches": run.launches,
                ":rounds": run.rounds,
                ":arn": run.execution_arn,
                ":reason": run.reason,
                ":tables": list(run.tables),
                ":now": iso(run.started_at),
                ":open": RUNNING_PK,
                ":run": run.run_id,
                **seen,
            },
            condition=condition,
            names=("kind", "state", "pass", "reason", "tables", "error"),
        )
        if not begun:
            raise RunIsLive(f"another execution began run {run.run_id} at this moment: leave it to that one")

    def plan_batches(self, run: Run) -> None:
        planned = self._update(
            run_key(run.run_id),
            "SET batches = :batches, cluster_name = :cluster, #tables = :tables, #units = :units,"
            " round_bytes = :bytes, round_ends_at = :ends",
            {
                ":batches": [[table, number] for table, number in run.batches],
                ":cluster": run.cluster_name,
                ":tables": list(run.tables),
                ":units": run.units,
                ":bytes": run.round_bytes,
                ":ends": iso(run.round_ends_at) if run.round_ends_at else None,
                **_as_seen(run),
            },
            condition=_IS_AS_SEEN,
            names=("pass", "state", "tables", "units"),
        )
        if not planned:
            raise StalePass(f"run {run.run_id} was taken over while attempt {run.attempt} was planned")

    def next_attempt(self, run: Run, launch: int, launches: int) -> Run:
        following = replace(
            run, attempt=run.attempt + 1, launch=launch, launches=launches,
            rounds=run.rounds + (launches == run.launches),
        )  # fmt: skip
        moved = self._update(
            run_key(run.run_id),
            "SET attempt = :next, launch = :launch, launches = :launches, rounds = :rounds",
            {
                ":next": following.attempt,
                ":launch": launch,
                ":launches": launches,
                ":rounds": following.rounds,
                **_as_seen(run),
            },
            condition=_IS_AS_SEEN,
            names=("pass", "state"),
        )
        if not moved:
            raise StalePass(f"run {run.run_id} has moved on from attempt {run.attempt}")
        return following

    def order_launch(self, run: Run, cluster_name: str, launch: int) -> bool:
        return self._update(
            run_key(run.run_id),
            "SET ordered_launch = :ordered",
            {":ordered": [cluster_name, launch], **_as_seen(run)},
            condition=_IS_AS_SEEN,
            names=("pass", "state"),
        )

    def running_runs(self) -> Iterator[Run]:
        # The index may be behind, and runs are few: each is read as it is now.
        for item in list(self._indexed(RUNNING_PK, None)):
            run = self.run(item["sk"])
            if run is not None and run.state in {"running", "fenced"}:
                yield run

    def fence_run(self, run: Run, reason: str, now: datetime) -> bool:
        return self._update(
            run_key(run.run_id),
            "SET #state = :fenced, attempt = :next, #error = :reason, fenced_at = :now",
            {":fenced": "fenced", ":next": run.attempt + 1, ":reason": reason, ":now": iso(now), **_as_seen(run)},
            condition=_IS_AS_SEEN,
            names=("pass", "state", "error"),
        )

    def admitted_pass(self, execution_arn: str) -> int:
        return int((self._get(execution_key(execution_arn)) or {}).get("pass", 0))

    def admit_pass(self, execution_arn: str, pass_: int, now: datetime) -> None:
        # Step Functions redrives an execution for 14 days, and forgets it after 90.
        expires_at = int((now + timedelta(days=90)).timestamp())
        item = {**execution_key(execution_arn), "kind": "execution", "pass": pass_, "expires_at": expires_at}
        with throttling_named("dynamodb:PutItem"):
            self._client.put_item(TableName=self._name, Item=item)

    def end_run(self, run: Run, state: RunState, summary: Mapping[str, Any], error: str | None, now: datetime) -> None:
        self._update(
            run_key(run.run_id),
            "SET #state = :state, summary = :summary, #error = :error, ended_at = :now, expires_at = :expires"
            " REMOVE pending_pk, pending_sk",
            {
                ":state": state,
                ":summary": json.loads(json.dumps(summary), parse_float=Decimal),
                ":error": error,
                ":now": iso(now),
                ":expires": epoch(now + RECORDS_KEPT),
                ":fenced": "fenced",
                **_as_seen(run),
            },
            condition="execution_arn = :seen_arn AND #pass = :seen_pass AND attempt = :seen_attempt"
            " AND #state IN (:seen_state, :fenced)",
            names=("state", "error", "pass"),
        )


def _as_seen(run: Run) -> dict[str, Any]:
    return {
        ":seen_arn": run.execution_arn,
        ":seen_pass": run.pass_,
        ":seen_attempt": run.attempt,
        ":seen_state": "running",
    }
