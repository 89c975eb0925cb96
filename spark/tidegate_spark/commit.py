"""A batch's number is its commit's txnVersion, and its story the commit's userMetadata."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

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
    """The commit of a batch, as the table's log has it."""

    version: int
    told: Mapping[str, Any]
    """What `numbered_commit` was told."""
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


def parse_commit(version: int, raw: bytes) -> Commit | None:
    """The commit in a file of `_delta_log`, if it is one of a batch."""
    for line in raw.splitlines():
        if line.startswith(b'{"commitInfo"'):
            info = json.loads(line)["commitInfo"]
            try:
                told = json.loads(info.get("userMetadata") or "{}")["tidegate"]
            except (ValueError, KeyError, TypeError):
                return None
            metrics = {
                name: int(value) for name, value in (info.get("operationMetrics") or {}).items() if str(value).isdigit()
            }
            return Commit(version, told, metrics)
    return None
