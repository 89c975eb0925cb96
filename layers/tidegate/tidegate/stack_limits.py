"""Stack limits: what may be at work at once, and what a day may cost; and the clusters that live now."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from tidegate.quiet_hours import QuietHours, parse_quiet_hours

GRACE_S = 120
"""How much later than expected a warm cluster may be through with its round before nobody waits for it any more."""


@dataclass(frozen=True)
class StackLimits:
    """What an operator allows. None is no limit."""

    maximum_clusters: int | None = None
    daily_budget_usd: float | None = None
    """Of a day of UTC, as AWS bills."""
    quiet_hours: QuietHours | None = None
    tick_s: float = 0.0
    """How often dispatch looks: a table that is not due yet must be early enough at the next look. The assumed rates
    are cautious enough for a minute; measured ones aren't."""
    side_by_side: int | None = None
    """Merges that a run's cluster does at once; None: each table is looked at as if it were alone."""


TICK_S = 60
"""How often dispatch looks."""
_SIDE_BY_SIDE = 4
"""Tables that one Spark application of a run merges at once."""


def read_limits(maximum_clusters: str, quiet_hours: str, daily_budget: str = "") -> StackLimits:
    """The limits of a deployment, as its template's parameters say them: quiet hours as `22:00-06:00 Europe/Berlin`.

    The daily budget in US dollars; 0 or nothing is no limit. Raises ValueError for what is neither a number nor quiet
    hours.
    """
    return StackLimits(
        maximum_clusters=int(maximum_clusters),
        daily_budget_usd=read_budget(daily_budget) or None,
        quiet_hours=parse_quiet_hours(quiet_hours) if quiet_hours else None,
        tick_s=TICK_S,
        side_by_side=_SIDE_BY_SIDE,
    )


def read_budget(dollars: str) -> float:
    """A budget as a template's parameter says it; 0 for none. Raises ValueError for what is no amount."""
    budget = float(dollars or 0)
    if not math.isfinite(budget) or budget < 0:
        raise ValueError(f"a budget is a number of US dollars from 0 up, not {dollars}")
    return budget


@dataclass(frozen=True)
class LiveCluster:
    """A cluster of a run that has not ended.

    `round_ends_at` is when it is expected to look for more, as it was estimated when the round began; None: unknown.
    """

    run_id: str
    takes_more: bool = True
    """False once the run hands over, or its cluster is ending."""
    round_ends_at: datetime | None = None

    def takes_more_at(self, now: datetime) -> datetime | None:
        """When a table that waits for it is taken at the latest; None if nobody should wait for it.

        One that is later than it was expected to be has shown that it can't be relied upon.
        """
        if not self.takes_more or self.round_ends_at is None:
            return None
        latest = self.round_ends_at + timedelta(seconds=GRACE_S)
        return latest if now <= latest else None


@dataclass(frozen=True)
class Stack:
    """What lives and what was spent: `spent_usd` by the runs that began since midnight UTC, what live ones are expected
    to cost included; `run_usd` is what a new run will cost.
    """

    clusters: tuple[LiveCluster, ...] = ()
    spent_usd: float = 0.0
    run_usd: float = 0.0


ANYTHING = StackLimits()
ALONE = Stack()


def why_no_new_cluster(limits: StackLimits, stack: Stack) -> str | None:
    """Why no new cluster may start now; None if one may.

    The first run of a day may always start: a budget that is less than a run costs would else stop everything for ever.
    """
    if limits.maximum_clusters is not None and len(stack.clusters) >= limits.maximum_clusters:
        runs = ", ".join(cluster.run_id for cluster in stack.clusters[:3]) or "none is allowed"
        return f"no more than {limits.maximum_clusters} clusters at once ({runs})"
    budget = limits.daily_budget_usd
    if budget is None or stack.spent_usd <= 0:
        return None
    if stack.spent_usd + stack.run_usd > budget:
        return (
            f"${stack.spent_usd:.2f} of the day's ${budget:.2f} are spent and a run costs ${stack.run_usd:.2f}: "
            "it goes on after 00:00 UTC, or with a higher ceiling"
        )
    return None
