"""What one pass over a batch says of each part of its files: small rows, which alone come back to the driver."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import Column, Row
from pyspark.sql import functions as sf

from tidegate_spark import reading
from tidegate_spark.engines.keys import Span, few_spans, within
from tidegate_spark.shaping import CHECK, FILTERED, fatal, is_good, unmet
from tidegate_spark.sources import rows
from tidegate_spark.work import Contract, SourceFile

_RANGE_TYPES = frozenset({"tinyint", "smallint", "int", "bigint", "date"})


@dataclass(frozen=True)
class KeyRange:
    """What values of a key column the changes have: lets a merge skip files of the table."""

    column: str
    condition: str
    """A predicate of literals on `{column}`, to be formatted with the column's qualified name."""
    spans: tuple[Span, ...] = ()
    """The same as values: no change has a key outside of them. Ascending."""

    def of(self, side: str) -> str:
        """The predicate on the rows that a query calls `side`."""
        return self.condition.format(column=f"{side}.{rows.quoted(self.column)}")


@dataclass(frozen=True)
class Part:
    """A part of a file. Large ones are read in several."""

    uri: str
    block: int
    rows: int
    blanks: int
    filtered: int
    bad: int
    first_row_id: int
    first_problem: int | None
    first_fatal: int | None
    ranges: dict[str, tuple[Any, Any]]
    unmet: tuple[int, ...] = ()
    """How many rows fail each of the contract's expectations, in its order."""
    new_columns: frozenset[str] = field(default_factory=frozenset)
    """Names that the contract doesn't know, of rows that go on."""

    @property
    def good(self) -> int:
        return self.rows - self.blanks - self.filtered - self.bad


def aggregates(contract: Contract) -> list[Column]:
    """What is asked of each part. Numbers and dates, so that Spark needn't sort for it."""
    problem_id = sf.when(sf.col(CHECK).isNotNull(), sf.col(rows.ROW_ID))
    fatal_id = sf.when(sf.col(CHECK).isin(fatal(contract)), sf.col(rows.ROW_ID))
    asked = [
        sf.count("*").alias("rows"),
        sf.count_if(rows.BLANK).alias("blanks"),
        sf.count_if(FILTERED).alias("filtered"),
        sf.count_if(sf.col(CHECK).isNotNull()).alias("bad"),
        sf.min(rows.ROW_ID).alias("first_row_id"),
        sf.min(problem_id).alias("first_problem"),
        *([sf.min(fatal_id).alias("first_fatal")] if fatal(contract) else []),
        *(
            bound(sf.when(is_good(), sf.col(rows.quoted(name)))).alias(f"{side} {name}")
            for name in _ranged_keys(contract)
            for side, bound in (("min", sf.min), ("max", sf.max))
        ),
        *(sf.count_if(unmet(number)).alias(unmet(number)) for number in range(len(contract.expectations))),
    ]
    if contract.evolution != "strict":
        names = sf.when(is_good(), sf.map_keys(sf.col(rows.UNKNOWN)))
        asked.append(sf.array_distinct(sf.flatten(sf.collect_set(names))).alias("new_columns"))
    return asked


def part_of(row: Row, contract: Contract) -> Part:
    """A row of :func:`aggregates`."""
    found = row.asDict()
    return Part(
        uri=reading.normal(found[rows.FILE]),
        block=found[rows.BLOCK],
        rows=found["rows"],
        blanks=found["blanks"],
        filtered=found["filtered"],
        bad=found["bad"],
        first_row_id=found["first_row_id"],
        first_problem=found["first_problem"],
        first_fatal=found.get("first_fatal"),
        ranges={name: (found[f"min {name}"], found[f"max {name}"]) for name in _ranged_keys(contract)},
        unmet=tuple(found[unmet(number)] for number in range(len(contract.expectations))),
        new_columns=frozenset(found.get("new_columns") or ()),
    )


def bases(parts: Iterable[Part]) -> dict[tuple[str, int], int]:
    """By part: what to take off a row's id to get its number in the file, counted from 1."""
    found: dict[tuple[str, int], int] = {}
    before: dict[str, int] = {}
    for part in sorted(parts, key=lambda part: (part.uri, part.block)):
        found[part.uri, part.block] = part.first_row_id - before.get(part.uri, 0) - 1
        before[part.uri] = before.get(part.uri, 0) + part.rows
    return found


def key_ranges(contract: Contract, parts: Sequence[Part], by_uri: Mapping[str, SourceFile]) -> Iterable[KeyRange]:
    """What literals say of the keys of these parts' rows."""
    for key in contract.keys:
        if _is_from_path(key, contract):
            values = sorted({by_uri[part.uri].captures[key] for part in parts})
            if values:
                listed = ", ".join(rows.text_literal(value) for value in values)
                # Curly brackets: the condition is a format string.
                escaped = listed.replace("{", "{{").replace("}", "}}")
                yield KeyRange(key, f"{{column}} IN ({escaped})", tuple((value, value) for value in values))
        elif key in _ranged_keys(contract):
            bounds = [part.ranges[key] for part in parts if part.ranges[key][0] is not None]
            if bounds:
                # Several: files of recent rows often come with some of very old ones.
                spans = few_spans(bounds)
                yield KeyRange(key, within("{column}", spans), spans)


def _is_from_path(key: str, contract: Contract) -> bool:
    """Is this key a text that the path gives and the transform leaves as it is?"""
    types = {column.name: column.type for column in contract.columns}
    if key not in contract.captures or types[key] != "string":
        return False
    if contract.transform is None:
        return True
    name = rows.quoted(key)
    return any(text in {key, name, f"{name} AS {name}", f"{key} AS {name}"} for text in contract.transform.select)


def _ranged_keys(contract: Contract) -> list[str]:
    types = {column.name: column.type for column in contract.columns}
    return [key for key in contract.keys if types.get(key) in _RANGE_TYPES]
