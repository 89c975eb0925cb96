"""Readings of a running cluster: EMR's metrics and the job's progress, and whether they say anything."""

import math
from dataclasses import dataclass
from datetime import datetime

from tidegate.rates import MERGE_BYTES_PER_S

STALE_S = 300
"""EMR's metrics come every minute while managed scaling is on; five of them missing are a fault."""

SKEW_S = 120
"""So far ahead may a metric's clock be."""

_TRUSTED_BYTES = 1024**3
_TRUSTED_SHARE = 0.25
"""So many bytes, and no more than that share of the run's, is the weight of the rate that was known before against the
bytes that are done: a run of thousands of small files has to be heard, too."""

BUSY_RATIO = 0.5
"""Of ContainerPendingRatio: for two containers that run, one waits."""

BUSY_MEMORY_PERCENT = 15.0
IDLE_MEMORY_PERCENT = 60.0
"""Of YARNMemoryAvailablePercentage. Between the two nothing is changed: that is the hysteresis."""

SOONEST_S = 240.0
"""An instance takes some three minutes from its request to its first container. What has to be through before that is
late whatever is asked for, so no more is asked for than brings it to an end by then."""


@dataclass(frozen=True)
class Metrics:
    """EMR's metrics of one cluster at one minute; None is what did not come. `at` is the metric's own time."""

    cluster_id: str
    at: datetime
    memory_available_percent: float | None = None
    pending_ratio: float | None = None
    apps_pending: float | None = None
    hdfs_percent: float | None = None
    units_requested: float | None = None
    units_running: float | None = None


@dataclass(frozen=True)
class Progress:
    """What the job has done. `used_unit_s` are seconds times units up to now, without the start-up.

    `shuffles` is None if nobody knows whether a shuffle is under way. `units_in_use` is what running work holds.
    """

    at: datetime
    done_bytes: int = 0
    total_bytes: int = 0
    used_unit_s: float = 0.0
    units_in_use: float = 0.0
    shuffles: bool | None = None
    deadline: datetime | None = None
    """When the most urgent of the run's tables must be queryable."""
    overhead_s: float = 0.0
    """What more units don't shorten: the commit, and the next step's start."""
    bytes_per_s: float = MERGE_BYTES_PER_S
    """Of one unit, as it was known before the run."""


def why_unusable(metrics: Metrics | None, cluster_id: str, seen_at: datetime | None, now: datetime) -> str | None:
    """Why metrics say nothing of cluster `cluster_id` now; `seen_at` is the newest time that was believed before."""
    if metrics is None:
        return "there are no metrics"
    if metrics.cluster_id != cluster_id:
        return f"the metrics are of {metrics.cluster_id}, not of {cluster_id}: ignored"
    return _why_of_another_time(metrics.at, seen_at, now) or _why_contradictory(metrics)


def _why_of_another_time(at: datetime, seen_at: datetime | None, now: datetime) -> str | None:
    age_s = (now - at).total_seconds()
    if age_s > STALE_S:
        return f"the newest metrics are {age_s:.0f} s old: they say nothing of now"
    if age_s < -SKEW_S:
        return f"the metrics are from {-age_s:.0f} s ahead: a clock is wrong"
    if seen_at is not None and at < seen_at:
        return "newer metrics were seen already: these come late"
    return None


def _why_contradictory(metrics: Metrics) -> str | None:
    needed = (metrics.memory_available_percent, metrics.pending_ratio, metrics.apps_pending)
    if any(value is None for value in needed):
        return "not all metrics have come"
    for value, most in (
        (metrics.memory_available_percent, 100.0),
        (metrics.hdfs_percent, 100.0),
        (metrics.pending_ratio, math.inf),
        (metrics.apps_pending, math.inf),
        (metrics.units_requested, math.inf),
        (metrics.units_running, math.inf),
    ):
        if value is not None and not (0 <= value <= most and math.isfinite(value)):
            return f"a metric of {value} can't be"
    free, pending, apps = memory_and_queues(metrics)
    if free >= IDLE_MEMORY_PERCENT and pending >= BUSY_RATIO and not apps:
        return f"containers wait (ratio {pending:.1f}) while {free:.0f} % of the memory is free: contradictory"
    return None


def memory_and_queues(metrics: Metrics) -> tuple[float, float, float]:
    """Memory available, pending ratio, apps pending: checked to be there."""
    return (metrics.memory_available_percent or 0.0, metrics.pending_ratio or 0.0, metrics.apps_pending or 0.0)


def is_recent(at: datetime, now: datetime) -> bool:
    return -SKEW_S <= (now - at).total_seconds() <= STALE_S


def units_for_deadline(progress: Progress, now: datetime) -> float | None:
    """Units with which what is left is through by the deadline, or `SOONEST_S` from now; None if there is no deadline.

    How long a byte takes is what was known before, drawn towards what the run itself shows.
    """
    if progress.deadline is None or progress.total_bytes <= progress.done_bytes:
        return None
    left_s = (progress.deadline - now).total_seconds() - progress.overhead_s
    return left_unit_s(progress) / max(left_s, SOONEST_S)


def late_by_s(progress: Progress, units: float, now: datetime) -> float | None:
    """Seconds after the deadline at which what is left is through on so many units; negative before, None without."""
    if progress.deadline is None or progress.total_bytes <= progress.done_bytes:
        return None
    takes_s = progress.overhead_s + left_unit_s(progress) / max(units, 1.0)
    return takes_s - (progress.deadline - now).total_seconds()


def left_unit_s(progress: Progress) -> float:
    """Seconds on one unit for what is left."""
    trusted_bytes = min(_TRUSTED_BYTES, _TRUSTED_SHARE * progress.total_bytes)
    known_s = trusted_bytes / progress.bytes_per_s
    a_byte_s = (known_s + progress.used_unit_s) / max(1.0, trusted_bytes + progress.done_bytes)
    return a_byte_s * (progress.total_bytes - progress.done_bytes)
