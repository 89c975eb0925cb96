"""Types of a contract's columns, each by one name: `INTEGER` and `int` are the same."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from pyspark.errors import PySparkException
from pyspark.sql.types import CharType, DataType, VarcharType, _parse_datatype_string

from tidegate_spark.errors import NotSupported
from tidegate_spark.work import Column, Contract


def with_canonical_types(contract: Contract) -> Contract:
    """The contract with Spark's own short names for its types. Raises :class:`NotSupported`."""
    return replace(
        contract,
        columns=tuple(_canonical(column) for column in contract.columns),
        reads=tuple(_canonical(column) for column in contract.reads),
    )


@lru_cache(maxsize=10_000)
def parse_type(text: str) -> DataType:
    """The type that Spark's SQL calls so. Not to be changed by who gets it: all share it.

    Each text is parsed once a process: that is two calls to the JVM, the first of which throws and catches, and a
    batch asks for the same few types dozens of times. Raises what Spark raises.
    """
    return _parse_datatype_string(text)


def is_nested(type_name: str) -> bool:
    """Is a value of this type made of others?"""
    return type_name.startswith(("struct<", "array<", "map<"))


def _canonical(column: Column) -> Column:
    try:
        parsed = parse_type(column.type)
    except PySparkException as unknown:
        raise NotSupported(f"Column {column.name} is of type {column.type!r}, which Spark has not.") from unknown
    if isinstance(parsed, CharType | VarcharType):
        raise NotSupported(f"Column {column.name} is of type {column.type}: use string, Delta keeps it as that.")
    return Column(column.name, parsed.simpleString())
