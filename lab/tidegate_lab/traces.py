"""Traces: what landed, for which table, when; and how recorded ones are read and written.

A recorded trace is a file of JSON lines, one arrival a line, in any order:

    {"at": "2026-03-02T06:00:05Z", "table": "flights", "bytes": 1048576}
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

START = datetime(2026, 3, 2, tzinfo=UTC)
"""When generated traces begin: a Monday."""
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """One file: it landed `at_s` seconds after the trace's start and holds `size_bytes`."""

    at_s: float
    table: str
    size_bytes: int


@dataclass(frozen=True)
class Trace:
    """Arrivals by time. `days` is how long somebody listened: costs are put to a month by it."""

    name: str
    arrivals: Sequence[Arrival]
    days: float
    start: datetime = START

    @property
    def tables(self) -> tuple[str, ...]:
        return tuple(sorted({arrival.table for arrival in self.arrivals}))

    @property
    def size_bytes(self) -> int:
        return sum(arrival.size_bytes for arrival in self.arrivals)

    def moment(self, at_s: float) -> datetime:
        return self.start + timedelta(seconds=at_s)


def trace_of(name: str, arrivals: Iterable[Arrival], days: float, start: datetime = START) -> Trace:
    """A trace of arrivals in any order. Raises ValueError for one before its start or a negative size."""
    in_order = sorted(arrivals, key=lambda arrival: (arrival.at_s, arrival.table, arrival.size_bytes))
    if any(arrival.at_s < 0 or arrival.size_bytes < 0 for arrival in in_order):
        raise ValueError(f"trace {name}: an arrival is before the trace's start, or has fewer than no bytes")
    return Trace(name, tuple(in_order), days, start)


def read_trace(path: Path) -> Trace:
    """A recorded trace; it begins at the midnight (UTC) before its first arrival and is whole days long.

    Raises ValueError with the line that is no arrival, or if there is none.
    """
    read: list[tuple[datetime, str, int]] = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if line.strip():
            read.append(_arrival_of(line, f"{path}, line {number}"))
    if not read:
        raise ValueError(f"{path}: no arrival in it")
    start = min(at for at, _, _ in read).replace(hour=0, minute=0, second=0, microsecond=0)
    arrivals = [Arrival((at - start).total_seconds(), table, size_bytes) for at, table, size_bytes in read]
    days = max(1.0, -(-max(arrival.at_s for arrival in arrivals) // DAY_S))
    return trace_of(path.stem, arrivals, days, start)


def _arrival_of(line: str, where: str) -> tuple[datetime, str, int]:
    try:
        document = json.loads(line)
        at = datetime.fromisoformat(document["at"])
        table, size_bytes = document["table"], document["bytes"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{where}: {error!r}; write {{"at": "2026-03-02T06:00:05Z", "table": "t", "bytes": 1}}'
        ) from error
    if at.tzinfo is None or not isinstance(table, str) or not isinstance(size_bytes, int) or size_bytes < 0:
        raise ValueError(f"{where}: `at` needs its time zone, `table` is a string, `bytes` a number from 0")
    return at.astimezone(UTC), table, size_bytes


def write_trace(trace: Trace, path: Path) -> None:
    """Write a trace as `read_trace` reads it; times to the millisecond."""
    lines = [
        json.dumps({
            "at": trace.moment(arrival.at_s).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "table": arrival.table,
            "bytes": arrival.size_bytes,
        })
        for arrival in trace.arrivals
    ]  # fmt: skip
    path.write_text("".join(f"{line}\n" for line in lines))
