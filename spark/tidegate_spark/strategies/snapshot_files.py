"""Which snapshots a batch brings: of what, and their places in the order of snapshots.

A snapshot is a version of a file. What it is a snapshot of (its scope) and its sequence value come from its path,
or from its rows, which must agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf
from pyspark.sql.types import LongType, StringType, StructField, StructType

from tidegate_spark.changes import Changes
from tidegate_spark.errors import NotSupported
from tidegate_spark.origin import ORIGIN
from tidegate_spark.receipts import Rejection
from tidegate_spark.sources.rows import quoted, text_literal
from tidegate_spark.table import Target
from tidegate_spark.work import Contract, SourceFile

SCOPE = "scope"
"""A struct of the scope's columns; of a constant if the scope is the whole table."""
TAKEN = "taken"
"""What orders the snapshots of a scope: a struct of sequence value, event time, source and sequencer."""
AT = "at"
"""Since when it holds what a snapshot says: its sequence value, or its event time."""
ID = "snapshot"
"""A struct that no other snapshot has: source and sequencer."""
INDEX = "index"
_PROBLEM = "problem"


@dataclass(frozen=True)
class Snapshots:
    """What a batch has of snapshots."""

    listed: DataFrame
    """A row each: `index` of its file, `scope`, `taken`, `at`, `snapshot` and `rows`. Small, and kept."""
    rejected: tuple[Rejection, ...]
    """Files that are no snapshot, with why."""


def find_snapshots(target: Target, changes: Changes, contract: Contract) -> Snapshots:
    """The snapshots of the batch, and the files that are none. Raises :class:`NotSupported`."""
    types = _types(contract)
    inside = [name for name in types if name not in contract.captures]
    files = _files(target, changes, [name for name in types if name in contract.captures])
    described = _with_values_of_rows(files, changes.rows, inside) if inside else files
    cells = {name: sf.col(quoted(f"value {name}")).cast(type_name) for name, type_name in types.items()}
    listed = described.select(
        INDEX,
        "rows",
        _scope({name: cells[name] for name in contract.snapshot.scope}).alias(SCOPE),
        _taken(cells, contract).alias(TAKEN),
        (cells[contract.sequence_by] if contract.sequence_by else sf.col("event_time")).alias(AT),
        sf.struct("source", "sequencer").alias(ID),
        sf.coalesce(*_problems(inside, contract), sf.lit(None).cast("string")).alias(_PROBLEM),
    ).localCheckpoint()
    problems = listed.where(sf.col(_PROBLEM).isNotNull()).select(INDEX, _PROBLEM).collect() if inside else []
    by_index = {file.index: file for file in changes.files}
    return Snapshots(
        listed=listed.where(sf.col(_PROBLEM).isNull()).drop(_PROBLEM),
        rejected=tuple(
            Rejection(by_index[row[INDEX]], row[_PROBLEM], changes.row_counts.get(row[INDEX], 0)) for row in problems
        ),
    )


def scope_of(side: str, contract: Contract) -> Column:
    """The scope that a row is in, as snapshots have it."""
    return _scope({name: sf.col(f"{side}.{quoted(name)}") for name in contract.snapshot.scope})


def scope_literals(files: Iterable[SourceFile], contract: Contract) -> list[str]:
    """Conditions on `target` by which Delta skips files of other scopes, where paths say what the scope is."""
    types = {column.name: column.type for column in contract.columns}
    listed = list(files)
    conditions = []
    for name in contract.snapshot.scope:
        if name in contract.captures:
            values = sorted({file.captures[name] for file in listed})
            literals = ", ".join(f"CAST({text_literal(value)} AS {types[name]})" for value in values)
            conditions.append(f"target.{quoted(name)} IN ({literals})")
    return conditions


def _types(contract: Contract) -> dict[str, str]:
    """The columns that place a snapshot, with their types."""
    there = {column.name: column.type for column in contract.columns}
    of_paths = {column.name: column.type for column in contract.reads if column.name in contract.captures}
    named = [*contract.snapshot.scope, *([contract.sequence_by] if contract.sequence_by else [])]
    unknown = [name for name in named if name not in there | of_paths]
    if unknown:
        raise NotSupported(
            f"Column {', '.join(unknown)} of {contract.table} places its snapshots, so it has to be among its "
            "`columns`, or a capture of `landing` that `reads` names."
        )
    strangers = [name for name in contract.snapshot.scope if name not in there]
    if strangers:
        raise NotSupported(f"Column {', '.join(strangers)} is the scope of {contract.table}: name it in `columns`.")
    return {name: (there | of_paths)[name] for name in named}


def _files(target: Target, changes: Changes, captured: Sequence[str]) -> DataFrame:
    """A row a file, its captures as text."""
    described = [
        (
            file.index,
            file.event_time,
            file.source,
            file.sequencer,
            changes.row_counts.get(file.index, 0),
            *(file.captures[name] for name in captured),
        )
        for file in changes.files
    ]
    schema = StructType(
        [
            StructField(INDEX, LongType()),
            StructField("event_time", StringType()),
            StructField("source", StringType()),
            StructField("sequencer", StringType()),
            StructField("rows", LongType()),
            *(StructField(f"value {name}", StringType()) for name in captured),
        ]
    )
    return target.session.createDataFrame(described, schema, verifySchema=False).withColumn(
        "event_time", sf.col("event_time").cast("timestamp")
    )


def _with_values_of_rows(files: DataFrame, rows: DataFrame, names: Sequence[str]) -> DataFrame:
    """With the least and the largest value that the rows of a file have in these columns, and how many have one."""
    found = rows.groupBy(sf.col(f"{ORIGIN}.source").alias("source"), sf.col(f"{ORIGIN}.sequencer").alias("sequencer"))
    values = found.agg(
        *(
            bound(sf.col(quoted(name))).alias(f"{side} {name}")
            for name in names
            for side, bound in (("value", sf.min), ("largest", sf.max), ("given", sf.count))
        )
    )
    return files.join(values, ["source", "sequencer"], "left")


def _problems(inside: Sequence[str], contract: Contract) -> list[Column]:
    problems = []
    for name in inside:
        least, largest = sf.col(quoted(f"value {name}")), sf.col(quoted(f"largest {name}"))
        given = sf.coalesce(sf.col(quoted(f"given {name}")), sf.lit(0))
        what = "order" if name == contract.sequence_by else "scope"
        problems += [
            sf.when(
                sf.col("rows") == 0,
                sf.lit(f"has no rows, so nothing says its {name}, the {what} of the snapshot; put it into the path"),
            ),
            sf.when(
                ~least.eqNullSafe(largest) | ((given > 0) & (given < sf.col("rows"))),
                sf.lit(f"column {name} is the {what} of the snapshot, yet rows of the file have different values"),
            ),
        ]
        if name == contract.sequence_by:
            problems.append(sf.when(given == 0, sf.lit(f"column {name} is null, so the snapshot has no {what}")))
    return problems


def _scope(cells: Mapping[str, Column]) -> Column:
    return sf.struct(*(cell.alias(name) for name, cell in cells.items())) if cells else sf.struct(_whole())


def _whole() -> Column:
    return sf.lit(True).alias("whole_table")


def _taken(cells: Mapping[str, Column], contract: Contract) -> Column:
    sequence = [cells[contract.sequence_by].alias("sequence")] if contract.sequence_by else []
    return sf.struct(*sequence, "event_time", "source", "sequencer")
