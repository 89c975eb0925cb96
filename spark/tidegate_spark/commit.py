"""A batch's number is its commit's txnVersion, and its story the commit's userMetadata."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_APP_ID = "spark.databricks.delta.write.txnAppId"
_VERSION = "spark.databricks.delta.write.txnVersion"
_USER_METADATA = "spark.databricks.delta.commitInfo.userMetadata"


@contextmanager
def numbered_commit(session: SparkSession, app_id: str, batch: int, told: Mapping[str, Any]) -> Iterator[None]:
    """Within it, the session's writes carry the batch's number. Delta skips numbers that a table already has,

    silently and for every later write of the session: so the settings never outlive the block.
    """
    settings = {
        _APP_ID: app_id,
        _VERSION: str(batch),
        _USER_METADATA: json.dumps({"tidegate": told}, separators=(",", ":"), ensure_ascii=False),
    }
    try:
        for name, value in settings.items():
            session.conf.set(name, value)
        yield
    finally:
        for name in settings:
            session.conf.unset(name)


@dataclass(frozen=True)
class Number:
    """What a commit has to carry, for whoever commits without Spark."""

    app_id: str
    batch: int
    user_metadata: str


def number_of(session: SparkSession) -> Number:
    """What :func:`numbered_commit` has set. Raises LookupError outside of it."""
    app_id, batch, told = (session.conf.get(name, None) for name in (_APP_ID, _VERSION, _USER_METADATA))
    if app_id is None or batch is None or told is None:
        raise LookupError("a table is written outside of numbered_commit: the commit would have no number")
    return Number(app_id, int(batch), told)


def amend_plan(session: SparkSession, words: str) -> None:
    """Within :func:`numbered_commit`: what has been told of the plan turned out otherwise."""
    told = json.loads(number_of(session).user_metadata)
    told["tidegate"]["plan"] = f"{told['tidegate'].get('plan', '')} {words}".strip()
    session.conf.set(_USER_METADATA, json.dumps(told, separators=(",", ":"), ensure_ascii=False))


_NAMES_OF_DELTA_RS = {
    "num_target_rows_inserted": "numTargetRowsInserted",
    "num_target_rows_updated": "numTargetRowsUpdated",
    "num_target_rows_deleted": "numTargetRowsDeleted",
    "num_added_rows": "numOutputRows",
}


@dataclass(frozen=True)
class Commit:
    """A commit, as its file in the table's log has it."""

    version: int
    batches: Mapping[str, int]
    """The numbers that it carries, by app id: one if it is a batch's, none otherwise."""
    told: Mapping[str, Any]
    """What `numbered_commit` was told; empty if somebody else made it."""
    metrics: Mapping[str, int]

    @property
    def inserted(self) -> int:
        # A MERGE counts its inserts; a plain append only has rows.
        return self.metrics.get("numTargetRowsInserted", self.metrics.get("numOutputRows", 0))

    @property
    def updated(self) -> int:
        return self.metrics.get("numTargetRowsUpdated", 0)

    @property
    def deleted(self) -> int:
        return self.metrics.get("numTargetRowsDeleted", 0)

    @property
    def table_rows(self) -> int | None:
        """Rows of the table after it; None if the batch didn't know how many there were before."""
        before = self.told.get("table_rows_before")
        return None if before is None else int(before) + self.inserted - self.deleted


def parse_commit(version: int, raw: bytes) -> Commit:
    """A file of `_delta_log`: one action a line, of which two kinds say what we want to know."""
    info: dict[str, Any] = {}
    batches: dict[str, int] = {}
    for line in raw.splitlines():
        if line.startswith(b'{"commitInfo"'):
            info = json.loads(line)["commitInfo"]
        elif line.startswith(b'{"txn"'):
            transaction = json.loads(line)["txn"]
            batches[transaction["appId"]] = int(transaction["version"])
    metrics = {
        _NAMES_OF_DELTA_RS.get(name, name): int(value)
        for name, value in (info.get("operationMetrics") or {}).items()
        if str(value).isdigit()
    }
    return Commit(version, batches, _told(info.get("userMetadata")), metrics)


def _told(user_metadata: str | None) -> Mapping[str, Any]:
    try:
        told = json.loads(user_metadata or "{}")["tidegate"]
    except (ValueError, KeyError, TypeError):
        return {}
    return told if isinstance(told, dict) else {}
