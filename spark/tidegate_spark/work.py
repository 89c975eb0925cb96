"""What a run asks of the job: the work file and the manifests, as they were written by plan_run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tidegate_spark.errors import BrokenWork

SCHEMA = 1
Action = Literal["merge", "void"]
"""What an order asks for: `void` uses the batch's number up without its files, since they can't be merged."""
_ACTIONS: tuple[Action, ...] = ("merge", "void")
_SEQUENCER_DIGITS = 40


@dataclass(frozen=True)
class Column:
    """A column of a contract; `type` is Spark SQL DDL."""

    name: str
    type: str


@dataclass(frozen=True)
class Contract:
    """The part of a compiled contract that the job needs."""

    table: str
    format: str
    options: Mapping[str, Any]
    columns: tuple[Column, ...]
    captures: tuple[str, ...]
    """Captures of the landing path that are columns, too."""
    strategy: str
    keys: tuple[str, ...]
    sequence_by: str | None
    partition_by: tuple[str, ...]

    @property
    def file_columns(self) -> tuple[Column, ...]:
        """The columns that a file itself must bring: all but those that its path gives."""
        return tuple(column for column in self.columns if column.name not in self.captures)


@dataclass(frozen=True)
class SourceFile:
    """One arrival of a batch, and where its bytes are read."""

    index: int
    bucket: str
    key: str
    sequencer: str
    """Left-padded: comparing text compares age."""
    etag: str
    size_bytes: int
    event_time: str
    captures: Mapping[str, str]
    uri: str
    in_place: bool
    """Read from the landing bucket itself, where it may be overwritten at any time."""
    version_id: str | None = None
    """What the manifest pins; None in a bucket that keeps no versions."""

    @property
    def source(self) -> str:
        """What the rows remember of their origin."""
        return f"{self.bucket}/{self.key}"


@dataclass(frozen=True)
class BatchOrder:
    """One batch of a work file: which manifest, read from where, answered where."""

    table: str
    batch: int
    manifest_uri: str
    manifest_sha256: str
    fence: int
    locations: Mapping[str, str]
    receipt_uri: str
    action: Action = "merge"
    reason: str = ""
    """Why the batch is to be voided, for whoever reads the table's history."""


@dataclass(frozen=True)
class Work:
    """A group of batches that one Spark application merges."""

    run_id: str
    pass_number: int
    group: str
    orders: tuple[BatchOrder, ...]

    def by_table(self) -> dict[str, list[BatchOrder]]:
        """The batches of each table, in the order in which they must be merged."""
        tables: dict[str, list[BatchOrder]] = {}
        for order in sorted(self.orders, key=lambda order: order.batch):
            tables.setdefault(order.table, []).append(order)
        return tables


@dataclass(frozen=True)
class Manifest:
    """The immutable list of a batch, with all that is needed to merge it."""

    table: str
    batch: int
    predecessor: int | None
    app_id: str
    target: str
    contract: Contract
    files: tuple[SourceFile, ...]
    sha256: str


def parse_work(raw: bytes, uri: str) -> Work:
    """Raises :class:`BrokenWork`."""
    try:
        document = _checked_schema(json.loads(raw))
        return Work(
            run_id=document["run_id"],
            pass_number=document["pass"],
            group=document["group"],
            orders=tuple(
                BatchOrder(
                    table=entry["table"],
                    batch=int(entry["batch"]),
                    manifest_uri=entry["manifest_uri"],
                    manifest_sha256=entry["manifest_sha256"],
                    fence=int(entry["fence"]),
                    locations=entry.get("locations") or {},
                    receipt_uri=entry["receipt_uri"],
                    action=_parse_action(entry),
                    reason=str(entry.get("reason") or ""),
                )
                for entry in document["batches"]
            ),
        )
    except (ValueError, KeyError, TypeError) as broken:
        raise BrokenWork(f"The work file {uri} can't be used: {_why(broken)}. Start the run again.") from broken


def parse_manifest(raw: bytes, order: BatchOrder) -> Manifest:
    """The manifest of `order`, if its bytes are those that were sealed. Raises :class:`BrokenWork`."""
    found = hashlib.sha256(raw).hexdigest()
    if found != order.manifest_sha256:
        raise BrokenWork(
            f"The manifest {order.manifest_uri} has sha256 {found}, the work file says "
            f"{order.manifest_sha256}. A sealed manifest never changes: find out who wrote to it, restore "
            "its first version, then redrive."
        )
    try:
        document = _checked_schema(json.loads(raw))
        _check_batch(document, order)
        return Manifest(
            table=document["table"],
            batch=int(document["batch"]),
            predecessor=document["predecessor"],
            app_id=document["app_id"],
            target=document["target"].rstrip("/"),
            contract=_parse_contract(document["contract"]),
            files=tuple(_parse_file(entry, order) for entry in document["files"]),
            sha256=found,
        )
    except (ValueError, KeyError, TypeError) as broken:
        raise BrokenWork(f"The manifest {order.manifest_uri} can't be used: {_why(broken)}.") from broken


def _parse_contract(entry: Mapping[str, Any]) -> Contract:
    merge = entry["merge"]
    return Contract(
        table=entry["table"],
        format=entry["format"]["type"],
        options=entry["format"].get("options") or {},
        columns=tuple(Column(column["name"], column["type"]) for column in entry["columns"]),
        captures=tuple(entry.get("captures") or ()),
        strategy=merge["strategy"],
        keys=tuple(merge.get("keys") or ()),
        sequence_by=merge.get("sequence_by"),
        partition_by=tuple(entry.get("partition_by") or ()),
    )


def _parse_file(entry: Mapping[str, Any], order: BatchOrder) -> SourceFile:
    staged = order.locations.get(str(entry["index"]))
    return SourceFile(
        index=int(entry["index"]),
        bucket=entry["bucket"],
        key=entry["key"],
        sequencer=str(entry["sequencer"]).lower().rjust(_SEQUENCER_DIGITS, "0"),
        etag=str(entry.get("etag") or "").strip('"'),
        size_bytes=int(entry["size_bytes"]),
        event_time=entry["event_time"],
        captures=entry.get("captures") or {},
        uri=staged or f"s3://{entry['bucket']}/{entry['key']}",
        in_place=staged is None,
        version_id=entry.get("version_id"),
    )


def _parse_action(entry: Mapping[str, Any]) -> Action:
    named = entry.get("action", "merge")
    for action in _ACTIONS:
        if named == action:
            return action
    raise ValueError(f"batch {entry['batch']} of {entry['table']} has action {named!r}, this job knows {_ACTIONS}")


def _checked_schema(document: dict[str, Any]) -> dict[str, Any]:
    if document.get("schema") != SCHEMA:
        raise ValueError(f"its schema is {document.get('schema')!r}, this job reads {SCHEMA}")
    return document


def _check_batch(document: dict[str, Any], order: BatchOrder) -> None:
    if (document["table"], document["batch"]) != (order.table, order.batch):
        raise ValueError(f"it is of batch {document['batch']} of {document['table']}")


def _why(broken: Exception) -> str:
    return f"{broken.args[0]!r} is missing" if isinstance(broken, KeyError) else str(broken)
