"""From the changes of many keys to files, versions, repetitions and batches. All of it is drawn from one seed."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from convergence.histories import Change, KeyedCase, Row

FILES = 6
VERSIONS = 2
BATCHES = 3
MOST_CHANGES = 6
"""Of one key, before repetitions."""
_MOMENTS = 3
"""So few that files of one moment are common."""
_REPEATED_SHARE = 0.15


@dataclass(frozen=True)
class Landing:
    """One version of one file."""

    name: str
    sequencer: str
    event_time: str
    rows: tuple[Row, ...]

    @property
    def source(self) -> str:
        return f"landing/{self.name}"


@dataclass(frozen=True)
class Plan:
    """What lands, and which batch takes what; a landing may come in several."""

    landings: tuple[Landing, ...]
    batches: tuple[tuple[int, ...], ...]
    """Positions in `landings`."""

    def changes(self, *, newest_versions_only: bool = False) -> dict[int, list[Change]]:
        """Every change of every key."""
        found: dict[int, list[Change]] = defaultdict(list)
        newest = {each.name: each for each in sorted(self.landings, key=lambda each: each.sequencer)}
        for landing in newest.values() if newest_versions_only else self.landings:
            for position, row in enumerate(landing.rows, start=1):
                found[row["id"]].append(Change(row, landing.event_time, landing.source, landing.sequencer, position))
        return found


def scatter(case: KeyedCase, seed: int, keys: int, batches: int = BATCHES) -> Plan:
    """Draw every key's changes; put each into some version of some file, some into two; batch and repeat the files.

    One batch more than `batches` has repetitions alone.
    """
    rng = random.Random(f"{case.name} {seed}")
    slots: list[list[Row]] = [[] for _ in range(FILES * VERSIONS)]
    for key in range(keys):
        for row in case.draw(rng, MOST_CHANGES):
            slots[rng.randrange(len(slots))].append({"id": key, **row})
            if rng.random() < _REPEATED_SHARE:
                slots[rng.randrange(len(slots))].append({"id": key, **row})
    sequencers = rng.sample(range(1, 1000), len(slots))
    landings = []
    for slot, rows in enumerate(slots):
        rng.shuffle(rows)
        landings.append(
            Landing(
                name=f"f{slot % FILES}.json",
                sequencer=f"{sequencers[slot]:x}".rjust(40, "0"),
                event_time=f"2026-01-01T00:00:{rng.randrange(_MOMENTS):02d}.000Z",
                rows=tuple(rows),
            )
        )
    return Plan(tuple(landings), _batches(rng, len(landings), batches))


def _batches(rng: random.Random, count: int, wanted: int) -> tuple[tuple[int, ...], ...]:
    """Each landing once, in some order; then some of them again, one batch of repetitions alone."""
    order = rng.sample(range(count), count)
    cuts = [0, *sorted(rng.sample(range(1, count), wanted - 1)), count]
    batches = [set(order[begin:end]) for begin, end in itertools.pairwise(cuts)]
    for number in range(1, wanted):
        before = sorted(set().union(*batches[:number]))
        batches[number] |= set(rng.sample(before, min(len(before), 1)))
    return (*(tuple(sorted(batch)) for batch in batches), tuple(sorted(rng.sample(range(count), 3))))


def rows_by_key(rows: Sequence[tuple[Any, ...]]) -> Mapping[int, list[tuple[Any, ...]]]:
    """Rows by their first value, the key."""
    found: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
    for row in rows:
        found[row[0]].append(row)
    return found
