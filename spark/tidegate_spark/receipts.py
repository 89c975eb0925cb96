"""What a merge answers: one receipt an attempt, written once and believed by Settle."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from tidegate_spark.commit import Commit
from tidegate_spark.errors import JobError, cause_of, summary
from tidegate_spark.work import SCHEMA, BatchOrder, Manifest, SourceFile, Work

_REASONS_KEPT = 20
"""Reasons in the commit itself; the receipt has them all."""
_REASON_CHARACTERS = 500
_COUNTS = ("read", "inserted", "updated", "deleted", "unchanged", "rejected", "quarantined", "filtered")
_LOST_REASON = "it broke its contract; why was in a receipt that was lost. Send the file again to see it"


@dataclass(frozen=True)
class Rejection:
    """A file that is not what its contract says."""

    file: SourceFile
    reason: str
    rows: int = 0
    """How many rows were left out with it, if it could be read so far."""


@dataclass(frozen=True)
class BadRow:
    """A row in quarantine, for people: the table beside the table has them all."""

    source: str
    row: int | None
    check: str
    reason: str


@dataclass(frozen=True)
class Quarantined:
    """What the quarantine got of a batch, and what its expectations counted."""

    rows: int = 0
    refused: int = 0
    """How many of them the strategy refused: they were read without a fault."""
    shown: tuple[BadRow, ...] = ()
    unmet: Mapping[str, int] = field(default_factory=dict)
    """How many rows didn't meet each expectation, whatever became of them."""


class Read(Protocol):
    """What a commit tells of its batch's files."""

    @property
    def files(self) -> Sequence[SourceFile]:
        """The readable ones."""

    @property
    def rejected(self) -> Sequence[Rejection]: ...

    @property
    def rows_read(self) -> int: ...

    @property
    def rows_rejected(self) -> int: ...

    @property
    def rows_filtered(self) -> int: ...

    @property
    def bytes(self) -> int: ...


class CreateOnly(Protocol):
    """A place for files that are never rewritten."""

    def create(self, uri: str, content: bytes) -> bool:
        """False if the file is there already; it is left alone."""


def told(
    manifest: Manifest,
    changes: Read,
    *,
    order: BatchOrder,
    work: Work,
    plan: str,
    table_rows_before: int | None,
    quarantined: Quarantined = Quarantined(),
) -> dict[str, Any]:
    """What the commit is told (its userMetadata): enough to write the receipt again from it alone."""
    return {
        **_signed(manifest, order, work),
        "files": len(changes.files),
        "rejected": [_rejected(rejection) for rejection in changes.rejected[:_REASONS_KEPT]],
        # Every rejected file has to be known after a crash, its reason need not.
        "rejected_indexes": [rejection.file.index for rejection in changes.rejected],
        "rows_read": changes.rows_read - quarantined.refused,
        "rows_rejected": changes.rows_rejected,
        "rows_quarantined": quarantined.rows,
        "rows_filtered": changes.rows_filtered,
        "quarantined": [_bad_row(each) for each in quarantined.shown],
        "expectations": dict(quarantined.unmet),
        "bytes": changes.bytes,
        "plan": plan,
        # With the commit's own counts, the rows after it: nobody has to add up the log's statistics.
        "table_rows_before": table_rows_before,
    }


def told_void(
    manifest: Manifest, *, order: BatchOrder, work: Work, plan: str, table_rows_before: int | None
) -> dict[str, Any]:
    """What a commit is told that uses a batch's number up and merges none of its files."""
    return {
        **_signed(manifest, order, work),
        "void": True,
        "reason": order.reason[:_REASON_CHARACTERS],
        "plan": plan,
        "table_rows_before": table_rows_before,
    }


def is_signed_by(commit: Commit, work: Work) -> bool:
    """Is it this attempt's own commit, and not that of another which came first?"""
    return (commit.told.get("run_id"), commit.told.get("pass")) == (work.run_id, work.pass_number)


