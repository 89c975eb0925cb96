"""The list of applied snapshots in `<table>__history`: what decides whether a snapshot still says something.

It is written before the table's commit, so a batch that comes again finds its own snapshots in it: those of the
batch itself never count as applied.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as sf

from tidegate_spark.origin import ORIGIN
from tidegate_spark.strategies.snapshot_files import AT, CONTENT, ID, INDEX, SCOPE, TAKEN
from tidegate_spark.table import Target

_BEFORE = "_tidegate_before"
_RANK = "_tidegate_rank"
_IS_KNOWN = "_tidegate_is_known"


def applied_before(target: Target, listed: DataFrame, batch: int) -> DataFrame:
    """Snapshots of earlier batches: the columns of :class:`Listed` but `index`."""
    columns = [SCOPE, TAKEN, AT, ID, CONTENT, "rows"]
    history = target.side("history")
    if not history.exists:
        return listed.where("false").select(columns)
    return history.delta.toDF().where(sf.col(f"{ORIGIN}.batch") != batch).select(columns)


@dataclass(frozen=True)
class Decision:
    """Which snapshots of the batch the list doesn't have, and which of them the table needs, by index."""

    new: frozenset[int]
    chosen: frozenset[int]


def decide(listed: DataFrame, applied: DataFrame, *, of: list[str]) -> Decision:
    """Chosen is the newest snapshot of each `of`, unless an applied one is as new. One query; a row a snapshot."""
    newest_first = Window.partitionBy(*of).orderBy(sf.col(TAKEN).desc())
    before = applied.groupBy(*(sf.col(name).alias(f"before_{name}") for name in of)).agg(sf.max(TAKEN).alias(_BEFORE))
    same: Column = sf.lit(True)
    for name in of:
        same = same & sf.col(name).eqNullSafe(sf.col(f"before_{name}"))
    known = applied.select(ID, CONTENT, sf.lit(True).alias(_IS_KNOWN)).distinct()
    is_new = sf.col(_IS_KNOWN).isNull()
    is_newer = sf.col(_BEFORE).isNull() | (sf.col(TAKEN) > sf.col(_BEFORE))
    # A folder that has got another file since.
    is_grown = is_new & (sf.col(TAKEN) == sf.col(_BEFORE))
    found = (
        listed.withColumn(_RANK, sf.row_number().over(newest_first))
        .join(before, same, "left")
        .join(known, [ID, CONTENT], "left")
        .select(INDEX, is_new.alias("is_new"), ((sf.col(_RANK) == 1) & (is_newer | is_grown)).alias("is_chosen"))
        .collect()
    )
    return Decision(
        frozenset(row[INDEX] for row in found if row["is_new"]),
        frozenset(row[INDEX] for row in found if row["is_chosen"]),
    )


def remember(target: Target, new: DataFrame, batch: int) -> None:
    """Add snapshots to the list, once."""
    origin = sf.struct(sf.lit(batch).cast("bigint").alias("batch")).alias(ORIGIN)
    target.side("history").append(new.select(SCOPE, TAKEN, AT, ID, CONTENT, "rows", origin), batch)


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
