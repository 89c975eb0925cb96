"""bitemporal: what was believed of each day, at each time."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from convergence.histories import Change, KeyedCase, Row

_LAST = 6
_CONTRACT = {
    "columns": {"id": "bigint", "since": "int", "until": "int", "price": "string", "seq": "int"},
    "reads": [{"name": "op", "type": "string"}],
    "merge": {
        **{"strategy": "bitemporal", "sequence_by": "seq", "delete_when": "op = 'D'"},
        **{"valid_from": "since", "valid_to": "until"},
    },
}


def draw(rng: random.Random, _key: int) -> list[Row]:
    return [
        {
            "since": rng.choice((None, 0, 1, 2, 3, 4)),
            "until": rng.choice((None, 2, 3, 4, 5, _LAST)),
            "price": rng.choice((None, "9", "10")),
            "seq": rng.choice((None, 1, 1, 2, 3, 4)),
            "op": rng.choice(("I", "U", "U", None, "D")),
        }
        for _ in range(rng.choice((1, 2, 3, 4, 6, 9)))
    ]


def table(changes: Sequence[Change]) -> list[tuple[Any, ...]]:
    """Day by day: each assertion is believed from its time until that of the next which covers the day."""
    found: list[tuple[Any, ...]] = []
    in_order = sorted((change for change in changes if not _is_refused(change.row)), key=_order)
    for number, change in enumerate(in_order, start=1):
        run: list[Any] = []  # its first day, and until when it is believed
        # Day -1 stands for all before 0, the last day for all from then on; one more ends the last run.
        for day in range(-1, _LAST + 2):
            believed_to = _believed_to(change, day, in_order[number:]) if day <= _LAST else None
            if run and (believed_to is None or run[1] != believed_to):
                found.append(_row(change, run[0], day, run[1]))
                run = []
            if believed_to is not None and not run:
                run = [day, believed_to]
    return found


def _believed_to(change: Change, day: int, later: Sequence[Change]) -> tuple[Any, ...] | None:
    """`(time,)`, `()` if it is believed still; None if the day has no row of this change at any time."""
    if _deletes(change) or not _covers(change.row, day):
        return None
    next_time = next((_time(other) for other in later if _covers(other.row, day)), None)
    if next_time is None:
        return ()
    return None if next_time == _time(change) else (next_time[1],)


def _row(change: Change, first: int, end: int, believed_to: tuple[Any, ...]) -> tuple[Any, ...]:
    row = change.row
    return (
        *(row["id"], None if first < 0 else first, None if end > _LAST else end, row["price"], row["seq"]),
        *(row["seq"], believed_to[0] if believed_to else None, change.source, change.position),
    )


def _is_refused(row: Row) -> bool:
    return row["since"] is not None and row["until"] is not None and bool(row["since"] >= row["until"])


def _covers(row: Row, day: int) -> bool:
    return (row["since"] is None or day >= row["since"]) and (row["until"] is None or day < row["until"])


def _time(change: Change) -> tuple[int, int | None]:
    """The sequence value; a missing one is before all others."""
    sequence = change.row["seq"]
    return (0, None) if sequence is None else (1, sequence)


def _deletes(change: Change) -> bool:
    return bool(change.row["op"] == "D")


def _order(change: Change) -> tuple[Any, ...]:
    return (*_time(change), _deletes(change), change.place)


CASE = KeyedCase(
    name="bitemporal",
    contract=_CONTRACT,
    draw=draw,
    table=table,
    shown=(
        *("id", "since", "until", "price", "seq", "known_from", "known_to"),
        *("_tidegate.source", "_tidegate.position"),
    ),
)
