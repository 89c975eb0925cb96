"""snapshot: which files there are, and what plain Python says that their table is.

Not a case by key: a snapshot is one for all keys of its scope. Each key of each scope still has a history of its own.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

ROW = tuple[int, int | None, str]
"""id, v and w of a line."""
SCOPES = 20
KEYS = 360
"""Of each scope. Files cost more than rows do: so there are many keys in few scopes."""


@dataclass(frozen=True)
class SnapshotFile:
    """A version of a file, which is a snapshot of a region."""

    region: str
    taken: int | None
    """Its sequence value, a part of its path; None where arrival is the order."""
    key: str
    event_time: str
    """ISO 8601, all of one length: comparing text compares age."""
    sequencer: str
    rows: tuple[ROW, ...]

    @property
    def order(self) -> tuple[int, str, str, str]:
        return (self.taken or 0, self.event_time, self.key, self.sequencer)

    @property
    def at(self) -> int | str:
        """Since when it holds what it says."""
        return self.event_time if self.taken is None else self.taken


def draw(rng: random.Random, *, by_sequence: bool, scopes: int = SCOPES, keys: int = KEYS) -> list[SnapshotFile]:
    """Some snapshots of each region: ties, overwritten files, empty ones, keys that go and come back."""
    made: list[SnapshotFile] = []
    for scope in range(scopes):
        region = f"r{scope}"
        for _ in range(rng.randint(2, 7)):
            taken = rng.randint(1, 4) if by_sequence else None
            name = rng.choice("ab")
            key = f"{region}/{taken}/{name}.csv" if by_sequence else f"{region}/{name}.csv"
            second = rng.randint(0, 59)
            made.append(
                SnapshotFile(
                    region,
                    taken,
                    key,
                    f"2026-01-01T{rng.randint(0, 2):02d}:00:{second:02d}.000Z",
                    f"{len(made) + 1:x}".rjust(40, "0"),
                    _rows(rng, keys),
                )
            )
    return made


def _rows(rng: random.Random, keys: int) -> tuple[ROW, ...]:
    if rng.random() < 0.1:
        return ()
    # Most keys stay as they are: two snapshots in a row that agree are what has to be seen.
    return tuple(
        (key, rng.choice((None, 1, 1, 1, 2)), rng.choice("aaab"))
        for key in range(keys)
        for _ in range(rng.choice((0, 1, 1, 1, 2)))
    )


def count_histories(files: Iterable[SnapshotFile]) -> int:
    """Keys of a scope that any of its snapshots has: each is there and gone, and other than before, by itself."""
    return len({(file.region, key) for file in files for key, _, _ in file.rows})


def table(files: Iterable[SnapshotFile]) -> list[tuple[object, ...]]:
    """A region's rows are those of its newest snapshot; the last row of a key counts."""
    found: list[tuple[object, ...]] = []
    for region, of_region in _by_region(files):
        newest = max(of_region, key=lambda file: file.order)
        found += [(region, key, *values) for key, values in _state(newest).items()]
    return sorted(found, key=repr)


def history(files: Iterable[SnapshotFile]) -> list[tuple[object, ...]]:
    """Between two times of snapshots holds what the last one of the first time said; equal neighbours are one."""
    found: list[tuple[object, ...]] = []
    for region, of_region in _by_region(files):
        last_of_time = {file.at: file for file in sorted(of_region, key=lambda file: file.order)}
        times = sorted(last_of_time, key=lambda at: (str(type(at)), at))
        states = [_state(last_of_time[at]) for at in times]
        for key in sorted({key for state in states for key in state}):
            runs = [
                (values, [time for _, time in run])
                for values, run in groupby(
                    ((state.get(key), at) for state, at in zip(states, times, strict=True)), lambda pair: pair[0]
                )
            ]
            ends = [at[0] for _, at in runs[1:]] + [None]
            found += [
                (region, key, *values, at[0], end, end is None)
                for (values, at), end in zip(runs, ends, strict=True)
                if values is not None
            ]
    return sorted(found, key=repr)


def _by_region(files: Iterable[SnapshotFile]) -> list[tuple[str, Sequence[SnapshotFile]]]:
    ordered = sorted(files, key=lambda file: file.region)
    return [(region, list(group)) for region, group in groupby(ordered, lambda file: file.region)]


def _state(file: SnapshotFile) -> dict[int, tuple[int | None, str]]:
    return {key: (v, w) for key, v, w in file.rows}
