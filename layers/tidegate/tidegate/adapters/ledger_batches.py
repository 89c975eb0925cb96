"""Claims and batches in the ledger."""

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tidegate.adapters.ledger_calls import LedgerCalls
from tidegate.adapters.ledger_items import (
    RECORDS_KEPT,
    batch_item,
    batch_key,
    epoch,
    iso,
    read_batch,
    table_key,
)
from tidegate.errors import ClaimMoved
from tidegate.failures import RetryDecision
from tidegate.ports import Batch, OpenClaim
from tidegate.receipts import Merged, Voided


class BatchesInLedger(LedgerCalls):
    """The part of `tidegate.ports.Ledger` that is about claims and batches."""

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

    def batches_named(self, names: Collection[tuple[str, int]]) -> list[Batch]:
        items = self._get_all([batch_key(table, number) for table, number in names], consistent=False)
        return [read_batch(item) for item in items]

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
            merge_s=None if merged.merge_s is None else Decimal(str(round(merged.merge_s, 3))),
        )
        # The table last: as long as it points to the batch, a settling that died half-way is done again.
        self._update(
            table_key(batch.table),
            "SET last_merged_batch = :batch, delta_version = :version, row_count = :rows, merged_at = :now"
            " REMOVE unsettled_batch, attempts, failures, retry_after, blocked_reason, void_reason"
            # In the same write, so that nobody can die between a batch that is merged and the news of it.
            " ADD unannounced :announce",
            {
                ":batch": batch.number,
                ":version": merged.delta_version,
                ":rows": merged.table_rows,
                ":now": iso(now),
                ":announce": {batch.number},
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
