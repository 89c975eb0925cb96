"""cdc: upsert, and of each key the newest change may delete it.

"Deletes leave a tombstone." (the design) A change that is not newer than its key's tombstone is nothing, as one is
that is not newer than the key's row. A delete leaves its tombstone whether the table has the key or not: what it
deletes may come later.
"""

from __future__ import annotations

from dataclasses import replace

from pyspark.sql import Column
from pyspark.sql import functions as sf

from tidegate_spark.changes import Changes
from tidegate_spark.origin import DELETED, ORIGIN, order_of
from tidegate_spark.sources.rows import quoted
from tidegate_spark.strategies.keys import ranges_of, same_key
from tidegate_spark.strategies.partial import plan_partial
from tidegate_spark.strategies.plan import MergePlan, append, nothing_to_do
from tidegate_spark.strategies.tombstones import TOMBSTONE, recall
from tidegate_spark.strategies.upsert import newest_of_each_key, plan_upsert
from tidegate_spark.table import Target
from tidegate_spark.work import Contract


def plan_cdc(target: Target, changes: Changes, contract: Contract) -> MergePlan:
    """Update, insert and delete in one MERGE; before it, the tombstones."""
    if not changes.rows_read:
        return nothing_to_do(target, "no file of the batch has a row that can be merged")
    memory = recall(target, changes, contract)
    if contract.partial_updates:
        return plan_partial(target, changes, contract, memory)
    if memory.is_blank:
        plan = plan_upsert(target, changes, contract)
        return replace(plan, sentence=f"{plan.sentence.removesuffix('.')}; {memory.sentence()}.")

    order = order_of("change", contract, deleted=f"change.{DELETED}")
    newest = memory.join(newest_of_each_key(changes.rows, contract))
    # A delete that equals its tombstone is not left out: an attempt may have died between the two commits.
    current = newest.alias("change").where(f"{TOMBSTONE} IS NULL OR {order} >= {TOMBSTONE}")
    late = memory.late(current)
    if late is not None:
        current = late.leave_out(current)
    columns = [quoted(name) for name in (*(column.name for column in contract.columns), ORIGIN)]

    def prepare() -> None:
        if memory.has_deletes:
            memory.keep(current)

    said = f"of each {', '.join(contract.keys)} the newest by {contract.sequence_by or 'arrival'} wins"
    counted = f"{changes.rows_read} rows of {len(changes.files)} files"
    refused = None if late is None else late.refused(changes.rows)
    if target.rows == 0:
        alive = current.where(~sf.col(DELETED)).select(*columns)
        return MergePlan(
            "append",
            f"Insert what {counted} leave: {said}, the table has no rows yet; {memory.sentence()}.",
            run=lambda: append(target, alive),
            prepare=prepare,
            refused=refused,
        )

    literal = ranges_of("target", changes)
    condition = " AND ".join([*literal, same_key("target", "change", contract)])
    is_newer = f"{order} > {order_of('target', contract)}"
    values: dict[str, str | Column] = {name: f"change.{name}" for name in columns}

    def run() -> None:
        (
            target.delta.alias("target")
            .merge(current.alias("change"), condition)
            .whenMatchedDelete(condition=f"change.{DELETED} AND {is_newer}")
            .whenMatchedUpdate(condition=is_newer, set=values)
            .whenNotMatchedInsert(condition=f"NOT change.{DELETED}", values=values)
            .execute()
        )

    skipping = f", looking only where {' and '.join(literal)}" if literal else ""
    return MergePlan(
        "merge",
        f"Merge {counted}: {said}{skipping}; {memory.sentence()}.",
        run=run,
        prepare=prepare,
        condition=condition,
        update_if=is_newer,
        deletes=True,
        refused=refused,
    )
