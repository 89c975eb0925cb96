"""The ledger's items as the operator sees them. Pure: items in, facts out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Item = Mapping[str, Any]


@dataclass(frozen=True)
class Arrival:
    """One version of one object."""

    bucket: str
    key: str
    sequencer: str
    state: str
    """pending, claimed, ignored or quarantined."""
    event_time: datetime
    recorded_at: datetime | None
    size_bytes: int
    table: str | None
    batch: int | None
    reason: str | None


@dataclass(frozen=True)
class TableState:
    """How far a table is."""

    table: str
    last_merged_batch: int | None
    unsettled_batch: int | None
    delta_version: int | None
    row_count: int | None
    merged_at: datetime | None
    run_id: str | None
    """The run that holds the lease."""
    failures: int
    """Failed attempts at the unsettled batch."""
    retry_after: datetime | None
    blocked_reason: str | None
    paused_reason: str | None


@dataclass(frozen=True)
class Batch:
    """A numbered list of arrivals."""

    table: str
    batch: int
    state: str
    """sealed, merged or failed."""
    run_id: str | None
    files: int
    bytes: int
    oldest_event_time: datetime | None
    newest_event_time: datetime | None
    manifest_uri: str | None
    receipt_uri: str | None
    delta_version: int | None
    rows: Mapping[str, int]
    rejected_files: int
    error: str | None
    sealed_at: datetime | None
    settled_at: datetime | None


@dataclass(frozen=True)
class Run:
    """One life of one cluster."""

    run_id: str
    state: str
    """running, succeeded or failed."""
    execution_arn: str | None
    cluster_id: str | None
    cluster_name: str | None
    started_at: datetime | None
    ended_at: datetime | None
    batches: tuple[tuple[str, int], ...]
    run_pass: int = 0
    reason: str | None = None
    error: str | None = None
    tables: tuple[str, ...] = field(default=())

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it runs."""
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()


def parse_arrival(item: Item) -> Arrival:
    return Arrival(
        bucket=item["bucket"],
        key=item["key"],
        sequencer=item["sequencer"],
        state=item["state"],
        event_time=_time_of(item["event_time"]),
        recorded_at=_time(item.get("recorded_at")),
        size_bytes=_int(item.get("size_bytes")) or 0,
        table=item.get("table"),
        batch=_int(item.get("batch")),
        reason=item.get("reason"),
    )


def parse_table(item: Item) -> TableState:
    lease = item.get("lease") or {}
    return TableState(
        table=item["pk"].removeprefix("table#"),
        last_merged_batch=_int(item.get("last_merged_batch")),
        unsettled_batch=_int(item.get("unsettled_batch")),
        delta_version=_int(item.get("delta_version")),
        row_count=_int(item.get("row_count")),
        merged_at=_time(item.get("merged_at")),
        run_id=lease.get("run_id"),
        failures=_int(item.get("failures")) or _int(item.get("attempts")) or 0,
        retry_after=_time(item.get("retry_after")),
        blocked_reason=item.get("blocked_reason"),
        paused_reason=item.get("paused_reason"),
    )


def parse_batch(item: Item) -> Batch:
    return Batch(
        table=item["table"],
        batch=int(item["batch"]),
        state=item["state"],
        run_id=item.get("run_id"),
        files=_int(item.get("files")) or 0,
        bytes=_int(item.get("bytes")) or 0,
        oldest_event_time=_time(item.get("oldest_event_time")),
        newest_event_time=_time(item.get("newest_event_time")),
        manifest_uri=item.get("manifest_uri"),
        receipt_uri=item.get("receipt_uri"),
        delta_version=_int(item.get("delta_version")),
        rows={name: int(count) for name, count in (item.get("rows") or {}).items() if count is not None},
        rejected_files=_count(item.get("rejected_files")),
        error=_words(item.get("error")),
        sealed_at=_time(item.get("sealed_at")),
        settled_at=_time(item.get("settled_at")),
    )


def parse_run(item: Item) -> Run:
    return Run(
        run_id=item["sk"],
        state=item["state"],
        execution_arn=item.get("execution_arn"),
        cluster_id=item.get("cluster_id"),
        cluster_name=item.get("cluster_name"),
        started_at=_time(item.get("started_at")),
        ended_at=_time(item.get("ended_at")),
        batches=tuple((str(table), int(batch)) for table, batch in item.get("batches") or ()),
        run_pass=_int(item.get("pass")) or 0,
        reason=item.get("reason"),
        error=_words(item.get("error")),
        tables=tuple(item.get("tables") or ()),
    )


def _time_of(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _time(text: str | None) -> datetime | None:
    return _time_of(text) if text else None


def _int(value: Any) -> int | None:
    return None if value is None else int(value)


def _count(value: Any) -> int:
    return len(value) if isinstance(value, list | tuple) else int(value or 0)


def _words(error: Any) -> str | None:
    """An error is a sentence, or an object with one in it."""
    if isinstance(error, Mapping):
        return str(error.get("message") or error.get("Cause") or dict(error))
    return None if error is None else str(error)
