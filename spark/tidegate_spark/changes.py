"""From the files of a manifest to the changes of a batch: typed rows with their place in the total order.

One pass over the data reads, checks and keeps it; one small row for each part of a file comes back to the
driver. A file that breaks its contract is left out whole, with the reason; the others go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as sf
from pyspark.sql.types import LongType, StringType, StructField, StructType

from tidegate_spark import reading
from tidegate_spark.engines.keys import Span, few_spans, within
from tidegate_spark.errors import BrokenWork, SourceChanged
from tidegate_spark.logs import Log
from tidegate_spark.origin import DELETED, ORIGIN, SET_COLUMNS
from tidegate_spark.receipts import Rejection
from tidegate_spark.sources import format_of, rows
from tidegate_spark.storage import Storage
from tidegate_spark.work import Contract, Manifest, SourceFile

_BASE = "_tidegate_base"
_RANGE_TYPES = frozenset({"tinyint", "smallint", "int", "bigint", "date"})


@dataclass(frozen=True)
class KeyRange:
    """What values of a key column the changes have: lets a merge skip files of the table."""

    column: str
    condition: str
    """A predicate of literals on `{column}`, to be formatted with the column's qualified name."""
    spans: tuple[Span, ...] = ()
    """The same as values: no change has a key outside of them. Ascending."""


@dataclass(frozen=True)
class Changes:
    """The readable rows of a batch."""

    rows: DataFrame
    """The contract's columns in its order, then `_tidegate`, `_tidegate_deleted` and, under partial updates,
    `_tidegate_set`."""
    files: tuple[SourceFile, ...]
    rejected: tuple[Rejection, ...]
    row_counts: Mapping[int, int]
    """Rows of each file that was read, by its index."""
    key_ranges: tuple[KeyRange, ...]
    release_kept: reading.Release
    batch: int = 0
    """The batch's number: what side tables know its rows by."""

    @property
    def rows_read(self) -> int:
        return sum(self.row_counts.values())

    @property
    def rows_rejected(self) -> int:
        return sum(rejection.rows for rejection in self.rejected)

    @property
    def bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True)
class _Part:
    """What one pass found out about a part of a file."""

    uri: str
    block: int
    rows: int
    blanks: int
    first_row_id: int
    first_problem: int | None
    ranges: dict[str, tuple[Any, Any]]


def read_changes(session: SparkSession, storage: Storage, manifest: Manifest, log: Log) -> Changes:
    """Read, check and keep the batch's files. Raises SourceChanged, ReadFailed, NotSupported."""
    contract = manifest.contract
    _check_places(manifest)
    bad_captures = _bad_captures(session, manifest)
    candidates = [file for file in manifest.files if file.index not in bad_captures]
    reader = reading.Reader(session, storage, format_of(contract), contract, log)
    kept = reader.keep_readable(candidates, _aggregates(contract))
    parts = [_part(row) for row in kept.parts]
    _check_unchanged(storage, manifest.files)
    by_uri = {reading.normal(file.uri): file for file in kept.files}
    reasons = _row_problems(kept.frame, parts)
    counts: dict[str, int] = {}
    for part in parts:
        counts[part.uri] = counts.get(part.uri, 0) + part.rows - part.blanks
    rejected = [
        *(Rejection(file, bad_captures[file.index]) for file in manifest.files if file.index in bad_captures),
        *(Rejection(file, reason) for file, reason in kept.broken),
        *(Rejection(by_uri[uri], reason, counts[uri]) for uri, reason in reasons.items()),
    ]
    good_parts = [part for part in parts if part.uri not in reasons]
    good_files = tuple(file for uri, file in by_uri.items() if uri not in reasons)
    return Changes(
        rows=_placed(session, kept.frame, good_parts, by_uri, manifest),
        files=good_files,
        rejected=tuple(sorted(rejected, key=lambda rejection: rejection.file.index)),
        row_counts={file.index: counts.get(reading.normal(file.uri), 0) for file in good_files},
        key_ranges=tuple(_key_ranges(manifest, good_parts, by_uri)),
        release_kept=kept.release,
        batch=manifest.batch,
    )


def _aggregates(contract: Contract) -> list[Column]:
    """What one pass over a part says. Numbers and dates alone, so that Spark needn't sort for it."""
    return [
        sf.count("*").alias("rows"),
        sf.count_if(rows.BLANK).alias("blanks"),
        sf.min(rows.ROW_ID).alias("first_row_id"),
        sf.min(sf.when(sf.col(rows.PROBLEM).isNotNull(), sf.col(rows.ROW_ID))).alias("first_problem"),
        *(
            bound(sf.col(rows.quoted(name))).alias(f"{side} {name}")
            for name in _ranged_keys(contract)
            for side, bound in (("min", sf.min), ("max", sf.max))
        ),
    ]


def _ranged_keys(contract: Contract) -> list[str]:
    types = {column.name: column.type for column in contract.file_columns}
    return [key for key in contract.keys if types.get(key) in _RANGE_TYPES]


def _part(row: Row) -> _Part:
    found = row.asDict()
    names = [name.removeprefix("min ") for name in found if name.startswith("min ")]
    return _Part(
        uri=reading.normal(found[rows.FILE]),
        block=found[rows.BLOCK],
        rows=found["rows"],
        blanks=found["blanks"],
        first_row_id=found["first_row_id"],
        first_problem=found["first_problem"],
        ranges={name: (found[f"min {name}"], found[f"max {name}"]) for name in names},
    )


def _bases(parts: Iterable[_Part]) -> dict[tuple[str, int], int]:
    """By part: what to take off a row's id to get its number in the file, counted from 1."""
    bases: dict[tuple[str, int], int] = {}
    before: dict[str, int] = {}
    for part in sorted(parts, key=lambda part: (part.uri, part.block)):
        bases[part.uri, part.block] = part.first_row_id - before.get(part.uri, 0) - 1
        before[part.uri] = before.get(part.uri, 0) + part.rows
    return bases


def _row_problems(frame: DataFrame, parts: list[_Part]) -> dict[str, str]:
    """Why files are rejected for a row of theirs, by URI: the first such row of each."""
    bases = _bases(parts)
    first: dict[str, _Part] = {}
    for part in sorted(parts, key=lambda part: part.block):
        if part.first_problem is not None:
            first.setdefault(part.uri, part)
    if not first:
        return {}
    # A row's id is unique in its part alone, so a few others may come along.
    ids = [part.first_problem for part in first.values()]
    found = frame.where(sf.col(rows.ROW_ID).isin(ids) & sf.col(rows.PROBLEM).isNotNull())
    texts = {
        (reading.normal(row[rows.FILE]), row[rows.BLOCK], row[rows.ROW_ID]): row[rows.PROBLEM]
        for row in found.select(rows.FILE, rows.BLOCK, rows.ROW_ID, rows.PROBLEM).collect()
    }
    return {
        uri: f"row {(part.first_problem or 0) - bases[uri, part.block]}: " + texts[uri, part.block, part.first_problem]
        for uri, part in first.items()
    }


