"""What keys a batch changes, exactly, from its rows in Arrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
from arro3.core import DataType, Table

from tidegate_spark.engines.choice import CALENDARS
from tidegate_spark.engines.keys import MOST_SPANS, Span, few_spans

_NUMBERS = frozenset({"tinyint", "smallint", "int", "bigint"})


def changed_keys(changes: Table, keys: Mapping[str, str]) -> dict[str, Sequence[Span]]:
    """By key column: ascending spans, one for each value. Columns that have no use for skipping are left out.

    Timestamps are: Delta keeps their bounds cut to milliseconds, and not all writers cut alike.
    """
    found: dict[str, Sequence[Span]] = {}
    for name, type_name in keys.items():
        column = changes.column(name)
        if column.null_count or not len(column):
            continue
        if type_name in _NUMBERS:
            values: list[Any] = np.unique(np.asarray(column.to_numpy())).tolist()
        elif type_name in {"date", "string"}:
            values = sorted(set(column.to_pylist()))
        else:
            continue
        found[name] = [(value, value) for value in values]
    return found


def literal_spans(spans: Sequence[Span], *, most: int = MOST_SPANS) -> tuple[Span, ...]:
    """Few spans that cover these, for a condition. Texts have no distance: they are listed, or one span."""
    if isinstance(spans[0][0], str):
        return tuple(spans) if len(spans) <= most else ((spans[0][0], spans[-1][1]),)
    return few_spans(spans, most=most)


_FIRST_DAY = date(1970, 1, 1)
_FIRST_MOMENT = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = 1_000_000


def has_ancient(changes: Table, columns: Mapping[str, str]) -> bool:
    """Is a value from before the calendar in which all engines agree?"""
    for name, type_name in columns.items():
        column = changes.column(name)
        if type_name not in CALENDARS or not len(column):
            continue
        bound = CALENDARS[type_name]
        if isinstance(bound, datetime):
            least, numbers = round((bound - _FIRST_MOMENT).total_seconds()) * _MICROSECOND, DataType.int64()
        else:
            least, numbers = (bound - _FIRST_DAY).days, DataType.int32()
        values = column.cast(numbers)
        if column.null_count:  # which NumPy has no place for
            smallest = min((value for value in values.to_pylist() if value is not None), default=least)
        else:
            smallest = np.asarray(values.to_numpy()).min()
        if smallest < least:
            return True
    return False
