"""Which files may hold a changed key, and which literals let an engine skip the others. Pure.

A file's statistics know the smallest and the largest value of a column; the changes know their keys, exactly or
as spans. A file in which one key column can't meet any change needs no look.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import pairwise
from typing import Any

Span = tuple[Any, Any]
"""Both ends belong to it."""
MOST_SPANS = 16
"""Literals cost planning time, for each file of the table."""


@dataclass(frozen=True)
class FileRange:
    """A file of the table: what its statistics say of the key columns. No entry: nothing is known."""

    size_bytes: int
    bounds: Mapping[str, Span]
    may_be_ancient: bool = False
    """It has, or may have, a date or a timestamp from before today's calendar (`choice`)."""


def candidates(files: Iterable[FileRange], changed: Mapping[str, Sequence[Span]]) -> list[FileRange]:
    """The files that may hold a key. `changed` has, by key column, ascending spans that don't overlap."""
    ends = {column: ([low for low, _ in spans], [high for _, high in spans]) for column, spans in changed.items()}
    return [
        file
        for file in files
        if all(_meets(*ends[column], *file.bounds[column]) for column in changed if column in file.bounds)
    ]


def _meets(lows: Sequence[Any], highs: Sequence[Any], low: Any, high: Any) -> bool:
    # Spans that end before the file's range begins are left of it; those that begin after its end are right of it.
    return bisect_left(highs, low) < bisect_right(lows, high)


def few_spans(spans: Iterable[Span], *, most: int = MOST_SPANS) -> tuple[Span, ...]:
    """At most so many ascending spans that cover these, cut where the gaps are widest. For numbers and dates."""
    merged: list[Span] = []
    for low, high in sorted(spans):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    if len(merged) <= most:
        return tuple(merged)
    gaps = sorted(range(1, len(merged)), key=lambda at: merged[at][0] - merged[at - 1][1], reverse=True)
    cuts = [0, *sorted(gaps[: most - 1]), len(merged)]
    return tuple((merged[start][0], merged[end - 1][1]) for start, end in pairwise(cuts))


def literal(value: Any) -> str:
    """A whole number, a date or a text in SQL as both engines read it. Raises ValueError for texts that differ."""
    if isinstance(value, bool | datetime) or not isinstance(value, int | date | str):
        raise ValueError(f"{value!r} has no literal")  # noqa: TRY004 - as below, nothing is skipped by it
    if isinstance(value, int):
        return str(value)
    if isinstance(value, date):
        return f"DATE '{value.isoformat()}'"
    if "'" in value or "\\" in value or "$" in value or not value.isprintable():
        raise ValueError(f"{value!r} is not written alike in the SQL of both engines")
    return f"'{value}'"


def within(column: str, spans: Sequence[Span]) -> str:
    """A condition of literals on a column's qualified name. Single values are listed."""
    singles = [literal(low) for low, high in spans if low == high]
    ranges = [f"{column} BETWEEN {literal(low)} AND {literal(high)}" for low, high in spans if low != high]
    if singles:
        ranges.append(f"{column} IN ({', '.join(singles)})")
    return ranges[0] if len(ranges) == 1 else f"({' OR '.join(ranges)})"
