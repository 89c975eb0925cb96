"""The ledger in DynamoDB. Two Lambdas doing the same thing at once is the normal case: every write is conditional."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import boto3
from botocore.exceptions import ClientError

from tidegate.adapters.clients import CONFIG, code_of, throttling_named
from tidegate.adapters.ledger_items import (
    RECORDS_KEPT,
    RUNNING_PK,
    STACK_KEY,
    arrival_item,
    arrival_key,
    batch_item,
    batch_key,
    epoch,
    execution_key,
    head_key,
    index_keys,
    index_pk,
    iso,
    moment,
    read_arrival,
    read_batch,
    read_head,
    read_run,
    read_table,
    run_key,
    table_key,
)
from tidegate.arrivals import PENDING_SHARDS, RETENTION, Arrival, State
from tidegate.errors import ClaimMoved, LeaseHeld, RunIsLive, StalePass
from tidegate.failures import RetryDecision
from tidegate.ports import Batch, Head, Lease, OpenClaim, Table
from tidegate.receipts import Merged, Voided
from tidegate.runs import Run, RunState

_IS_AS_SEEN = "execution_arn = :seen_arn AND #pass = :seen_pass AND attempt = :seen_attempt AND #state = :seen_state"
"""Holds for a run that nobody has planned anew, ended or fenced since it was read."""

PENDING_INDEX = "pending"
MAXIMUM_BATCH_GET = 100


class DynamoLedger:
    """Keeps to `tidegate.ports.Ledger`. Its client may be shared between threads."""

    def __init__(self, table_name: str) -> None:
        # The resource's client, because it takes and gives plain Python values.
        self._client: Any = boto3.resource("dynamodb", config=CONFIG).meta.client
        self._name = table_name

    # ---- Arrivals

    def record_arrival(self, arrival: Arrival, now: datetime) -> bool:
        return self._put(arrival_item(arrival, now), "attribute_not_exists(pk)")

    def pending(self, table: str | None = None) -> Iterator[Arrival]:
        for shard in range(PENDING_SHARDS):
            yield from (read_arrival(item) for item in self._indexed(index_pk("pending", shard), table))

    def kept(self, state: State, table: str | None = None) -> Iterator[Arrival]:
        for shard in range(PENDING_SHARDS):
            yield from (read_arrival(item) for item in self._indexed(index_pk(state, shard), table))

    def versions(self, bucket: str, key: str) -> list[Arrival]:
        items = self._query(
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": head_key(bucket, key)["pk"]},
            ConsistentRead=True,
        )
        return [read_arrival(item) for item in items if item["kind"] == "arrival"]

    def head(self, bucket: str, key: str) -> Head | None:
        item = self._get(head_key(bucket, key))
        return read_head(item) if item else None

    def mark_claimed(self, arrival: Arrival, batch: int, state: State, now: datetime) -> bool:
        is_marked = self._mark_pending(arrival, batch, state, now) if arrival.state == "pending" else (
            self._mark_again(arrival, batch, state, now)
        )  # fmt: skip
        if is_marked and state == "claimed":
            self._raise_head(arrival)
        return is_marked

    def _mark_pending(self, arrival: Arrival, batch: int, state: State, now: datetime) -> bool:
        return self._update(
            arrival_key(arrival.bucket, arrival.key, arrival.sequencer),
            "SET #state = :state, #batch = :batch, expires_at = :expires REMOVE pending_pk, pending_sk",
            {":state": state, ":batch": batch, ":pending": "pending", ":expires": epoch(now + RETENTION)},
            # The same state again is a claim finished by somebody else; any other one is settled already.
            condition="#state = :pending OR (#batch = :batch AND #state = :state)",
            names=("state", "batch"),
        )

    def _mark_again(self, arrival: Arrival, batch: int, state: State, now: datetime) -> bool:
        """Mark what was claimed, or set aside, before. It may have been forgotten since, so all of it is written."""
        is_as_given = "#state = :was AND " + (
            "attribute_not_exists(#batch)" if arrival.batch is None else "#batch = :from"
        )
        values = {":was": arrival.state, ":batch": batch, ":state": state}
        return self._put(
            arrival_item(replace(arrival, state=state, batch=batch, reason=None), now),
            f"attribute_not_exists(pk) OR ({is_as_given}) OR (#batch = :batch AND #state = :state)",
            values if arrival.batch is None else values | {":from": arrival.batch},
            names=("state", "batch"),
        )

    def _raise_head(self, arrival: Arrival) -> None:
        self._update(
            head_key(arrival.bucket, arrival.key),
            "SET #kind = :kind, sequencer = :sequencer, version_id = :version, etag = :etag, event_time = :time",
            {
                ":kind": "head",
                ":sequencer": arrival.sequencer,
                ":version": arrival.version_id,
                ":etag": arrival.etag,
                ":time": iso(arrival.event_time),
            },
            condition="attribute_not_exists(sequencer) OR sequencer < :sequencer",
            names=("kind",),
        )

    def set_aside(self, table: str, entry: Mapping[str, Any], batch: int, state: State, reason: str) -> None:
        arrival = Arrival(
            entry["bucket"], entry["key"], entry["sequencer"], "", moment(entry["event_time"]), table=table
        )
        keys = index_keys(state, arrival)
        self._update(
            arrival_key(arrival.bucket, arrival.key, arrival.sequencer),
            "SET #state = :state, #reason = :reason, pending_pk = :pk, pending_sk = :sk REMOVE expires_at",
            {
                ":state": state,
                ":reason": reason,
                ":batch": batch,
                ":pk": keys["pending_pk"],
                ":sk": keys["pending_sk"],
            },
            condition="#batch = :batch",
            names=("state", "reason", "batch"),
        )

    # ---- Tables and leases

    def table(self, name: str) -> Table:
        return read_table(name, self._get(table_key(name)) or {})

    def tables(self, names: Sequence[str]) -> dict[str, Table]:
        found: dict[str, Mapping[str, Any]] = {}
        for start in range(0, len(names), MAXIMUM_BATCH_GET):
            wanted = [table_key(name) for name in names[start : start + MAXIMUM_BATCH_GET]]
            request = {self._name: {"Keys": wanted, "ConsistentRead": True}}
            while request:
                with throttling_named("dynamodb:BatchGetItem"):
                    answer = self._client.batch_get_item(RequestItems=request)
                for item in answer["Responses"].get(self._name, []):
                    found[item["pk"].removeprefix("table#")] = item
                request = answer.get("UnprocessedKeys", {})
        return {name: read_table(name, found.get(name, {})) for name in names}

    def take_lease(self, table: str, run_id: str, from_run: str | None) -> Lease:
        fence = (self._get(table_key(table)) or {}).get("fence", 0)
        taken = self._update(
            table_key(table),
            "SET lease = :lease, fence = :next, #kind = :kind, #table = :table",
            {
                ":lease": {"run_id": run_id, "fence": int(fence) + 1},
                ":next": int(fence) + 1,
                ":seen": fence,
                ":run": run_id,
                ":from": from_run or run_id,
                ":kind": "table",
                ":table": table,
            },
            condition="(attribute_not_exists(lease) OR lease.run_id = :run OR lease.run_id = :from)"
            " AND (attribute_not_exists(fence) OR fence = :seen)",
            names=("kind", "table"),
        )
        if not taken:
            raise LeaseHeld(f"another run took table {table} at this moment; it is tried again with the next run")
        return Lease(run_id, int(fence) + 1)

    def free_lease(self, table: str, run_id: str) -> None:
        self._update(table_key(table), "REMOVE lease", {":run": run_id}, condition="lease.run_id = :run")

    # ---- Claims and batches

    def open_claim(self, table: str, run_id: str, claim: OpenClaim) -> None:
        opened = self._update(
            table_key(table),
            "SET open_claim = :claim, next_batch = if_not_exists(next_batch, :batch)",
            {
                ":claim": {"batch": claim.batch, "candidates_uri": claim.candidates_uri},
                ":batch": claim.batch,
                ":run": run_id,
            },
            condition="lease.run_id = :run AND attribute_not_exists(open_claim)"
            " AND attribute_not_exists(unsettled_batch)"
            " AND (attribute_not_exists(next_batch) OR next_batch = :batch)",
        )
        if not opened:
            raise ClaimMoved(f"batch {claim.batch} of {table} can't be claimed by {run_id}: another run was faster")

    def drop_claim(self, table: str, claim: OpenClaim) -> None:
        self._update(
            table_key(table),
            "REMOVE open_claim DELETE reopened :taken",
            {":claim": claim.candidates_uri, ":taken": {claim.candidates_uri}},
            condition="open_claim.candidates_uri = :claim",
        )

    def seal(self, batch: Batch, run_id: str, claim: OpenClaim) -> None:
        # The item first: it says nothing until the table points to it, and whoever finishes the claim writes the same.
        self._put(batch_item(batch, datetime.now(UTC)), "attribute_not_exists(pk)")
        sealed = self._update(
            table_key(batch.table),
            "SET unsettled_batch = :batch, next_batch = :next"
            " REMOVE open_claim, attempts, failures, retry_after, void_reason DELETE reopened :taken",
            {
                ":batch": batch.number,
                ":next": batch.number + 1,
                ":run": run_id,
                ":claim": claim.candidates_uri,
                ":taken": {claim.candidates_uri},
            },
            condition="open_claim.candidates_uri = :claim AND lease.run_id = :run",
        )
        if not sealed:
            raise ClaimMoved(f"batch {batch.number} of {batch.table} was sealed or taken over by another run")

    def queue_reopened(self, table: str, uris: Sequence[str]) -> None:
        if uris:
            self._update(
                table_key(table),
                "SET #kind = :kind, #table = :table ADD reopened :uris",
                {":kind": "table", ":table": table, ":uris": set(uris)},
                names=("kind", "table"),
            )

    def block_table(self, table: str, reason: str) -> None:
        self._update(table_key(table), "SET blocked_reason = :reason", {":reason": reason})

    def batch(self, table: str, number: int) -> Batch:
        item = self._get(batch_key(table, number))
        if item is None:
            raise ClaimMoved(f"batch {number} of {table} is not in the ledger")
        return read_batch(item)

    def batches(self, table: str) -> Iterator[Batch]:
        items = self._query(
            KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
            ExpressionAttributeValues={":pk": table_key(table)["pk"], ":sk": "batch#"},
            ScanIndexForward=False,
            ConsistentRead=True,
        )
        yield from (read_batch(item) for item in items)

    def settle_merged(self, batch: Batch, run_id: str, merged: Merged, now: datetime) -> None:
        self._end_batch(
            batch,
            run_id,
            now,
            state="merged",
            receipt_uri=merged.uri,
            delta_version=merged.delta_version,
            rows=dict(merged.rows),
            rejected_files=len(merged.rejected),
        )
        # The table last: as long as it points to the batch, a settling that died half-way is done again.
        self._update(
            table_key(batch.table),
            "SET last_merged_batch = :batch, delta_version = :version, row_count = :rows, merged_at = :now"
            " REMOVE unsettled_batch, attempts, failures, retry_after, blocked_reason, void_reason",
            {
                ":batch": batch.number,
                ":version": merged.delta_version,
                ":rows": merged.table_rows,
                ":now": iso(now),
            },
            condition="unsettled_batch = :batch",
        )

    def settle_voided(self, batch: Batch, run_id: str, voided: Voided, reopened: Sequence[str], now: datetime) -> None:
        self._end_batch(batch, run_id, now, state="voided", receipt_uri=voided.uri, delta_version=voided.delta_version)
        values: dict[str, Any] = {":batch": batch.number, ":version": voided.delta_version}
        if reopened:
            values[":reopened"] = set(reopened)
        self._update(
            table_key(batch.table),
            "SET last_merged_batch = :batch, delta_version = :version"
            " REMOVE unsettled_batch, attempts, failures, retry_after, blocked_reason, void_reason"
            + (" ADD reopened :reopened" if reopened else ""),
            values,
            condition="unsettled_batch = :batch",
        )

    def _end_batch(self, batch: Batch, run_id: str, now: datetime, **facts: Any) -> None:
        facts |= {"settled_at": iso(now), "run_id": run_id, "expires_at": epoch(now + RECORDS_KEPT)}
        self._update(
            batch_key(batch.table, batch.number),
            "SET " + ", ".join(f"#{name} = :{name}" for name in facts) + " REMOVE #error",
            {f":{name}": value for name, value in facts.items()} | {":merged": "merged", ":voided": "voided"},
            condition="NOT #state IN (:merged, :voided)",
            names=(*facts, "error"),
        )

    def order_void(self, batch: Batch, reason: str) -> None:
        self._update(
            table_key(batch.table),
            "SET void_reason = :reason REMOVE retry_after",
            {":reason": reason, ":batch": batch.number},
            condition="unsettled_batch = :batch",
        )

    def settle_failed(self, batch: Batch, attempt: str, error: str, retry: RetryDecision) -> None:
        sets = "SET attempts = :attempts, failures = :failures, retry_after = :after, last_attempt = :attempt"
        values: dict[str, Any] = {
            ":attempts": retry.attempts,
            ":failures": retry.failures,
            ":after": iso(retry.retry_after),
            ":attempt": attempt,
            ":batch": batch.number,
        }
        if retry.blocked_reason is not None:
            sets += ", blocked_reason = :blocked"
            values[":blocked"] = retry.blocked_reason
        if retry.void_reason is not None:
            sets += ", void_reason = :void"
            values[":void"] = retry.void_reason
        self._update(
            table_key(batch.table),
            sets,
            values,
            condition="unsettled_batch = :batch AND (attribute_not_exists(last_attempt) OR last_attempt <> :attempt)",
        )
        self._update(
            batch_key(batch.table, batch.number),
            "SET #error = :error",
            {":error": error, ":merged": "merged", ":voided": "voided"},
            condition="NOT #state IN (:merged, :voided)",
            names=("error", "state"),
        )

    # ---- Runs

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
            "SET batches = :batches, cluster_name = :cluster, #tables = :tables",
            {
                ":batches": [[table, number] for table, number in run.batches],
                ":cluster": run.cluster_name,
                ":tables": list(run.tables),
                **_as_seen(run),
            },
            condition=_IS_AS_SEEN,
            names=("pass", "state", "tables"),
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

    def end_run(
        self, run_id: str, state: RunState, summary: Mapping[str, Any], error: str | None, now: datetime
    ) -> None:
        self._update(
            run_key(run_id),
            "SET #state = :state, summary = :summary, #error = :error, ended_at = :now, expires_at = :expires"
            " REMOVE pending_pk, pending_sk",
            {
                ":state": state,
                ":summary": json.loads(json.dumps(summary), parse_float=Decimal),
                ":error": error,
                ":now": iso(now),
                ":expires": epoch(now + RECORDS_KEPT),
                ":succeeded": "succeeded",
            },
            condition="#state <> :succeeded",
            names=("state", "error"),
        )

    # ---- Pauses

    def pause(self, table: str | None, reason: str, now: datetime) -> None:
        self._update(
            STACK_KEY if table is None else table_key(table),
            "SET #kind = :kind, paused_reason = :reason, paused_at = :now"
            + ("" if table is None else ", #table = :table"),
            {
                ":kind": "stack" if table is None else "table",
                ":reason": reason,
                ":now": iso(now),
                **({} if table is None else {":table": table}),
            },
            names=("kind",) if table is None else ("kind", "table"),
        )

    def resume(self, table: str | None) -> None:
        self._update(STACK_KEY if table is None else table_key(table), "REMOVE paused_reason, paused_at", {})

    def paused_stack(self) -> str | None:
        item = self._get(STACK_KEY) or {}
        return item.get("paused_reason")

    # ---- The calls

    def _indexed(self, partition: str, table: str | None) -> Iterator[Mapping[str, Any]]:
        condition, values = "pending_pk = :partition", {":partition": partition}
        if table is not None:
            condition += " AND begins_with(pending_sk, :table)"
            values[":table"] = f"{table}#"
        return self._query(IndexName=PENDING_INDEX, KeyConditionExpression=condition, ExpressionAttributeValues=values)

    def _query(self, **request: Any) -> Iterator[Mapping[str, Any]]:
        start: dict[str, Any] = {}
        while True:
            with throttling_named("dynamodb:Query"):
                page = self._client.query(TableName=self._name, **request, **start)
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def _get(self, key: Mapping[str, str]) -> Mapping[str, Any] | None:
        with throttling_named("dynamodb:GetItem"):
            found = self._client.get_item(TableName=self._name, Key=key, ConsistentRead=True)
        return found.get("Item")  # type: ignore[no-any-return]

    def _put(
        self,
        item: Mapping[str, Any],
        condition: str,
        values: Mapping[str, Any] | None = None,
        names: Sequence[str] = (),
    ) -> bool:
        """Put an item; False if the condition does not hold. `names` are attributes written as #name."""
        request: dict[str, Any] = {"TableName": self._name, "Item": item, "ConditionExpression": condition}
        if values:
            request["ExpressionAttributeValues"] = values
        if names:
            request["ExpressionAttributeNames"] = {f"#{name}": name for name in names}
        try:
            with throttling_named("dynamodb:PutItem"):
                self._client.put_item(**request)
        except ClientError as error:
            if code_of(error) == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def _update(
        self,
        key: Mapping[str, str],
        change: str,
        values: Mapping[str, Any],
        *,
        condition: str | None = None,
        names: Sequence[str] = (),
    ) -> bool:
        """Update an item; False if the condition does not hold. `names` are attributes written as #name."""
        request: dict[str, Any] = {
            "TableName": self._name,
            "Key": key,
            "UpdateExpression": change,
        }
        if values:
            request["ExpressionAttributeValues"] = values
        if condition is not None:
            request["ConditionExpression"] = condition
        if names:
            request["ExpressionAttributeNames"] = {f"#{name}": name for name in names}
        try:
            with throttling_named("dynamodb:UpdateItem"):
                self._client.update_item(**request)
        except ClientError as error:
            if code_of(error) == "ConditionalCheckFailedException":
                return False
            raise
        return True


def _as_seen(run: Run) -> dict[str, Any]:
    return {
        ":seen_arn": run.execution_arn,
        ":seen_pass": run.pass_,
        ":seen_attempt": run.attempt,
        ":seen_state": "running",
    }
