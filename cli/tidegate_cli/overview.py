"""How things stand: tables against their promises, what waits, what was set aside, what ran. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tidegate import contracts
from tidegate.dispatch import deadline_of
from tidegate.scaling_record import ScalingLook

from tidegate_cli import wording
from tidegate_cli.ledger import Arrival, Run, TableState

Freshness = Mapping[str, Any]
"""As compiled: `{"kind": "asap"}`, `{"kind": "within", "seconds"}` or `{"kind": "daily", "at", "zone"}`."""


@dataclass(frozen=True)
class TableRow:
    """One table, and how well it keeps its promise."""

    table: str
    version: int | None
    rows: int | None
    merged_at: datetime | None
    promise: str
    pending_files: int
    pending_bytes: int
    oldest_pending: datetime | None
    due_at: datetime | None
    """When the oldest pending arrival must be queryable; None if nothing is pending, or for `asap`."""
    standing: str
    """no rows yet, up to date, waiting, late, merging, retrying, paused or blocked."""
    note: str


@dataclass(frozen=True)
class SetAside:
    """Arrivals that are in no table, and why."""

    state: str
    table: str | None
    reason: str
    files: int
    example: str


@dataclass(frozen=True)
class Overview:
    """Everything that `tidegate status` shows."""

    at: datetime
    tables: tuple[TableRow, ...]
    set_aside: tuple[SetAside, ...]
    set_aside_is_all: bool
    runs: tuple[Run, ...]
    paused_reason: str | None = None
    """Why all tables are paused, if they are."""
    looks: Mapping[str, ScalingLook] = field(default_factory=dict)
    """The newest look at the cluster of each run that is running."""
    costs_usd: Mapping[str, float] = field(default_factory=dict)
    """What each run counts for: its account, or its estimate until there is one."""
    ceiling: str | None = None
    """Why no run starts any more today, if the day's budget is spent."""

    @property
    def held(self) -> tuple[str, ...]:
        """Tables whose files wait for the ceiling, once they are due."""
        return tuple(row.table for row in self.tables if self.ceiling and row.standing in {"late", "waiting"})


def overview(
    now: datetime,
    *,
    tables: Iterable[str],
    states: Mapping[str, TableState],
    promises: Mapping[str, Freshness],
    pending: Sequence[Arrival],
    set_aside: tuple[Sequence[Arrival], bool],
    runs: Sequence[Run],
    paused_reason: str | None = None,
    looks: Mapping[str, ScalingLook] | None = None,
    costs_usd: Mapping[str, float] | None = None,
    ceiling: str | None = None,
) -> Overview:
    """Put together what was read."""
    by_table: dict[str, list[Arrival]] = {}
    for arrival in pending:
        by_table.setdefault(arrival.table or "", []).append(arrival)
    names = sorted({*tables, *states, *by_table} - {""})
    return Overview(
        at=now,
        tables=tuple(
            table_row(
                now, name, states.get(name), promises.get(name), by_table.get(name, []), stack_pause=paused_reason
            )
            for name in names
        ),
        set_aside=count_set_aside(set_aside[0]),
        set_aside_is_all=set_aside[1],
        runs=tuple(runs),
        paused_reason=paused_reason,
        looks=looks or {},
        costs_usd=costs_usd or {},
        ceiling=ceiling,
    )


def table_row(
    now: datetime,
    name: str,
    state: TableState | None,
    promise: Freshness | None,
    pending: Sequence[Arrival],
    *,
    stack_pause: str | None = None,
) -> TableRow:
    """One table's line. `stack_pause` is why all tables are paused, if they are."""
    oldest = min((arrival.event_time for arrival in pending), default=None)
    due = due_at(promise, oldest) if promise and oldest else None
    paused = stack_pause or (state.paused_reason if state else None)
    standing, note = _paused(paused, state) if paused else _standing(now, state, oldest, due)
    return TableRow(
        table=name,
        version=state.delta_version if state else None,
        rows=state.row_count if state else None,
        merged_at=state.merged_at if state else None,
        promise=promise_in_words(promise) if promise else "-",
        pending_files=len(pending),
        pending_bytes=sum(arrival.size_bytes for arrival in pending),
        oldest_pending=oldest,
        due_at=due,
        standing=standing,
        note=note,
    )


def _paused(reason: str, state: TableState | None) -> tuple[str, str]:
    at_it = f"; run {state.run_id} ends what it has begun" if state and state.run_id else ""
    return "paused", f"{reason}{at_it}"


def _standing(
    now: datetime, state: TableState | None, oldest: datetime | None, due: datetime | None
) -> tuple[str, str]:
    if oldest is None and (state is None or state.delta_version is None) and not _standing_of_state(state):
        return "no rows yet", ""
    return _standing_of_state(state) or _standing_of_pending(now, oldest, due)


def _standing_of_state(state: TableState | None) -> tuple[str, str] | None:
    """What is the matter with the table itself, before what waits for it."""
    if state is None:
        return None
    if state.blocked_reason:
        return "blocked", state.blocked_reason
    if state.run_id:
        return "merging", f"in run {state.run_id}"
    if state.unsettled_batch is not None:
        wait = f", again after {state.retry_after:%H:%M:%S} UTC" if state.retry_after else ""
        failed = f"failed {wording.count(state.failures, 'time')}" if state.failures else "is not merged yet"
        return "retrying", f"batch {state.unsettled_batch} {failed}{wait}"
    return None


def _standing_of_pending(now: datetime, oldest: datetime | None, due: datetime | None) -> tuple[str, str]:
    if oldest is None:
        return "up to date", ""
    if due is None:
        return "waiting", "for the next dispatch"
    if now > due:
        return "late", f"by {wording.duration((now - due).total_seconds())}"
    return "waiting", f"due in {wording.duration((due - now).total_seconds())}"


def promise_in_words(promise: Freshness) -> str:
    """As the contract says it."""
    if promise["kind"] == "within":
        return f"within {wording.duration(promise['seconds'])}"
    if promise["kind"] == "daily":
        return f"by {promise['at']} {promise['zone']}"
    return "asap"


def due_at(promise: Freshness, oldest: datetime) -> datetime | None:
    """When an arrival of that time must be queryable; None for `asap`, which names no time."""
    if promise["kind"] == "asap":
        return None
    return deadline_of(oldest, contracts.Freshness(**promise))


def count_set_aside(arrivals: Iterable[Arrival]) -> tuple[SetAside, ...]:
    """How many arrivals for each reason, the most frequent first."""
    counts: Counter[tuple[str, str, str]] = Counter()
    examples: dict[tuple[str, str, str], str] = {}
    for arrival in arrivals:
        kind = (arrival.state, arrival.table or "", arrival.reason or "no reason recorded")
        counts[kind] += 1
        examples.setdefault(kind, arrival.key)
    return tuple(
        SetAside(state, table or None, reason, files, examples[state, table, reason])
        for (state, table, reason), files in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )
