"""From the files of a manifest to the changes of a batch: typed rows with their place in the total order.

One pass over the data reads, checks and keeps it; one small row for each part of a file comes back to the driver. A
row that breaks its contract goes to quarantine, a file that can't be read is left out whole; the others go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as sf
from pyspark.sql.types import LongType, StringType, StructField, StructType

from tidegate_spark import reading
from tidegate_spark.errors import BrokenWork, CheckFailed, DataRefused, SourceChanged
from tidegate_spark.local_rows import local_rows
from tidegate_spark.logs import Log
from tidegate_spark.markers import Marker, read_markers
from tidegate_spark.origin import DELETED, ORIGIN, SET_COLUMNS
from tidegate_spark.parts import KeyRange, Part, aggregates, bases, key_ranges, part_of
from tidegate_spark.quarantine import bad_rows
from tidegate_spark.receipts import Rejection
from tidegate_spark.shaping import CHECK, NO_FOLDER, is_good, shape_of
from tidegate_spark.sources import format_of, rows
from tidegate_spark.storage import Storage
from tidegate_spark.work import Column as ContractColumn
from tidegate_spark.work import Contract, Manifest, SourceFile

__all__ = ["Changes", "KeyRange", "read_changes"]

_PLACE = "_tidegate_place"
_PLACE_NAMES = ("base", "event_time", "source", "sequencer")
_PLACE_FIELDS = "base bigint, event_time string, source string, sequencer string"
_FEW_PARTS = 4
_FEW_ROWS = 100_000
"""So few rows of so few parts get their place by conditions, evaluated twice a row; others by a join with a broadcast
list, which is a job of its own."""
_MOST_NEW_COLUMNS = 200


@dataclass(frozen=True)
class Changes:
    """The readable rows of a batch."""

    rows: DataFrame
    """The contract's columns in its order, then `new_columns`, `_tidegate`, `_tidegate_deleted` and, under partial
    updates, `_tidegate_set`."""
    files: tuple[SourceFile, ...]
    rejected: tuple[Rejection, ...]
    row_counts: Mapping[int, int]
    """Rows in `rows` of each file that was read, by its index."""
    key_ranges: tuple[KeyRange, ...]
    release_kept: reading.Release
    batch: int = 0
    """The batch's number: what side tables know its rows by."""
    new_columns: tuple[ContractColumn, ...] = ()
    """Columns that the files bring and the contract doesn't name, by their names; texts."""
    bad_rows: DataFrame | None = None
    """Rows that break their contract, in the form of the quarantine table; None if there are none."""
    rows_quarantined: int = 0
    rows_filtered: int = 0
    """Rows that the transform's WHERE left out."""
    unmet: Mapping[str, int] | None = None
    """How many rows didn't meet each expectation."""
    markers: tuple[Marker, ...] = ()
    """Files without data that say which snapshots are complete."""

    @property
    def rows_read(self) -> int:
        return sum(self.row_counts.values())

    @property
    def rows_rejected(self) -> int:
        return sum(rejection.rows for rejection in self.rejected)

    @property
    def bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    def without(self, rejected: Iterable[Rejection]) -> Changes:
        """What is told of them once a strategy has refused some files as a whole. `rows` stay as they are."""
        refused = {rejection.file.index: rejection for rejection in rejected}
        return replace(
            self,
            files=tuple(file for file in self.files if file.index not in refused),
            rejected=tuple(sorted((*self.rejected, *refused.values()), key=lambda rejection: rejection.file.index)),
            row_counts={index: count for index, count in self.row_counts.items() if index not in refused},
        )


def read_changes(session: SparkSession, storage: Storage, manifest: Manifest, log: Log) -> Changes:
    """Read, check and keep the batch's files.

    Raises SourceChanged, ReadFailed, NotSupported, ContractRefused, CheckFailed.
    """
    contract = manifest.contract
    _check_places(manifest)
    source_format = format_of(contract)
    shape = shape_of(session, contract, source_format.raw_type)
    bad_captures = _bad_captures(session, manifest)
    candidates = [file for file in manifest.data_files if file.index not in bad_captures]
    markers = read_markers(storage, manifest, bad_captures)
    reader = reading.Reader(session, storage, source_format, contract, log)
    kept = reader.keep_readable(candidates, lambda scan: shape.of(scan, candidates), aggregates(contract))
    try:
        _check_unchanged(storage, manifest.files)
        pass_ = _Pass(session, manifest, kept, [part_of(row, contract) for row in kept.parts])
        pass_.check_expectations()
        return pass_.changes(
            [Rejection(file, bad_captures[i]) for file in manifest.files if (i := file.index) in bad_captures],
            markers,
        )
    except BaseException:
        kept.release()
        raise


