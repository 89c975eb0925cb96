"""The list of applied snapshots in `<table>__history`: what decides whether a snapshot still says something.

It is written before the table's commit, so a batch that comes again finds its own snapshots in it: those of the
batch itself never count as applied.
"""

from __future__ import annotations

from collections.abc import Callable

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as sf

from tidegate_spark.origin import ORIGIN
from tidegate_spark.strategies.snapshot_files import AT, ID, INDEX, SCOPE, TAKEN
from tidegate_spark.table import Target

_BEFORE = "_tidegate_before"
_RANK = "_tidegate_rank"


def applied_before(target: Target, listed: DataFrame, batch: int) -> DataFrame:
    """Snapshots of earlier batches: scope, taken, at, snapshot and rows."""
    columns = [SCOPE, TAKEN, AT, ID, "rows"]
    history = target.side("history")
    if not history.exists:
        return listed.where("false").select(columns)
    return history.delta.toDF().where(sf.col(f"{ORIGIN}.batch") != batch).select(columns)


def remember(target: Target, listed: DataFrame, applied: DataFrame, batch: int) -> Callable[[], None]:
    """Adds those to the list that it doesn't have yet, once."""
    new = listed.join(applied.select(ID), ID, "left_anti").select(
        SCOPE,
        TAKEN,
        AT,
        ID,
        "rows",
        sf.struct(sf.lit(batch).cast("bigint").alias("batch")).alias(ORIGIN),
    )
    return lambda: target.side("history").append(new, batch)


def newest_a_scope(listed: DataFrame, applied: DataFrame) -> DataFrame:
    """The newest snapshot of each scope, if it is newer than all applied ones."""
    return _newest(listed, applied, [SCOPE])


def newest_a_moment(listed: DataFrame, applied: DataFrame) -> DataFrame:
    """The newest snapshot of each scope and time, if it is newer than all applied ones of that time."""
    return _newest(listed, applied, [SCOPE, AT])


def with_next(chosen: DataFrame, applied: DataFrame) -> DataFrame:
    """With `next`, the time of the scope's next snapshot if there is one, and whether that one is chosen, too."""
    times = (
        chosen.select(SCOPE, AT, sf.lit(True).alias("is_chosen"))
        .unionByName(applied.select(SCOPE, AT, sf.lit(False).alias("is_chosen")))
        .groupBy(SCOPE, AT)
        .agg(sf.max("is_chosen").alias("is_chosen"))
    )
    by_time = Window.partitionBy(SCOPE).orderBy(AT)
    following = times.select(
        sf.col(SCOPE).alias("following_scope"),
        sf.col(AT).alias("following_at"),
        sf.lead(AT).over(by_time).alias("next"),
        sf.coalesce(sf.lead("is_chosen").over(by_time), sf.lit(False)).alias("next_is_chosen"),
    )
    same = sf.col(SCOPE).eqNullSafe(sf.col("following_scope")) & sf.col(AT).eqNullSafe(sf.col("following_at"))
    return chosen.join(following, same, "inner").drop("following_scope", "following_at")


def _newest(listed: DataFrame, applied: DataFrame, of: list[str]) -> DataFrame:
    newest_first = Window.partitionBy(*of).orderBy(sf.col(TAKEN).desc())
    newest = listed.withColumn(_RANK, sf.row_number().over(newest_first)).where(sf.col(_RANK) == 1).drop(_RANK)
    before = applied.groupBy(*(sf.col(name).alias(f"before_{name}") for name in of)).agg(sf.max(TAKEN).alias(_BEFORE))
    same: Column = sf.lit(True)
    for name in of:
        same = same & sf.col(name).eqNullSafe(sf.col(f"before_{name}"))
    return (
        newest.join(before, same, "left")
        .where(sf.col(_BEFORE).isNull() | (sf.col(TAKEN) > sf.col(_BEFORE)))
        .select(INDEX, SCOPE, AT, ID)
    )
