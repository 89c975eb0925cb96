"""Partial updates: each column takes its newest value set after the key's last delete."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from convergence.cases.cdc import order
from convergence.histories import Change, KeyedCase, Row


def draw(rng: random.Random, most: int) -> Sequence[Row]:
    """Each column is brought, brought as null, or absent; a quarter of the changes deletes."""
    changes = []
    for _ in range(rng.randint(1, most)):
        change: dict[str, Any] = {"seq": rng.choice([None, 1, 2, 3, 4]), "op": rng.choice(["U", None, "U", "D"])}
        for column in ("a", "b"):
            if rng.random() < 0.6:
                change[column] = rng.choice(["x", "y", "z", None])
        changes.append(change)
    return changes


def _table(changes: Sequence[Change], *, ignore_nulls: bool) -> Sequence[tuple[Any, ...]]:
    oldest_first = sorted(changes, key=order)
    deletes = [number for number, change in enumerate(oldest_first) if change.row.get("op") == "D"]
    alive = oldest_first[deletes[-1] + 1 :] if deletes else oldest_first
    if not alive:
        return []
    row: dict[str, Any] = {}
    for change in alive:
        row |= {name: value for name, value in change.row.items() if not (ignore_nulls and value is None)}
    # The row is where its newest change is, whether that has a sequence or not.
    return [(row["id"], row.get("a"), row.get("b"), alive[-1].row.get("seq"))]


def table(changes: Sequence[Change]) -> Sequence[tuple[Any, ...]]:
    """An explicit null sets."""
    return _table(changes, ignore_nulls=False)


def table_without_nulls(changes: Sequence[Change]) -> Sequence[tuple[Any, ...]]:
    """A null is no value."""
    return _table(changes, ignore_nulls=True)


_COLUMNS = {
    "columns": {"id": "bigint", "a": "string", "b": "string", "seq": "int"},
    "reads": [{"name": "op", "type": "string"}],
    "format": "json",
}
_MERGE = {
    "strategy": "cdc",
    "keys": ["id"],
    "sequence_by": "seq",
    "delete_when": "op = 'D'",
    "partial_updates": True,
}

CASE = KeyedCase(
    name="partial_updates",
    contract={**_COLUMNS, "merge": _MERGE},
    draw=draw,
    table=table,
    shown=("id", "a", "b", "seq"),
)
IGNORE_NULLS = KeyedCase(
    name="partial_updates_without_nulls",
    contract={**_COLUMNS, "merge": {**_MERGE, "ignore_null_updates": True}},
    draw=draw,
    table=table_without_nulls,
    shown=("id", "a", "b", "seq"),
)
