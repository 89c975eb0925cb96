"""The columns that a table has: the contract's, those that its strategy adds, and `_tidegate`."""

from __future__ import annotations

from pyspark.sql.types import StructType, _parse_datatype_string

from tidegate_spark.origin import ORIGIN, origin_type
from tidegate_spark.work import Contract


def columns_of(contract: Contract) -> list[dict[str, str]]:
    """The same as a receipt tells it: name and type of each column, for whoever registers the table."""
    return [{"name": field.name, "type": field.dataType.simpleString()} for field in table_schema(contract)]


def table_schema(contract: Contract) -> StructType:
    """The schema of the contract's table."""
    schema = StructType()
    for column in contract.columns:
        schema.add(column.name, _parse_datatype_string(column.type))
    return schema.add(ORIGIN, _parse_datatype_string(origin_type(contract)))
