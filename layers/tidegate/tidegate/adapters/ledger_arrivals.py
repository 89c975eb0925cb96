"""Arrivals, and the heads of their keys, in the ledger."""

import heapq
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from tidegate.adapters.ledger_calls import LedgerCalls
from tidegate.adapters.ledger_items import (
    arrival_item,
    arrival_key,
    epoch,
    head_key,
    index_keys,
    index_pk,
    iso,
    moment,
    read_arrival,
    read_head,
)
from tidegate.arrivals import PENDING_SHARDS, RETENTION, Arrival, State
from tidegate.ports import Head, Waiting


class ArrivalsInLedger(LedgerCalls):
    """The part of `tidegate.ports.Ledger` that is about arrivals."""

    def record_arrival(self, arrival: Arrival, now: datetime) -> bool:
        return self._put(arrival_item(arrival, now), "attribute_not_exists(pk)")

    def pending(self, table: str | None = None) -> Iterator[Arrival]:
        shards = [self._indexed(index_pk("pending", shard), table) for shard in range(PENDING_SHARDS)]
        if table is None:
            yield from map(read_arrival, itertools.chain.from_iterable(shards))
        else:
            # Each shard has a table's arrivals in their order, and is read no further than somebody wants to know.
            yield from heapq.merge(*(map(read_arrival, shard) for shard in shards), key=lambda each: each.event_time)

    def waiting(self) -> Iterator[Waiting]:
        for shard in range(PENDING_SHARDS):
            for item in self._indexed(index_pk("pending", shard), None, only=("table", "event_time", "size_bytes")):
                yield Waiting(item["table"], moment(item["event_time"]), int(item["size_bytes"]))

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

    def heads(self, bucket: str, keys: Sequence[str]) -> dict[str, Head]:
        # Half the price of consistent reads; what a listing is compared with was written an hour ago or more.
        items = self._get_all([head_key(bucket, key) for key in keys], consistent=False)
        return {item["pk"].removeprefix(f"arrival#{bucket}/"): read_head(item) for item in items}

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
