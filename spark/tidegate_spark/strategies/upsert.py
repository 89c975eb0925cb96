"""upsert: the newest change of a key wins, in whatever order and however often the changes come.

"Newest" is one total order (`order_of`), kept with the row in its `_tidegate` column. A change that is not
newer than what the table has changes nothing; that alone makes any order, repetition and batching end in one
table.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as sf

from tidegate_spark.changes import Changes
from tidegate_spark.engines import keyed  # the module: it imports this package, too
from tidegate_spark.origin import DELETED, order_of
from tidegate_spark.sources.rows import quoted
from tidegate_spark.strategies.plan import MergePlan, nothing_to_do
from tidegate_spark.table import Target
from tidegate_spark.work import Contract

_ONE_TASK_ROWS = 20_000


def plan_upsert(target: Target, changes: Changes, contract: Contract) -> MergePlan:
    """Merge the newest change of each key on null-safe equality of all keys."""
    if not changes.rows_read:
        return nothing_to_do(target, "no file of the batch has a row that can be merged")
    rows = changes.rows
    if changes.rows_read <= _ONE_TASK_ROWS:
        # Few rows in one partition need no shuffle: of a small table's second, that is a good part.
        rows = rows.coalesce(1)
    elif keyed.is_in_order(changes.rows_read, contract):
        # A window is content with ranges of keys, and so are the files of a table: one shuffle for both.
        rows = rows.repartitionByRange(*(_column(key) for key in contract.keys))
    newest = newest_of_each_key(rows, contract).drop(DELETED)
    what = (
        f"Upsert {changes.rows_read} rows of {len(changes.files)} files by {', '.join(contract.keys)}: the newest "
        f"by {contract.sequence_by or 'arrival'} wins"
    )
    return keyed.plan_keyed_merge(target, contract, keyed.KeyedChanges.of(newest, changes, contract), what)


def newest_of_each_key(rows: DataFrame, contract: Contract) -> DataFrame:
    """One row a key, always the same: no two rows have one place. Delta takes no two changes of a row."""
    rank = "_tidegate_rank"
    newest_first = Window.partitionBy(*(_column(key) for key in contract.keys)).orderBy(
        sf.expr(order_of("change", contract, deleted=f"change.{DELETED}")).desc()
    )
    return rows.alias("change").withColumn(rank, sf.row_number().over(newest_first)).where(sf.col(rank) == 1).drop(rank)


def _column(name: str) -> Column:
    return sf.col(quoted(name))
