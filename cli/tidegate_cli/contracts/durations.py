"""Lengths of time: `30d`, `12h`, `5m`."""

from __future__ import annotations

import re

PATTERN = r"^[1-9][0-9]*[smhd]$"
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse(text: str, *, least: str, most: str) -> int:
    """Seconds, held to the bounds. Raises ValueError."""
    if not re.fullmatch(PATTERN, text):
        raise ValueError(
            f"{text!r} is not a length of time; write a number and s, m, h or d, such as {least} or {most}"
        )
    seconds = _seconds(text)
    if not _seconds(least) <= seconds <= _seconds(most):
        raise ValueError(f"{text} is out of range: from {least} to {most}")
    return seconds


def _seconds(text: str) -> int:
    return int(text[:-1]) * SECONDS[text[-1]]
