"""The columns that a table has: the contract's, those that its strategy adds, and `_tidegate`.

A column that bounds an interval says so in its metadata, so that whoever reads the table needn't know its contract.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pyspark.sql.types import BooleanType, StructField, StructType, TimestampType

from tidegate_spark.errors import NotSupported
from tidegate_spark.origin import ORIGIN, origin_type
from tidegate_spark.types import parse_type
from tidegate_spark.work import Column, Contract

Bound = Literal["valid_from", "valid_to", "known_from", "known_to"]
BOUNDS: tuple[Bound, ...] = ("valid_from", "valid_to", "known_from", "known_to")
BOUND_KEY = "tidegate.bound"
"""The key of a column's metadata that says which bound of an interval the column holds."""
VALID_FROM: Bound = "valid_from"
VALID_TO: Bound = "valid_to"
IS_CURRENT = "is_current"
"""Since when a row's values hold, until when (null: they still do), and whether they still do."""


def columns_of(contract: Contract, extra: Sequence[Column] = ()) -> list[dict[str, str]]:
    """The table's columns as a receipt tells them: name and type of each, for whoever registers the table.

    `extra` are those that files brought and the contract doesn't name.
    """
    *own, origin = [{"name": field.name, "type": field.dataType.simpleString()} for field in table_schema(contract)]
    return [*own, *({"name": column.name, "type": column.type} for column in extra), origin]


def table_schema(contract: Contract) -> StructType:
    """The schema of the contract's table. Raises :class:`NotSupported`."""
    schema = StructType()
    for column in contract.columns:
        schema.add(column.name, parse_type(column.type), metadata=_period_bound(contract, column.name))
    for field in strategy_fields(contract):
        schema.add(field)
    return schema.add(ORIGIN, parse_type(origin_type(contract)))


def strategy_fields(contract: Contract) -> tuple[StructField, ...]:
    """The columns that the strategy adds to the contract's. Raises :class:`NotSupported`."""
    if contract.strategy == "scd2" or (contract.strategy == "snapshot" and contract.snapshot.keep_history):
        fields = (*_interval(contract, VALID_FROM, VALID_TO), StructField(IS_CURRENT, BooleanType()))
    elif contract.strategy == "bitemporal":
        fields = _interval(contract, "known_from", "known_to")
    else:
        return ()
    taken = {column.name.lower() for column in contract.columns} & {field.name for field in fields}
    if taken:
        raise NotSupported(
            f"Column {', '.join(sorted(taken))} of {contract.table} has the name of one that {contract.strategy} "
            "adds to the table. Give it another name in the contract, by a transform if the files have it."
        )
    return fields


def _interval(contract: Contract, begin: Bound, end: Bound) -> tuple[StructField, ...]:
    """Of the sequence's type. Without a sequence a change is dated by its arrival."""
    types = {column.name: column.type for column in (*contract.reads, *contract.columns)}
    kind = parse_type(types[contract.sequence_by]) if contract.sequence_by else TimestampType()
    return tuple(StructField(name, kind, metadata={BOUND_KEY: name}) for name in (begin, end))


def _period_bound(contract: Contract, name: str) -> dict[str, str] | None:
    if contract.strategy != "bitemporal":
        return None
    bounds = {contract.valid_from: "valid_from", contract.valid_to: "valid_to"}
    return {BOUND_KEY: bounds[name]} if name in bounds else None
