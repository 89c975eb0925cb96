"""upsert: of each key the newest change."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from convergence.histories import Change, KeyedCase, Row


def draw(rng: random.Random, most: int) -> Sequence[Row]:
    """Few sequence values, some missing: ties are common."""
    return [
        {"name": rng.choice(["a", "b", None]), "seq": rng.choice([None, 1, 2, 3])} for _ in range(rng.randint(1, most))
    ]


def order(change: Change) -> tuple[Any, ...]:
    """A missing sequence is the oldest."""
    sequence = change.row.get("seq")
    return (sequence is not None, sequence or 0, change.place)


def table(changes: Sequence[Change]) -> Sequence[tuple[Any, ...]]:
    """The newest."""
    newest = max(changes, key=order).row
    return [(newest["id"], newest.get("name"), newest.get("seq"))]


CASE = KeyedCase(
    name="upsert",
    contract={
        "columns": {"id": "bigint", "name": "string", "seq": "int"},
        "format": "json",
        "merge": {"strategy": "upsert", "keys": ["id"], "sequence_by": "seq"},
    },
    draw=draw,
    table=table,
    shown=("id", "name", "seq"),
)
