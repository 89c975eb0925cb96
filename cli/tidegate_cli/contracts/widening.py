"""Which type may become which in a table that is there: every value stays what it is."""

from __future__ import annotations

import re

_DIGITS = {"tinyint": 3, "smallint": 5, "int": 10, "bigint": 19}
"""Whole numbers, and the digits that they need at most."""
_NUMBERS = tuple(_DIGITS)


def is_wider(new: str, old: str) -> bool:
    """Whether every value of `old` is one of `new` and means the same."""
    if old in _DIGITS and new in _DIGITS:
        return _NUMBERS.index(new) > _NUMBERS.index(old)
    if (old, new) == ("float", "double"):
        return True
    after = _decimal(new)
    if after is None:
        return False
    whole, scale = after
    if old in _DIGITS:
        return whole >= _DIGITS[old]
    before = _decimal(old)
    return before is not None and whole >= before[0] and scale >= before[1] and after != before


def why_not(new: str, old: str) -> str:
    """What is lost, in words, for a pair that is not wider."""
    if old in _DIGITS and _decimal(new) is not None:
        return f"{new} does not hold all digits of {old}: write decimal({_DIGITS[old]},0) or more"
    if old == "date" and new.startswith("timestamp"):
        return "which moment a day is depends on a time zone"
    if is_wider(old, new):
        return "values may not fit any more"
    return "values would be others"


def _decimal(ddl: str) -> tuple[int, int] | None:
    """Digits before and after the point."""
    match = re.fullmatch(r"decimal\((\d+),(\d+)\)", ddl)
    return (int(match[1]) - int(match[2]), int(match[2])) if match else None
