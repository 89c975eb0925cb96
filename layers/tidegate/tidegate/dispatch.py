"""When a run starts, and for which tables: as late as each table's freshness allows."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from tidegate.contracts import Contract, Freshness

START_UP_S = 600
"""From RunJobFlow to the first step. AWS quotes five to ten minutes; measured times a table will replace it."""

MERGE_OVERHEAD_S = 60
MERGE_BYTES_PER_S = 20 * 1024**2
"""A cautious guess for the smallest cluster; measured rates a table will replace it."""

_FULL = 0.9
"""Of a batch's limit in bytes: the next file didn't fit."""


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class TableDecision:
    table: str
    is_due: bool
    can_ride_along: bool
    reason: str
    lateness_s: float = 0.0
    """How long ago the oldest pending file should have been queryable; 0 while its freshness can still be kept."""
    is_stopped: bool = False
    """Blocked or paused: only a person sets it going again."""


@dataclass(frozen=True)
class Dispatch:
    """The tables of the next run, none if nothing is due, and why; `decisions` has a sentence for every table."""

    tables: tuple[str, ...]
    reason: str
    decisions: tuple[TableDecision, ...]

    @property
    def lateness_s(self) -> float:
        """Of the table that is latest, whatever holds it up."""
        return max((decision.lateness_s for decision in self.decisions), default=0.0)

    @property
    def stopped(self) -> tuple[str, ...]:
        """Tables that are blocked or paused."""
        return tuple(decision.table for decision in self.decisions if decision.is_stopped)


def decide_dispatch(snapshots: Sequence[TableSnapshot], now: datetime, *, at_once: bool = False) -> Dispatch:
    """Decide which tables a run merges now.

    A run starts when a table is due, or `at_once` if anything can be merged. Whatever else can be merged rides
    along: a cluster that is there anyway is the cheapest one.
    """
    in_order = sorted(snapshots, key=lambda snapshot: snapshot.contract.table)
    decisions = tuple(_decide_table(snapshot, now, at_once=at_once) for snapshot in in_order)
    due = [decision for decision in decisions if decision.is_due]
    riding = [decision for decision in decisions if decision.can_ride_along and not decision.is_due]
    if not due and not (at_once and riding):
        return Dispatch((), "no table is due", decisions)
    chosen = sorted(decision.table for decision in due + riding)
    reason = "; ".join(f"{decision.table}: {decision.reason}" for decision in (due or riding)[:3])
    if len(due or riding) > 3:
        reason += f"; and {len(due or riding) - 3} more"
    return Dispatch(tuple(chosen), reason if due else f"at once: {reason}", decisions)


def decide_more(
    snapshots: Sequence[TableSnapshot], mine: Collection[str], started_at: datetime, now: datetime
) -> tuple[str, ...]:
    """Which tables a run takes on while its cluster is warm: `mine` are those that it has, `started_at` is its start.

    Its own tables until all that had landed when it began is merged, and whatever would be due before a new cluster
    could be there.
    """
    soon = now + timedelta(seconds=START_UP_S)

    def is_taken(snapshot: TableSnapshot) -> bool:
        if _obstacle(snapshot, now, at_once=False) is not None:
            return False
        was_waiting = snapshot.oldest_event_time is not None and snapshot.oldest_event_time <= started_at
        return (snapshot.contract.table in mine and was_waiting) or _due_by_freshness(snapshot, soon)[0]

    return tuple(sorted(snapshot.contract.table for snapshot in snapshots if is_taken(snapshot)))


def may_maintain(contract: Contract, files: int, size_bytes: int, *, reopened: int) -> bool:
    """Is there time to maintain a table behind a batch of so many files and bytes?

    Not if more of the table waits: a batch that is as large as a batch may be left something behind, and what was
    reopened comes next. The table's lease, and the settling of its group's batches, would wait for the maintenance.
    """
    is_full = files >= contract.max_files or size_bytes >= _FULL * contract.max_bytes
    return not is_full and not reopened


def _decide_table(snapshot: TableSnapshot, now: datetime, *, at_once: bool) -> TableDecision:
    obstacle = _obstacle(snapshot, now, at_once=at_once)
    is_due, reason = (False, obstacle) if obstacle is not None else _due_by_freshness(snapshot, now)
    return TableDecision(
        snapshot.contract.table,
        is_due,
        can_ride_along=obstacle is None,
        reason=reason,
        lateness_s=lateness_of(snapshot, now),
        is_stopped=snapshot.blocked_reason is not None or snapshot.paused_reason is not None,
    )


def lateness_of(snapshot: TableSnapshot, now: datetime) -> float:
    """Seconds by which the table's freshness is missed for its oldest pending file.

    `asap` promises no time, so what it takes to start a cluster and to merge is not counted as late.
    """
    if snapshot.oldest_event_time is None:
        return 0.0
    if snapshot.contract.freshness.kind == "asap":
        merge_s = MERGE_OVERHEAD_S + snapshot.pending_bytes / MERGE_BYTES_PER_S
        deadline = snapshot.oldest_event_time + timedelta(seconds=START_UP_S + merge_s)
    else:
        deadline = deadline_of(snapshot.oldest_event_time, snapshot.contract.freshness)
    return max(0.0, (now - deadline).total_seconds())


def _obstacle(snapshot: TableSnapshot, now: datetime, *, at_once: bool) -> str | None:
    """Why a table can't be in a run now, however long it has waited. `at_once` waits for no batch's next try."""
    obstacles = {
        "nothing is pending": not snapshot.has_work,
        f"paused: {snapshot.paused_reason}": snapshot.paused_reason is not None,
        f"run {snapshot.held_by} is at it": snapshot.held_by is not None,
        f"blocked: {snapshot.blocked_reason}": snapshot.blocked_reason is not None,
    }
    first = next((words for words, applies in obstacles.items() if applies), None)
    if first is None and snapshot.retry_after is not None and now < snapshot.retry_after and not at_once:
        return f"batch {snapshot.unsettled_batch} is tried again at {snapshot.retry_after:%H:%M:%S} UTC"
    return first


def _due_by_freshness(snapshot: TableSnapshot, now: datetime) -> tuple[bool, str]:
    contract = snapshot.contract
    if snapshot.unsettled_batch is not None or snapshot.reopened:
        # What was begun comes before anything new.
        begun = f"batch {snapshot.unsettled_batch} is not settled yet"
        return True, begun if snapshot.unsettled_batch else f"{snapshot.reopened} lists of files are to be merged again"
    if snapshot.oldest_event_time is None:
        return True, "its arrivals don't say how old they are"
    waited_s = int((now - snapshot.oldest_event_time).total_seconds())
    pending = f"{snapshot.pending_files} files of {snapshot.pending_bytes:,} bytes, the oldest {waited_s} s old"
    if snapshot.pending_files >= contract.max_files or snapshot.pending_bytes >= contract.max_bytes:
        return True, f"{pending}: a batch is full, so waiting saves nothing"
    if contract.freshness.kind == "asap":
        return True, f"{pending}, as soon as possible"
    start_at = start_by(snapshot)
    if now >= start_at:
        return True, f"{pending}: a later start would miss its freshness"
    return False, f"{pending}: due at {start_at:%Y-%m-%d %H:%M:%S} UTC"


def start_by(snapshot: TableSnapshot) -> datetime:
    """The latest moment at which a run can start and still keep the table's freshness.

    Raises ValueError when nothing is pending.
    """
    if snapshot.oldest_event_time is None:
        raise ValueError(f"nothing is pending for {snapshot.contract.table}")
    deadline = deadline_of(snapshot.oldest_event_time, snapshot.contract.freshness)
    merge_s = MERGE_OVERHEAD_S + snapshot.pending_bytes / MERGE_BYTES_PER_S
    return deadline - timedelta(seconds=START_UP_S + merge_s)


def deadline_of(landed: datetime, freshness: Freshness) -> datetime:
    """When what landed then must be queryable."""
    if freshness.kind == "daily":
        return _next_daily(landed, time.fromisoformat(freshness.at), ZoneInfo(freshness.zone))
    return landed + timedelta(seconds=freshness.seconds)


def _next_daily(after: datetime, at: time, zone: ZoneInfo) -> datetime:
    """The first moment after `after` at which clocks in `zone` show `at`.

    Built from wall-clock days, so that a day of 23 or 25 hours is right too.
    """
    day = after.astimezone(zone).date()
    moment = datetime.combine(day, at, zone).astimezone(UTC)
    if moment <= after:
        moment = datetime.combine(day + timedelta(days=1), at, zone).astimezone(UTC)
    return moment
