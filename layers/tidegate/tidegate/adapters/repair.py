"""Writes to the ledger that heed no condition. No function has these rights: an operator rebuilds the ledger."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from tidegate.adapters.clients import throttling_named
from tidegate.adapters.ledger_arrivals import ArrivalsInLedger
from tidegate.adapters.ledger_items import RECORDS_KEPT, arrival_item, batch_item, epoch, iso, read_arrival, table_key
from tidegate.arrivals import Arrival
from tidegate.ports import Batch, Table


class DynamoRepair(ArrivalsInLedger):
    """Keeps to `tidegate.usecases.rebuild_ledger.LedgerRepair`."""

    def arrivals(self) -> Iterator[Arrival]:
        start: dict[str, Any] = {}
        while True:
            with throttling_named("dynamodb:Scan"):
                page = self._client.scan(
                    TableName=self._name,
                    FilterExpression="#kind = :arrival",
                    ExpressionAttributeNames={"#kind": "kind"},
                    ExpressionAttributeValues={":arrival": "arrival"},
                    ConsistentRead=True,
                    **start,
                )
            yield from (read_arrival(item) for item in page["Items"])
            if "LastEvaluatedKey" not in page:
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def put_arrival(self, arrival: Arrival, now: datetime) -> None:
        self._overwrite(arrival_item(arrival, now))

    def raise_head(self, arrival: Arrival) -> None:
        self._raise_head(arrival)

    def put_batch(self, batch: Batch, now: datetime) -> None:
        item = batch_item(batch, now)
        if batch.is_settled:
            item |= {"settled_at": iso(now), "expires_at": epoch(now + RECORDS_KEPT)}
        facts = {
            "delta_version": batch.delta_version,
            "rows": dict(batch.rows) if batch.rows is not None else None,
            "rejected_files": batch.rejected_files,
            "receipt_uri": batch.receipt_uri,
            "error": batch.error,
        }
        self._overwrite(item | {name: value for name, value in facts.items() if value is not None})

    def put_table(self, table: Table, fence: int, delta_version: int | None, table_rows: int | None) -> None:
        facts = {
            "kind": "table",
            "table": table.name,
            "next_batch": table.next_batch,
            "last_merged_batch": table.last_merged_batch,
            "unsettled_batch": table.unsettled_batch,
            "reopened": set(table.reopened) or None,
            "delta_version": delta_version,
            "row_count": table_rows,
            "fence": max(fence, int((self._get(table_key(table.name)) or {}).get("fence", 0))),
        }
        sets = {name: value for name, value in facts.items() if value is not None}
        gone = [name for name, value in facts.items() if value is None]
        gone += [
            "lease", "open_claim", "attempts", "failures", "last_attempt", "retry_after", "blocked_reason",
            "void_reason",
        ]  # fmt: skip
        self._update(
            table_key(table.name),
            "SET " + ", ".join(f"#{name} = :{name}" for name in sets) + " REMOVE " + ", ".join(f"#{n}" for n in gone),
            {f":{name}": value for name, value in sets.items()},
            names=(*sets, *gone),
        )

    def _overwrite(self, item: dict[str, Any]) -> None:
        with throttling_named("dynamodb:PutItem"):
            self._client.put_item(TableName=self._name, Item=item)
