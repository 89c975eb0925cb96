"""What scd2 and bitemporal share: a key's rows are made anew from all of its changes, and what differs is merged.

`<table>__history` keeps every change, also those that changed nothing visible. A batch's changes are added to it
first; then the rows of the touched keys follow from the history alone. So it doesn't matter in which order, how
often and in which batches the changes came, nor whether an attempt died between the two commits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf
from pyspark.sql.types import StructType

from tidegate_spark.changes import Changes
from tidegate_spark.engines.marking import FILE, MARKED, ROW, Marking, is_marked
from tidegate_spark.engines.marking import refusal as marking_refusal
from tidegate_spark.errors import TableRefused
from tidegate_spark.evolution import ELSE
from tidegate_spark.origin import DELETED, ORIGIN, PLACE, SET_COLUMNS, order_of
from tidegate_spark.side_tables import SideTable
from tidegate_spark.sources.rows import quoted, text_literal
from tidegate_spark.strategies.keys import ranges_of
from tidegate_spark.strategies.plan import MergePlan, append, nothing_to_do
from tidegate_spark.table import Target
from tidegate_spark.work import Contract

SEQUENCE = "_tidegate_sequence"
"""A change's sequence value; its arrival's event time if the contract names no sequence."""
ORDER = "_tidegate_order"
"""A change's place in the total order."""
INTERNAL = frozenset({ORIGIN, DELETED, SET_COLUMNS})
_OPERATION = "_tidegate_operation"
_BROADCAST_ROWS = 200_000
"""Of keys: some megabytes on each executor."""
_PLACES = tuple(f"{ORIGIN}.{name}" for name in PLACE)


@dataclass(frozen=True)
class Rebuild:
    """How a strategy makes rows out of changes."""

    rows: Callable[[DataFrame], DataFrame]
    """From all changes of some keys, each with `SEQUENCE` and `ORDER`, to all rows of these keys."""
    identity: tuple[str, ...]
    """Columns: besides the keys, what tells apart the rows of a key."""
    compared: tuple[str, ...]
    """Columns: what else a row may differ in while it is the same row. Its values follow from its place: a change
    never changes, so they needn't be compared."""
    by_place: bool = False
    """The place of a row's change tells it apart, too."""


def plan_rebuild(target: Target, changes: Changes, contract: Contract, rebuild: Rebuild, sentence: str) -> MergePlan:
    """Add the changes to the history, then replace those rows of their keys that differ, in one commit.

    Raises :class:`TableRefused` if the table has rows whose changes no history knows.
    """
    if not changes.rows_read:
        return nothing_to_do(target, "no file of the batch has a row that can be merged")
    history = target.side("history")
    if target.rows != 0 and not history.exists:
        raise TableRefused(
            f"{target.uri} has rows, but there is no history of their changes at {history.uri}: {contract.strategy} "
            "makes a key's rows from all of its changes, so rows that it doesn't know the origin of would be "
            f"deleted. Nothing was written. Restore the history, or {ELSE}."
        )
    literal = ranges_of("target", changes)
    condition = " AND ".join([*literal, *_same("target", "change", _identity(contract, rebuild))])

    columns = [*(column.name for column in contract.columns), *rebuild.identity, *rebuild.compared, ORIGIN]
    refusal = marking_refusal(target, columns)

    def prepare() -> None:
        _remember(history, changes, contract)

    def mark(wanted: DataFrame, touched: DataFrame) -> None:
        marking = Marking(target)
        current = _of_keys(marking.frame(), touched, changes, contract)
        differences = _differences(wanted, current, contract, rebuild)
        marking.apply(differences, _OPERATION, wanted.columns, (*contract.partition_by, *contract.keys))

    def run() -> None:
        touched = _touched(changes, contract)
        known = _of_keys(history.frame(changes.rows.schema), touched, changes, contract)
        wanted = rebuild.rows(_ordered(known, contract))
        if target.rows == 0:
            append(target, wanted)
            return
        if refusal is None and is_marked(target, lambda: mark(wanted, touched)):
            return
        current = _of_keys(target.frame(), touched, changes, contract)
        differences = _differences(wanted, current, contract, rebuild)
        values: dict[str, str | Column] = {quoted(name): f"change.{quoted(name)}" for name in wanted.columns}
        (
            target.delta.alias("target")
            .merge(differences.alias("change"), condition)
            .whenMatchedDelete(f"change.{_OPERATION} = 'delete'")
            .whenMatchedUpdate(f"change.{_OPERATION} = 'update'", values)
            .whenNotMatchedInsert(f"change.{_OPERATION} = 'insert'", values)
            .execute()
        )

    if target.rows == 0:
        return MergePlan(
            "append", f"{sentence} The table has no rows yet, so all are inserted.", run=run, prepare=prepare
        )
    how = "" if refusal else f", those that go are {MARKED}"
    skipping = f" It looks only where {' and '.join(literal)}." if literal else ""
    return MergePlan(
        "merge",
        f"{sentence} Only rows that differ from the table's are written{how}.{skipping}",
        run=run,
        prepare=prepare,
        condition=condition,
        update_if=f"change.{_OPERATION} = 'update'",
        deletes=True,
    )


def without(changes: Changes, refused: str) -> tuple[Changes, DataFrame]:
    """The changes for which the SQL condition `refused` isn't true, and the others."""
    is_refused = sf.coalesce(sf.expr(refused), sf.lit(False))
    return replace(changes, rows=changes.rows.where(~is_refused)), changes.rows.where(is_refused)


