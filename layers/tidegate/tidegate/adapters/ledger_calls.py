"""The calls to the ledger's table. A condition that does not hold is an answer, not an error."""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import boto3
from botocore.exceptions import ClientError

from tidegate.adapters.clients import CONFIG, code_of, throttling_named
from tidegate.errors import Throttled

PENDING_INDEX = "pending"
MAXIMUM_BATCH_GET = 100
TRIES = 8
FIRST_PAUSE_S = 0.05


class LedgerCalls:
    """One DynamoDB table. Its client may be shared between threads."""

    def __init__(self, table_name: str, client: Any = None) -> None:
        """`client` is that of a DynamoDB resource, for a caller with credentials or an endpoint of its own."""
        # The resource's client, because it takes and gives plain Python values.
        self._client: Any = client or boto3.resource("dynamodb", config=CONFIG).meta.client
        self._name = table_name

    def _indexed(self, partition: str, table: str | None, only: Sequence[str] = ()) -> Iterator[Mapping[str, Any]]:
        """The items of one partition of the index, of one table alone or of all; `only` these attributes of them."""
        condition, values = "pending_pk = :partition", {":partition": partition}
        if table is not None:
            condition += " AND begins_with(pending_sk, :table)"
            values[":table"] = f"{table}#"
        request: dict[str, Any] = {"KeyConditionExpression": condition, "ExpressionAttributeValues": values}
        if only:
            request["ProjectionExpression"] = ", ".join(f"#{name}" for name in only)
            request["ExpressionAttributeNames"] = {f"#{name}": name for name in only}
        return self._query(IndexName=PENDING_INDEX, **request)

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

    def _get_all(self, keys: Sequence[Mapping[str, str]], *, consistent: bool = True) -> list[Mapping[str, Any]]:
        """Those of the items that there are. What DynamoDB leaves out for want of capacity is asked for again."""
        found: list[Mapping[str, Any]] = []
        for start in range(0, len(keys), MAXIMUM_BATCH_GET):
            request = {self._name: {"Keys": keys[start : start + MAXIMUM_BATCH_GET], "ConsistentRead": consistent}}
            for number in range(TRIES):
                with throttling_named("dynamodb:BatchGetItem"):
                    answer = self._client.batch_get_item(RequestItems=request)
                found += answer["Responses"].get(self._name, [])
                request = answer.get("UnprocessedKeys", {})
                if not request:
                    break
                time.sleep(random.uniform(0, FIRST_PAUSE_S * 2**number))  # noqa: S311 - a pause is no secret
            else:
                raise Throttled(f"dynamodb:BatchGetItem left items out {TRIES} times for want of capacity")
        return found

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
