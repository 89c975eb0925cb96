"""When one table is due, and why: as late as its freshness allows."""

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from tidegate.contracts import Contract, Freshness
from tidegate.quiet_hours import QuietHours
from tidegate.rates import ASSUMED, Rates
from tidegate.run_size import bytes_alone
from tidegate.stack_limits import ANYTHING, StackLimits

_AMORTISED = 10
"""Times the start-up and the overhead: so long a merge hardly gains from sharing them with what is still to come."""

_BEFORE_QUIET = timedelta(seconds=120)
"""How long before quiet hours the last run begins at the latest: two of the minutes in which dispatch looks."""

_SKEW_S = 300
"""An arrival from further ahead than that has a wrong clock; how old it is isn't known then."""

Rule = Literal[
    "obstacle", "begun", "reopened", "no_age", "clock", "full", "asap", "amortised", "late", "before_quiet", "crowd",
    "not_yet", "not_yet_quiet",
]  # fmt: skip
"""Which rule has decided of a table."""


@dataclass(frozen=True, slots=True)
class TableSnapshot:
    """What the ledger says of a table at one moment."""

    contract: Contract
    pending_files: int = 0
    pending_bytes: int = 0
    oldest_event_time: datetime | None = None
    held_by: str | None = None
    """The run whose lease it is."""
    unsettled_batch: int | None = None
    """One that is planned and not settled, or whose claim somebody began."""
    reopened: int = 0
    """Lists of files that are to be merged again: halves of a voided batch, and replays."""
    retry_after: datetime | None = None
    blocked_reason: str | None = None
    paused_reason: str | None = None

    @property
    def has_work(self) -> bool:
        return self.pending_files > 0 or self.unsettled_batch is not None or self.reopened > 0


class TableDecision(NamedTuple):
    """What was decided of a table. The words are made when somebody reads them: a simulation decides million times."""

    snapshot: TableSnapshot
    rule: Rule
    is_due: bool = False
    can_ride_along: bool = False
    lateness_s: float = 0.0
    """How long ago the oldest pending file should have been queryable; 0 while its freshness can still be kept."""
    now: datetime | None = None
    start_in_s: float = 0.0
    """When the latest start is, from `now`."""
    takes_s: float = 0.0
    waits_for: str | None = None
    """Why the table is in no new run although it may be due: a limit, quiet hours, or a warm cluster that takes it."""
    detail: str = ""

    @property
    def table(self) -> str:
        return self.snapshot.contract.table

    @property
    def is_stopped(self) -> bool:
        """Blocked or paused: only a person sets it going again."""
        return self.snapshot.blocked_reason is not None or self.snapshot.paused_reason is not None

    @property
    def reason(self) -> str:
        return f"{self._of_the_table()}; {self.waits_for}" if self.waits_for else self._of_the_table()

    def _of_the_table(self) -> str:
        of, now = self.snapshot, self.now
        if self.rule == "obstacle":
            return self.detail
        if self.rule == "begun":
            return f"batch {of.unsettled_batch} is not settled yet"
        if self.rule == "reopened":
            return f"{of.reopened} lists of files are to be merged again"
        if of.oldest_event_time is None or now is None:
            return "its arrivals don't say how old they are"
        waited_s = int((now - of.oldest_event_time).total_seconds())
        if self.rule == "clock":
            return f"the oldest of its arrivals is from {-waited_s} s ahead: clocks differ, so it is not waited for"
        start_at = f"{now + timedelta(seconds=self.start_in_s):%Y-%m-%d %H:%M:%S} UTC"
        why = {
            "full": ": a batch is full, so waiting saves nothing",
            "asap": ", as soon as possible",
            "amortised": f": it takes {self.takes_s:.0f} s to merge that, so waiting saves next to nothing",
            "late": ": a later start would miss its freshness",
            "before_quiet": f": a later start would be in {self.detail}",
            "crowd": f": {self.detail}",
            "not_yet_quiet": f": due at {start_at}, before {self.detail}",
        }.get(self.rule, f": due at {start_at}")
        age_s = max(0, waited_s)
        return f"{of.pending_files} files of {of.pending_bytes:,} bytes, the oldest {age_s} s old{why}"


