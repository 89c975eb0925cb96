"""Worked examples in the docs: a contract, the files of each batch, and the table after it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_BLOCK = re.compile(r"^```(\w+) (.+?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SETTING = re.compile(r"(\w+)=(\S+)")


@dataclass(frozen=True)
class LandedFile:
    """A file of a batch, as the page shows it."""

    key: str
    content: str


@dataclass(frozen=True)
class ShownTable:
    """Rows that the page shows, as text; `of` is None for the main table."""

    after: int
    of: str | None
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass
class Example:
    """One page's example."""

    contract: str = ""
    batches: dict[int, list[LandedFile]] = field(default_factory=dict)
    tables: list[ShownTable] = field(default_factory=list)


def read_example(page: Path) -> Example:
    """Raises ValueError for a block that says what nobody knows."""
    example = Example()
    for language, words, body in _BLOCK.findall(page.read_text(encoding="utf-8")):
        settings = dict(_SETTING.findall(words))
        if language == "yaml" and words.strip() == "contract":
            example.contract = body
        elif language in ("csv", "json") and "batch" in settings:
            example.batches.setdefault(int(settings["batch"]), []).append(LandedFile(settings["lands"], body))
        elif language == "table":
            example.tables.append(_table(settings, body))
        else:
            raise ValueError(f"{page.name}: nobody knows what to do with a block `{language} {words}`")
    return example


def _table(settings: dict[str, str], body: str) -> ShownTable:
    lines = list(_cells(body))
    return ShownTable(int(settings["after"]), settings.get("of"), lines[0], tuple(lines[2:]))


def _cells(body: str) -> Iterator[tuple[str, ...]]:
    for line in body.strip().splitlines():
        yield tuple(cell.strip() for cell in line.strip().strip("|").split("|"))
