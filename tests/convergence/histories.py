"""What a strategy's case brings to the convergence campaign.

"Any order, repetition and batching of the same arrivals give the same table." (the design) Every key is a case of its
own: a few merges try thousands. The campaign draws each key's changes, scatters them over files, lands, overwrites
and repeats those in some order and in some batches, and compares the table with what plain Python says.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

Row = Mapping[str, Any]
"""A line of a file: JSON values by column. An absent column is absent in the file, too."""


@dataclass(frozen=True)
class Change:
    """A row of one version of one file."""

    row: Row
    event_time: str
    """ISO 8601, all of one length: comparing text compares age."""
    source: str
    """Bucket and key."""
    sequencer: str
    position: int
    """Of the row in its file, from 1."""

    @property
    def place(self) -> tuple[str, str, str, int]:
        """What orders changes of one sequence value."""
        return (self.event_time, self.source, self.sequencer, self.position)


@dataclass(frozen=True)
class KeyedCase:
    """A strategy for which each key has a history of its own."""

    name: str
    contract: Mapping[str, Any]
    """Keyword arguments of `Lake.contract`, without the table's name. The key is the column `id`, a bigint."""
    draw: Callable[[random.Random, int], Sequence[Row]]
    """The changes of a key, at most so many, each a line without `id`: few values, so that ties, repetitions and nulls
    are common."""
    table: Callable[[Sequence[Change]], Sequence[tuple[Any, ...]]]
    """Brute force: the rows of `shown` that a key must have, by all of its changes, which come in any order."""
    shown: tuple[str, ...]
    """SQL expressions by which the table's rows are compared, `id` first."""
    newest_versions_only: bool = False
    """Whether an overwritten file's older rows count for nothing."""
    marks_rows: bool = False
    """Whether the table has deletion vectors, as large ones have."""

    @property
    def marked(self) -> KeyedCase:
        """The same for a large table."""
        return replace(self, name=f"{self.name}_marked", marks_rows=True)
