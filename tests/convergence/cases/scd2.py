"""scd2: what a key was, point by point."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from convergence.histories import Change, KeyedCase, Row

_SEQUENCES = (None, 1, 1, 2, 3, 4, 5)
_CONTRACT = {
    "columns": {"id": "bigint", "state": "string", "note": "string", "seq": "int"},
    "reads": [{"name": "op", "type": "string"}],
    "merge": {"strategy": "scd2", "sequence_by": "seq", "delete_when": "op = 'D'", "track_columns": ["state"]},
}


def draw(rng: random.Random, _key: int) -> list[Row]:
    return [
        {
            "state": rng.choice((None, "a", "a", "b")),
            "note": rng.choice((None, "x", "y")),
            "seq": rng.choice(_SEQUENCES),
            "op": rng.choice(("I", "U", "U", None, "D")),
        }
        for _ in range(rng.choice((1, 2, 3, 4, 6, 9)))
    ]


def table(changes: Sequence[Change]) -> list[tuple[Any, ...]]:
    """At each sequence value the last change up to there holds; neighbours of one state are one row."""
    rows: list[dict[str, Any]] = []
    for at in sorted({_time(change) for change in changes}):
        last = max((change for change in changes if _time(change) <= at), key=_order)
        is_open = bool(rows) and rows[-1]["to"] is None
        if _deletes(last):
            if is_open:
                rows[-1]["to"] = at
        elif is_open and rows[-1]["change"].row["state"] == last.row["state"]:
            rows[-1]["change"] = last
        else:
            if is_open:
                rows[-1]["to"] = at
            rows.append({"change": last, "from": at, "to": None})
    return [
        (
            *(row["change"].row[name] for name in ("id", "state", "note", "seq")),
            row["from"][1],
            None if row["to"] is None else row["to"][1],
            row["to"] is None,
            row["change"].source,
            row["change"].position,
        )
        for row in rows
    ]


def _time(change: Change) -> tuple[int, int | None]:
    """The sequence value; a missing one is before all others."""
    sequence = change.row["seq"]
    return (0, None) if sequence is None else (1, sequence)


def _deletes(change: Change) -> bool:
    return bool(change.row["op"] == "D")


def _order(change: Change) -> tuple[Any, ...]:
    return (*_time(change), _deletes(change), change.place)


CASE = KeyedCase(
    name="scd2",
    contract=_CONTRACT,
    draw=draw,
    table=table,
    shown=(
        *("id", "state", "note", "seq", "valid_from", "valid_to", "is_current"),
        *("_tidegate.source", "_tidegate.position"),
    ),
)