@dataclass(frozen=True, slots=True)
class Look:
    """What all tables have in common at one moment, made once for all of them. `at_once` waits for no quiet hours."""

    now: datetime
    rates: Rates
    limits: StackLimits
    at_once: bool
    quiet: str | None
    """The stack's quiet hours, if it is any now."""
    quiet_in_s: float
    """Until no run should begin for the stack's next ones, at least: a start before that is as good as any."""


def look_at(now: datetime, *, at_once: bool = False, rates: Rates = ASSUMED, limits: StackLimits = ANYTHING) -> Look:
    """A look at `now`, with what is known and allowed then."""
    quiet, quiet_in_s = (None, math.inf) if limits.quiet_hours is None else _quiet_at(limits.quiet_hours, now)
    return Look(now, rates, limits, at_once, None if at_once else quiet, quiet_in_s)


def decide_table(snapshot: TableSnapshot, look: Look) -> TableDecision:
    """Decide whether a table is due, and whether it can be in a run at all."""
    contract, oldest = snapshot.contract, snapshot.oldest_event_time
    now, rates = look.now, look.rates
    waited_s = freshness_s = takes_s = lateness_s = 0.0
    if oldest is not None:
        takes_s = rates.start_up_s + alone_s(snapshot, rates)
        waited_s = (now - oldest).total_seconds()
        freshness = contract.freshness
        freshness_s = freshness.seconds if freshness.kind == "within" else _freshness_s(oldest, freshness, takes_s)
        lateness_s = waited_s - freshness_s if waited_s > freshness_s else 0.0
    if (obstacle := _obstacle(snapshot, now, at_once=look.at_once)) is not None:
        return TableDecision(snapshot, "obstacle", lateness_s=lateness_s, detail=obstacle)
    quiet, quiet_in_s = look.quiet, look.quiet_in_s
    if contract.quiet_hours is not None:
        own, own_in_s = _quiet_at(contract.quiet_hours, now)
        quiet, quiet_in_s = None if look.at_once else own or quiet, min(own_in_s, quiet_in_s)
    can_ride = quiet is None
    if snapshot.unsettled_batch is not None or snapshot.reopened or oldest is None or waited_s < -_SKEW_S:
        first = _without_age(snapshot)
        return TableDecision(snapshot, first, True, can_ride, lateness_s, now, 0.0, takes_s, quiet)
    at_any_rate = _without_waiting(snapshot, rates, takes_s)
    if at_any_rate is not None:
        merge_s = takes_s - rates.start_up_s
        return TableDecision(snapshot, at_any_rate, True, can_ride, lateness_s, now, 0.0, merge_s, quiet)
    start_in_s = freshness_s - takes_s - look.limits.tick_s - waited_s
    detail = ""
    if start_in_s >= quiet_in_s:
        start_in_s, detail = _before_quiet(snapshot, start_in_s, look)
    rule: Rule
    if start_in_s <= 0:
        rule = "before_quiet" if detail else "late"
        return TableDecision(snapshot, rule, True, can_ride, lateness_s, now, start_in_s, takes_s, quiet, detail)
    rule = "not_yet_quiet" if detail else "not_yet"
    return TableDecision(snapshot, rule, False, can_ride, lateness_s, now, start_in_s, takes_s, quiet, detail)


def _freshness_s(oldest: datetime, freshness: Freshness, takes_s: float) -> float:
    """Seconds from landing to the promise. `asap` promises no time: what a run takes is not counted as late."""
    return takes_s if freshness.kind == "asap" else (deadline_of(oldest, freshness) - oldest).total_seconds()


def _without_age(snapshot: TableSnapshot) -> Rule:
    """What was begun comes before anything new; then what doesn't say how old it is."""
    if snapshot.unsettled_batch is not None or snapshot.reopened:
        return "begun" if snapshot.unsettled_batch else "reopened"
    return "no_age" if snapshot.oldest_event_time is None else "clock"


def _without_waiting(snapshot: TableSnapshot, rates: Rates, takes_s: float) -> Rule | None:
    """Why a table is due however fresh it must be: waiting would save nothing, or is not wanted."""
    contract, merge_s = snapshot.contract, takes_s - rates.start_up_s
    if snapshot.pending_files >= contract.max_files or snapshot.pending_bytes >= contract.max_bytes:
        return "full"
    if contract.freshness.kind == "asap":
        return "asap"
    if merge_s >= _AMORTISED * rates.start_up_s and merge_s >= _AMORTISED * (
        rates.start_up_s + rates.of(contract.table).overhead_s
    ):
        return "amortised"
    return None


