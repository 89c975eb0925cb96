"""Numbers and times as people read them. Pure."""

from __future__ import annotations

from datetime import datetime

_UNITS = ("bytes", "KB", "MB", "GB", "TB", "PB")


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `4 min 10 s`, `3 h 5 min`, `2 d 4 h`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, smaller_size, smaller in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // smaller_size
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def size(count: int) -> str:
    """`812 bytes`, `1.4 MB`: powers of ten, as S3's console shows them."""
    amount = float(count)
    for unit in _UNITS:
        if amount < 1000 or unit == _UNITS[-1]:
            return f"{count} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError


def number(count: int | None) -> str:
    """`336,776`, or a dash."""
    return "-" if count is None else f"{count:,}"


def count(number_: int, noun: str) -> str:
    """`1 file`, `3 files`."""
    return f"{number_:,} {noun}{'' if number_ == 1 else 's'}"


def ago(then: datetime | None, now: datetime) -> str:
    """`12 s ago`, or a dash."""
    return "-" if then is None else f"{duration(max(0.0, (now - then).total_seconds()))} ago"
