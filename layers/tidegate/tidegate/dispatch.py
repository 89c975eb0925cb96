"""When a run starts, and for which tables: as late as each table's freshness allows."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter

from tidegate.contracts import Contract
from tidegate.due import (
    TableDecision,
    TableSnapshot,
    alone_s,
    deadline_of,
    decide_table,
    lateness_of,
    look_at,
    start_by,
)
from tidegate.rates import ASSUMED, Rates
from tidegate.run_size import bytes_alone
from tidegate.stack_limits import ALONE, ANYTHING, GRACE_S, Stack, StackLimits, why_no_new_cluster

__all__ = [
    "Dispatch", "TableDecision", "TableSnapshot", "deadline_of", "decide_dispatch", "decide_more", "lateness_of",
    "may_maintain", "start_by",
]  # fmt: skip

_FULL = 0.9
"""Of a batch's limit in bytes: the next file didn't fit."""

_SHARED_OVERHEAD_S = 3
"""Of a merge behind another in the same Spark application (docs/timings.md)."""


@dataclass(frozen=True)
class Dispatch:
    """The tables of the next run, none if nothing is due, and why; `decisions` has a sentence for every table."""

    tables: tuple[str, ...]
    reason: str
    decisions: tuple[TableDecision, ...]
    ceiling: str | None = None
    """Which ceiling keeps a run from starting, if one does: that on clusters at once, or on a day's dollars."""

    @property
    def lateness_s(self) -> float:
        """Of the table that is latest, whatever holds it up."""
        return max((decision.lateness_s for decision in self.decisions), default=0.0)

    @property
    def stopped(self) -> tuple[str, ...]:
        """Tables that are blocked or paused."""
        return tuple(decision.table for decision in self.decisions if decision.is_stopped)

    @property
    def waiting(self) -> Mapping[str, str]:
        """Tables that are due and wait nevertheless, and for what."""
        return {each.table: each.waits_for for each in self.decisions if each.is_due and each.waits_for is not None}

    @property
    def held(self) -> tuple[str, ...]:
        """Tables that are due and wait for a ceiling: nothing that ends by itself soon."""
        return tuple(table for table, waits_for in self.waiting.items() if waits_for == self.ceiling)


def decide_dispatch(
    snapshots: Sequence[TableSnapshot],
    now: datetime,
    *,
    at_once: bool = False,
    rates: Rates = ASSUMED,
    limits: StackLimits = ANYTHING,
    stack: Stack = ALONE,
) -> Dispatch:
    """Decide which tables a run merges now.

    A run starts when a table is due, or `at_once` if anything can be merged. Whatever else can be merged rides
    along: a cluster that is there anyway is the cheapest one. A table that a warm cluster takes in time needs no new
    one. What `limits` keep from a run stays due, and is decided on again at the next look; a person who says `at_once`
    waits for no quiet hours, but is held by the ceilings.
    """
    in_order = sorted(snapshots, key=attrgetter("contract.table"))
    look = look_at(now, at_once=at_once, rates=rates, limits=limits)
    decisions = [decide_table(each, look) for each in in_order]
    if limits.side_by_side is not None:
        decisions = _crowded(decisions, rates, limits)
    warm = [(takes_at, cluster.run_id) for cluster in stack.clusters if (takes_at := cluster.takes_more_at(now))]
    if warm:
        decisions = _with_warm(decisions, now, rates, *min(warm))
    due = [each for each in decisions if each.is_due and each.can_ride_along]
    riding = [each for each in decisions if each.can_ride_along and not each.is_due]
    starting = due or (riding if at_once else [])
    if not starting:
        waiting = [f"{each.table}: {each.waits_for}" for each in decisions if each.is_due and each.waits_for]
        reason = f"no new run: {_first_three(waiting)}" if waiting else "no table is due"
        return Dispatch((), reason, tuple(decisions))
    why_not = why_no_new_cluster(limits, stack)
    if why_not is not None:
        held = [
            _held_back(each, why_not) if each.can_ride_along and (each.is_due or at_once) else each
            for each in decisions
        ]
        return Dispatch((), f"{len(starting)} tables wait: {why_not}", tuple(held), ceiling=why_not)
    reason = _first_three([f"{each.table}: {each.reason}" for each in starting[:3]], len(starting))
    chosen = tuple(sorted([each.table for each in due + riding]))
    return Dispatch(chosen, reason if due else f"at once: {reason}", tuple(decisions))


def decide_more(
    snapshots: Sequence[TableSnapshot],
    mine: Collection[str],
    started_at: datetime,
    now: datetime,
    *,
    rates: Rates = ASSUMED,
    limits: StackLimits = ANYTHING,
) -> tuple[str, ...]:
    """Which tables a run takes on while its cluster is warm: `mine` are those that it has, `started_at` is its start.

    Its own tables until all that had landed when it began is merged, and whatever would be due before a new cluster
    could be there. If there is nothing of that, what has landed since is taken if a round now is cheaper than the next
    cluster so much sooner. What is small rides along with either. Nothing in quiet hours.
    """
    look = look_at(now, rates=rates, limits=limits)
    decisions = [decide_table(each, look) for each in snapshots]
    able = [each for each in decisions if each.can_ride_along]
    own = frozenset(mine)

    def has_to(decision: TableDecision) -> bool:
        of = decision.snapshot
        was_waiting = of.oldest_event_time is not None and of.oldest_event_time <= started_at
        is_mine = of.contract.table in own and was_waiting
        return is_mine or decision.is_due or decision.start_in_s <= rates.start_up_s

    taken = {each.table for each in able if has_to(each)} or _worth_a_round(able, now, rates)
    riding = [each.table for each in able if _is_small(each, rates)] if taken else []
    return tuple(sorted(taken.union(riding)))