def _obstacle(snapshot: TableSnapshot, now: datetime, *, at_once: bool) -> str | None:
    """Why a table can't be in a run now, however long it has waited. `at_once` waits for no batch's next try."""
    if not (snapshot.pending_files > 0 or snapshot.has_work):
        return "nothing is pending"
    if snapshot.paused_reason is not None:
        return f"paused: {snapshot.paused_reason}"
    if snapshot.held_by is not None:
        return f"run {snapshot.held_by} is at it"
    if snapshot.blocked_reason is not None:
        return f"blocked: {snapshot.blocked_reason}"
    if snapshot.retry_after is not None and now < snapshot.retry_after and not at_once:
        return f"batch {snapshot.unsettled_batch} is tried again at {snapshot.retry_after:%H:%M:%S} UTC"
    return None


@lru_cache(maxsize=64)
def _quiet_at(hours: QuietHours, now: datetime) -> tuple[str | None, float]:
    """Which quiet hours it is now, None if it is none; and the seconds until no run should begin for the next."""
    around = hours.around(now)
    last_start_in = hours.next_begin(now) - _BEFORE_QUIET - now
    return None if around is None else hours.words(around[1]), last_start_in.total_seconds()


def _before_quiet(snapshot: TableSnapshot, start_in_s: float, look: Look) -> tuple[float, str]:
    """A start that would be in quiet hours, or right before, comes in time before them; with their name.

    Right before: the next look would be in them.
    """
    detail, now = "", look.now
    all_hours = [hours for hours in (snapshot.contract.quiet_hours, look.limits.quiet_hours) if hours is not None]
    # Twice, as a start that comes before the second ones may be in the first ones then.
    for hours in all_hours * len(all_hours):
        around = hours.around(now + timedelta(seconds=start_in_s), _BEFORE_QUIET)
        if around is not None and now < around[0]:
            start_in_s, detail = (around[0] - _BEFORE_QUIET - now).total_seconds(), f"quiet hours ({hours})"
    return start_in_s, detail


def lateness_of(snapshot: TableSnapshot, now: datetime, rates: Rates = ASSUMED) -> float:
    """Seconds by which the table's freshness is missed for its oldest pending file.

    `asap` promises no time, so what it takes to start a cluster and to merge is not counted as late.
    """
    return decide_table(snapshot, look_at(now, rates=rates)).lateness_s


def start_by(snapshot: TableSnapshot, rates: Rates = ASSUMED) -> datetime:
    """The latest moment at which a run can start and still keep the table's freshness.

    Raises ValueError when nothing is pending.
    """
    if snapshot.oldest_event_time is None:
        raise ValueError(f"nothing is pending for {snapshot.contract.table}")
    deadline = deadline_of(snapshot.oldest_event_time, snapshot.contract.freshness)
    return deadline - timedelta(seconds=rates.start_up_s + alone_s(snapshot, rates))


def alone_s(snapshot: TableSnapshot, rates: Rates) -> float:
    """Seconds to merge what is pending on the cluster that a run would have for that alone."""
    return rates.merge_s(snapshot.contract.table, bytes_alone(snapshot.pending_bytes), snapshot.pending_files)


def deadline_of(landed: datetime, freshness: Freshness) -> datetime:
    """When what landed then must be queryable."""
    if freshness.kind == "daily":
        return _next_daily(landed, freshness.at, freshness.zone)
    return landed + timedelta(seconds=freshness.seconds)


def _next_daily(after: datetime, at: str, zone: str) -> datetime:
    """The first moment after `after` at which clocks in `zone` show `at`.

    Built from wall-clock days, so that a day of 23 or 25 hours is right too.
    """
    utc = after if after.tzinfo is UTC else after.astimezone(UTC)
    for moment in _around(utc.toordinal(), at, zone):
        if moment > after:
            return moment
    raise AssertionError("a zone is at most a day away from UTC")


@lru_cache(maxsize=1024)
def _around(day: int, at: str, zone: str) -> tuple[datetime, ...]:
    """When clocks in `zone` show `at`: from the day before a day of UTC, as its ordinal, to two days after it."""
    days = (date.fromordinal(day + number) for number in (-1, 0, 1, 2))
    return tuple(datetime.combine(day, time.fromisoformat(at), ZoneInfo(zone)).astimezone(UTC) for day in days)
