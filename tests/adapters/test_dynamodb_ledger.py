"""What is DynamoDB's alone: the items, the sparse index, pages and throttling."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from tidegate.adapters.ledger import DynamoLedger
from tidegate.arrivals import Arrival, pad_sequencer
from tidegate.errors import Throttled, UnreadableItem
from tidegate.ports import Batch, OpenClaim
from tidegate.runs import Run

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CLAIM = OpenClaim(1, "s3://control/candidates.json")
BATCH = Batch("flights", 1, None, "s3://m", "0" * 64, 2, 10, NOW, NOW, run_id="r")


def arrival(key: str = "flights/a.csv") -> Arrival:
    return Arrival("landing", key, pad_sequencer("1F"), "Object Created", NOW, 5, "e", "v1", "flights")


def scan(dynamodb: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = boto3.resource("dynamodb").Table("ledger").scan()["Items"]
    return found


def test_an_arrivals_item_is_as_the_command_reads_it(dynamodb: Any) -> None:
    DynamoLedger("ledger").record_arrival(arrival(), NOW)
    (item,) = scan(dynamodb)
    assert item.pop("pending_pk") in {f"pending#{shard}" for shard in range(8)}
    assert item == {
        "pk": "arrival#landing/flights/a.csv",
        "sk": "000000000000000000000000000000000000001f",
        "kind": "arrival",
        "schema": 1,
        "bucket": "landing",
        "key": "flights/a.csv",
        "sequencer": "000000000000000000000000000000000000001f",
        "event_name": "Object Created",
        "event_time": "2026-03-01T12:00:00.000Z",
        "recorded_at": "2026-03-01T12:00:00.000Z",
        "size_bytes": 5,
        "etag": "e",
        "version_id": "v1",
        "table": "flights",
        "captures": {},
        "state": "pending",
        "pending_sk": "flights#2026-03-01T12:00:00.000Z",
    }


def test_a_claimed_arrival_leaves_the_index(dynamodb: Any) -> None:
    ledger = DynamoLedger("ledger")
    ledger.record_arrival(arrival(), NOW)
    ledger.mark_claimed(arrival(), 1, "claimed", NOW)
    assert dynamodb.scan(TableName="ledger", IndexName="pending")["Count"] == 0


def test_table_and_batch_items_are_as_the_command_reads_them(dynamodb: Any) -> None:
    ledger = DynamoLedger("ledger")
    ledger.take_lease("flights", "r", None)
    ledger.open_claim("flights", "r", CLAIM)
    ledger.seal(BATCH, "r", CLAIM)
    items = {item["sk"]: item for item in scan(dynamodb)}
    assert items["table"] == {
        "pk": "table#flights",
        "sk": "table",
        "kind": "table",
        "table": "flights",
        "fence": 1,
        "lease": {"run_id": "r", "fence": 1, "attempt": 0},
        "next_batch": 2,
        "unsettled_batch": 1,
    }
    assert {"table", "batch", "manifest_uri", "manifest_sha256", "files", "bytes", "state", "sealed_at"} <= set(
        items["batch#000000000001"]
    )


def test_all_pages_of_the_index_are_read(dynamodb: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = DynamoLedger("ledger")
    for number in range(30):
        ledger.record_arrival(arrival(f"flights/{number}.csv"), NOW)
    query = ledger._client.query
    monkeypatch.setattr(ledger._client, "query", lambda **request: query(Limit=1, **request))
    assert len(list(ledger.pending("flights"))) == 30


def test_what_a_batch_get_leaves_is_asked_for_again(dynamodb: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = DynamoLedger("ledger")
    names = [f"t{number}" for number in range(150)]
    for name in names:
        ledger.block_table(name, name)
    batch_get, left = ledger._client.batch_get_item, []

    def half(**request: Any) -> Any:
        wanted = request["RequestItems"]["ledger"]["Keys"]
        left.append(len(wanted))
        answer = batch_get(RequestItems={"ledger": {"Keys": wanted[:40], "ConsistentRead": True}})
        unprocessed = {"ledger": {"Keys": wanted[40:]}} if wanted[40:] else {}
        return answer | {"UnprocessedKeys": unprocessed}

    monkeypatch.setattr(ledger._client, "batch_get_item", half)
    assert {name: table.blocked_reason for name, table in ledger.tables(names).items()} == dict(
        zip(names, names, strict=True)
    )
    assert max(left) <= 100


@pytest.mark.parametrize(
    "code", ["ThrottlingException", "ProvisionedThroughputExceededException", "RequestLimitExceeded"]
)
def test_throttling_has_one_name(dynamodb: Any, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    ledger = DynamoLedger("ledger")

    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": code, "Message": "slow down"}}, "call")

    for call in ("get_item", "put_item", "update_item", "query", "batch_get_item"):
        monkeypatch.setattr(ledger._client, call, refuse)
    for use in (
        lambda: ledger.run("r"),
        lambda: ledger.record_arrival(arrival(), NOW),
        lambda: ledger.free_lease("flights", "r", 0),
        lambda: list(ledger.pending()),
        lambda: ledger.tables(["flights"]),
    ):
        with pytest.raises(Throttled):
            use()


@pytest.mark.parametrize("letter", ["k", "é"])
def test_the_longest_key_of_s3_is_recorded_and_found(dynamodb: Any, letter: str) -> None:
    # GIVEN a key of 1,024 bytes, which is as much as DynamoDB takes as a sort key, and nothing beside it
    key = f"flights/{letter * (1016 // len(letter.encode()))}"
    assert len(key.encode()) == 1024
    ledger = DynamoLedger("ledger")
    ledger.record_arrival(arrival(key), NOW)
    # THEN the arrival is found and claimed all the same
    (found,) = ledger.pending("flights")
    assert found.key == key
    assert ledger.mark_claimed(found, 1, "claimed", NOW) is True


def test_what_is_decided_on_is_read_consistently(dynamodb: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN that moto, unlike DynamoDB, never answers with something old
    ledger, asked = DynamoLedger("ledger"), []
    send = ledger._client._make_api_call

    def listen(operation: str, request: dict[str, Any]) -> Any:
        asked.append((operation, request))
        return send(operation, request)

    monkeypatch.setattr(ledger._client, "_make_api_call", listen)
    ledger.table("flights")
    ledger.tables(["flights"])
    ledger.run("r")
    ledger.admitted_pass("arn")
    assert [operation for operation, _ in asked] == ["GetItem", "BatchGetItem", "GetItem", "GetItem"]
    for _, request in asked:
        assert request.get("RequestItems", {}).get("ledger", request)["ConsistentRead"] is True


def items_of_all_kinds(ledger: DynamoLedger) -> None:
    ledger.record_arrival(arrival(), NOW)
    ledger.mark_claimed(arrival(), 1, "claimed", NOW)
    ledger.take_lease("flights", "r", None)
    ledger.open_claim("flights", "r", CLAIM)
    ledger.seal(BATCH, "r", CLAIM)
    ledger.begin_run(Run("r", "running", 0, "arn:1", "because", NOW), None)


def read_all_kinds(ledger: DynamoLedger) -> list[Callable[[], Any]]:
    return [
        lambda: ledger.versions("landing", arrival().key),
        lambda: ledger.head("landing", arrival().key),
        lambda: ledger.table("flights"),
        lambda: ledger.batch("flights", 1),
        lambda: ledger.run("r"),
    ]


def change_all(dynamodb: Any, **changes: Any) -> None:
    table = boto3.resource("dynamodb").Table("ledger")
    for item in scan(dynamodb):
        table.put_item(Item=item | changes)


def test_an_item_of_a_newer_release_is_refused_with_what_to_do(dynamodb: Any) -> None:
    ledger = DynamoLedger("ledger")
    items_of_all_kinds(ledger)
    change_all(dynamodb, schema=2)
    for read in read_all_kinds(ledger):
        with pytest.raises(UnreadableItem, match=r"newer release \(schema 2, this one reads 1\): deploy that release"):
            read()


def test_an_item_of_before_schemas_were_counted_is_read(dynamodb: Any) -> None:
    ledger = DynamoLedger("ledger")
    items_of_all_kinds(ledger)
    for item in scan(dynamodb):
        item.pop("schema", None)
        boto3.resource("dynamodb").Table("ledger").put_item(Item=item)
    for read in read_all_kinds(ledger):
        assert read()


def test_an_item_that_somebody_changed_is_refused_with_its_name(dynamodb: Any) -> None:
    ledger = DynamoLedger("ledger")
    ledger.record_arrival(arrival(), NOW)
    change_all(dynamodb, event_time="yesterday")
    with pytest.raises(UnreadableItem, match=r"arrival#landing/flights/a\.csv / 0+1f is not as any release writes it"):
        list(ledger.pending())
