"""A keyed merge by marking: the table's rows that a newer change replaces or deletes are marked, the changes appended.

Only keys and what orders rows are read of the table, and of that at first only what comes first in the total order:
files keep columns apart, and two changes of one sequence value are rare.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from tidegate_spark.engines.choice import too_many_changes
from tidegate_spark.engines.marking import FILE, ROW, Counts, Marking, in_files
from tidegate_spark.origin import DELETED, ORIGIN, order_of
from tidegate_spark.reading import release
from tidegate_spark.sources.rows import quoted
from tidegate_spark.work import Contract

if TYPE_CHECKING:
    from tidegate_spark.engines.keyed import KeyedChanges
    from tidegate_spark.table import Target

_FATE = "_tidegate_fate"
"""What becomes of a row of the table whose key has a change: `updated`, `deleted`, `kept`; or not known yet: `tied`."""
_FATES = ("updated", "deleted", "kept")


def mark_and_append(target: Target, contract: Contract, changes: KeyedChanges, literals: Sequence[str]) -> None:
    """One commit. `literals` are conditions on `target`'s rows outside of which no changed key is."""
    marking = Marking(target)
    # Read twice: to find the rows that go, and to write those that come.
    rows = changes.rows.localCheckpoint(eager=False)
    kept = [rows]
    try:
        for by_first_field in (True, False):
            met = _met(marking, rows, contract, changes, literals, by_first_field=by_first_field)
            met = met.localCheckpoint(eager=False)
            kept.append(met)
            found = met.groupBy(FILE, _FATE).agg(sf.count("*").alias("rows"), marking.marks().alias("marks")).collect()
            if all(row[_FATE] != "tied" for row in found):
                break
        counts = {fate: sum(row["rows"] for row in found if row[_FATE] == fate) for fate in _FATES}
        new = rows
        if counts["kept"]:
            keys = [quoted(name) for name in contract.keys]
            new = rows.join(met.where(f"{_FATE} = 'kept'").select(*keys), list(contract.keys), "left_anti")
        if changes.deletes:
            new = new.where(f"NOT {DELETED}")
        columns = [quoted(name) for name in (*(column.name for column in contract.columns), ORIGIN)]
        marking.commit(
            [(row[FILE], row["marks"]["bitmap"]) for row in found if row[_FATE] != "kept"],
            in_files(new.select(*columns), changes.read, (*contract.partition_by, *contract.keys)),
            Counts(counts["updated"], counts["deleted"]),
        )
    finally:
        for frame in kept:
            release(frame)


def _met(
    marking: Marking,
    rows: DataFrame,
    contract: Contract,
    changes: KeyedChanges,
    literals: Sequence[str],
    *,
    by_first_field: bool,
) -> DataFrame:
    """The table's rows that have a change of their key, and what becomes of each."""
    deleted = f"change.{DELETED}" if changes.deletes else "false"
    if by_first_field:
        first = quoted(contract.sequence_by) if contract.sequence_by else f"{ORIGIN}.event_time"
        # As structs: a null is older than any value.
        newer = f"struct(change.{first} AS first) > struct(target.{first} AS first)"
        tied = f"change.{first} <=> target.{first}"
    else:
        change, there = (order_of(side, contract, deleted=f"CAST({gone} AS int)") for side, gone in
                         (("change", deleted), ("target", "false")))  # fmt: skip
        newer, tied = f"{change} > {there}", "false"
    fate = f"CASE WHEN {tied} THEN 'tied' WHEN NOT {newer} THEN 'kept' WHEN {deleted} THEN 'deleted' ELSE 'updated' END"
    table = marking.frame().alias("target")
    for literal in literals:
        table = table.where(literal)
    change_rows = rows.alias("change")
    if too_many_changes(changes.read, changes.size_bytes) is None:
        change_rows = sf.broadcast(change_rows)
    # A change's key is never null (`shaping`), so plain equality will do, which is faster than the null-safe one.
    same_key = " AND ".join(f"target.{quoted(key)} = change.{quoted(key)}" for key in contract.keys)
    return table.join(change_rows, sf.expr(same_key)).select(
        FILE, ROW, sf.expr(fate).alias(_FATE), *(sf.col(f"target.{quoted(key)}") for key in contract.keys)
    )
