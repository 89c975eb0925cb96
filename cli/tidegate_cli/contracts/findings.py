"""What is wrong with a contract: where it stands and what to write instead, one line each."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Path = tuple[str | int, ...]
"""Where in a contract: field names, and positions within lists."""


@dataclass(frozen=True)
class Finding:
    """One thing that a person should change (`error`) or should know (`warning`)."""

    file: str
    line: int
    field: str
    message: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        words = [f"{self.file}:{self.line}"]
        if self.severity == "warning":
            words.append("warning")
        if self.field:
            words.append(self.field)
        return ": ".join([*words, self.message])


@dataclass(frozen=True)
class Remark:
    """A finding before it is known in which line of which file its field stands."""

    path: Path
    message: str
    severity: Literal["error", "warning"] = "error"
    row: int = 1
    """Of a text of several lines, such as SQL: in which of them, from 1."""


def field_of(path: Path) -> str:
    """The name of a field as people write it: `merge.keys`, without positions in lists."""
    return ".".join(part for part in path if isinstance(part, str))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'flight_id'?` if one of the known words is close, else nothing."""
    by_lower_case = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), by_lower_case, n=1, cutoff=0.6)
    return f"; did you mean {by_lower_case[close[0]]!r}?" if close else ""


def one_of(words: Iterable[str]) -> str:
    """`a, b or c`."""
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last
