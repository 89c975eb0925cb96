"""One strategy's case, small: the changes of some keys in a few files, which land in a few ways."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

from convergence.histories import Change, KeyedCase, Row

# Names, so that a way can be read. Two files each have one event time.
_FILES = ("a.json", "b.json", "c.json", "d.json")
WAYS: Mapping[str, Sequence[Sequence[str]]] = {
    "at_once": [_FILES],
    "backwards": [["d.json"], ["c.json", "b.json"], ["a.json"]],
    "again": [["c.json", "a.json"], ["d.json", "c.json"], ["b.json", "d.json", "a.json"]],
}


def land(lake: Any, case: KeyedCase, rng: random.Random, keys: int) -> tuple[dict[str, Any], list[Change]]:
    """The files' entries by name, and all changes in them."""
    lines: dict[str, list[Row]] = {name: [] for name in _FILES}
    for key in range(keys):
        for row in case.draw(rng, key):
            lines[rng.choice(_FILES)].append({"id": key, **row})
    entries: dict[str, Any] = {}
    changes: list[Change] = []
    for at, name in enumerate(_FILES):
        rng.shuffle(lines[name])
        text = "".join(json.dumps(line) + "\n" for line in lines[name])
        entry = lake.land(text, name, event_time=f"2026-01-01T00:00:{at // 2:02d}.000Z")
        entries[name] = entry
        changes += [
            Change(line, entry["event_time"], f"{entry['bucket']}/{name}", entry["sequencer"], position)
            for position, line in enumerate(lines[name], start=1)
        ]
    return entries, changes


def tables(lake: Any, case: KeyedCase, entries: Mapping[str, Any]) -> list[str]:
    """Merge the files in each of the ways, into a table each."""
    batches = []
    for way, lists in WAYS.items():
        table = f"{case.name}_{way}"
        lake.contract(table, format="json", **case.contract)
        batches += [
            lake.batch(table, number, [entries[name] for name in names]) for number, names in enumerate(lists, start=1)
        ]
    code, receipts = lake.run(*batches)
    assert code == 0, [receipt["error"] for receipt in receipts if receipt["error"]]
    return [f"{case.name}_{way}" for way in WAYS]


def wanted(case: KeyedCase, changes: Sequence[Change]) -> list[tuple[Any, ...]]:
    """What plain Python says."""
    by_key: dict[Any, list[Change]] = {}
    for change in changes:
        by_key.setdefault(change.row["id"], []).append(change)
    return sorted((row for found in by_key.values() for row in case.table(found)), key=repr)


def shown(lake: Any, case: KeyedCase, table: str) -> list[tuple[Any, ...]]:
    return sorted((tuple(row) for row in lake.read(table).selectExpr(*case.shown).collect()), key=repr)
