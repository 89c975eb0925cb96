"""cdc: upsert, and of each key the newest change may delete it.

"Deletes leave a tombstone." (the design) A change that is not newer than its key's tombstone is nothing, as one is
that is not newer than the key's row. A delete leaves its tombstone whether the table has the key or not: what it
deletes may come later.
"""

from __future__ import annotations

from dataclasses import replace

from tidegate_spark.changes import Changes
from tidegate_spark.engines.keyed import KeyedChanges, plan_keyed_merge
from tidegate_spark.origin import DELETED, ORIGIN, order_of
from tidegate_spark.sources.rows import quoted
from tidegate_spark.strategies.partial import plan_partial
from tidegate_spark.strategies.plan import MergePlan, nothing_to_do
from tidegate_spark.strategies.tombstones import TOMBSTONE, recall
from tidegate_spark.strategies.upsert import newest_of_each_key, plan_upsert
from tidegate_spark.table import Target
from tidegate_spark.work import Contract


def plan_cdc(target: Target, changes: Changes, contract: Contract) -> MergePlan:
    """Update, insert and delete in one commit; before it, the tombstones."""
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
    plan = plan_keyed_merge(
        target,
        contract,
        KeyedChanges.of(current.select(*columns, DELETED), changes, contract, deletes=True),
        f"Merge {counted}: {said}; {memory.sentence()}",
    )
    return replace(plan, prepare=prepare, refused=refused)
