"""Traces that are made up, each for what it is hard on. The same seed makes the same trace."""

import math
import random
from collections.abc import Callable, Iterator, Sequence

from tidegate_lab.traces import DAY_S, Arrival, Trace, trace_of

KIB, MIB, GIB = 1024, 1024**2, 1024**3
TABLES = ("clicks", "flights", "orders")

Generator = Callable[[float, random.Random, Sequence[str]], Iterator[Arrival]]


def generate(name: str, *, days: float, seed: int, tables: Sequence[str] = TABLES) -> Trace:
    """One of GENERATORS. Raises ValueError for another name."""
    if name not in GENERATORS:
        raise ValueError(f"there is no trace {name!r}: {', '.join(GENERATORS)}, or the path of a recorded one")
    stream = random.Random(f"{name}-{seed}")  # noqa: S311 - nothing is kept secret by it
    return trace_of(name, GENERATORS[name](days * DAY_S, stream, tables), days)


def _size(stream: random.Random, mean_bytes: float, sigma: float = 0.8) -> int:
    """Of a file: log-normal, a few large ones among many small."""
    return max(1, int(stream.lognormvariate(math.log(mean_bytes) - sigma**2 / 2, sigma)))


def _poisson(
    until_s: float, a_day: float, stream: random.Random, share: Callable[[float], float] = lambda _at: 1.0
) -> Iterator[float]:
    """Times at which something happens `a_day` times a day where `share` is 1, and less where it is below."""
    at = 0.0
    while (at := at + stream.expovariate(a_day / DAY_S)) < until_s:
        if stream.random() < share(at):
            yield at


def _steady(a_day: float, mean_bytes: float) -> Generator:
    def arrivals(until_s: float, stream: random.Random, tables: Sequence[str]) -> Iterator[Arrival]:
        for table in tables:
            for at in _poisson(until_s, a_day, stream):
                yield Arrival(at, table, _size(stream, mean_bytes))

    return arrivals


def share_of_day(at_s: float) -> float:
    """What a business day sees: next to nothing from 20 to 6 o'clock, a tenth of it on Saturday and Sunday."""
    day, of_day = divmod(at_s, DAY_S)
    hour = of_day / 3600
    daytime = math.sin(math.pi * (hour - 6) / 14) if 6 <= hour < 20 else 0.0
    return max(0.002, daytime) * (0.1 if int(day) % 7 >= 5 else 1.0)


def _diurnal(until_s: float, stream: random.Random, tables: Sequence[str]) -> Iterator[Arrival]:
    for table in tables:
        for at in _poisson(until_s, 1000, stream, share_of_day):
            yield Arrival(at, table, _size(stream, 8 * MIB))


def _bursty(until_s: float, stream: random.Random, tables: Sequence[str]) -> Iterator[Arrival]:
    """Four deliveries a day, each of 20 to 100 files within five minutes for one table."""
    for at in _poisson(until_s, 4, stream):
        table = stream.choice(tables)
        for _ in range(stream.randint(20, 100)):
            yield Arrival(at + stream.uniform(0, 300), table, _size(stream, 16 * MIB))


def _backfill(until_s: float, stream: random.Random, tables: Sequence[str]) -> Iterator[Arrival]:
    """An hour's worth of old files, 250 GB, on the second day; a file an hour and table otherwise."""
    for table in tables:
        for at in _poisson(until_s, 24, stream):
            yield Arrival(at, table, _size(stream, 8 * MIB))
    for _ in range(1000):
        yield Arrival(1.4 * DAY_S + stream.uniform(0, 3600), tables[0], _size(stream, 256 * MIB, 0.3))


GENERATORS: dict[str, Generator] = {
    "steady": _steady(480, 8 * MIB),
    "diurnal": _diurnal,
    "bursty": _bursty,
    "small_files": _steady(2000, 64 * KIB),
    "backfill": _backfill,
    "heavy": _steady(625, GIB),
}
"""`steady`: a file in three minutes and table. `small_files`: thousands a day and table. `heavy`: 1.8 TiB a day, which
keeps an always-on cluster busy most of the time."""
