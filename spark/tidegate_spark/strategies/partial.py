"""Partial updates: "an order a column: each takes its newest value set after the key's last delete. Absent is unset;
an explicit null sets, unless ignored." (the design)

A batch's changes of a key are folded to one row: of each column the newest value and its order. The MERGE takes the
newer of two values, column by column. The row remembers its columns' orders and its key's last delete, so that
nothing depends on tombstones which may be forgotten.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as sf

from tidegate_spark.changes import Changes
from tidegate_spark.origin import DELETED, LAST_DELETE, ORDERS, ORIGIN, PLACE, SET_COLUMNS, order_of, order_type
from tidegate_spark.sources.rows import quoted, text_literal
from tidegate_spark.strategies.keys import is_after, ranges_of, same_key
from tidegate_spark.strategies.plan import MergePlan, append
from tidegate_spark.strategies.tombstones import TOMBSTONE, Memory
from tidegate_spark.strategies.upsert import newest_of_each_key
from tidegate_spark.table import Target
from tidegate_spark.work import METADATA_COLUMNS, Contract

_ORDER = "_tidegate_order"
_DELETED_AT = "_tidegate_deleted_at"
_SEQUENCE = "_tidegate_sequence"
_IS_KNOWN = "_tidegate_is_known"
"""Has the key a tombstone? Then what was purged is none of its business."""
_FIELDS = (*PLACE, "batch")


def plan_partial(target: Target, changes: Changes, contract: Contract, memory: Memory) -> MergePlan:
    """Fold the changes of each key, then one MERGE."""
    rows = memory.join(changes.rows)
    late = memory.late(rows)
    if late is not None:
        rows = late.leave_out(rows)
    folded = fold(rows, contract)

    def prepare() -> None:
        if memory.has_deletes:
            memory.keep(newest_of_each_key(rows, contract))

    counted = f"{changes.rows_read} rows of {len(changes.files)} files"
    said = (
        f"each column of each {', '.join(contract.keys)} takes its newest value by "
        f"{contract.sequence_by or 'arrival'}, nulls {'left out' if contract.ignore_null_updates else 'included'}"
    )
    refused = None if late is None else late.refused(changes.rows)
    inserted = _inserted(contract, memory)
    if target.rows == 0:
        fresh = folded.alias("change").where(f"NOT change.{DELETED}")
        alive = fresh.select(*(sf.expr(value).alias(name) for name, value in inserted.items()))
        return MergePlan(
            "append",
            f"Insert what {counted} leave: {said}, the table has no rows yet; {memory.sentence()}.",
            run=lambda: append(target, alive),
            prepare=prepare,
            refused=refused,
        )

    literal = ranges_of("target", changes)
    condition = " AND ".join([*literal, same_key("target", "change", contract)])
    update_if = _update_if(contract)
    is_dead = f"change.{DELETED} AND NOT {is_after(order_of('target', contract), _last_delete('change'))}"

    def run() -> None:
        (
            target.delta.alias("target")
            .merge(folded.alias("change"), condition)
            .whenMatchedDelete(condition=is_dead)
            .whenMatchedUpdate(condition=update_if, set=_in_merge(_updated(contract)))
            .whenNotMatchedInsert(condition=f"NOT change.{DELETED}", values=_in_merge(inserted))
            .execute()
        )

    skipping = f", looking only where {' and '.join(literal)}" if literal else ""
    return MergePlan(
        "merge",
        f"Merge {counted}: {said}{skipping}; {memory.sentence()}.",
        run=run,
        prepare=prepare,
        condition=condition,
        update_if=update_if,
        deletes=True,
        refused=refused,
    )


def fold(rows: DataFrame, contract: Contract) -> DataFrame:
    """One row a key: what its changes set after its last delete, and that delete. `rows` have their tombstones.

    `_tidegate_deleted` says that there is no change after that delete.
    """
    keys = [sf.col(quoted(key)) for key in contract.keys]
    order = sf.expr(order_of("change", contract, deleted=f"change.{DELETED}"))
    deleted_at = sf.max(sf.when(sf.col(DELETED), sf.col(_ORDER))).over(Window.partitionBy(*keys))
    ordered = rows.alias("change").withColumn(_ORDER, order)
    after_delete = ordered.withColumn(_DELETED_AT, sf.greatest(deleted_at, sf.col(TOMBSTONE)))
    is_set = f"NOT {DELETED} AND {is_after(_ORDER, _DELETED_AT)}"
    own = _own_columns(contract)

    def newest(value: str, *, where: str) -> Column:
        """The value of the newest of a key's changes `where`; null if none is."""
        return sf.expr(f"max_by({value}, {_ORDER}) FILTER (WHERE {where})")

    sets = {name: f"{is_set} AND {_brings(name, contract)}" for name in own}
    columns = [
        newest(f"struct({quoted(name)} AS value, {_ORDER} AS at)", where=where).alias(f"set {name}")
        for name, where in sets.items()
    ]
    sequence = [newest(quoted(contract.sequence_by), where=is_set).alias(_SEQUENCE)] if contract.sequence_by else []
    folded = after_delete.groupBy(*keys).agg(
        newest(ORIGIN, where=is_set).alias(ORIGIN),
        sf.first(_DELETED_AT).alias(_DELETED_AT),
        sf.first(sf.col(TOMBSTONE).isNotNull()).alias(_IS_KNOWN),
        sf.expr(f"count_if({is_set}) = 0").alias(DELETED),
        *sequence,
        *columns,
    )
    orders = _orders({name: f"{quoted(f'set {name}')}.at" for name in own}, contract)
    origin = [
        *(f"{ORIGIN}.{field} AS {field}" for field in _FIELDS),
        f"{orders} AS {ORDERS}",
        f"{_DELETED_AT} AS {LAST_DELETE}",
    ]
    given = {name: f"{quoted(f'set {name}')}.value" for name in own}
    if contract.sequence_by:
        given[contract.sequence_by] = _SEQUENCE
    return folded.select(
        *(sf.expr(given.get(c.name, quoted(c.name))).alias(c.name) for c in contract.columns),
        sf.expr(f"struct({', '.join(origin)})").alias(ORIGIN),
        DELETED,
        _IS_KNOWN,
    )


