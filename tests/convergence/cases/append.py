"""append: the rows of each file's newest version, all of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from convergence.histories import Change, KeyedCase, Row


def draw(rng: random.Random, most: int) -> list[Row]:
    return [{"value": rng.choice([None, "a", "b"])} for _ in range(rng.randint(1, most))]


def table(changes: Sequence[Change]) -> list[tuple[Any, ...]]:
    return [(change.row["id"], change.row["value"], change.source, change.position) for change in changes]


CASE = KeyedCase(
    name="append",
    contract={"columns": {"id": "bigint", "value": "string"}, "merge": {"strategy": "append", "keys": []}},
    draw=draw,
    table=table,
    shown=("id", "value", "_tidegate.source", "_tidegate.position"),
    newest_versions_only=True,
)
