"""upsert: the newest change of a key wins, in whatever order and however often the changes come.

"Newest" is one total order (`order_of`), kept with the row in its `_tidegate` column. A change that is not
newer than what the table has changes nothing; that alone makes any order, repetition and batching end in one
table.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as sf

from tidegate_spark.changes import Changes
from tidegate_spark.origin import DELETED, order_of
from tidegate_spark.sources.rows import quoted
from tidegate_spark.strategies.plan import MergePlan, append, nothing_to_do
from tidegate_spark.table import Target
from tidegate_spark.work import Contract


def plan_upsert(target: Target, changes: Changes, contract: Contract) -> MergePlan:
    """Merge the newest change of each key on null-safe equality of all keys."""
    if not changes.rows_read:
        return nothing_to_do(target, "no file of the batch has a row that can be merged")
    same_key = " AND ".join(f"target.{quoted(key)} <=> change.{quoted(key)}" for key in contract.keys)
    # Literals are what lets Delta skip files: it knows each file's smallest and largest value.
    literal = [found.condition.format(column=f"target.{quoted(found.column)}") for found in changes.key_ranges]
    condition = " AND ".join([*literal, same_key])
    is_newer = f"{order_of('change', contract)} > {order_of('target', contract)}"
    newest = newest_of_each_key(changes.rows, contract).drop(DELETED)

    if target.rows == 0:
        return MergePlan(
            "append",
            f"Insert the newest row of each {', '.join(contract.keys)} out of {changes.rows_read} rows of "
            f"{len(changes.files)} files: the table has no rows yet.",
            run=lambda: append(target, newest),
        )

    def run() -> None:
        (
            target.delta.alias("target")
            .merge(newest.alias("change"), condition)
            .whenMatchedUpdateAll(condition=is_newer)
            .whenNotMatchedInsertAll()
            .execute()
        )

    skipping = f", looking only where {' and '.join(literal)}" if literal else ""
    return MergePlan(
        "merge",
        f"Upsert {changes.rows_read} rows of {len(changes.files)} files by {', '.join(contract.keys)}: the "
        f"newest by {contract.sequence_by or 'arrival'} wins{skipping}.",
        run=run,
        condition=condition,
        update_if=is_newer,
    )


def newest_of_each_key(rows: DataFrame, contract: Contract) -> DataFrame:
    """One row a key, always the same: no two rows have one place. Delta takes no two changes of a row."""
    rank = "_tidegate_rank"
    newest_first = Window.partitionBy(*(_column(key) for key in contract.keys)).orderBy(
        sf.expr(order_of("change", contract, deleted=f"change.{DELETED}")).desc()
    )
    return rows.alias("change").withColumn(rank, sf.row_number().over(newest_first)).where(sf.col(rank) == 1).drop(rank)


def _column(name: str) -> Column:
    return sf.col(quoted(name))