def _own_columns(contract: Contract) -> list[str]:
    """The columns with an order of their own. The sequence column goes with the row's newest change."""
    return [c.name for c in contract.columns if c.name not in contract.keys and c.name != contract.sequence_by]


def _brings(name: str, contract: Contract) -> str:
    """The condition that a change has a value for the column, be it null."""
    if name not in contract.computed and name not in METADATA_COLUMNS:
        return f"array_contains({SET_COLUMNS}, {text_literal(name)})"
    return f"{quoted(name)} IS NOT NULL" if contract.ignore_null_updates else "true"


def _orders(at: dict[str, str], contract: Contract) -> str:
    """A SQL map from the columns that are set to their orders."""
    if not at:
        return f"from_json('{{}}', 'map<string,{order_type(contract)}>')"
    entries = ", ".join(f"struct({text_literal(name)} AS key, {order} AS value)" for name, order in at.items())
    return f"map_from_entries(filter(array({entries}), entry -> entry.value IS NOT NULL))"


def _last_delete(side: str) -> str:
    return f"{side}.{ORIGIN}.{LAST_DELETE}"


def _at(side: str, name: str) -> str:
    """The order of a column's value; null if it was never set."""
    return f"try_element_at({side}.{ORIGIN}.{ORDERS}, {text_literal(name)})"


_EITHER_DELETE = f"greatest({_last_delete('target')}, {_last_delete('change')})"


def _wins(name: str) -> str:
    """The condition that a column takes the change's value."""
    return is_after(_at("change", name), f"greatest({_at('target', name)}, {_EITHER_DELETE})")


def _stays(name: str) -> str:
    """The condition that it keeps the table's, if it doesn't take the change's. Adopted rows have no orders."""
    return f"({_EITHER_DELETE} IS NULL OR {is_after(_at('target', name), _EITHER_DELETE)})"


def _is_newest(contract: Contract) -> str:
    """The condition that the row's newest change is in this batch."""
    newer = f"{order_of('change', contract)} > {order_of('target', contract)}"
    return f"(NOT change.{DELETED} AND {newer})"


def _update_if(contract: Contract) -> str:
    forgets = is_after(_last_delete("change"), _last_delete("target"))
    return " OR ".join([_is_newest(contract), forgets, *(_wins(name) for name in _own_columns(contract))])


def _updated(contract: Contract) -> dict[str, str]:
    own, is_newest = _own_columns(contract), _is_newest(contract)

    def newer(field: str) -> str:
        return f"CASE WHEN {is_newest} THEN change.{field} ELSE target.{field} END"

    def own_value(name: str, of_change: str, of_target: str) -> str:
        return f"CASE WHEN {_wins(name)} THEN {of_change} WHEN {_stays(name)} THEN {of_target} END"

    orders = _orders({name: own_value(name, _at("change", name), _at("target", name)) for name in own}, contract)
    origin = [
        *(f"{newer(f'{ORIGIN}.{field}')} AS {field}" for field in _FIELDS),
        f"{orders} AS {ORDERS}",
        f"{_EITHER_DELETE} AS {LAST_DELETE}",
    ]
    values = {name: own_value(name, f"change.{quoted(name)}", f"target.{quoted(name)}") for name in own}
    if contract.sequence_by:
        values[contract.sequence_by] = newer(quoted(contract.sequence_by))
    return {**values, ORIGIN: f"struct({', '.join(origin)})"}


def _inserted(contract: Contract, memory: Memory) -> dict[str, str]:
    """A new row. What is purged is its last delete, unless more is known: late changes must not add to it."""
    last_delete = _last_delete("change")
    if memory.bound is not None:
        purged = f"greatest({last_delete}, {memory.bound.order(contract)})"
        last_delete = f"CASE WHEN change.{_IS_KNOWN} THEN {last_delete} ELSE {purged} END"
    fields = (*_FIELDS, ORDERS)
    origin = [*(f"change.{ORIGIN}.{field} AS {field}" for field in fields), f"{last_delete} AS {LAST_DELETE}"]
    return {
        **{column.name: f"change.{quoted(column.name)}" for column in contract.columns},
        ORIGIN: f"struct({', '.join(origin)})",
    }


def _in_merge(values: dict[str, str]) -> dict[str, str | Column]:
    return {quoted(name): value for name, value in values.items()}