@dataclass(frozen=True)
class _Pass:
    """What the one pass over the data kept, and what it said."""

    session: SparkSession
    manifest: Manifest
    kept: reading.Kept
    parts: Sequence[Part]

    @property
    def contract(self) -> Contract:
        return self.manifest.contract

    @cached_property
    def by_uri(self) -> dict[str, SourceFile]:
        return {reading.normal(file.uri): file for file in self.kept.files}

    def check_expectations(self) -> None:
        """Raises :class:`CheckFailed` for the first row that is to fail its batch."""
        for part in sorted(self.parts, key=lambda part: (self.by_uri[part.uri].index, part.block)):
            if part.first_fatal is None:
                continue
            [(number, reason)] = self._problems([(part, part.first_fatal)]).values()
            file = self.by_uri[part.uri]
            raise CheckFailed(
                f"{file.source}, row {number}: {reason}. This expectation fails the batch: mend the file, or let "
                "the contract quarantine such rows.",
                file=file.key,
                row=number,
            )

    def changes(self, unreadable: Sequence[Rejection], markers: tuple[Marker, ...]) -> Changes:
        contract, counts = self.contract, self._counts()
        reasons = self._whole_rejections()
        rejected = [
            *unreadable,
            *(Rejection(file, reason) for file, reason in self.kept.broken),
            *(Rejection(self.by_uri[uri], reason, counts[uri]) for uri, reason in reasons.items()),
        ]
        parts = [part for part in self.parts if part.uri not in reasons]
        good = [part for part in parts if part.good]
        files = tuple(file for uri, file in self.by_uri.items() if uri not in reasons)
        merged = dict.fromkeys(self.by_uri, 0)
        for part in parts:
            merged[part.uri] += part.good
        new_columns = _new_columns(parts, contract)
        bad = sum(part.bad for part in parts)
        return Changes(
            rows=self._rows(parts, new_columns),
            files=files,
            rejected=tuple(sorted(rejected, key=lambda rejection: rejection.file.index)),
            row_counts={file.index: merged[reading.normal(file.uri)] for file in files},
            key_ranges=tuple(key_ranges(contract, good, self.by_uri)),
            release_kept=self.kept.release,
            batch=self.manifest.batch,
            new_columns=new_columns,
            bad_rows=bad_rows(self._placed(self.kept.frame.where(sf.col(CHECK).isNotNull()), parts)) if bad else None,
            rows_quarantined=bad,
            rows_filtered=sum(part.filtered for part in parts),
            markers=markers,
            unmet={
                each.name: sum(part.unmet[number] for part in parts)
                for number, each in enumerate(contract.expectations)
            },
        )

    def _counts(self) -> dict[str, int]:
        """Rows of each file, blank lines aside."""
        counts: dict[str, int] = {}
        for part in self.parts:
            counts[part.uri] = counts.get(part.uri, 0) + part.rows - part.blanks
        return counts

    def _whole_rejections(self) -> dict[str, str]:
        """Why files are left out whole for a row of theirs, by URI: a snapshot that lacks a row says it is gone."""
        if self.contract.strategy != "snapshot":
            return {}
        first: dict[str, Part] = {}
        for part in sorted(self.parts, key=lambda part: part.block):
            if part.first_problem is not None:
                first.setdefault(part.uri, part)
        found = self._problems(
            [(part, part.first_problem) for part in first.values() if part.first_problem is not None]
        )
        return {uri: f"row {number}: {reason}" for uri, (number, reason) in found.items()}

    def _problems(self, wanted: Sequence[tuple[Part, int]]) -> dict[str, tuple[int, str]]:
        """By URI: number and problem of a row that is named by its part and its id."""
        if not wanted:
            return {}
        base = bases(self.parts)
        # A row's id is unique in its part alone, so a few others may come along.
        found = self.kept.frame.where(
            sf.col(rows.ROW_ID).isin([row_id for _, row_id in wanted]) & sf.col(CHECK).isNotNull()
        )
        texts = {
            (reading.normal(row[rows.FILE]), row[rows.BLOCK], row[rows.ROW_ID]): row[rows.PROBLEM]
            for row in found.select(rows.FILE, rows.BLOCK, rows.ROW_ID, rows.PROBLEM).collect()
        }
        return {
            part.uri: (row_id - base[part.uri, part.block], texts[part.uri, part.block, row_id])
            for part, row_id in wanted
        }

    def _rows(self, parts: Sequence[Part], new_columns: Sequence[ContractColumn]) -> DataFrame:
        return self._placed(self.kept.frame.where(is_good()), parts).select(
            *(sf.col(rows.quoted(column.name)) for column in self.contract.columns),
            *(sf.col(rows.UNKNOWN)[column.name].alias(column.name) for column in new_columns),
            ORIGIN,
            DELETED,
            *([SET_COLUMNS] if self.contract.partial_updates else []),
        )

    def _placed(self, frame: DataFrame, parts: Sequence[Part]) -> DataFrame:
        """Rows of these parts with their place. The join is what leaves other files out."""
        base = bases(parts)
        described = [
            (
                part.uri,
                part.block,
                base[part.uri, part.block],
                self.by_uri[part.uri].event_time,
                self.by_uri[part.uri].source,
                self.by_uri[part.uri].sequencer,
            )
            for part in parts
        ]
        file = reading.normal_column(sf.col(rows.FILE))
        if 0 < len(parts) <= _FEW_PARTS and sum(part.rows for part in parts) <= _FEW_ROWS:
            placed = frame.withColumn(_PLACE, _place_of(described, file)).where(sf.col(_PLACE).isNotNull())
        else:
            parts_of = local_rows(self.session, described, f"{rows.FILE} string, {rows.BLOCK} bigint, {_PLACE_FIELDS}")
            place = sf.struct(*_PLACE_NAMES).alias(_PLACE)
            described_parts = parts_of.select(rows.FILE, rows.BLOCK, place)
            placed = frame.withColumn(rows.FILE, file).join(
                sf.broadcast(described_parts), [rows.FILE, rows.BLOCK], "inner"
            )
        origin = sf.struct(
            sf.col(f"{_PLACE}.event_time").cast("timestamp").alias("event_time"),
            sf.col(f"{_PLACE}.source").alias("source"),
            sf.col(f"{_PLACE}.sequencer").alias("sequencer"),
            (sf.col(rows.ROW_ID) - sf.col(f"{_PLACE}.base")).alias("position"),
            sf.lit(self.manifest.batch).cast("bigint").alias("batch"),
        )
        return placed.withColumn(ORIGIN, origin)


