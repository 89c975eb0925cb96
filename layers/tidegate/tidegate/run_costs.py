"""What each run costs, as the ledger keeps it: estimated before, accounted after; and what a day or a month come to.

A cluster's instances are priced until it has ended, and then never again. Until a run's account is final its estimate
stands in, so that no sum leaves a run out.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from tidegate.clusters import RunCluster
from tidegate.control_plane import usage_of_run
from tidegate.costs import (
    NANO_USD,
    ClusterCost,
    RunAccount,
    RunEstimate,
    TableCost,
    account_run,
    cluster_cost,
    usages_of,
)
from tidegate.prices import PriceSheet
from tidegate.runs import Run

FIRST_PAUSE = timedelta(minutes=5)
LONGEST_PAUSE = timedelta(hours=6)
"""Between two tries at an account that could not be made."""

NO_CLUSTER_FOR = timedelta(minutes=30)
"""After a run's end: then there was none."""

GIVEN_UP_AFTER = timedelta(days=14)
"""EMR lists instances for 30 days after their end, and Step Functions redrives for 14."""

WORDS_KEPT = 300
"""Characters of a reason: a cost item stays within one write unit."""


@dataclass(frozen=True)
class ClusterAccount:
    """Dollars of one cluster, and what it has been billed for. `is_final`: it has ended, so this changes no more."""

    cost: ClusterCost
    instance_s: int
    is_final: bool


@dataclass(frozen=True)
class RunCost:
    """What a run costs, as far as it is known.

    It counts, whole, on the day and in the month (UTC) in which the run began: `began_at` is the run's first start.
    """

    run_id: str
    began_at: datetime
    attempt: int
    """The attempt that planned its newest cluster."""
    planned_at: datetime
    estimate: RunEstimate | None
    """None if there was no price for it; `reason` says why."""
    reason: str
    clusters: Mapping[str, ClusterAccount] = field(default_factory=dict)
    """By cluster id; each of the run's clusters that is known."""
    control_plane_usd: Decimal = Decimal(0)
    accounted_at: datetime | None = None
    ended_at: datetime | None = None
    """When the run ended; None as long as it is not known to have."""
    is_final: bool = False
    """Nothing is asked of EMR about it any more."""
    unknown: str | None = None
    """Why the last try at its account failed."""
    tries: int = 0
    """That have failed, one after another."""

    @property
    def day(self) -> date:
        return self.began_at.astimezone(UTC).date()

    @property
    def accounted_usd(self) -> Decimal | None:
        """None before the first account."""
        if self.accounted_at is None:
            return None
        return sum((each.cost.total_usd for each in self.clusters.values()), self.control_plane_usd)

    @property
    def instance_s(self) -> int:
        return sum(each.instance_s for each in self.clusters.values())

    def usd(self, now: datetime) -> Decimal:
        """What the run counts for: its account if that is final, else the larger of account and estimate.

        An estimate that the run has outlasted grows with it, so that an account that fails hides no spending.
        """
        accounted = self.accounted_usd
        if accounted is not None and self.is_final and self.unknown is None:
            return accounted
        return max(accounted or Decimal(0), self._estimated_usd(now))

    def _estimated_usd(self, now: datetime) -> Decimal:
        if self.estimate is None:
            return Decimal(0)
        took_s = ((self.ended_at or now) - self.planned_at).total_seconds()
        overrun = Decimal(str(took_s / self.estimate.seconds)) if self.estimate.seconds > 0 else Decimal(1)
        return (self.estimate.expected_usd * max(Decimal(1), overrun)).quantize(NANO_USD)


@dataclass(frozen=True)
class Spending:
    """What runs come to, together. `unknown` has why, by run, of those whose last account failed."""

    usd: Decimal
    runs: int
    not_final: int
    unknown: Mapping[str, str]

    @property
    def usd_a_run(self) -> Decimal:
        """0 without runs."""
        return (self.usd / self.runs).quantize(NANO_USD) if self.runs else Decimal(0)


def spending_of(costs: Iterable[RunCost], now: datetime) -> Spending:
    """Add runs up, each of which the ledger has once."""
    by_run = list(costs)
    return Spending(
        usd=sum((cost.usd(now) for cost in by_run), Decimal(0)),
        runs=len(by_run),
        not_final=sum(not cost.is_final for cost in by_run),
        unknown={cost.run_id: cost.unknown for cost in by_run if cost.unknown is not None},
    )


