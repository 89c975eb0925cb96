"""What the control plane uses up, counted while it runs: calls, DynamoDB's units, invocations, state transitions.

Units are worked out from the items before and after each write, as AWS bills them: a write unit for each KB of the
larger of the two; as much again for an index that the item is in, or two entries' worth if the index's key changes;
what a condition refuses is paid all the same. Source: DynamoDB Developer Guide, "DynamoDB read and write operations"
and "Provisioned throughput considerations for global secondary indexes".
"""

from __future__ import annotations

import contextvars
import math
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from boto3.dynamodb.types import TypeDeserializer
from campaign.one_process_cloud import Life, OneProcessCloud, Send, life_of_call

WRITE_UNIT_BYTES, READ_UNIT_BYTES = 1024, 4096
INDEX_KEYS = ("pending_pk", "pending_sk")

Item = Mapping[str, Any]
_deserialize = TypeDeserializer().deserialize
_page: contextvars.ContextVar[list[Any]] = contextvars.ContextVar("metered_page")
"""What the query that is under way reads."""


@dataclass
class Meter:
    """What has been used up. Counters are by who calls and what for."""

    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By caller (function and action) and `service.Operation`."""
    write_units: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By caller and kind of item; `<kind> in the index` for the index's share."""
    read_units: Counter[str] = field(default_factory=Counter)
    items_read: Counter[str] = field(default_factory=Counter)
    invocations: Counter[str] = field(default_factory=Counter)
    largest_item_bytes: Counter[str] = field(default_factory=Counter)
    """By kind."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def watch(self, cloud: OneProcessCloud) -> None:
        """Count whatever the cloud's functions call from now on. The cloud's `reset` ends it."""
        from ministack.services import dynamodb

        cloud.intercept = self._count_call
        if not hasattr(dynamodb, "tidegate_meters"):
            dynamodb.tidegate_meters = []
            _listen(dynamodb)
        dynamodb.tidegate_meters[:] = [self]

    def count_lives(self, cloud: OneProcessCloud) -> None:
        """Take over the invocations so far."""
        self.invocations = Counter(life.name for life in cloud.lives if life.name != "step")

    def _count_call(self, life: Life, operation: str, send: Send) -> Any:
        with self._lock:
            self.calls[life.name, operation] += 1
        answer = send()
        if operation == "dynamodb.BatchGetItem":
            self.read_each(life.name, [item for found in answer["Responses"].values() for item in found])
        return answer

    # ---- DynamoDB

    def written(self, caller: str, before: Item, after: Item) -> None:
        kind = str(after.get("kind") or before.get("kind") or "unknown")
        with self._lock:
            self.write_units[caller, kind] += table_write_units(before, after)
            if units := index_write_units(before, after):
                self.write_units[caller, f"{kind} in the index"] += units
            self.largest_item_bytes[kind] = max(self.largest_item_bytes[kind], size_bytes(after))

    def refused(self, caller: str, item: Item) -> None:
        kind = str(item.get("kind") or "unknown")
        with self._lock:
            self.write_units[caller, f"{kind}, refused"] += table_write_units(item, item)

    def read(self, caller: str, request: Item, items: list[Item]) -> None:
        """A Query adds its items up before it rounds; a look at nothing is paid too."""
        self.items_read[caller] += len(items)
        units = max(1, math.ceil(sum(map(size_bytes, items)) / READ_UNIT_BYTES))
        self.read_units[caller] += units if request.get("ConsistentRead") else units / 2  # type: ignore[assignment]

    def read_each(self, caller: str, items: list[Item]) -> None:
        """BatchGetItem, consistent: each item on its own."""
        self.items_read[caller] += len(items)
        self.read_units[caller] += sum(max(1, math.ceil(size_bytes(item) / READ_UNIT_BYTES)) for item in items)


def table_write_units(before: Item, after: Item) -> int:
    return max(1, math.ceil(max(size_bytes(before), size_bytes(after)) / WRITE_UNIT_BYTES))


def index_write_units(before: Item, after: Item) -> int:
    """The index has all attributes of those items that carry its key."""
    was, is_now = _index_key(before), _index_key(after)
    old, new = (math.ceil(size_bytes(item) / WRITE_UNIT_BYTES) for item in (before, after))
    if was is None or is_now is None:
        return (old if was else 0) + (new if is_now else 0)
    if was != is_now:
        return old + new
    return max(old, new) if before != after else 0


def _index_key(item: Item) -> tuple[Any, ...] | None:
    return tuple(item[name] for name in INDEX_KEYS) if all(name in item for name in INDEX_KEYS) else None


def size_bytes(item: Item) -> int:
    """As DynamoDB counts it: names and values. Source: Developer Guide, "DynamoDB item sizes and formats"."""
    return sum(len(name.encode()) + _value_bytes(value) for name, value in item.items())


def _value_bytes(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, bool) or value is None:
        return 1
    if isinstance(value, int | Decimal):
        return 1 + math.ceil(len(str(value).strip("-").replace(".", "")) / 2) + (value < 0)
    if isinstance(value, Mapping):
        return 3 + sum(1 + len(name.encode()) + _value_bytes(inner) for name, inner in value.items())
    if isinstance(value, set):
        return sum(map(_value_bytes, value))
    return 3 + sum(1 + _value_bytes(inner) for inner in value)


def _listen(dynamodb: Any) -> None:
    """ministack works out what a request costs in two places, with the items at hand."""
    add_consumed, refuse = dynamodb._add_consumed_capacity, dynamodb._conditional_check_failed
    paginate = dynamodb._paginate_evaluated_items

    def keep_page(*arguments: Any, **options: Any) -> Any:
        page, has_more = paginate(*arguments, **options)
        _page.set(page)
        return page, has_more

    def tell(result: Any, data: Any, table_name: str, write: bool = False, **items: Any) -> Any:
        caller = life_of_call()
        for meter in dynamodb.tidegate_meters if caller else ():
            if write:
                meter.written(caller, _plain(items.get("old_item")), _plain(items.get("new_item")))
            else:
                # A projection shortens the answer, not the bill.
                whole = _page.get() if "Items" in result else [result["Item"]] if "Item" in result else []
                meter.read(caller, data, [_plain(item) for item in whole])
        return add_consumed(result, data, table_name, write=write, **items)

    def tell_refused(data: Any, old_item: Any, *rest: Any, **options: Any) -> Any:
        caller = life_of_call()
        for meter in dynamodb.tidegate_meters if caller else ():
            meter.refused(caller, _plain(old_item))
        return refuse(data, old_item, *rest, **options)

    dynamodb._add_consumed_capacity, dynamodb._conditional_check_failed = tell, tell_refused
    dynamodb._paginate_evaluated_items = keep_page


def _plain(item: Mapping[str, Any] | None) -> Item:
    return {name: _deserialize(value) for name, value in (item or {}).items()}