def _placed(
    session: SparkSession,
    frame: DataFrame,
    parts: list[_Part],
    by_uri: dict[str, SourceFile],
    manifest: Manifest,
) -> DataFrame:
    """The rows of the good files, with their captures and their place. The join is what leaves files out."""
    contract = manifest.contract
    bases = _bases(parts)
    described = [
        (
            part.uri,
            part.block,
            bases[part.uri, part.block],
            by_uri[part.uri].event_time,
            by_uri[part.uri].source,
            by_uri[part.uri].sequencer,
            *(by_uri[part.uri].captures[name] for name in contract.captures),
        )
        for part in parts
    ]
    text = ("event_time", "source", "sequencer", *(f"capture {name}" for name in contract.captures))
    schema = StructType(
        [
            StructField(rows.FILE, StringType()),
            StructField(rows.BLOCK, LongType()),
            StructField(_BASE, LongType()),
            *(StructField(name, StringType()) for name in text),
        ]
    )
    files = session.createDataFrame(described, schema, verifySchema=False)
    origin = sf.struct(
        sf.col("event_time").cast("timestamp").alias("event_time"),
        sf.col("source").alias("source"),
        sf.col("sequencer").alias("sequencer"),
        (sf.col(rows.ROW_ID) - sf.col(_BASE)).alias("position"),
        sf.lit(manifest.batch).cast("bigint").alias("batch"),
    )
    given = {
        column.name: sf.col(rows.quoted(f"capture {column.name}")).cast(column.type)
        for column in contract.source_columns
        if column.name in contract.captures
    }
    brought = [sf.col(rows.SET)] if contract.partial_updates else []
    # The names that a path gives are set by every row of the file.
    of_paths = sf.array(*(sf.lit(name) for name in contract.captures)).cast("array<string>")
    all_set = [sf.concat(sf.col(rows.SET), of_paths).alias(SET_COLUMNS)] if contract.partial_updates else []
    deletes = sf.expr(contract.delete_when) if contract.delete_when else sf.lit(False)
    placed = (
        frame.where(~sf.col(rows.BLANK))
        .select(
            *(sf.col(rows.quoted(column.name)).alias(f"row {column.name}") for column in contract.file_columns),
            *brought,
            reading.normal_column(sf.col(rows.FILE)).alias(rows.FILE),
            rows.BLOCK,
            rows.ROW_ID,
        )
        .join(sf.broadcast(files), [rows.FILE, rows.BLOCK], "inner")
        .select(
            *(
                (given.get(column.name, sf.col(rows.quoted(f"row {column.name}")))).alias(column.name)
                for column in contract.source_columns
            ),
            origin.alias(ORIGIN),
            *all_set,
        )
    )
    # What decides on a delete may be a column that the table doesn't keep.
    return placed.withColumn(DELETED, sf.coalesce(deletes, sf.lit(False))).select(
        *(sf.col(rows.quoted(column.name)) for column in contract.columns),
        ORIGIN,
        DELETED,
        *([SET_COLUMNS] if contract.partial_updates else []),
    )


def _bad_captures(session: SparkSession, manifest: Manifest) -> dict[int, str]:
    """Files whose path gives a value that isn't of its column's type, by index."""
    contract = manifest.contract
    typed = [c for c in contract.source_columns if c.name in contract.captures and c.type != "string"]
    if not typed:
        return {}
    values = [(file.index, *(file.captures[column.name] for column in typed)) for file in manifest.files]
    schema = StructType(
        [StructField("index", LongType()), *(StructField(column.name, StringType()) for column in typed)]
    )
    cells = [rows.from_text(column.name, column.type) for column in typed]
    found = (
        session.createDataFrame(values, schema, verifySchema=False)
        .select("index", sf.coalesce(*(cell.problem for cell in cells)).alias("problem"))
        .where("problem IS NOT NULL")
        .collect()
    )
    return {row["index"]: f"its path: {row['problem']}" for row in found}


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


def _key_ranges(manifest: Manifest, parts: list[_Part], by_uri: dict[str, SourceFile]) -> Iterable[KeyRange]:
    contract = manifest.contract
    types = {column.name: column.type for column in contract.columns}
    for key in contract.keys:
        if key in contract.captures and types[key] == "string":
            values = sorted({by_uri[part.uri].captures[key] for part in parts})
            if values:
                listed = ", ".join(rows.text_literal(value) for value in values)
                # Curly brackets: the condition is a format string.
                escaped = listed.replace("{", "{{").replace("}", "}}")
                yield KeyRange(key, f"{{column}} IN ({escaped})", tuple((value, value) for value in values))
        elif key in _ranged_keys(contract):
            bounds = [part.ranges[key] for part in parts if part.ranges[key][0] is not None]
            if bounds:
                # Several: files of recent rows often come with some of very old ones.
                spans = few_spans(bounds)
                yield KeyRange(key, within("{column}", spans), spans)
