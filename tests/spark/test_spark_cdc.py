"""cdc: deletes, tombstones and partial updates, in any order, against plain Python."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
from convergence.cases import cdc, partial
from convergence.histories import Change, KeyedCase

WAYS = (
    [[0, 1, 2, 3, 4, 5]],
    [[5], [4, 3], [2], [1], [0]],
    [[2, 4], [0, 2], [1], [5, 3], [4, 0]],
)
"""The same files in three tables: at once, backwards, and here and there with repetitions."""


def land(lake: Any, case: KeyedCase, seed: int, *, keys: int) -> tuple[list[dict[str, Any]], dict[int, list[Change]]]:
    """Scatter the changes of each key over files; the files' entries, and the changes by key."""
    rng = random.Random(seed)
    lines: list[list[dict[str, Any]]] = [[] for _ in WAYS[0][0]]
    for key in range(keys):
        for row in case.draw(rng, 6):
            lines[rng.randrange(len(lines))].append({"id": key, **row})
    entries = [
        # Two files share their moment, so that keys and positions have to decide.
        lake.land(
            "".join(json.dumps(line) + "\n" for line in rows),
            f"{number}.json",
            event_time=f"2026-01-01T00:00:0{number // 2}.000Z",
        )
        for number, rows in enumerate(lines)
    ]
    by_key: dict[int, list[Change]] = {key: [] for key in range(keys)}
    for entry, rows in zip(entries, lines, strict=True):
        for position, row in enumerate(rows, start=1):
            source = f"{entry['bucket']}/{entry['key']}"
            by_key[row["id"]].append(Change(row, entry["event_time"], source, entry["sequencer"], position))
    return entries, by_key


@pytest.mark.parametrize(
    "case", [cdc.CASE, cdc.BY_ARRIVAL, partial.CASE, partial.IGNORE_NULLS], ids=lambda case: case.name
)
def test_any_order_repetition_and_batching_give_the_same_table(lake: Any, case: KeyedCase) -> None:
    # GIVEN 400 keys, each with a history of its own
    entries, by_key = land(lake, case, 1, keys=400)
    batches = []
    for number, way in enumerate(WAYS):
        lake.contract(f"way{number}", **dict(case.contract))
        batches += [
            lake.batch(f"way{number}", batch, [entries[file] for file in files])
            for batch, files in enumerate(way, start=1)
        ]
    # WHEN
    code, receipts = lake.run(*batches)
    # THEN
    assert code == 0, [receipt["error"] for receipt in receipts if receipt["error"]]
    wanted = sorted((row for changes in by_key.values() for row in case.table(changes)), key=repr)
    assert 50 < len(wanted) < 400
    for number in range(len(WAYS)):
        assert differences(lake.rows(f"way{number}", *case.shown), wanted, by_key) == [], f"way{number}"


def differences(
    found: Sequence[tuple[Any, ...]], wanted: Sequence[tuple[Any, ...]], by_key: dict[int, list[Change]]
) -> list[Any]:
    """The first rows that differ, with their keys' changes."""
    apart = sorted(set(found) ^ set(wanted), key=repr)[:3]
    return [(row, row in found, by_key[row[0]]) for row in apart]
