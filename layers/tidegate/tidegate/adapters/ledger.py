"""The ledger in DynamoDB. Two Lambdas doing the same thing at once is the normal case: every write is conditional."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import boto3
from botocore.exceptions import ClientError

from tidegate.adapters.clients import CONFIG, code_of, throttling_named
from tidegate.adapters.ledger_items import (
    arrival_item,
    arrival_key,
    batch_item,
    batch_key,
    execution_key,
    iso,
    pending_pk,
    read_arrival,
    read_batch,
    read_run,
    read_table,
    run_key,
    table_key,
)
from tidegate.arrivals import PENDING_SHARDS, Arrival, State
from tidegate.errors import ClaimMoved, LeaseHeld, RunIsLive, StalePass
from tidegate.failures import RetryDecision
from tidegate.ports import Batch, Lease, OpenClaim, Table
from tidegate.receipts import Merged
from tidegate.runs import Run, RunState

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
            condition, values = "pending_pk = :shard", {":shard": pending_pk(shard)}
            if table is not None:
                condition += " AND begins_with(pending_sk, :table)"
                values[":table"] = f"{table}#"
            start: dict[str, Any] = {}
            while True:
                with throttling_named("dynamodb:Query"):
                    page = self._client.query(
                        TableName=self._name,
                        IndexName=PENDING_INDEX,
                        KeyConditionExpression=condition,
                        ExpressionAttributeValues=values,
                        **start,
                    )
                yield from (read_arrival(item) for item in page["Items"])
                if "LastEvaluatedKey" not in page:
                    break
                start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def mark_claimed(self, arrival: Arrival, batch: int, state: State) -> bool:
        return self._update(
            arrival_key(arrival.bucket, arrival.key, arrival.sequencer),
            "SET #state = :state, #batch = :batch REMOVE pending_pk, pending_sk",
            {":state": state, ":batch": batch, ":pending": "pending"},
            # The same state again is a claim finished by somebody else; any other one is settled already.
            condition="#state = :pending OR (#batch = :batch AND #state = :state)",
            names=("state", "batch"),
        )

    def quarantine(self, entry: Mapping[str, Any], batch: int, reason: str) -> None:
        self._update(
            arrival_key(entry["bucket"], entry["key"], entry["sequencer"]),
            "SET #state = :state, #reason = :reason",
            {":state": "quarantined", ":reason": reason, ":batch": batch},
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
            "REMOVE open_claim",
            {":claim": claim.candidates_uri},
            condition="open_claim.candidates_uri = :claim",
        )

    def seal(self, batch: Batch, run_id: str, claim: OpenClaim) -> None:
        # The item first: it says nothing until the table points to it, and whoever finishes the claim writes the same.
        self._put(batch_item(batch, datetime.now(UTC)), "attribute_not_exists(pk)")
        sealed = self._update(
            table_key(batch.table),
            "SET unsettled_batch = :batch, next_batch = :next REMOVE open_claim, attempts, failures, retry_after",
            {
                ":batch": batch.number,
                ":next": batch.number + 1,
                ":run": run_id,
                ":claim": claim.candidates_uri,
            },
            condition="open_claim.candidates_uri = :claim AND lease.run_id = :run",
        )
        if not sealed:
            raise ClaimMoved(f"batch {batch.number} of {batch.table} was sealed or taken over by another run")

    def block_table(self, table: str, reason: str) -> None:
        self._update(table_key(table), "SET blocked_reason = :reason", {":reason": reason})

    def batch(self, table: str, number: int) -> Batch:
        item = self._get(batch_key(table, number))
        if item is None:
            raise ClaimMoved(f"batch {number} of {table} is not in the ledger")
        return read_batch(item)

    def settle_merged(self, batch: Batch, run_id: str, merged: Merged, now: datetime) -> None:
        self._update(
            batch_key(batch.table, batch.number),
            "SET #state = :merged, receipt_uri = :receipt, delta_version = :version, #rows = :rows,"
            " rejected_files = :rejected, settled_at = :now, run_id = :run REMOVE #error",
            {
                ":merged": "merged",
                ":receipt": merged.uri,
                ":version": merged.delta_version,
                ":rows": dict(merged.rows),
                ":rejected": len(merged.rejected),
                ":now": iso(now),
                ":run": run_id,
            },
            condition="#state <> :merged",
            names=("state", "rows", "error"),
        )
        # The table last: as long as it points to the batch, a settling that died half-way is done again.
        self._update(
            table_key(batch.table),
            "SET last_merged_batch = :batch, delta_version = :version, row_count = :rows, merged_at = :now"
            " REMOVE unsettled_batch, attempts, failures, retry_after, blocked_reason",
            {
                ":batch": batch.number,
                ":version": merged.delta_version,
                ":rows": merged.table_rows,
                ":now": iso(now),
            },
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
        self._update(
            table_key(batch.table),
            sets,
            values,
            condition="unsettled_batch = :batch AND (attribute_not_exists(last_attempt) OR last_attempt <> :attempt)",
        )
        self._update(
            batch_key(batch.table, batch.number),
            "SET #error = :error",
            {":error": error, ":merged": "merged"},
            condition="#state <> :merged",
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
            condition = "execution_arn = :seen_arn AND #pass = :seen_pass AND #state = :seen_state"
            seen = {":seen_arn": known.execution_arn, ":seen_pass": known.pass_, ":seen_state": known.state}
        begun = self._update(
            run_key(run.run_id),
            "SET #kind = :kind, #state = :running, #pass = :pass, attempt = :attempt, execution_arn = :arn,"
            " #reason = :reason,"
            " #tables = :tables, started_at = if_not_exists(started_at, :now), planned_at = :now"
            " REMOVE ended_at, #error, summary",
            {
                ":kind": "run",
                ":running": "running",
                ":pass": run.pass_,
                ":attempt": run.attempt,
                ":arn": run.execution_arn,
                ":reason": run.reason,
                ":tables": list(run.tables),
                ":now": iso(run.started_at),
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
            "SET batches = :batches, cluster_name = :cluster",
            {
                ":batches": [[table, number] for table, number in run.batches],
                ":cluster": run.cluster_name,
                ":pass": run.pass_,
                ":arn": run.execution_arn,
            },
            condition="#pass = :pass AND execution_arn = :arn",
            names=("pass",),
        )
        if not planned:
            raise StalePass(f"run {run.run_id} was taken over while pass {run.pass_} planned it")

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
            "SET #state = :state, summary = :summary, #error = :error, ended_at = :now",
            {
                ":state": state,
                ":summary": json.loads(json.dumps(summary), parse_float=Decimal),
                ":error": error,
                ":now": iso(now),
            },
            names=("state", "error"),
        )

    # ---- The calls

    def _get(self, key: Mapping[str, str]) -> Mapping[str, Any] | None:
        with throttling_named("dynamodb:GetItem"):
            found = self._client.get_item(TableName=self._name, Key=key, ConsistentRead=True)
        return found.get("Item")  # type: ignore[no-any-return]

    def _put(self, item: Mapping[str, Any], condition: str) -> bool:
        """Put an item; False if the condition does not hold."""
        try:
            with throttling_named("dynamodb:PutItem"):
                self._client.put_item(TableName=self._name, Item=item, ConditionExpression=condition)
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
            "ExpressionAttributeValues": values,
        }
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
