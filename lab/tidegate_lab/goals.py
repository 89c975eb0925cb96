"""The goals, held against what the present decisions do in the lab. A goal that isn't met says by how much."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

from tidegate.contracts import Contract, Freshness
from tidegate.dispatch import TableSnapshot, decide_dispatch, decide_more

from tidegate_lab.compare import MAXIMUM_BYTES, MAXIMUM_FILES, Case, Row
from tidegate_lab.traces import START

CRON_FRESHNESS_S = (3000, 3600, 4200, 4800)
"""What is tried to find the freshness at which Tidegate's p95 is a cron job's."""
CRON_TRACES = ("steady", "diurnal", "bursty", "small_files", "backfill")


@dataclass(frozen=True)
class Goal:
    """`figure` is measured, in the unit of `goal`; `is_met` compares them."""

    against: str
    trace: str
    goal: str
    figure: str
    is_met: bool


def find(rows: Sequence[Row], trace: str, policy: str, freshness_s: int) -> Row:
    """The row of this name. Raises StopIteration if it was not simulated."""
    return next(row for row in rows if (row.trace, row.policy, row.freshness_s) == (trace, policy, freshness_s))


def goals(rows: Sequence[Row], freshnesses_s: Sequence[int]) -> list[Goal]:
    """All goals, by the rows of the whole table; `freshnesses_s` are those that were simulated for Tidegate."""
    traces = list(dict.fromkeys(row.trace for row in rows))
    longest = max(freshnesses_s)
    met: list[Goal] = []
    for cron in ("hourly_cron", "thrifty_cron"):
        met += [_against_cron(rows, trace, cron) for trace in CRON_TRACES if trace in traces]
    for trace in traces:
        met.append(_against_always_on(rows, trace, longest))
    for trace in traces:
        saved = 1 - _cost(rows, trace, "tidegate", longest) / _cost(rows, trace, "cluster_a_file", longest)
        met.append(Goal("one cluster a file", trace, "≥ 90 % cheaper", f"{saved:.0%} cheaper", saved >= 0.9))
    for freshness_s in freshnesses_s:
        for trace in traces:
            row = find(rows, trace, "tidegate", freshness_s)
            above = row.of["cost_usd"].mean / row.of["bound_usd"].mean - 1
            what = f"clairvoyant, {freshness_s // 60} min"
            met.append(Goal(what, trace, "within 15 %", f"{above:+.0%}", above <= 0.15))
    for freshness_s in freshnesses_s:
        for trace in traces:
            missed = find(rows, trace, "tidegate", freshness_s).of["missed_periods"].mean
            what = f"misses, {freshness_s // 60} min"
            met.append(Goal(what, trace, "< 0.1 % of table-periods", f"{missed:.2%}", missed < 0.001))
    took_ms = decision_ms()
    met.append(Goal("a decision", "1,000 tables", "< 5 ms", f"{took_ms:.1f} ms", took_ms < 5))
    return met


def cron_cases(repeats: int, days: float) -> list[Case]:
    """What else has to be simulated to compare with a cron job at equal p95."""
    return [
        Case(trace, "tidegate", freshness_s, seed, days, with_bound=False)
        for trace in CRON_TRACES
        for freshness_s in CRON_FRESHNESS_S
        for seed in range(repeats)
    ]


def _cost(rows: Sequence[Row], trace: str, policy: str, freshness_s: int) -> float:
    return find(rows, trace, policy, freshness_s).of["cost_usd"].mean


def _against_cron(rows: Sequence[Row], trace: str, cron: str) -> Goal:
    """At equal p95: Tidegate's cost between the two freshnesses whose p95 are around the cron job's."""
    other = next(row for row in rows if row.trace == trace and row.policy == cron)
    curve = sorted(
        (row.of["p95_s"].mean, row.of["cost_usd"].mean)
        for row in rows
        if row.trace == trace and row.policy == "tidegate"
    )
    cost_usd = at(curve, other.of["p95_s"].mean)
    saved = 1 - cost_usd / other.of["cost_usd"].mean
    figure = f"{saved:.0%} cheaper" if saved >= 0 else f"{-saved:.0%} dearer"
    if trace in ("bursty", "diurnal"):
        return Goal(cron, trace, "≥ 40 % cheaper at equal p95", figure, saved >= 0.4)
    return Goal(cron, trace, "≤ 5 % dearer at equal p95", figure, saved >= -0.05)


def at(curve: Sequence[tuple[float, float]], x: float) -> float:
    """The value at x of a curve through these points by rising x; beyond its ends, that of the end."""
    for (x0, y0), (x1, y1) in pairwise(curve):
        if x0 <= x <= x1:
            return y0 if x1 == x0 else y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return curve[0][1] if x < curve[0][0] else curve[-1][1]


def _against_always_on(rows: Sequence[Row], trace: str, freshness_s: int) -> Goal:
    other = find(rows, trace, "always_on", freshness_s)
    utilisation = 1 - other.of["wasted"].mean
    saved = 1 - _cost(rows, trace, "tidegate", freshness_s) / other.of["cost_usd"].mean
    figure = f"{saved:.0%} cheaper" if saved >= 0 else f"{-saved:.0%} dearer"
    against = f"always-on at {utilisation:.0%} utilisation"
    if utilisation < 0.3:
        return Goal(against, trace, "≥ 60 % cheaper", figure, saved >= 0.6)
    return Goal(against, trace, "≤ 5 % dearer", figure, saved >= -0.05)


def decision_ms(tables: int = 1000, repeats: int = 20) -> float:
    """Milliseconds of the processor that the slower of the two decisions takes, the least of some repeats."""
    freshness = Freshness("within", seconds=3600)
    snapshots = [
        TableSnapshot(
            Contract(f"t{number}", f"t{number}/", "^$", "upsert", freshness, MAXIMUM_FILES, MAXIMUM_BYTES, {}),
            pending_files=3,
            pending_bytes=3_000_000,
            oldest_event_time=START,
        )
        for number in range(tables)
    ]
    now = START + timedelta(minutes=20)
    names = [snapshot.contract.table for snapshot in snapshots]
    least = {"dispatch": float("inf"), "more": float("inf")}
    for _ in range(repeats):
        before = time.process_time()
        decide_dispatch(snapshots, now)
        between = time.process_time()
        decide_more(snapshots, names, START, now)
        least["dispatch"] = min(least["dispatch"], between - before)
        least["more"] = min(least["more"], time.process_time() - between)
    return 1000 * max(least.values())
