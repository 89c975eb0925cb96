"""scd2: a row for each time that a key was something else, with the interval in which it was so.

An interval begins with a change that differs in a tracked column from the one before, and ends with the next that
does, or with a delete. Within it the newest change's values are shown, and `valid_from` is when it began. Of several
changes at one sequence value the last counts, so no interval is empty; a change without a sequence value is the
oldest, and its interval has no `valid_from`.
"""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as sf

from tidegate_spark.changes import Changes
from tidegate_spark.origin import DELETED, ORIGIN
from tidegate_spark.schema import IS_CURRENT
from tidegate_spark.sources.rows import quoted
from tidegate_spark.strategies.comparable import comparable
from tidegate_spark.strategies.plan import MergePlan
from tidegate_spark.strategies.rebuild import ORDER, SEQUENCE, Rebuild, plan_rebuild, value_columns
from tidegate_spark.table import Target
from tidegate_spark.work import METADATA_COLUMNS, Contract

_NEXT = "_tidegate_next"
_BEFORE = "_tidegate_before"
_TRACKED = "_tidegate_tracked"
_BEGINS = "_tidegate_begins"


def plan_scd2(target: Target, changes: Changes, contract: Contract) -> MergePlan:
    """Rebuild the intervals of the touched keys."""
    tracked = "any value" if contract.track_columns is None else ", ".join(contract.track_columns)
    rebuild = Rebuild(
        rows=lambda history: _intervals(history, contract),
        identity=("valid_from",),
        compared=("valid_to", IS_CURRENT),
    )
    return plan_rebuild(
        target,
        changes,
        contract,
        rebuild,
        f"Rebuild the intervals of the keys ({', '.join(contract.keys)}) that {changes.rows_read} rows of "
        f"{len(changes.files)} files touch: a new one begins when {tracked} changes, by "
        f"{contract.sequence_by or 'arrival'}.",
    )


def _intervals(history: DataFrame, contract: Contract) -> DataFrame:
    in_order = Window.partitionBy(*(sf.col(quoted(key)) for key in contract.keys)).orderBy(ORDER)
    values = value_columns(history.drop(SEQUENCE, ORDER))
    # One row a sequence value: the last. A struct, since the next one's value may be null, too.
    last_of_each = (
        history.withColumn(_NEXT, sf.lead(sf.struct(SEQUENCE)).over(in_order))
        .where(f"{_NEXT} IS NULL OR NOT ({_NEXT}.{SEQUENCE} <=> {SEQUENCE})")
        .drop(_NEXT)
    )
    begins = (
        last_of_each.withColumn(_TRACKED, sf.expr(_tracked(history, values, contract)))
        .withColumn(_BEFORE, sf.lag(sf.struct(DELETED, _TRACKED)).over(in_order))
        .withColumn(
            _BEGINS,
            sf.expr(
                f"{DELETED} OR {_BEFORE} IS NULL OR {_BEFORE}.{DELETED} OR NOT ({_BEFORE}.{_TRACKED} <=> {_TRACKED})"
            ),
        )
    )
    until_here = in_order.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    began = sf.last(sf.when(sf.col(_BEGINS), sf.struct(SEQUENCE)), ignorenulls=True).over(until_here)
    next_change = sf.lead(sf.struct(_BEGINS, SEQUENCE)).over(in_order)
    return (
        begins.withColumn(_BEFORE, began)
        .withColumn(_NEXT, next_change)
        .where(f"NOT {DELETED} AND ({_NEXT} IS NULL OR {_NEXT}.{_BEGINS})")
        .select(
            *(sf.col(quoted(name)) for name in values),
            sf.col(f"{_BEFORE}.{SEQUENCE}").alias("valid_from"),
            sf.col(f"{_NEXT}.{SEQUENCE}").alias("valid_to"),
            sf.col(_NEXT).isNull().alias(IS_CURRENT),
            ORIGIN,
        )
    )


def _tracked(history: DataFrame, values: list[str], contract: Contract) -> str:
    """A SQL struct of what a new interval begins with, in a form that can be compared."""
    # Where a change came from is no value of the key's.
    untracked = {*contract.keys, contract.sequence_by, *METADATA_COLUMNS}
    names = contract.track_columns
    if names is None:
        names = tuple(name for name in values if name not in untracked)
    types = {field.name: field.dataType for field in history.schema}
    # The constant lets a contract without other columns than its keys have a struct, too.
    fields = ["1 AS c", *(f"{comparable(quoted(name), types[name])} AS c{at}" for at, name in enumerate(names))]
    return f"struct({', '.join(fields)})"