def cost_by_table(shares: Iterable[Mapping[str, TableCost]]) -> dict[str, TableCost]:
    """Add the tables' shares of several runs up, the dearest table first."""
    usd: dict[str, Decimal] = {}
    arrivals: dict[str, int] = {}
    for share in shares:
        for table, cost in share.items():
            usd[table] = usd.get(table, Decimal(0)) + cost.usd
            arrivals[table] = arrivals.get(table, 0) + cost.arrivals
    return {table: TableCost(usd[table], arrivals[table]) for table in sorted(usd, key=lambda name: (-usd[name], name))}


@dataclass(frozen=True)
class MergedBatch:
    """A batch that a run has merged. `merge_s` None: nobody measured."""

    table: str
    files: int
    merge_s: float | None


def price_cluster(
    sheet: PriceSheet, cluster: RunCluster, instances: Iterable[Mapping[str, Any]], now: datetime
) -> ClusterAccount:
    """Price what EMR lists of a cluster: to its end, or to `now` while it lives or terminates.

    No instance outlives its cluster, whatever its own timeline leaves out. Raises PriceMissing.
    """
    until = cluster.ended_at if cluster.has_ended and cluster.ended_at is not None else now
    usages = usages_of(instances, until)
    billed_s = sum(usage.billed_s for usage in usages)
    return ClusterAccount(cluster_cost(sheet, usages), billed_s, is_final=cluster.has_ended)


def share_run(
    sheet: PriceSheet,
    clusters: Mapping[str, ClusterAccount],
    merged: Collection[MergedBatch],
    tables: Collection[str],
) -> RunAccount:
    """Share a run among the tables that it merged, by their seconds; among `tables`, which it had, if it merged none.

    Raises PriceMissing.
    """
    merge_s: dict[str, float] = dict.fromkeys(tables, 0.0)
    arrivals: dict[str, int] = {}
    for batch in merged:
        merge_s[batch.table] = merge_s.get(batch.table, 0.0) + (batch.merge_s or 0.0)
        arrivals[batch.table] = arrivals.get(batch.table, 0) + batch.files
    if arrivals:
        merge_s = {table: merge_s[table] for table in sorted(arrivals)}
    usage = usage_of_run(arrivals=sum(arrivals.values()), batches=len(merged))
    return account_run(sheet, [each.cost for each in clusters.values()], usage, merge_s, arrivals)


def with_account(
    cost: RunCost, clusters: Mapping[str, ClusterAccount], account: RunAccount, run: Run, now: datetime
) -> RunCost:
    """The cost with an account of `now`. It is final once the run and all of its clusters have ended.

    One without any cluster stays open for a while: the answer to its creation may have been lost.
    """
    ended_at = run.ended_at if run.state not in {"running", "fenced"} else None
    is_sure = bool(clusters) or (ended_at is not None and now - ended_at >= NO_CLUSTER_FOR)
    return replace(
        cost,
        clusters=dict(clusters),
        control_plane_usd=account.control_plane.total_usd,
        accounted_at=now,
        ended_at=ended_at,
        is_final=ended_at is not None and is_sure and all(each.is_final for each in clusters.values()),
        unknown=None,
        tries=0,
    )


def without_account(cost: RunCost, why: str, run: Run | None, now: datetime) -> RunCost:
    """The cost after a try that failed. What was accounted before stays; after a fortnight nobody tries again."""
    ended_at = run.ended_at if run is not None else cost.ended_at
    return replace(
        cost,
        unknown=why[:WORDS_KEPT],
        tries=cost.tries + 1,
        ended_at=ended_at,
        is_final=now - (ended_at or cost.planned_at) >= GIVEN_UP_AFTER,
    )


def next_try(cost: RunCost, now: datetime) -> datetime:
    """When an account that is not final is due again: at the next look, or after a pause that doubles."""
    if not cost.tries:
        return now
    doubled: int = 2 ** min(cost.tries - 1, 10)
    return now + min(LONGEST_PAUSE, FIRST_PAUSE * doubled)


def words_for_cost(cost: RunCost, now: datetime) -> str:
    """What a run has cost, in a sentence for the console."""
    if cost.unknown is not None:
        return f"not accounted, it is tried again: {cost.unknown}"
    accounted = cost.accounted_usd
    if accounted is None:
        return f"not accounted yet; {cost.reason}"
    expected = f", estimated at ${cost.estimate.expected_usd:.4f}" if cost.estimate is not None else ""
    until = "" if cost.is_final else f" until {now:%H:%M:%S} UTC, while its cluster ends"
    return f"${accounted:.4f} for {cost.instance_s} s of instances{until}{expected}"
