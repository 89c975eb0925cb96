"""Reads the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer
from tidegate.adapters.ledger import DynamoLedger
from tidegate.adapters.ledger_costs import read_cost, read_shares
from tidegate.adapters.ledger_items import (
    RUNS_PK,
    STACK_KEY,
    arrival_key,
    batch_key,
    cost_key,
    costs_pk,
    index_pk,
    run_key,
    scaling_key,
    table_key,
)
from tidegate.adapters.repair import DynamoRepair
from tidegate.arrivals import PENDING_SHARDS
from tidegate.costs import TableCost
from tidegate.run_costs import RunCost
from tidegate.scaling_record import ScalingLook, read_look

from tidegate_cli import ledger
from tidegate_cli.adapters.aws import client, plain_dynamodb, translated
from tidegate_cli.connection import Connection

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SCAN_PAGES = 25
"""Arrivals that were set aside have no index: a page is 1 MB, and this many cost a fraction of a cent."""

_plain = TypeDeserializer().deserialize


class Ledger:
    """The ledger of one stack, to read."""

    def __init__(self, connection: Connection) -> None:
        self._dynamodb: DynamoDBClient = client(connection, "dynamodb")
        self._name = connection.ledger_table

    def pending(self) -> list[ledger.Arrival]:
        """Every arrival that waits for a batch: what the index `pending` holds, and nothing else is read."""
        found = []
        for shard in range(PENDING_SHARDS):
            found += self._query(
                IndexName="pending",
                KeyConditionExpression="pending_pk = :shard",
                ExpressionAttributeValues={":shard": {"S": index_pk("pending", shard)}},
            )
        return [ledger.parse_arrival(item) for item in found]

    def set_aside(self) -> tuple[list[ledger.Arrival], bool]:
        """Arrivals that are ignored or quarantined, and whether those are all."""
        found: list[dict[str, Any]] = []
        with translated():
            pages = self._dynamodb.get_paginator("scan").paginate(
                TableName=self._name,
                FilterExpression="#state IN (:ignored, :quarantined) AND kind = :arrival",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues={
                    ":ignored": {"S": "ignored"},
                    ":quarantined": {"S": "quarantined"},
                    ":arrival": {"S": "arrival"},
                },
            )
            for number, page in enumerate(pages, start=1):
                found += [_item(item) for item in page["Items"]]
                if number == SCAN_PAGES and "LastEvaluatedKey" in page:
                    return [ledger.parse_arrival(item) for item in found], False
        return [ledger.parse_arrival(item) for item in found], True

    def arrivals(self, bucket: str, key: str) -> list[ledger.Arrival]:
        """The versions of an object, oldest first."""
        items = self._query(
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": arrival_key(bucket, key, "")["pk"]}},
        )
        return [ledger.parse_arrival(item) for item in items if item.get("kind") == "arrival"]

    def table(self, table: str) -> ledger.TableState | None:
        item = self._get(table_key(table))
        return None if item is None else ledger.parse_table(item)

    def paused_stack(self) -> str | None:
        """Why all tables are paused, if they are."""
        return (self._get(STACK_KEY) or {}).get("paused_reason")

    def batch(self, table: str, batch: int) -> ledger.Batch | None:
        item = self._get(batch_key(table, batch))
        return None if item is None else ledger.parse_batch(item)

    def run(self, run_id: str) -> ledger.Run | None:
        item = self._get(run_key(run_id))
        return None if item is None else ledger.parse_run(item)

    def runs(self, limit: int) -> list[ledger.Run]:
        """The last runs by name, which for those that dispatch started is by time; newest first."""
        with translated():
            answer = self._dynamodb.query(
                TableName=self._name,
                KeyConditionExpression="pk = :run",
                ExpressionAttributeValues={":run": {"S": RUNS_PK}},
                ScanIndexForward=False,
                Limit=limit,
            )
        return [ledger.parse_run(_item(item)) for item in answer["Items"]]

    def newest_look(self, run_id: str) -> ScalingLook | None:
        """What `scale_cluster` saw last of a run's cluster, and decided; None if it has not looked yet."""
        with translated():
            answer = self._dynamodb.query(
                TableName=self._name,
                KeyConditionExpression="pk = :run AND begins_with(sk, :look)",
                ExpressionAttributeValues={":run": {"S": scaling_key(run_id)["pk"]}, ":look": {"S": "look#"}},
                ScanIndexForward=False,
                Limit=1,
            )
        return read_look(_item(answer["Items"][0])) if answer["Items"] else None

    def cost_of(self, run_id: str, began_at: datetime) -> RunCost | None:
        """What a run costs, as far as it is known."""
        item = self._get(cost_key(run_id, began_at))
        return None if item is None else read_cost(item)

    def costs_of_month(self, month: date) -> list[RunCost]:
        """What the runs cost that began in a month."""
        return [read_cost(item) for item in self._of_month(costs_pk("cost", month))]

    def costs_of_day(self, day: date) -> list[RunCost]:
        """What the runs cost that began on a day."""
        return [read_cost(item) for item in self._of_month(costs_pk("cost", day), day)]

    def shares_of_month(self, month: date) -> list[dict[str, TableCost]]:
        """The tables' shares of the runs that began in a month."""
        return [read_shares(item) for item in self._of_month(costs_pk("shares", month))]

    def shares_of_day(self, day: date) -> list[dict[str, TableCost]]:
        """The tables' shares of the runs that began on a day."""
        return [read_shares(item) for item in self._of_month(costs_pk("shares", day), day)]

    def _of_month(self, partition: str, day: date | None = None) -> list[dict[str, Any]]:
        return self._query(
            KeyConditionExpression="pk = :month AND begins_with(sk, :day)" if day else "pk = :month",
            ExpressionAttributeValues={":month": {"S": partition}} | ({":day": {"S": f"{day:%d}#"}} if day else {}),
        )

    def _get(self, key: Mapping[str, str]) -> dict[str, Any] | None:
        with translated():
            answer = self._dynamodb.get_item(
                TableName=self._name, Key={name: {"S": value} for name, value in key.items()}, ConsistentRead=True
            )
        return _item(answer["Item"]) if "Item" in answer else None

    def _query(self, **query: Any) -> list[dict[str, Any]]:
        with translated():
            pages = self._dynamodb.get_paginator("query").paginate(TableName=self._name, **query)
            return [_item(item) for page in pages for item in page["Items"]]


def _item(item: Any) -> dict[str, Any]:
    return {name: _plain(value) for name, value in item.items()}


def repair_of(connection: Connection) -> DynamoRepair:
    """What writes to the ledger without heeding its conditions: for its rebuild alone."""
    return DynamoRepair(connection.ledger_table, plain_dynamodb(connection))


def ledger_of(connection: Connection) -> DynamoLedger:
    """The ledger as the functions write it: for the few things that an operator changes."""
    return DynamoLedger(connection.ledger_table, plain_dynamodb(connection))
