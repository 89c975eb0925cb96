"""The columns that a table has: the contract's, those that its strategy adds, and `_tidegate`."""

from __future__ import annotations

from pyspark.sql.types import StructType, _parse_datatype_string

from tidegate_spark.origin import ORIGIN, origin_type
from tidegate_spark.work import Contract

VALID_FROM, VALID_TO, IS_CURRENT = "valid_from", "valid_to", "is_current"
"""Since when a row's values hold, until when (null: they still do), and whether they still do."""


def columns_of(contract: Contract) -> list[dict[str, str]]:
    """The same as a receipt tells it: name and type of each column, for whoever registers the table."""
    return [{"name": field.name, "type": field.dataType.simpleString()} for field in table_schema(contract)]


def table_schema(contract: Contract) -> StructType:
    """The schema of the contract's table."""
    schema = StructType()
    for column in contract.columns:
        schema.add(column.name, _parse_datatype_string(column.type))
    for name, type_name in _snapshot_columns(contract).items():
        schema.add(name, _parse_datatype_string(type_name))
    return schema.add(ORIGIN, _parse_datatype_string(origin_type(contract)))


def _snapshot_columns(contract: Contract) -> dict[str, str]:
    """Of snapshots that keep their history: times are those of the column that orders them, or of the arrivals."""
    if contract.strategy != "snapshot" or not contract.snapshot.keep_history:
        return {}
    types = {column.name: column.type for column in (*contract.reads, *contract.columns)}
    time = types.get(contract.sequence_by or "", "timestamp")
    return {VALID_FROM: time, VALID_TO: time, IS_CURRENT: "boolean"}
