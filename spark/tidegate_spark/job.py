"""The merge job: takes a work file, merges its batches, leaves a receipt for each.

Tables go side by side, each in a session and a FAIR pool of its own; the batches of one table go one after
another. A table's failure is its own.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import SparkSession

from tidegate_spark import receipts
from tidegate_spark.batch import merge_batch
from tidegate_spark.errors import EarlierBatchFailed
from tidegate_spark.logs import Log
from tidegate_spark.lookups import remember_lookups
from tidegate_spark.maintaining import maintain_after
from tidegate_spark.progress import Progress, telling
from tidegate_spark.storage import Storage
from tidegate_spark.threads import in_threads
from tidegate_spark.work import BatchOrder, Work, parse_work

_TABLES_AT_ONCE = 4
"""More than that only compete for the driver."""


def main(argv: Sequence[str] | None = None) -> int:
    """Merge or void every batch of `--work`. 0 if each is in its table then, 1 otherwise, after trying all."""
    arguments = _parser().parse_args(argv)
    log = Log()
    log.info("Starting", work=arguments.work)
    try:
        spark = SparkSession.builder.config("spark.scheduler.mode", "FAIR").getOrCreate()
    except Exception as error:  # noqa: BLE001 - one line that can be read, then the exit code
        log.failure("Spark did not start", error)
        return 1
    try:
        return run(spark, arguments.work, log)
    finally:
        spark.stop()


def run(spark: SparkSession, work_uri: str, log: Log | None = None) -> int:
    """:func:`main` on a session that is there already, which is left running."""
    log = log or Log()
    remember_lookups(spark)
    storage = Storage(spark)
    try:
        work = parse_work(storage.read(work_uri), work_uri)
    except Exception as error:  # noqa: BLE001 - without a work file nobody knows where receipts go
        log.failure("The work file can't be read; nothing was done", error, work=work_uri)
        return 1
    work = replace(work, application_start_s=time.time() - _driver_started_at(spark))
    log = log.of(run_id=work.run_id, group=work.group, **{"pass": work.pass_number})
    tables = work.by_table()
    with telling(spark, storage, work, log) as progress:
        answers = in_threads(
            lambda orders: _merge_table(spark, orders, work, log, progress), tables.values(), at_most=_TABLES_AT_ONCE
        )
    are_done = all(answers)
    log.info("Done", outcome="merged" if are_done else "failed", tables=list(tables))
    return 0 if are_done else 1


def _driver_started_at(spark: SparkSession) -> float:
    """Seconds since 1970. In client mode the driver is the step, so this is when the cluster began it."""
    jvm: Any = spark._jvm
    return float(jvm.java.lang.management.ManagementFactory.getRuntimeMXBean().getStartTime()) / 1000


def _merge_table(spark: SparkSession, orders: Sequence[BatchOrder], work: Work, log: Log, progress: Progress) -> bool:
    """True if all of the table's batches are in it, merged or voided. Nothing gets out of here: other tables go on."""
    log = log.of(table=orders[0].table)
    failed: int | None = None
    try:
        session, storage = _session_of(spark, orders[0].table), Storage(spark)
        for order in orders:
            batch_log = log.of(batch=order.batch)
            if failed is not None:
                _refuse(session, storage, order, work, failed)
            elif merge_batch(session, storage, order=order, work=work, log=batch_log)["outcome"] == "failed":
                failed = order.batch
            progress.done(order)
        if failed is None:
            maintain_after(session, storage, order=orders[-1], work=work, now=datetime.now(UTC), log=log)
    except Exception as error:  # noqa: BLE001 - the last resort; no receipt means unknown
        log.failure("The table's batches could not be answered for", error)
        return False
    return failed is None


def _session_of(spark: SparkSession, table: str) -> SparkSession:
    """A session for this thread and table alone: Delta's txn settings must never reach another's writes."""
    session = spark.newSession()
    jvm: Any = spark._jvm
    jvm.org.apache.spark.sql.SparkSession.setActiveSession(session._jsparkSession)
    session.sparkContext.setLocalProperty("spark.scheduler.pool", table)
    session.sparkContext.setJobDescription(f"tidegate {table}")
    for name, value in {
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.ansi.enabled": "false",  # what a cast would cut is found in another way: sources/rows.py
        # Were a column ever not asked for, the CSV parser would no longer see that a row has too many fields.
        "spark.sql.csv.parser.columnPruning.enabled": "false",
        # Delta's list of a table's files is made anew after each commit, by default in 50 tasks: a second on two cores.
        # 100,000 files are some 25 MB a task.
        "spark.databricks.delta.snapshotPartitions": "4",
        "spark.sql.files.ignoreCorruptFiles": "false",
        "spark.sql.files.ignoreMissingFiles": "false",
        "spark.sql.caseSensitive": "false",
        # As INT96, Spark's default, the year 9999 is 1816 to readers that count nanoseconds (delta-rs, for one), and
        # a timestamp before 1900 is refused. All of Tidegate's files count from one calendar.
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        # A third smaller than snappy, Spark's default, and written and read as fast: measured on bench/merge.py's rows.
        "spark.sql.parquet.compression.codec": "zstd",
        "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
        "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    }.items():
        session.conf.set(name, value)
    return session


def _refuse(session: SparkSession, storage: Storage, order: BatchOrder, work: Work, failed: int) -> None:
    receipt = receipts.complete(
        receipts.failed(order, EarlierBatchFailed.of(order.table, order.batch, failed)),
        order=order,
        work=work,
        application_id=session.sparkContext.applicationId,
        started_at=datetime.now(UTC),
        seconds={},
    )
    receipts.write(storage, order.receipt_uri, receipt)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tidegate_spark", description="Merge the batches of a work file into their Delta tables."
    )
    parser.add_argument("--work", required=True, help="URI of the work file, written by plan_run")
    return parser


if __name__ == "__main__":
    sys.exit(main())
