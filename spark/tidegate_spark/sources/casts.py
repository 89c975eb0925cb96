"""From a type that a value has to the one that the contract says: cast only where nothing is lost."""

from __future__ import annotations

from pyspark.errors import AnalysisException
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as sf
from pyspark.sql.types import (
    BinaryType,
    BooleanType,
    DataType,
    DateType,
    NullType,
    NumericType,
    StringType,
    TimestampNTZType,
    TimestampType,
)

from tidegate_spark.sources import rows
from tidegate_spark.types import is_nested, parse_type

_FAMILIES: tuple[tuple[type[DataType], ...], ...] = (
    (NumericType,),
    (DateType, TimestampType, TimestampNTZType),
    (BooleanType,),
    (BinaryType,),
)


class NoSuchCast(Exception):
    """No value of the one type can become one of the other. Says so in words."""


def typed(session: SparkSession, name: str, found: DataType, wanted_name: str, raw: Column) -> rows.Cell:
    """`raw`, of type `found`, as column `name` of the contract's type. Raises :class:`NoSuchCast`."""
    wanted = parse_type(wanted_name)
    if found.simpleString() == wanted.simpleString() or isinstance(found, NullType):
        return rows.Cell(raw.cast(wanted_name), sf.lit(None).cast("string"))
    if isinstance(found, StringType) and not is_nested(wanted_name):
        return rows.from_text(name, wanted_name, raw)
    if not _is_kin(session, found, wanted):
        raise NoSuchCast(f"column {name} is {found.simpleString()}, the contract says {wanted_name}")
    value = raw.cast(wanted_name)
    is_bad = raw.isNotNull() & value.isNull()
    both = {found.simpleString(), wanted.simpleString()}
    if not is_nested(wanted_name) and wanted.simpleString() != "string" and both != {"float", "double"}:
        # 1.5 is no int and a time is no date: what doesn't come back the same has lost something.
        is_bad = is_bad | ~raw.eqNullSafe(value.cast(found))
    return rows.Cell(value, rows.cast_problem(name, wanted_name, raw, is_bad=is_bad))


def as_text(column: Column, found: DataType) -> Column:
    """A value of any type as text that people can read."""
    if isinstance(found, BinaryType):
        return sf.base64(column)
    return sf.to_json(column) if is_nested(found.simpleString()) else column.cast("string")


def _is_kin(session: SparkSession, found: DataType, wanted: DataType) -> bool:
    """May one be cast to the other without guessing? A number is no time: nobody knows whose seconds it counts."""
    for family in _FAMILIES:
        if isinstance(found, family) or isinstance(wanted, family):
            return isinstance(found, family) and isinstance(wanted, (*family, StringType))
    try:
        session.sql(f"SELECT try_cast(CAST(NULL AS {found.simpleString()}) AS {wanted.simpleString()})")
    except AnalysisException:
        return False
    return True
