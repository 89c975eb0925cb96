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
    metrics = {name: int(value) for name, value in (info.get("operationMetrics") or {}).items() if str(value).isdigit()}
    return Commit(version, batches, _told(info.get("userMetadata")), metrics)


def _told(user_metadata: str | None) -> Mapping[str, Any]:
    try:
        told = json.loads(user_metadata or "{}")["tidegate"]
    except (ValueError, KeyError, TypeError):
        return {}
    return told if isinstance(told, dict) else {}