def _worth_a_round(decisions: Sequence[TableDecision], now: datetime, rates: Rates) -> set[str]:
    """The table for which the next cluster would start, if a round now is cheaper than that cluster so much sooner.

    What is merged now puts the next start off by the age of the oldest file. Without it a start-up and an overhead are
    paid once in `start_in_s`, with it one overhead more in that time and the age. Bytes are paid for either way.
    """
    first = min(decisions, key=attrgetter("start_in_s"), default=None)
    if first is None or first.snapshot.oldest_event_time is None:
        return set()
    age_s = (now - first.snapshot.oldest_event_time).total_seconds()
    overhead_s = rates.of(first.table).overhead_s
    return {first.table} if overhead_s * first.start_in_s < age_s * (rates.start_up_s + overhead_s) else set()


def _is_small(decision: TableDecision, rates: Rates) -> bool:
    """Whether a table's merge is mostly overhead, which those that it rides along with have anyway."""
    of, of_table = decision.snapshot, rates.of(decision.table)
    return of_table.moving_s(of.pending_bytes, of.pending_files) <= of_table.overhead_s


def may_maintain(contract: Contract, files: int, size_bytes: int, *, reopened: int) -> bool:
    """Is there time to maintain a table behind a batch of so many files and bytes?

    Not if more of the table waits: a batch that is as large as a batch may be left something behind, and what was
    reopened comes next. The table's lease, and the settling of its group's batches, would wait for the maintenance.
    """
    is_full = files >= contract.max_files or size_bytes >= _FULL * contract.max_bytes
    return not is_full and not reopened


def _crowded(decisions: Sequence[TableDecision], rates: Rates, limits: StackLimits) -> list[TableDecision]:
    """Tables alone may have time and together not: one is due that would come too late behind those before it.

    By their deadlines, the first one first: if any order keeps them all, this one does.
    """
    side_by_side = limits.side_by_side or 1
    queue = sorted(
        (decision.start_in_s + decision.takes_s, number)
        for number, decision in enumerate(decisions)
        if decision.can_ride_along
    )
    made, overhead_s, moving_s = list(decisions), 0.0, 0.0
    for place, (deadline_in_s, number) in enumerate(queue):
        decision = decisions[number]
        of_table, of = rates.of(decision.table), decision.snapshot
        overhead_s = max(overhead_s, of_table.overhead_s)
        moving_s += _SHARED_OVERHEAD_S + of_table.moving_s(bytes_alone(of.pending_bytes), of.pending_files)
        takes_s = rates.start_up_s + overhead_s + moving_s / side_by_side
        if place and not decision.is_due and takes_s >= deadline_in_s:
            detail = f"{place} tables are to be fresh before it, and together they take {takes_s:.0f} s"
            made[number] = decision._replace(rule="crowd", is_due=True, detail=detail)
    return made


def _with_warm(
    decisions: Sequence[TableDecision], now: datetime, rates: Rates, takes_at: datetime, run_id: str
) -> list[TableDecision]:
    """Leave due tables to a live cluster that takes them on, if it is through in time or before a new one would be.

    One that is still starting was asked for before, and both are reckoned with the same careful start-up. So it is
    preferred if, as it is expected, it takes the table before a new one would have merged it.
    """
    words = f"the warm cluster of run {run_id} takes it by {takes_at:%H:%M:%S} UTC"
    takes_in_s = (takes_at - now).total_seconds()

    def is_taken(decision: TableDecision) -> bool:
        # One that is late by a start-up already has waited for a warm cluster that did not take it.
        if not (decision.is_due and decision.can_ride_along) or decision.lateness_s >= rates.start_up_s:
            return False
        if takes_in_s - GRACE_S <= rates.start_up_s + rates.of(decision.table).overhead_s:
            return True
        of = decision.snapshot
        if of.oldest_event_time is None or of.contract.freshness.kind == "asap":
            return False
        deadline = deadline_of(of.oldest_event_time, of.contract.freshness)
        return takes_at + timedelta(seconds=alone_s(of, rates)) <= deadline

    return [_held_back(each, words) if is_taken(each) else each for each in decisions]


def _held_back(decision: TableDecision, why: str) -> TableDecision:
    return decision._replace(can_ride_along=False, waits_for=why)


def _first_three(words: Sequence[str], of: int = 0) -> str:
    more = max(of, len(words)) - 3
    return "; ".join(words[:3]) + (f"; and {more} more" if more > 0 else "")