def committed(manifest: Manifest, commit: Commit, *, replayed: bool) -> dict[str, Any]:
    """The part of a receipt that is about a commit: the same after a replay, but for `replayed`.

    Whether it merged the batch or voided it, the commit says, not the order: the first of its number decides.
    """
    info = commit.told
    rows_read = int(info.get("rows_read", 0))
    return {
        "outcome": "voided" if info.get("void") else "merged",
        "manifest_sha256": manifest.sha256,
        "delta_version": commit.version,
        "table_rows": commit.table_rows,
        "rows": {
            "read": rows_read,
            "inserted": commit.inserted,
            "updated": commit.updated,
            "deleted": commit.deleted,
            # A merge may write rows that no file has: those of a period that a late snapshot splits.
            "unchanged": max(0, rows_read - commit.inserted - commit.updated),
            "rejected": int(info.get("rows_rejected", 0)),
            "quarantined": int(info.get("rows_quarantined", 0)),
            "filtered": int(info.get("rows_filtered", 0)),
        },
        "quarantined": list(info.get("quarantined", ())),
        "expectations": dict(info.get("expectations") or {}),
        "files": {"read": int(info.get("files", 0)), "rejected": _all_rejected(manifest, info)},
        "bytes": int(info.get("bytes", 0)),
        "plan": str(info.get("plan", "")),
        "replayed": replayed,
        "error": None,
    }


def failed(order: BatchOrder, error: BaseException, rejected: tuple[Rejection, ...] = ()) -> dict[str, Any]:
    """The part of a receipt that says why nothing was merged."""
    return {
        "outcome": "failed",
        "manifest_sha256": order.manifest_sha256,
        "delta_version": None,
        "table_rows": None,
        "rows": dict.fromkeys(_COUNTS, 0),
        "quarantined": [],
        "expectations": {},
        "files": {"read": 0, "rejected": [_rejected(rejection) for rejection in rejected]},
        "bytes": 0,
        "plan": "",
        "replayed": False,
        "error": {
            "type": type(error).__name__,
            "message": str(error) if isinstance(error, JobError) else summary(error),
            "cause": cause_of(error),
            "file": getattr(error, "file", None) if isinstance(error, JobError) else None,
            "row": getattr(error, "row", None) if isinstance(error, JobError) else None,
        },
    }


def complete(
    part: Mapping[str, Any],
    *,
    order: BatchOrder,
    work: Work,
    application_id: str,
    started_at: datetime,
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """A whole receipt."""
    ended_at = datetime.now(UTC)
    return {
        "schema": SCHEMA,
        "table": order.table,
        "batch": order.batch,
        "run_id": work.run_id,
        "pass": work.pass_number,
        "columns": [],
        **part,
        "seconds": {
            "read": round(seconds.get("read", 0.0), 3),
            "merge": round(seconds.get("merge", 0.0), 3),
            **{name: round(value, 3) for name, value in seconds.items() if name not in {"read", "merge"}},
            "application_start": round(work.application_start_s, 3),
            "total": round((ended_at - started_at).total_seconds(), 3),
        },
        "started_at": started_at.isoformat(),
        "ended_at": ended_at.isoformat(),
        "spark_application_id": application_id,
    }


def write(storage: CreateOnly, uri: str, receipt: Mapping[str, Any]) -> bool:
    """False if this attempt already has a receipt; that one stays."""
    return storage.create(uri, json.dumps(receipt, ensure_ascii=False, indent=1).encode())


def _signed(manifest: Manifest, order: BatchOrder, work: Work) -> dict[str, Any]:
    return {
        "table": manifest.table,
        "batch": manifest.batch,
        "manifest_sha256": manifest.sha256,
        "run_id": work.run_id,
        "pass": work.pass_number,
        "fence": order.fence,
    }


def _rejected(rejection: Rejection) -> dict[str, Any]:
    return {"index": rejection.file.index, "key": rejection.file.key, "reason": rejection.reason}


def _bad_row(bad: BadRow) -> dict[str, Any]:
    return {
        "source": bad.source,
        "row": bad.row,
        "check": bad.check,
        "reason": bad.reason[:_REASON_CHARACTERS],
    }


def _all_rejected(manifest: Manifest, info: Mapping[str, Any]) -> list[dict[str, Any]]:
    known = {entry["index"]: entry for entry in info.get("rejected", ())}
    keys = {file.index: file.key for file in manifest.files}
    return [
        known.get(index)
        or {
            "index": index,
            "key": keys.get(index),
            "reason": _LOST_REASON,
        }
        for index in info.get("rejected_indexes", list(known))
    ]
