"""Freshness: how long after it has landed a row may become queryable."""

from __future__ import annotations

import re
import zoneinfo
from typing import Any

from tidegate_cli.contracts.findings import did_you_mean

PATTERN = r"^(asap|[1-9][0-9]*[smhd]|by [0-2][0-9]:[0-5][0-9] \S+)$"
"""For editors; :func:`parse` says more."""
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST_S = 31 * 86400
_WITHIN = re.compile(r"([0-9]+)\s*([a-z]+)")
_DAILY = re.compile(r"by\s+(\d{1,2}):(\d{2})(?:\s+(\S+))?")
_EXAMPLES = "write 15m, 2h, 1d, `by 06:00 Europe/Berlin` or asap"


def parse(text: str) -> dict[str, Any]:
    """The compiled form: kind `asap`, `within` (seconds) or `daily` (at, zone). Raises ValueError."""
    if text == "asap":
        return {"kind": "asap"}
    if within := _WITHIN.fullmatch(text):
        return _within(text, int(within[1]), within[2])
    if daily := _DAILY.fullmatch(text):
        return _daily(text, int(daily[1]), int(daily[2]), daily[3])
    raise ValueError(f"{text!r} is not a freshness; {_EXAMPLES}")


def _within(text: str, number: int, unit: str) -> dict[str, Any]:
    if unit not in _SECONDS:
        raise ValueError(f"{unit!r} is not a unit of time; {_EXAMPLES}")
    seconds = number * _SECONDS[unit]
    if not 60 <= seconds <= _LONGEST_S:
        raise ValueError(
            f"{text} is out of range: due tables are looked for once a minute, so 1m is the least (or asap),"
            " and 31d the most"
        )
    return {"kind": "within", "seconds": seconds}


def _daily(text: str, hour: int, minute: int, zone: str | None) -> dict[str, Any]:
    if hour > 23 or minute > 59:
        raise ValueError(f"{hour:02}:{minute:02} is not a time of day; {_EXAMPLES}")
    if zone is None:
        raise ValueError(f"{text!r} lacks its time zone; write `{text} UTC` or `{text} Europe/Berlin`")
    names = zoneinfo.available_timezones()
    if zone not in names:
        raise ValueError(f"{zone!r} is not a time zone{did_you_mean(zone, names) or f'; {_EXAMPLES}'}")
    return {"kind": "daily", "at": f"{hour:02}:{minute:02}", "zone": zone}
