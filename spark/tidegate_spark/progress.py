"""How far a group of batches is, told while it works: whoever scales the cluster reads it.

One small object, written over and over. It is no receipt: nothing is settled by it, and whatever goes wrong with it
costs no batch anything.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import SparkSession

from tidegate_spark.logs import Log
from tidegate_spark.storage import Storage
from tidegate_spark.threads import repeated
from tidegate_spark.work import SCHEMA, BatchOrder, Work

EVERY_S = 30.0
"""Half of the minute in which scaling looks: what it reads is never older than that."""


class Progress:
    """What has been done so far. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done: list[tuple[str, int]] = []

    def done(self, order: BatchOrder) -> None:
        """A batch is through: merged, voided or failed."""
        with self._lock:
            self._done.append((order.table, order.batch))

    def all_done(self) -> list[tuple[str, int]]:
        with self._lock:
            return list(self._done)


@contextmanager
def telling(spark: SparkSession, storage: Storage, work: Work, log: Log) -> Iterator[Progress]:
    """Within it, tell every half minute how far the work is."""
    progress = Progress()
    if work.progress_uri is None:
        yield progress
        return
    uri = work.progress_uri
    began = time.monotonic()
    meters: list[_Meter] = []

    def tell() -> None:
        try:
            if not meters:
                meters.append(_Meter(spark, began))
            document = describe(work, progress, meters[0].read())
            storage.replace(uri, json.dumps(document).encode())
        except Exception as error:  # noqa: BLE001 - no batch depends on it, and scaling knows what to do without it
            log.failure("Progress could not be told; the batches go on", error, uri=uri)

    try:
        with repeated(tell, every_s=EVERY_S):
            yield progress
    finally:
        tell()  # that it is through, too: another group of the run may still be at work


def describe(work: Work, progress: Progress, figures: dict[str, Any]) -> dict[str, Any]:
    """The document: what is done, and Spark's own figures of now."""
    return {
        "schema": SCHEMA,
        "run_id": work.run_id,
        "pass": work.pass_number,
        "group": work.group,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "done": [[table, batch] for table, batch in progress.all_done()],
        **figures,
    }


class _Meter:
    """What Spark's own status store says: the figures of its REST API, without the web server."""

    def __init__(self, spark: SparkSession, began: float) -> None:
        context = spark.sparkContext
        java_context: Any = context._jsc
        self._store = java_context.sc().statusStore()
        self._tracker = context.statusTracker()
        self._core_s = 0.0
        self._read_at = began

    def read(self) -> dict[str, Any]:
        """`core_s` are cores times seconds since the beginning, as far as it was looked at."""
        executors = self._store.executorList(True)
        cores = busy = read_bytes = 0
        for at in range(executors.size()):
            executor = executors.apply(at)
            cores += int(executor.totalCores())
            busy += int(executor.activeTasks())
            read_bytes += int(executor.totalInputBytes())
        now = time.monotonic()
        self._core_s += cores * (now - self._read_at)
        self._read_at = now
        return {
            "cores": cores,
            "busy_cores": min(busy, cores),
            "core_s": round(self._core_s, 1),
            "input_bytes": read_bytes,
            # Adaptive execution runs each side of a shuffle as a job of its own, so any job may be one: what is taken
            # away then has to be made again.
            "shuffles": bool(self._tracker.getActiveJobsIds()),
        }
