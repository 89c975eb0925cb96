"""A table as it was: `as_of(valid, known)` for data frames and in Spark SQL, and views of what is so now.

A row is so at `v` if valid_from <= v < valid_to, and believed at `k` if known_from <= k < known_to; a null bound is an
open end. Which columns these are, the table's own schema says.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import DateType, StructField, StructType, TimestampNTZType, TimestampType

from tidegate_spark.as_of_sql import Call, find_calls, replace_calls
from tidegate_spark.errors import NotSupported
from tidegate_spark.origin import ORIGIN
from tidegate_spark.schema import BOUND_KEY, BOUNDS, IS_CURRENT
from tidegate_spark.sources.rows import quoted, text_literal

Moment = str | int | date | datetime | Decimal
_NOW: Mapping[type, str] = {
    TimestampType: "current_timestamp()",
    TimestampNTZType: "localtimestamp()",
    DateType: "current_date()",
}


class NotAsOf(NotSupported):
    """`as_of` can't be used so; the message says what to write instead."""


def as_of(frame: DataFrame, valid: Moment | None = None, known: Moment | None = None) -> DataFrame:
    """Those rows of a scd2 or bitemporal table that were so at `valid`, as was believed at `known`.

    Both are taken as values of the columns' type. `valid` None means any time; `known` None means what is believed
    now. Raises :class:`NotAsOf`.
    """
    bounds = bounds_of(frame.schema)
    if known is not None and "known_from" not in bounds:
        raise NotAsOf(_NO_KNOWN)
    texts = [None if value is None else text_literal(str(value)) for value in (valid, known)]
    for text, bound in zip(texts, ("valid_from", "known_from"), strict=True):
        if text is not None:
            _check_moment(frame.sparkSession, text, bounds[bound])
    condition = _condition(bounds, *texts)
    return frame.where(condition) if condition else frame


def sql(session: SparkSession, text: str) -> DataFrame:
    """`session.sql`, in which `as_of(table, valid[, known])` may stand where a table can.

    Each is replaced by the filtered table before Spark sees the query. `valid` and `known` are constant expressions;
    NULL means what None means for :func:`as_of`. Raises :class:`NotAsOf`.
    """
    calls = find_calls(text)
    return session.sql(replace_calls(text, [(call, _subquery(session, call)) for call in calls]))


def now_condition(schema: StructType) -> str:
    """A SQL condition: the row is so now, as is believed now. Of scd2 rows: the newest. Raises :class:`NotAsOf`."""
    bounds = bounds_of(schema)
    if "known_from" not in bounds:
        return quoted(IS_CURRENT)
    now = _NOW.get(type(bounds["valid_from"].dataType))
    if now is None:
        # Of a period of numbers nobody knows which is now.
        return _condition(bounds, None, None)
    return _condition(bounds, now, None)


def now_view(name: str, schema: StructType) -> str:
    """The statement that makes the view `<name>__now`, without `_tidegate`. `name` may have parts: `db.prices`.

    Raises :class:`NotAsOf`.
    """
    *database, table = name.split(".")
    view = ".".join(quoted(part) for part in (*database, f"{table}__now"))
    source = ".".join(quoted(part) for part in (*database, table))
    columns = ", ".join(quoted(field.name) for field in schema if field.name != ORIGIN)
    return f"CREATE OR REPLACE VIEW {view} AS SELECT {columns} FROM {source} WHERE {now_condition(schema)}"  # noqa: S608 - all are quoted


def bounds_of(schema: StructType) -> dict[str, StructField]:
    """The columns that hold the bounds of a table's intervals: two or four. Raises :class:`NotAsOf`."""
    found = {field.metadata[BOUND_KEY]: field for field in schema if BOUND_KEY in field.metadata}
    if not found:
        # A table that was adopted, or rows that went through a select with expressions.
        found = {field.name: field for field in schema if field.name in BOUNDS}
    if not {"valid_from", "valid_to"} <= found.keys():
        raise NotAsOf(
            "as_of needs a table that is merged by scd2 or bitemporal; this one has no columns that hold the bounds of "
            f"intervals, but {', '.join(field.name for field in schema)}."
        )
    return found


def _condition(bounds: Mapping[str, StructField], valid: str | None, known: str | None) -> str:
    parts = []
    if valid is not None:
        parts.append(_within(bounds["valid_from"], bounds["valid_to"], valid))
    if known is not None:
        parts.append(_within(bounds["known_from"], bounds["known_to"], known))
    elif "known_to" in bounds:
        parts.append(f"{quoted(bounds['known_to'].name)} IS NULL")
    return " AND ".join(parts)


def _within(begin: StructField, end: StructField, moment: str) -> str:
    value = _cast(moment, begin)
    first, last = quoted(begin.name), quoted(end.name)
    return f"({first} IS NULL OR {first} <= {value}) AND ({last} IS NULL OR {value} < {last})"


def _cast(moment: str, field: StructField) -> str:
    # The line break ends a comment that the expression may close with.
    return f"CAST(({moment}\n) AS {field.dataType.simpleString()})"


def _check_moment(session: SparkSession, moment: str, field: StructField) -> bool:
    """Is it one constant expression of the column's type? True if it is null. Raises :class:`NotAsOf`."""
    # Spark's own parser says whether it is one expression and nothing more, before it gets into a statement.
    try:
        parser: Any = session._jsparkSession.sessionState().sqlParser()
        parser.parseExpression(moment)
        found = session.sql(f"SELECT ({moment}\n) IS NULL, {_cast(moment, field)} IS NULL").head()
    except Exception as error:
        raise NotAsOf(
            f"as_of takes constant expressions of type {field.dataType.simpleString()}, such as "
            f"{_example(field)}, not {moment}: {str(error).strip().splitlines()[0]}"
        ) from error
    is_null, is_unfit = found if found is not None else (True, True)
    if is_unfit and not is_null:
        raise NotAsOf(
            f"as_of was given {moment}, which is not a {field.dataType.simpleString()}, as column {field.name} is. "
            f"Write it like {_example(field)}."
        )
    return bool(is_null)


def _example(field: StructField) -> str:
    if isinstance(field.dataType, TimestampType | TimestampNTZType):
        return "TIMESTAMP '2026-01-31 00:00:00'"
    return "DATE '2026-01-31'" if isinstance(field.dataType, DateType) else "42"


def _subquery(session: SparkSession, call: Call) -> str:
    if not 1 <= len(call.arguments) <= 3:
        raise NotAsOf(f"as_of takes a table, a valid time and perhaps a known time, not {call.text}.")
    table, *moments = call.arguments
    try:
        parser: Any = session._jsparkSession.sessionState().sqlParser()
        parts = parser.parseMultipartIdentifier(table)
    except Exception as error:
        raise NotAsOf(f"as_of takes the name of a table first, not {table}.") from error
    name = ".".join(quoted(str(parts.apply(at))) for at in range(parts.size()))
    bounds = bounds_of(session.table(name).schema)
    valid, known = (*moments, "NULL", "NULL")[:2]
    if len(moments) == 2 and "known_from" not in bounds:
        raise NotAsOf(_NO_KNOWN)
    valid_at = None if _check_moment(session, valid, bounds["valid_from"]) else valid
    known_at = None if _check_moment(session, known, bounds.get("known_from", bounds["valid_from"])) else known
    condition = _condition(bounds, valid_at, known_at) or "true"
    return f"(SELECT * FROM {name} WHERE {condition})"  # noqa: S608 - names are quoted, moments are parsed


_NO_KNOWN = "A scd2 table doesn't know what was believed when: write as_of(table, valid). bitemporal tables do."
