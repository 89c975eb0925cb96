"""upsert: the newest change of a key wins."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from convergence.histories import Change, KeyedCase, Row


def draw(rng: random.Random, key: int) -> list[Row]:
    return [
        {"seq": rng.choice([None, 1, 2, 3]), "value": rng.choice([None, "a", "b"])} for _ in range(rng.randint(1, 5))
    ]


def table(changes: Sequence[Change]) -> list[tuple[Any, ...]]:
    newest = max(changes, key=lambda change: ((change.row["seq"] is not None, change.row["seq"] or 0), change.place))
    return [(newest.row["id"], newest.row["seq"], newest.row["value"])]


CASE = KeyedCase(
    name="upsert",
    contract={
        "columns": {"id": "bigint", "seq": "int", "value": "string"},
        "merge": {"strategy": "upsert", "keys": ["id"], "sequence_by": "seq"},
    },
    draw=draw,
    table=table,
    shown=("id", "seq", "value"),
)
