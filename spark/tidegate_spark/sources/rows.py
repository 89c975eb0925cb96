"""The columns that every read row carries besides the contract's, and how a value gets its type.

A value that doesn't fit its type is never lost and never an exception: the row says what is wrong with it. Casts
are Spark's own lenient ones (the session sets ANSI off) and what they would cut is looked for: `try_cast` throws
inside for each value that doesn't fit, which took a hundred times as long (0.2 ms a row of five such values).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as sf

from tidegate_spark.work import Contract

FILE = "_tidegate_file"
"""URI of the file, as Spark has it."""
BLOCK = "_tidegate_block"
"""Where in the file the part begins that the row was read from: large files are read in parts."""
ROW_ID = "_tidegate_row_id"
"""Grows with the row within its part, without gaps. Says nothing across parts."""
PROBLEM = "_tidegate_problem"
"""What is wrong with the row, for people; null in nearly all."""
RAW = "_tidegate_raw"
"""The row as it came: its text, or a map of its values as text. Asked for where something is wrong with it."""
UNKNOWN = "_tidegate_unknown"
"""Where the contract lets columns be added: the values, as text, of those that it doesn't name."""
BLANK = "_tidegate_blank"
"""A line with nothing on it: counted, never merged."""
SET = "_tidegate_brought"
"""Under partial updates: the names of the columns that the row brings."""
CORRUPT = "_tidegate_corrupt"

REPLACEMENT = "\ufffd"
"""What a decoder writes for bytes that it can't decode."""

_INTEGERS = frozenset({"tinyint", "smallint", "int", "bigint"})
_SHOWN_CHARACTERS = 40
_DATE_CHARACTERS = len("2026-01-31")
_MOST_DIGITS = 38


@dataclass(frozen=True)
class Cell:
    """A column's value in its contract's type, and what is wrong with it (null if nothing)."""

    value: Column
    problem: Column


def quoted(name: str) -> str:
    """A column name as Spark SQL takes it literally."""
    return "`" + name.replace("`", "``") + "`"


def text_literal(value: str) -> str:
    """A text as Spark SQL takes it literally, whatever is in it.

    The dollar sign is escaped too: Spark puts its settings in place of `${name}` before it parses, in strings as well.
    """
    escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("$", "\\u0024")
    return f"'{escaped}'"


def from_text(name: str, type_name: str, text: Column | None = None) -> Cell:
    """The text column `name` as `type_name`, if nothing is lost: digits, a time of day.

    `12.0` is a whole number, as pandas writes it, and midnight is a date.
    """
    raw = sf.col(quoted(name)) if text is None else text
    if type_name == "string":
        return Cell(raw, sf.lit(None).cast("string"))
    value = raw.cast(type_name)
    is_less = sf.lit(False)
    if type_name in _INTEGERS:
        # The cast itself would take 1.5 for 1.
        is_less = raw.contains(".") & raw.rlike("[.]0*[1-9]")
    elif type_name == "date":
        moment = raw.cast("timestamp")
        is_less = (sf.length(sf.trim(raw)) > _DATE_CHARACTERS) & ~moment.eqNullSafe(value.cast("timestamp"))
    elif wide := widest_decimal(type_name):
        is_less = ~value.eqNullSafe(raw.cast(wide))
    return Cell(value, cast_problem(name, type_name, raw, is_bad=raw.isNotNull() & (value.isNull() | is_less)))


def widest_decimal(type_name: str) -> str | None:
    """The decimal with as many digits before the point and all that is left after it; shows what a cast cuts."""
    found = re.fullmatch(r"decimal\((\d+),(\d+)\)", type_name)
    if found is None:
        return None
    whole = int(found[1]) - int(found[2])
    return f"decimal({_MOST_DIGITS},{_MOST_DIGITS - whole})"


def cast_problem(name: str, type_name: str, raw: Column, *, is_bad: Column) -> Column:
    """`column x: 'abc' is not a valid int` where `is_bad`."""
    shown = sf.substring(raw.cast("string"), 1, _SHOWN_CHARACTERS)
    return sf.when(is_bad, sf.concat(sf.lit(f"column {name}: '"), shown, sf.lit(f"' is not a valid {type_name}")))


def undecodable(name: str, encoding: str) -> Column:
    """Text that holds the mark of bytes which could not be decoded."""
    return sf.when(
        sf.col(quoted(name)).contains(REPLACEMENT),
        sf.lit(
            f"column {name}: holds bytes that are not {encoding} (they read as U+FFFD); save the file as "
            f"{encoding} or change the contract's encoding"
        ),
    )


def checked(
    frame: DataFrame,
    contract: Contract,
    cells: Mapping[str, Cell],
    problems: Sequence[Column],
    *,
    raw: Column,
    blank: Column | None = None,
    brought: Column | None = None,
    unknown: Column | None = None,
) -> DataFrame:
    """The contract's columns of a file, typed, and the columns of this module.

    `problems` of the row as a whole come before those of its values: they are the reason for them. `brought` are
    the names of the columns that the row has a value for, be it null; without it, all. `unknown` are the values of
    columns that the contract doesn't name.
    """
    columns = contract.file_columns
    problem = sf.coalesce(*problems, *(cells[column.name].problem for column in columns), sf.lit(None).cast("string"))
    is_blank = sf.lit(False) if blank is None else blank
    others = sf.lit(None).cast("map<string,string>") if unknown is None else unknown
    return frame.select(
        *(cells[column.name].value.alias(column.name) for column in columns),
        sf.col("_metadata.file_path").alias(FILE),
        sf.col("_metadata.file_block_start").alias(BLOCK),
        sf.monotonically_increasing_id().alias(ROW_ID),
        sf.when(~is_blank, problem).alias(PROBLEM),
        is_blank.alias(BLANK),
        raw.alias(RAW),
        *([_set_columns(contract, cells, brought).alias(SET)] if contract.partial_updates else []),
        *([others.alias(UNKNOWN)] if contract.evolution != "strict" else []),
    )


def nothing(session: SparkSession, contract: Contract, raw_type: str) -> DataFrame:
    """What :func:`checked` makes of no file at all."""
    return session.range(0).select(
        *(sf.lit(None).cast(column.type).alias(column.name) for column in contract.file_columns),
        sf.lit("").alias(FILE),
        sf.lit(0).cast("bigint").alias(BLOCK),
        sf.col("id").alias(ROW_ID),
        sf.lit(None).cast("string").alias(PROBLEM),
        sf.lit(False).alias(BLANK),
        sf.lit(None).cast(raw_type).alias(RAW),
        *([sf.array().cast("array<string>").alias(SET)] if contract.partial_updates else []),
        *([sf.lit(None).cast("map<string,string>").alias(UNKNOWN)] if contract.evolution != "strict" else []),
    )


def _set_columns(contract: Contract, cells: Mapping[str, Cell], brought: Column | None) -> Column:
    names = sf.array(*(sf.lit(column.name) for column in contract.file_columns))
    found = names if brought is None else sf.array_intersect(names, brought)
    if not contract.ignore_null_updates:
        return found
    with_value = [sf.when(cells[c.name].value.isNotNull(), sf.lit(c.name)) for c in contract.file_columns]
    return sf.array_intersect(found, sf.array_compact(sf.array(*with_value)))


def may_be_absent(name: str, contract: Contract) -> bool:
    """May a file lack this column? Under partial updates, any but those that place a change."""
    return contract.partial_updates and name not in contract.keys and name != contract.sequence_by


def absent(type_name: str) -> Cell:
    """The cell of a column that the file doesn't have."""
    return Cell(sf.lit(None).cast(type_name), sf.lit(None).cast("string"))
