"""Whether a freshness can be kept at all, and the smallest one that can."""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from tidegate.contracts import Freshness
from tidegate.quiet_hours import QuietHours
from tidegate.rates import ASSUMED, Rates
from tidegate.stack_limits import ANYTHING, StackLimits


class Promise(Protocol):
    """As much of a contract as its freshness depends on."""

    @property
    def table(self) -> str: ...
    @property
    def freshness(self) -> Freshness: ...
    @property
    def quiet_hours(self) -> QuietHours | None: ...


@dataclass(frozen=True)
class FreshnessCheck:
    """`smallest_s` is the smallest freshness that can be kept, in whole minutes."""

    can_be_kept: bool
    smallest_s: int
    reason: str


def check_freshness(
    contract: Promise,
    now: datetime,
    *,
    size_bytes: int = 0,
    files: int = 1,
    rates: Rates = ASSUMED,
    limits: StackLimits = ANYTHING,
) -> FreshnessCheck:
    """Check a contract's freshness against start-up, merge and quiet hours, for batches of this size.

    What lands in the first minute of quiet hours is merged when they are over, so they are part of it. `asap` promises
    no time, and what lands right before the hour of `by 06:00` is as late as a run takes: both can be kept.
    """
    takes_s = limits.tick_s + rates.start_up_s + rates.merge_s(contract.table, size_bytes, files)
    quiet = [hours for hours in (contract.quiet_hours, limits.quiet_hours) if hours is not None]
    waits_s = max((hours.longest_s(now) for hours in quiet), default=0.0)
    smallest_s = 60 * math.ceil((takes_s + waits_s) / 60)
    parts = f"a start-up takes up to {rates.start_up_s:.0f} s and a merge {takes_s - rates.start_up_s:.0f} s"
    if waits_s:
        parts += f", after up to {waits_s / 3600:.1f} h of quiet hours"
    freshness = contract.freshness
    if freshness.kind == "within" and freshness.seconds < smallest_s:
        reason = f"{parts}: {freshness.seconds // 60}m can't be kept; write {smallest_s // 60}m or more, or asap"
        return FreshnessCheck(can_be_kept=False, smallest_s=smallest_s, reason=reason)
    if freshness.kind == "daily":
        parts += f"; what lands less than {smallest_s // 60} min before {freshness.at} {freshness.zone} is so much late"
    return FreshnessCheck(can_be_kept=True, smallest_s=smallest_s, reason=parts)
