"""A small ledger on moto, and a small lake that delta-rs wrote."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from arro3.core import Array, DataType, Field, Table, struct_array
from boto3.dynamodb.types import TypeSerializer
from deltalake import write_deltalake
from moto import mock_aws
from tidegate_cli.connection import Connection

LEDGER = "ledger"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Connection:
    for name, value in {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_REGION", "TIDEGATE_STACK"):
        monkeypatch.delenv(name, raising=False)
    return Connection(
        region="us-east-1",
        landing_bucket="landing",
        lake_bucket="lake",
        control_bucket="control",
        ledger_table=LEDGER,
        state_machine_arn="arn:aws:states:us-east-1:123456789012:stateMachine:tidegate-run",
        dispatch_function="dispatch",
        reconcile_function="reconcile",
    )


@pytest.fixture
def aws(connection: Connection) -> Iterator[Any]:
    """An account with the ledger and the buckets, both empty."""
    with mock_aws():
        dynamodb = boto3.client("dynamodb", "us-east-1")
        dynamodb.create_table(
            TableName=LEDGER,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[
                {"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk", "pending_pk", "pending_sk")
            ],
            KeySchema=[
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": "pending",
                    "KeySchema": [
                        {"AttributeName": "pending_pk", "KeyType": "HASH"},
                        {"AttributeName": "pending_sk", "KeyType": "RANGE"},
                    ],
                    "Projection": {"ProjectionType": "ALL"},
                }
            ],
        )
        s3 = boto3.client("s3", "us-east-1")
        for bucket in ("landing", "lake", "control"):
            s3.create_bucket(Bucket=bucket)
        yield dynamodb


def put(dynamodb: Any, **item: Any) -> None:
    """Write an item as the functions write it."""
    plain = TypeSerializer().serialize
    dynamodb.put_item(TableName=LEDGER, Item={name: plain(value) for name, value in item.items()})


def arrival(key: str, state: str = "pending", **more: Any) -> dict[str, Any]:
    """An arrival's item, as the build spec has it."""
    item = {
        "pk": f"arrival#landing/{key}",
        "sk": "0" * 39 + "1",
        "kind": "arrival",
        "table": key.split("/", maxsplit=1)[0],
        "bucket": "landing",
        "key": key,
        "sequencer": "0" * 39 + "1",
        "etag": "e",
        "size_bytes": 1000,
        "event_time": "2026-03-01T11:59:00+00:00",
        "recorded_at": "2026-03-01T11:59:01+00:00",
        "event_name": "Object Created",
        "state": state,
    }
    if state == "pending":
        item |= {"pending_pk": f"pending#{len(key) % 8}", "pending_sk": f"t#{key}"}
    return item | more


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """A lake with one table of three rows, partitioned, with the column of origins."""
    origin = struct_array(
        [Array(["landing/a.csv"] * 3, DataType.utf8()), Array([1, 1, 1], DataType.int64())],
        fields=[Field("source", DataType.utf8()), Field("batch", DataType.int64())],
    )
    table = Table.from_pydict({
        "month": Array(["2013-01", "2013-01", "2013-02"], DataType.utf8()),
        "flight_id": Array(["a", "b", "c"], DataType.utf8()),
        "delay": Array([5, None, -2], DataType.int32()),
        "_tidegate": origin,
    })  # fmt: skip
    write_deltalake(str(tmp_path / "flights"), table, partition_by=["month"])
    return tmp_path
