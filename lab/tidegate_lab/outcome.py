"""What came of a trace under a policy: what was merged when, on which machines, and what that is as figures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from tidegate.contracts import Contracts, Freshness
from tidegate.due import deadline_of
from tidegate.rates import MERGE_BYTES_PER_S, MERGE_OVERHEAD_S, START_UP_S

from tidegate_lab.bills import Bills, Usage
from tidegate_lab.traces import Arrival, Trace

DAYS_A_MONTH = 30.0


@dataclass(frozen=True)
class Life:
    """One cluster: its machines' paid time, and how many of the unit-seconds that were paid were spent on work."""

    usage: tuple[Usage, ...]
    wall_s: float
    unit_s: float
    busy_unit_s: float
    requested_s: float = 0.0


@dataclass
class Record:
    """What a policy writes down as it goes. `merged` pairs each arrival with when it was queryable, in seconds."""

    merged: list[tuple[Arrival, float]] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    other_usd: float = 0.0
    """What isn't machines of clusters: EMR Serverless, or Tidegate's own control plane."""


@dataclass(frozen=True)
class Outcome:
    """The figures. Costs and counts are those of 30 days."""

    cost_usd: float
    p50_s: float
    p95_s: float
    p99_s: float
    missed_arrivals: float
    """Share of arrivals that were queryable too late."""
    missed_periods: float
    """Share of table-periods with a late arrival: as long as the table's freshness, and something landed in it."""
    cluster_hours: float
    start_ups: float
    wasted: float
    """Share of the paid time of executors' machines in which nothing was merged: start-up and waiting."""


def measure(trace: Trace, contracts: Contracts, record: Record, bills: Bills) -> Outcome:
    """The figures of a record."""
    a_month = DAYS_A_MONTH / trace.days
    freshness_s = sorted(at_s - arrival.at_s for arrival, at_s in record.merged)
    late, periods, late_periods = 0, set(), set()
    for arrival, at_s in record.merged:
        is_late = at_s > due_s(trace, contracts, arrival)
        period = (arrival.table, arrival.at_s // period_s(contracts.by_table[arrival.table].freshness))
        periods.add(period)
        if is_late:
            late += 1
            late_periods.add(period)
    machines_usd = sum(bills.cluster_usd(life.usage) for life in record.lives)
    unit_s = sum(life.unit_s for life in record.lives)
    busy_unit_s = sum(life.busy_unit_s for life in record.lives)
    return Outcome(
        cost_usd=(machines_usd + record.other_usd) * a_month,
        p50_s=quantile(freshness_s, 0.50),
        p95_s=quantile(freshness_s, 0.95),
        p99_s=quantile(freshness_s, 0.99),
        missed_arrivals=late / max(1, len(record.merged)),
        missed_periods=len(late_periods) / max(1, len(periods)),
        cluster_hours=sum(life.wall_s for life in record.lives) / 3600 * a_month,
        start_ups=len(record.lives) * a_month,
        wasted=1 - busy_unit_s / unit_s if unit_s else 0.0,
    )


def quantile(in_order: Sequence[float], share: float) -> float:
    """The nearest rank. 0 of nothing."""
    return in_order[max(0, math.ceil(share * len(in_order)) - 1)] if in_order else 0.0


def due_s(trace: Trace, contracts: Contracts, arrival: Arrival) -> float:
    """When an arrival must be queryable, by the product's own reading of its table's freshness.

    `asap` promises no time: it is due when a run that starts at once would have merged it, as for the product's alarm.
    """
    freshness = contracts.by_table[arrival.table].freshness
    if freshness.kind == "within":  # as `deadline_of`, without a datetime an arrival
        return arrival.at_s + freshness.seconds
    if freshness.kind == "asap":
        return arrival.at_s + START_UP_S + MERGE_OVERHEAD_S + arrival.size_bytes / MERGE_BYTES_PER_S
    return (deadline_of(trace.moment(arrival.at_s), freshness) - trace.start).total_seconds()


def period_s(freshness: Freshness) -> float:
    """How long a table-period is, in seconds."""
    return {"within": float(freshness.seconds), "asap": float(START_UP_S), "daily": 86_400.0}[freshness.kind]
