"""What a run asks of the job: the work file and the manifests, as they were written by plan_run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
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
class Transform:
    """The contract's SELECT over the arrivals, taken apart when it was compiled."""

    select: tuple[str, ...]
    """Expressions with their aliases, in Spark SQL."""
    where: str | None = None


@dataclass(frozen=True)
class Expectation:
    """A condition that every row should meet; a null is a row that doesn't."""

    name: str
    check: str
    on_fail: Literal["quarantine", "warn", "fail"]


@dataclass(frozen=True)
class SnapshotRule:
    """Which files make up a snapshot, when it is complete, and what it is a snapshot of."""

    scope: tuple[str, ...] = ()
    """Columns: rows of other values of these are none of the snapshot's business. Empty: the whole table."""
    complete: Literal["file", "marker", "manifest"] = "file"
    """`file`: each file is a snapshot. Otherwise the files of a folder are one, complete with its `marker` file,
    which for `manifest` lists the names of the others, one a line."""
    marker: str = "_SUCCESS"
    keep_history: bool = False
    """Rows that are missing are closed as in scd2, not deleted."""


@dataclass(frozen=True)
class Maintenance:
    """What is done for a table while the cluster is warm."""

    optimize: Literal["auto", "off"] = "auto"
    vacuum_s: int | None = 7 * 86400
    """Age in seconds from which files that no version needs are deleted; None: never."""
    checkpoint: Literal["auto", "off"] = "auto"
    limit_s: int = 300


@dataclass(frozen=True)
class Contract:
    """The part of a compiled contract that the job needs."""

    table: str
    format: str
    options: Mapping[str, Any]
    columns: tuple[Column, ...]
    """The table's own columns, in its order."""
    captures: tuple[str, ...]
    """Captures of the landing path that are source columns, too."""
    strategy: str
    keys: tuple[str, ...]
    sequence_by: str | None
    partition_by: tuple[str, ...]
    reads: tuple[Column, ...] = ()
    """Columns that arrivals have (files or paths) and the table doesn't keep as they are: for `delete_when`,
    `transform` and checks."""
    computed: frozenset[str] = frozenset()
    """Columns of the table that the transform makes."""
    delete_when: str | None = None
    """A SQL condition on source columns; a change for which it holds deletes its key."""
    partial_updates: bool = False
    """A change need not bring all columns: what it doesn't bring stays."""
    ignore_null_updates: bool = False
    """Under partial updates: a null is no value, so it stays, too."""
    track_columns: tuple[str, ...] | None = None
    """scd2: a new row of the history begins when one of these changes; None: any but the keys and the sequence."""
    valid_from: str | None = None
    valid_to: str | None = None
    """bitemporal: the columns with the period that a change speaks of; a null is an open end."""
    snapshot: SnapshotRule = SnapshotRule()
    transform: Transform | None = None
    expectations: tuple[Expectation, ...] = ()
    evolution: Literal["strict", "add_columns", "widen"] = "strict"
    readers: tuple[str, ...] = ("spark",)
    cluster_by: tuple[str, ...] = ()
    change_data_feed: bool = False
    tombstones_s: int = 30 * 86400
    """How long it is remembered that a key was deleted, in seconds after the arrival."""
    maintenance: Maintenance = Maintenance()

    @property
    def source_columns(self) -> tuple[Column, ...]:
        """The columns of the `arrivals` view: what files and paths give."""
        named = {column.name for column in self.reads}
        return (
            *(c for c in self.columns if c.name not in named | self.computed | METADATA_COLUMNS.keys()),
            *self.reads,
        )

    @property
    def file_columns(self) -> tuple[Column, ...]:
        """The columns that a file itself must bring: all but those that its path gives."""
        return tuple(column for column in self.source_columns if column.name not in self.captures)


METADATA_COLUMNS: Mapping[str, str] = {"_source_file": "string", "_arrived_at": "timestamp"}
"""Columns that are filled with the URI and the time of the arrival where a contract names them, and their types."""


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
    marker: bool = False
    """No data: it says that the snapshot in its folder is complete."""

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
    maintenance: bool = True
    """May the table be maintained after its last batch? Not if the next one is due already."""


@dataclass(frozen=True)
class Work:
    """A group of batches that one Spark application merges."""

    run_id: str
    pass_number: int
    group: str
    orders: tuple[BatchOrder, ...]
    progress_uri: str | None = None
    """Where to tell how far it is while it works."""
    application_start_s: float = 0.0
    """Seconds from the start of the application's driver to its first batch: measured, not read."""

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

    @property
    def data_files(self) -> tuple[SourceFile, ...]:
        """The files that have rows: all but the markers."""
        return tuple(file for file in self.files if not file.marker)


def parse_work(raw: bytes, uri: str) -> Work:
    """Raises :class:`BrokenWork`."""
    try:
        document = _checked_schema(json.loads(raw))
        return Work(
            run_id=document["run_id"],
            pass_number=document["pass"],
            group=document["group"],
            progress_uri=document.get("progress_uri"),
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
                    maintenance=bool(entry.get("maintenance", True)),
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
    """What an older release compiled has fewer entries, and means what it meant then."""
    merge = entry["merge"]
    transform = entry.get("transform")
    track = merge.get("track_columns")
    return Contract(
        table=entry["table"],
        format=entry["format"]["type"],
        options=entry["format"].get("options") or {},
        columns=_parse_columns(entry["columns"]),
        captures=tuple(entry.get("captures") or ()),
        strategy=merge["strategy"],
        keys=tuple(merge.get("keys") or ()),
        sequence_by=merge.get("sequence_by"),
        partition_by=tuple(entry.get("partition_by") or ()),
        reads=_parse_columns(entry.get("reads") or ()),
        computed=frozenset(entry.get("computed") or ()),
        delete_when=merge.get("delete_when"),
        partial_updates=bool(merge.get("partial_updates")),
        ignore_null_updates=bool(merge.get("ignore_null_updates")),
        track_columns=None if track is None else tuple(track),
        valid_from=merge.get("valid_from"),
        valid_to=merge.get("valid_to"),
        snapshot=_parse_snapshot(merge.get("snapshot") or {}),
        transform=Transform(tuple(transform["select"]), transform.get("where")) if transform else None,
        expectations=tuple(
            Expectation(each["name"], each["check"], each["on_fail"]) for each in entry.get("expectations") or ()
        ),
        evolution=entry.get("evolution") or "strict",
        readers=tuple(entry.get("readers") or ("spark",)),
        cluster_by=tuple(entry.get("cluster_by") or ()),
        change_data_feed=bool(entry.get("change_data_feed")),
        tombstones_s=int(entry.get("tombstones_s") or Contract.tombstones_s),
        maintenance=Maintenance(**(entry.get("maintenance") or {"optimize": "off", "vacuum_s": None})),
    )


def _parse_columns(entries: Iterable[Mapping[str, str]]) -> tuple[Column, ...]:
    return tuple(Column(column["name"], column["type"]) for column in entries)


def _parse_snapshot(entry: Mapping[str, Any]) -> SnapshotRule:
    return SnapshotRule(**{**entry, "scope": tuple(entry.get("scope") or ())})


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
        marker=bool(entry.get("marker")),
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
