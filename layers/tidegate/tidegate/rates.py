"""Rates: how long a start-up and a merge may take, learned from past runs, at the quantile that the promise asks for.

Everything here is about what went well: without capacity, and with a job that fails, freshness is not promised.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from statistics import NormalDist

from tidegate.history import MergeSample, StartUpSample

START_UP_S = 900
"""From RunJobFlow to the first step, what all but one of two thousand keep within. AWS quotes five to ten minutes: if
one in twenty is above ten, one in two thousand is above 850 s. Measured times replace it (docs/lab.md: with 600 s a
stack's first runs were late one time in twenty)."""

MERGE_OVERHEAD_S = 60
MERGE_BYTES_PER_S = 20 * 1024**2
"""A cautious guess for the smallest cluster; measured rates a table replace it."""

MISS_RATE = 0.001
"""Of table-periods that may miss their freshness. Start-up and merge each have half of it: the sum of both then holds
it whatever they have to do with each other."""

HALF_LIFE_S = 14 * 86400
"""A sample counts half after two weeks: releases, instance types and tables change."""

_PRIOR_SAMPLES = 4.0
"""As much as the constants above weigh against what was measured."""

SLOW_START_UP_S = 600
USUAL_START_UP_S = 420
"""AWS's ten minutes, and what the lesser half of start-ups keeps within if that is one in twenty: what a contract is
checked against before there is a stack."""

_CAUTION = 2.0
"""The merge constants are taken for twice the usual time."""

_MOST = 4.0
"""Times the usual: no few outliers raise an estimate beyond."""

_FILE_S = 0.1
"""Seconds a file, as the unit in which the cost of files is learned. What was learned of nothing is 0."""

_LEAST = (0.005, 0.005, 0.0)
"""Shares of overhead, bytes and files: no table is learned to be more than 200 times as fast as assumed."""


@dataclass(frozen=True)
class MergeRates:
    """How long merges of a table take: `bytes_per_s` is that of one unit of 4 vCPU."""

    overhead_s: float = MERGE_OVERHEAD_S
    bytes_per_s: float = MERGE_BYTES_PER_S
    file_s: float = 0.0
    reason: str = "no merge is known yet: assumed"

    def merge_s(self, size_bytes: float, files: float = 0, units: float = 1.0) -> float:
        """Seconds for a batch. More bytes or files never take less."""
        return self.overhead_s + self.moving_s(size_bytes, files) / units

    def moving_s(self, size_bytes: float, files: float = 0) -> float:
        """The part that more units would do faster, in seconds on one unit."""
        return size_bytes / self.bytes_per_s + files * self.file_s


@dataclass(frozen=True)
class Rates:
    """What is known of start-ups, and of merges a table. A table that is not in `tables` is as `merge` says."""

    start_up_s: float = START_UP_S
    merge: MergeRates = field(default_factory=MergeRates)
    tables: Mapping[str, MergeRates] = field(default_factory=dict)
    reason: str = "no start-up is known yet: assumed"

    def of(self, table: str) -> MergeRates:
        return self.tables.get(table, self.merge)

    def merge_s(self, table: str, size_bytes: float, files: float = 0) -> float:
        return self.of(table).merge_s(size_bytes, files)


ASSUMED = Rates()
"""What is taken for true while there is no history."""


def estimate_rates(
    start_ups: Iterable[StartUpSample],
    merges: Mapping[str, Sequence[MergeSample]],
    now: datetime,
    *,
    miss_rate: float = MISS_RATE,
) -> Rates:
    """What a stack's history says. A table without one is as all the others together."""
    start_up_s, reason = estimate_start_up(start_ups, now, miss_rate=miss_rate)
    pooled = sorted((sample for samples in merges.values() for sample in samples), reverse=True)[:_POOLED]
    return Rates(
        start_up_s,
        estimate_merge(pooled, now, miss_rate=miss_rate),
        {table: estimate_merge(samples, now, miss_rate=miss_rate) for table, samples in merges.items() if samples},
        reason,
    )


_POOLED = 64
"""Of all tables' samples, the newest."""


def estimate_start_up(
    samples: Iterable[StartUpSample], now: datetime, *, miss_rate: float = MISS_RATE
) -> tuple[float, str]:
    """Seconds that all but half of `miss_rate` of the start-ups keep within, and why it is taken to be so."""
    weighed = [(sample.seconds, _weight(sample.at, now)) for sample in samples]
    seconds = _quantile(weighed, USUAL_START_UP_S, START_UP_S, miss_rate)
    if not weighed:
        return seconds, "no start-up is known yet: assumed"
    return seconds, f"{len(weighed)} start-ups, the last ones of {weighed[0][0]:.0f} s: {seconds:.0f} s at most"


def estimate_merge(samples: Sequence[MergeSample], now: datetime, *, miss_rate: float = MISS_RATE) -> MergeRates:
    """Overhead, seconds a byte and seconds a file that fit the samples, and what all but few merges keep within.

    The three are shares of the assumed constants, fitted to relative errors and drawn towards the constants: a table
    of which only small batches are known keeps the cautious rate for large ones. Samples far from the fit count little
    (Huber's weights).
    """
    if not samples:
        return MergeRates()
    points = [_Point(sample, _weight(sample.at, now)) for sample in samples]
    shares = _fit(points)
    ratios = [(point.share / point.fitted(shares), point.weight) for point in points]
    factor = _quantile(ratios, 1.0, _CAUTION, miss_rate)
    fixed, moving, files = (share * factor for share in shares)
    overhead_s, bytes_per_s = fixed * MERGE_OVERHEAD_S, MERGE_BYTES_PER_S / moving
    return MergeRates(
        overhead_s,
        bytes_per_s,
        files * _FILE_S,
        f"{len(samples)} merges: {overhead_s:.1f} s and a second for {bytes_per_s / 1024**2:.1f} MiB a unit at most",
    )


def _weight(at: datetime, now: datetime) -> float:
    """1 for what has just been, or has a clock that is ahead; half for each half-life."""
    age_s: float = max(0.0, (now - at).total_seconds())
    return math.exp2(-age_s / HALF_LIFE_S)


class _Point:
    """A sample in units of what the constants say it takes: shares of overhead, bytes and files, and of the time."""

    __slots__ = ("parts", "share", "weight")

    def __init__(self, sample: MergeSample, weight: float) -> None:
        moving_s = sample.size_bytes / MERGE_BYTES_PER_S / sample.units
        files_s = sample.files * _FILE_S / sample.units
        assumed_s = MERGE_OVERHEAD_S + moving_s + files_s
        self.parts = (MERGE_OVERHEAD_S / assumed_s, moving_s / assumed_s, files_s / assumed_s)
        self.share = sample.seconds / assumed_s
        self.weight = weight

    def fitted(self, shares: Sequence[float]) -> float:
        return sum(share * part for share, part in zip(shares, self.parts, strict=True))


_PRIOR_SHARES = (1 / _CAUTION, 1 / _CAUTION, 0.0)
_RIDGE = (0.25, 0.25, 0.1)
"""In samples. Less for files: nothing was assumed of them."""

_ROUNDS = 6
_SWEEPS = 8
_HUBER = 1.5
_TO_DEVIATION = 1.4826
"""From the median of absolute deviations to the standard deviation of a normal distribution."""
_LEAST_SPREAD = 0.1
"""Relative: closer to the fit than that, a sample is not looked at askance."""


def _fit(points: Sequence[_Point]) -> tuple[float, ...]:
    """Least squares of errors relative to the fit, with a ridge at the prior shares, weighed anew a few times."""
    middle = _of_sorted(sorted((point.share, point.weight) for point in points), 0.5)
    targets = [min(point.share, _MOST * middle) for point in points]
    weights = [point.weight / target**2 for point, target in zip(points, targets, strict=True)]
    for _ in range(_ROUNDS):
        shares = _solve(points, targets, weights)
        fitted = [point.fitted(shares) for point in points]
        misfits = [abs(math.log(point.share / fit)) for point, fit in zip(points, fitted, strict=True)]
        usual = _of_sorted(sorted((off, point.weight) for off, point in zip(misfits, points, strict=True)), 0.5)
        most = _HUBER * max(_TO_DEVIATION * usual, _LEAST_SPREAD)
        weights = [
            point.weight / fit**2 * (most / off if off > most else 1.0)
            for point, fit, off in zip(points, fitted, misfits, strict=True)
        ]
    return shares


def _solve(points: Sequence[_Point], targets: Sequence[float], weights: Sequence[float]) -> tuple[float, ...]:
    """The shares of least squares, none below what can be."""
    size = range(3)
    gram = [[0.0] * 3 for _ in size]
    moment = [0.0] * 3
    for point, target, weight in zip(points, targets, weights, strict=True):
        parts = point.parts
        for row in size:
            weighed = weight * parts[row]
            moment[row] += weighed * target
            for column in size:
                gram[row][column] += weighed * parts[column]
    for row in size:
        gram[row][row] += _RIDGE[row]
        moment[row] += _RIDGE[row] * _PRIOR_SHARES[row]
    shares = _solve_exactly(gram, moment)
    # Where the solution is below what can be, the others make up for it: a few sweeps, one share after the other.
    for _ in range(_SWEEPS if any(share < least for share, least in zip(shares, _LEAST, strict=True)) else 0):
        for row in size:
            others = sum(gram[row][column] * shares[column] for column in size if column != row)
            shares[row] = max((moment[row] - others) / gram[row][row], _LEAST[row])
    return tuple(shares)


def _solve_exactly(gram: Sequence[Sequence[float]], moment: Sequence[float]) -> list[float]:
    """Three equations with three unknowns, by Cramer's rule. The ridge keeps the determinant from nothing."""
    (a, b, c), (d, e, f), (g, h, i) = gram
    x, y, z = moment
    whole = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    return [
        (x * (e * i - f * h) - b * (y * i - f * z) + c * (y * h - e * z)) / whole,
        (a * (y * i - f * z) - x * (d * i - f * g) + c * (d * z - y * g)) / whole,
        (a * (e * z - y * h) - b * (d * z - y * g) + x * (d * h - e * g)) / whole,
    ]


def _quantile(weighed: Sequence[tuple[float, float]], usual: float, most: float, miss_rate: float) -> float:
    """What all but half of `miss_rate` keep within; `usual` and `most` is what is assumed of the median and of that.

    So far out no sample lies, so the tail is that of a log-normal with the samples' median and spread, drawn
    towards what is assumed, and widened for being known from few. It is at least what one in forty takes, but the one
    slowest is left out: one is an accident, two are a habit. Never more than `_MOST` times the usual.
    """
    total = sum(weight for _, weight in weighed)
    share = total / (total + _PRIOR_SAMPLES)
    z, at_default = (NormalDist().inv_cdf(1 - rate / 2) for rate in (miss_rate, MISS_RATE))
    spread_assumed = math.log(most / usual) / (at_default * (1 + _PRIOR_SAMPLES**-0.5))
    if total < 1e-6:
        return usual * math.exp(spread_assumed * z * (1 + _PRIOR_SAMPLES**-0.5))
    logs = sorted((math.log(value), weight) for value, weight in weighed)
    counted = logs[:-1] if len(logs) > 2 else logs
    center = share * _of_sorted(logs, 0.5) + (1 - share) * math.log(usual)
    spread_seen = _spread(counted)
    known = share * (1 - 1 / len(logs))
    spread = math.sqrt(known * spread_seen**2 + (1 - known) * spread_assumed**2)
    by_shape = center + z * (1 + (total + _PRIOR_SAMPLES) ** -0.5) * spread
    by_count = _of_sorted(counted, 0.975) if len(logs) > 2 else by_shape
    return math.exp(min(max(by_shape, by_count), center + math.log(_MOST)))


def _spread(logs: Sequence[tuple[float, float]]) -> float:
    """Standard deviation about the median, or of the upper half alone if that is more, with outliers held down."""
    middle = _of_sorted(logs, 0.5)
    usual = _of_sorted(sorted((abs(value - middle), weight) for value, weight in logs), 0.5)
    most = 3 * max(_TO_DEVIATION * usual, _LEAST_SPREAD / 2)
    both = _mean_square(logs, middle, most)
    upper = _mean_square([point for point in logs if point[0] >= middle], middle, most)
    return math.sqrt(max(both, upper))


def _mean_square(logs: Sequence[tuple[float, float]], middle: float, most: float) -> float:
    squares = sum(weight * min(abs(value - middle), most) ** 2 for value, weight in logs)
    return squares / sum(weight for _, weight in logs)


def _of_sorted(weighed: Sequence[tuple[float, float]], quantile: float) -> float:
    """The least value that so large a part of the weight is at or below."""
    wanted = quantile * sum(weight for _, weight in weighed)
    passed = 0.0
    for value, weight in weighed:
        passed += weight
        if passed >= wanted:
            return value
    return weighed[-1][0]