def _place_of(described: Sequence[tuple[Any, ...]], file: Column) -> Column:
    """The place of a row's part, null if it is none of these: conditions cost no job of their own, as a join does."""
    found = sf.lit(None).cast(f"struct<{_PLACE_FIELDS}>")
    for uri, block, base, *texts in described:
        values = [sf.lit(base).cast("bigint"), *(sf.lit(text) for text in texts)]
        is_of = (file == sf.lit(uri)) & (sf.col(rows.BLOCK) == sf.lit(block))
        place = sf.struct(*(value.alias(name) for name, value in zip(_PLACE_NAMES, values, strict=True)))
        found = sf.when(is_of, place).otherwise(found)
    return found


def _new_columns(parts: Iterable[Part], contract: Contract) -> tuple[ContractColumn, ...]:
    names = sorted({name for part in parts for name in part.new_columns})
    if len(names) > _MOST_NEW_COLUMNS:
        raise DataRefused(
            f"The batch's files bring {len(names)} columns that table {contract.table} doesn't have, among them "
            f"{', '.join(names[:5])}. At most {_MOST_NEW_COLUMNS} are added at once: if these are keys of a map, send "
            "them as one column; otherwise name them in the contract."
        )
    return tuple(ContractColumn(name, "string") for name in names)


def _bad_captures(session: SparkSession, manifest: Manifest) -> dict[int, str]:
    """Files whose path gives a value that isn't of its column's type, or that the table can't keep, by index."""
    contract = manifest.contract
    unkept = _unkept_captures(manifest)
    typed = [c for c in contract.source_columns if c.name in contract.captures and c.type != "string"]
    if not typed:
        return unkept
    # A marker is given those captures alone that are in its folder's name.
    values = [(file.index, *(file.captures.get(column.name) for column in typed)) for file in manifest.files]
    schema = StructType(
        [StructField("index", LongType()), *(StructField(column.name, StringType()) for column in typed)]
    )
    cells = [rows.from_text(column.name, column.type) for column in typed]
    found = (
        local_rows(session, values, schema)
        .select("index", sf.coalesce(*(cell.problem for cell in cells)).alias("problem"))
        .where("problem IS NOT NULL")
        .collect()
    )
    return {**unkept, **{row["index"]: f"its path: {row['problem']}" for row in found}}


def _unkept_captures(manifest: Manifest) -> dict[int, str]:
    """Files whose path names a key, or what they are a snapshot of, by a text that is null in the table."""
    contract = manifest.contract
    texts = {column.name for column in contract.columns if column.type == "string"}
    names = texts & {*contract.keys, *contract.snapshot.scope} & set(contract.captures) & set(contract.partition_by)
    return {
        file.index: f"its path: column {name} is {file.captures[name]!r}, which is no value where it names a partition"
        for file in manifest.files
        for name in sorted(names)
        if file.captures.get(name) in NO_FOLDER
    }


def _check_places(manifest: Manifest) -> None:
    """Two files of one place would be one file to Spark."""
    seen: dict[str, SourceFile] = {}
    for file in manifest.files:
        if (other := seen.setdefault(reading.normal(file.uri), file)) is not file:
            raise BrokenWork(
                f"Files {other.index} and {file.index} of the batch are both read from {file.uri}: one of the two "
                "versions has to be staged. Start the run again; should it stay so, please report it.",
                file=file.key,
            )


def _check_unchanged(storage: Storage, files: Iterable[SourceFile]) -> None:
    """Compare what was read in place with what the manifest pins. Raises :class:`SourceChanged`."""

    def etag_of(file: SourceFile) -> str | None:
        try:
            return storage.etag(file.uri)
        except FileNotFoundError:
            return "none: it is gone"

    in_place = [file for file in files if file.in_place and file.etag]
    for file, etag in zip(in_place, storage.in_threads(etag_of, in_place), strict=True):
        if etag is not None and etag != file.etag:
            raise SourceChanged(
                f"{file.source} was overwritten or deleted after its batch was made: its ETag is {etag}, the "
                f"manifest pins {file.etag}. {reading.READ_AGAIN}",
                file=file.key,
            )
