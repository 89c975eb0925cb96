"""cdc: of each key the newest change, which may delete it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from convergence.histories import Change, KeyedCase, Row


def draw(rng: random.Random, most: int) -> Sequence[Row]:
    """Few sequence values, some missing, a third of the changes deletes: keys die and are born again."""
    return [
        {
            "name": rng.choice(["a", "b", None]),
            "seq": rng.choice([None, 1, 2, 3, 4]),
            "op": rng.choice(["U", None, "D"]),
        }
        for _ in range(rng.randint(1, most))
    ]


def order(change: Change) -> tuple[Any, ...]:
    """Of one sequence value, the delete is the later; a missing sequence is the oldest."""
    sequence = change.row.get("seq")
    return (sequence is not None, sequence or 0, change.row.get("op") == "D", change.place)


def _row_of(newest: Change) -> Sequence[tuple[Any, ...]]:
    row = newest.row
    return [] if row.get("op") == "D" else [(row["id"], row.get("name"), row.get("seq"))]


def table(changes: Sequence[Change]) -> Sequence[tuple[Any, ...]]:
    """The newest, unless it deletes."""
    return _row_of(max(changes, key=order))


def table_by_arrival(changes: Sequence[Change]) -> Sequence[tuple[Any, ...]]:
    """The last to arrive, unless it deletes."""
    return _row_of(max(changes, key=lambda change: change.place))


_COLUMNS = {
    "columns": {"id": "bigint", "name": "string", "seq": "int"},
    "reads": [{"name": "op", "type": "string"}],
    "format": "json",
}

CASE = KeyedCase(
    name="cdc",
    contract={
        **_COLUMNS,
        "merge": {"strategy": "cdc", "keys": ["id"], "sequence_by": "seq", "delete_when": "op = 'D'"},
    },
    draw=draw,
    table=table,
    shown=("id", "name", "seq"),
)
BY_ARRIVAL = KeyedCase(
    name="cdc_without_a_sequence",
    contract={**_COLUMNS, "merge": {"strategy": "cdc", "keys": ["id"], "delete_when": "op = 'D'"}},
    draw=draw,
    table=table_by_arrival,
    shown=("id", "name", "seq"),
)
