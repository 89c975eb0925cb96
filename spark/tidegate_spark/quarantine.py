"""`<table>__quarantine`: rows that break their contract, with the reason and the text as it came.

A row of a file version is in it once, and only as long as the version's last merge found it bad: a replay after a
fix takes the rows out that are fine now. Like all side tables it is committed before the table itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from tidegate_spark.local_rows import local_rows
from tidegate_spark.origin import DELETED, ORIGIN, REASON, SET_COLUMNS
from tidegate_spark.receipts import BadRow, Rejection
from tidegate_spark.shaping import CHECK, cut
from tidegate_spark.sources import rows
from tidegate_spark.sources.rows import text_literal

if TYPE_CHECKING:
    from tidegate_spark.changes import Changes
    from tidegate_spark.table import Target
    from tidegate_spark.work import SourceFile

COLUMNS = (
    "source string, sequencer string, row bigint, event_time timestamp, check string, reason string, raw string, "
    f"{ORIGIN} struct<batch:bigint>"
)
"""`row` is counted from 1; null where the file as a whole is bad. `check` is `parse`, `key`, `too_late`, or the name
of an expectation."""
TOO_LATE = "too_late"
_SHOWN = 10


def bad_rows(placed: DataFrame) -> DataFrame:
    """Rows that the reading found bad, in the form of the table."""
    raw = sf.col(rows.RAW)
    is_text = dict(placed.dtypes)[rows.RAW] == "string"
    return _of_the_table(placed, sf.col(CHECK), sf.col(rows.PROBLEM), raw if is_text else cut(sf.to_json(raw)))


def refused_rows(refused: DataFrame) -> DataFrame:
    """Changes that a strategy can't take, in the form of the table."""
    own = [name for name in refused.columns if name not in {ORIGIN, DELETED, SET_COLUMNS, REASON}]
    as_json = sf.to_json(sf.struct(*(sf.col(rows.quoted(name)) for name in own)))
    return _of_the_table(refused, sf.lit(TOO_LATE), sf.col(REASON), cut(as_json))


def shown(bad: DataFrame | None) -> tuple[BadRow, ...]:
    """The first few, for the receipt."""
    if bad is None:
        return ()
    first = bad.orderBy("event_time", "source", "sequencer", "row").limit(_SHOWN)
    return tuple(
        BadRow(row["source"], row["row"], row["check"], row["reason"])
        for row in first.select("source", "row", "check", "reason").collect()
    )


def keep(target: Target, changes: Changes, files: Iterable[SourceFile], bad: DataFrame | None) -> bool:
    """Make the table say of these files what the batch found: one commit, or none if there is nothing to say.

    What it says already stays as it is, with the batch that said it first. Answers whether there was a commit.
    """
    quarantine = target.side("quarantine")
    versions = {(file.source, file.sequencer) for file in files}
    known = _known(quarantine.delta.toDF(), versions) if quarantine.exists else []
    found = _whole_files(target, changes.rejected, changes.batch)
    if bad is not None:
        found = bad if found is None else bad.unionByName(found)
    if not known:
        if found is not None:
            quarantine.append(found, changes.batch)
        return found is not None
    sources = ", ".join(text_literal(source) for source in sorted({source for source, _ in known}))
    same_row = " AND ".join(
        f"there.{name} {equals} found.{name}" for name, equals in (("source", "="), ("sequencer", "="), ("row", "<=>"))
    )
    differs = " OR ".join(f"NOT (there.{name} <=> found.{name})" for name in ("check", "reason", "raw"))
    rows_found = local_rows(target.session, [], COLUMNS) if found is None else found

    def merge() -> None:
        (
            quarantine.delta.alias("there")
            .merge(rows_found.alias("found"), f"{same_row} AND there.source IN ({sources})")
            .whenMatchedUpdateAll(condition=differs)
            .whenNotMatchedInsertAll()
            .whenNotMatchedBySourceDelete(condition=_is_of(known))
            .execute()
        )

    quarantine.commit(changes.batch, merge)
    return True


def _known(there: DataFrame, versions: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those of the file versions that the table says something of."""
    sources = sorted({source for source, _ in versions})
    found = there.where(sf.col("source").isin(sources)).select("source", "sequencer").distinct().collect()
    return sorted({(row["source"], row["sequencer"]) for row in found} & versions)


def _is_of(versions: Sequence[tuple[str, str]]) -> Column:
    # One list, however long: ten thousand conditions joined by OR are more than Spark's planner has stack for.
    version = sf.concat("there.sequencer", "there.source")  # a sequencer is padded, so this names one version
    return version.isin([sequencer + source for source, sequencer in versions])


def _whole_files(target: Target, rejected: Sequence[Rejection], batch: int) -> DataFrame | None:
    if not rejected:
        return None
    described = [
        (each.file.source, each.file.sequencer, None, each.file.event_time, "parse", each.reason, None, (batch,))
        for each in rejected
    ]
    text = COLUMNS.replace("event_time timestamp", "event_time string")
    return local_rows(target.session, described, text).withColumn("event_time", sf.col("event_time").cast("timestamp"))


def _of_the_table(placed: DataFrame, check: Column, reason: Column, raw: Column) -> DataFrame:
    return placed.select(
        sf.col(f"{ORIGIN}.source").alias("source"),
        sf.col(f"{ORIGIN}.sequencer").alias("sequencer"),
        sf.col(f"{ORIGIN}.position").alias("row"),
        sf.col(f"{ORIGIN}.event_time").alias("event_time"),
        check.alias("check"),
        reason.alias("reason"),
        raw.alias("raw"),
        sf.struct(sf.col(f"{ORIGIN}.batch").alias("batch")).alias(ORIGIN),
    )
