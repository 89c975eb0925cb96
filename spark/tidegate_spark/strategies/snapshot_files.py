"""Of what the snapshots of a batch are, and their places in the order of snapshots.

What it is a snapshot of (its scope) and its sequence value come from its path,
or from its rows, which must agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from tidegate_spark.errors import NotSupported
from tidegate_spark.sources.rows import quoted, text_literal
from tidegate_spark.table import Target
from tidegate_spark.work import Contract

# Names that no contract can have, where they come together with rows.
SCOPE = "_tidegate_scope"
"""A struct of the scope's columns; of a constant if the scope is the whole table."""
TAKEN = "taken"
"""What orders the snapshots of a scope: a struct of sequence value, event time, source and sequencer."""
AT = "_tidegate_at"
"""Since when it holds what a snapshot says: its sequence value, or its event time."""
ID = "_tidegate_snapshot"
"""A struct that no other snapshot has: source and sequencer."""
INDEX = "index"
CONTENT = "content"
_PROBLEM = "problem"


@dataclass(frozen=True)
class Snapshot:
    """A version of a file, or of the marker of a folder."""

    index: int
    """What tells the snapshots of a batch apart."""
    source: str
    sequencer: str
    event_time: str
    rows: int
    captures: Mapping[str, str]
    content: str = ""
    """Another text if a folder's snapshot has got other files; it is then taken in again."""


@dataclass(frozen=True)
class Listed:
    """A batch's snapshots as rows."""

    frame: DataFrame
    """A row each, with the columns above and the number of its `rows`. As small as the list of files."""
    problems: Mapping[int, str]
    """Why a snapshot, by its index, can't be used; it isn't in `frame`."""


def list_snapshots(target: Target, snapshots: Sequence[Snapshot], rows: DataFrame, contract: Contract) -> Listed:
    """Their places, by their paths or by their rows, which have a column `ID`. Raises :class:`NotSupported`."""
    types = _types(contract)
    inside = [name for name in types if name not in contract.captures]
    described = _described(target, snapshots, [name for name in types if name in contract.captures])
    described = _with_values_of_rows(described, rows, inside) if inside else described
    cells = {name: sf.col(quoted(f"value {name}")).cast(type_name) for name, type_name in types.items()}
    listed = described.select(
        INDEX,
        "rows",
        CONTENT,
        _scope({name: cells[name] for name in contract.snapshot.scope}).alias(SCOPE),
        _taken(cells, contract).alias(TAKEN),
        (cells[contract.sequence_by] if contract.sequence_by else sf.col("event_time")).alias(AT),
        sf.struct("source", "sequencer").alias(ID),
        sf.coalesce(*_problems(inside, contract), sf.lit(None).cast("string")).alias(_PROBLEM),
    )
    # Asked several times, and what rows say takes a pass over them.
    listed = listed.localCheckpoint() if inside else listed
    problems = listed.where(sf.col(_PROBLEM).isNotNull()).select(INDEX, _PROBLEM).collect() if inside else []
    return Listed(
        frame=listed.where(sf.col(_PROBLEM).isNull()).drop(_PROBLEM),
        problems={row[INDEX]: row[_PROBLEM] for row in problems},
    )


def scope_of(side: str, contract: Contract) -> Column:
    """The scope that a row is in, as snapshots have it."""
    return _scope({name: sf.col(f"{side}.{quoted(name)}") for name in contract.snapshot.scope})


def scope_literals(snapshots: Iterable[Snapshot], contract: Contract) -> list[str]:
    """Conditions on `target` by which Delta skips files of other scopes, where paths say what the scope is."""
    types = {column.name: column.type for column in contract.columns}
    listed = list(snapshots)
    conditions = []
    for name in contract.snapshot.scope:
        if name in contract.captures:
            values = sorted({snapshot.captures[name] for snapshot in listed})
            literals = ", ".join(_literal(value, types[name]) for value in values)
            conditions.append(f"target.{quoted(name)} IN ({literals})")
    return conditions


def _literal(text: str, type_name: str) -> str:
    return text_literal(text) if type_name == "string" else f"CAST({text_literal(text)} AS {type_name})"


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


def _described(target: Target, snapshots: Sequence[Snapshot], captured: Sequence[str]) -> DataFrame:
    """A row a snapshot, its captures as text. A local relation: what is asked of it takes no job of its own."""
    names = [INDEX, "event_time", "source", "sequencer", "rows", CONTENT, *(f"value {name}" for name in captured)]
    types = ["bigint", "timestamp", "string", "string", "bigint", "string", *("string" for _ in captured)]
    values = [
        (
            str(each.index),
            *(text_literal(text) for text in (each.event_time, each.source, each.sequencer)),
            str(each.rows),
            text_literal(each.content),
            *(text_literal(each.captures[name]) for name in captured),
        )
        for each in snapshots
    ]
    listed = ", ".join(f"({', '.join(cells)})" for cells in values) or f"({', '.join('NULL' for _ in names)})"
    columns = ", ".join(
        f"CAST(col{number} AS {type_name}) AS {quoted(name)}"
        for number, (name, type_name) in enumerate(zip(names, types, strict=True), start=1)
    )
    found = target.session.sql(f"SELECT {columns} FROM VALUES {listed}")  # noqa: S608 - literals are escaped
    return found if values else found.where("false")


def _with_values_of_rows(described: DataFrame, rows: DataFrame, names: Sequence[str]) -> DataFrame:
    """With the least and the largest value that its rows have in these columns, and how many have one."""
    values = rows.groupBy(sf.col(f"{ID}.source").alias("source"), sf.col(f"{ID}.sequencer").alias("sequencer")).agg(
        *(
            bound(sf.col(quoted(name))).alias(f"{side} {name}")
            for name in names
            for side, bound in (("value", sf.min), ("largest", sf.max), ("given", sf.count))
        )
    )
    return described.join(values, ["source", "sequencer"], "left")


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