def value_columns(frame: DataFrame) -> list[str]:
    """What a change says: all of its columns but those that place it."""
    return [name for name in frame.columns if not name.startswith(ORIGIN)]


def _remember(history: SideTable, changes: Changes, contract: Contract) -> None:
    """Add those of the batch's changes that the history doesn't have: the same key and place is the same change."""
    rows = changes.rows.drop(SET_COLUMNS)
    if history.exists:
        rows = _unknown(history, rows, changes, contract)
    else:
        # Keys first: statistics, by which files are skipped, are kept for a table's first columns alone.
        fields = {field.name: field for field in rows.schema}
        first = [*contract.keys, ORIGIN]
        ordered = [*first, *(name for name in fields if name not in first)]
        history.create(
            StructType([fields[name] for name in ordered]),
            partition_by=_partitions(contract),
        )

    def write() -> None:
        rows.write.format("delta").mode("append").option("mergeSchema", "true").save(history.uri)

    history.commit(changes.batch, write)


def _partitions(contract: Contract) -> tuple[str, ...]:
    return tuple(name for name in contract.partition_by if name in contract.keys)


def _unknown(history: SideTable, rows: DataFrame, changes: Changes, contract: Contract) -> DataFrame:
    # Only the same arrivals bring a change again: the times of the batch's arrivals skip nearly all files.
    times = sorted(file.event_time for file in changes.files)
    known = history.frame(rows.schema).where(
        f"{ORIGIN}.event_time BETWEEN CAST({text_literal(times[0])} AS timestamp) "
        f"AND CAST({text_literal(times[-1])} AS timestamp)"
    )
    known = reduce(lambda frame, literal: frame.where(literal), ranges_of("known", changes), known.alias("known"))
    is_known = " AND ".join(_same("change", "known", [*map(quoted, contract.keys), *_PLACES]))
    return rows.alias("change").join(known.alias("known"), sf.expr(is_known), "left_anti")


def _touched(changes: Changes, contract: Contract) -> DataFrame:
    """The keys of the batch, for a left semi join: they may be there several times."""
    keys = changes.rows.select(*map(quoted, contract.keys))
    # Sent to wherever the rows are, if that is cheaper than sorting both.
    return sf.broadcast(keys) if changes.rows_read <= _BROADCAST_ROWS else keys.distinct()


def _of_keys(frame: DataFrame, touched: DataFrame, changes: Changes, contract: Contract) -> DataFrame:
    """Those rows of `frame` that are of a touched key."""
    # Literals are what lets Delta skip files: it knows each file's smallest and largest value.
    found = reduce(lambda rows, literal: rows.where(literal), ranges_of("row", changes), frame.alias("row"))
    is_touched = " AND ".join(_same("row", "touched", map(quoted, contract.keys)))
    return found.join(touched.alias("touched"), sf.expr(is_touched), "left_semi")


def _ordered(history: DataFrame, contract: Contract) -> DataFrame:
    sequence = f"change.{quoted(contract.sequence_by)}" if contract.sequence_by else f"change.{ORIGIN}.event_time"
    return (
        history.alias("change")
        .withColumn(SEQUENCE, sf.expr(sequence))
        .withColumn(ORDER, sf.expr(order_of("change", contract, deleted=f"change.{DELETED}")))
    )


def _differences(wanted: DataFrame, current: DataFrame, contract: Contract, rebuild: Rebuild) -> DataFrame:
    """The rows to insert, update and delete; of a row to delete only what tells it apart.

    What a full outer join would do, in one shuffle: rows of one identity meet in a group, at most one of each side.
    """
    identity = _identity(contract, rebuild)
    names_row = {*contract.keys, *rebuild.identity, *([ORIGIN] if rebuild.by_place else [])}
    placed = [name for name in (FILE, ROW) if name in current.columns]
    seen = [name for name in current.columns if name in {*names_row, *rebuild.compared, ORIGIN, *placed}]
    sides = [
        rows.select(
            *(sf.expr(path).alias(f"_tidegate_{at}") for at, path in enumerate(identity)),
            *(
                sf.struct(*map(quoted, names)).alias(side) if side == this else sf.lit(None).alias(side)
                for side in ("wanted", "current")
            ),
        )
        for this, rows, names in (("wanted", wanted, wanted.columns), ("current", current, seen))
    ]
    is_equal = " AND ".join(_same("wanted", "current", [*map(quoted, rebuild.compared), *_PLACES]))
    return (
        sides[0]
        .union(sides[1])
        .groupBy(*(f"_tidegate_{at}" for at in range(len(identity))))
        .agg(*(sf.first(side, ignorenulls=True).alias(side) for side in ("wanted", "current")))
        .where(f"wanted IS NULL OR current IS NULL OR NOT ({is_equal})")
        .select(
            *(
                sf.expr(
                    f"IF(wanted IS NOT NULL, wanted.{quoted(name)}, current.{quoted(name)})"
                    if name in names_row
                    else f"wanted.{quoted(name)}"
                ).alias(name)
                for name in wanted.columns
            ),
            sf.expr(
                "CASE WHEN current IS NULL THEN 'insert' WHEN wanted IS NULL THEN 'delete' ELSE 'update' END"
            ).alias(_OPERATION),
            *(sf.col(f"current.{name}").alias(name) for name in placed),
        )
    )


def _identity(contract: Contract, rebuild: Rebuild) -> list[str]:
    places = _PLACES if rebuild.by_place else ()
    return [*map(quoted, (*contract.keys, *rebuild.identity)), *places]


def _same(left: str, right: str, paths: Iterable[str]) -> list[str]:
    return [f"{left}.{path} <=> {right}.{path}" for path in paths]
