"""Snapshots that keep their history: since when, and until when, each key had its values.

What the table's periods say at the time of an applied snapshot is what that snapshot said. So a snapshot between two
others needs neither: it changes what holds from its own time on, and at the next one's time all is as it was.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as sf

from tidegate_spark.origin import ORIGIN
from tidegate_spark.schema import IS_CURRENT, VALID_FROM, VALID_TO
from tidegate_spark.sources.rows import quoted
from tidegate_spark.strategies.comparable import comparable
from tidegate_spark.strategies.snapshot_files import AT, SCOPE, scope_of
from tidegate_spark.work import Contract

__all__ = ["VALID_FROM", "VALID_TO", "periods"]

_NEXT, _NEXT_IS_CHOSEN = "next", "next_is_chosen"
_VALUES, _RANK, _POINT = "_tidegate_values", "_tidegate_rank", "_tidegate_point"
# Of what is said of a key and a time, the highest counts: that nothing was said, then what the table had, then the
# snapshot, in which a key is missing or has its values.
_SILENCE, _CLOSED, _OPENED, _MISSING, _SAID = range(5)


def periods(
    present: DataFrame, said: DataFrame, moments: DataFrame, contract: Contract, identity: Sequence[str]
) -> tuple[DataFrame, DataFrame]:
    """The table's rows that the snapshots may change, and what they should be.

    `present` are the table's rows of the scopes, `said` the snapshots' rows with their time `at`, `moments` the
    snapshots with `scope`, `at`, `next` and `next_is_chosen`.
    """
    columns = [column.name for column in contract.columns]
    carried = [name for name in columns if name not in identity]
    moments = sf.broadcast(moments.select(SCOPE, AT, _NEXT, _NEXT_IS_CHOSEN))
    near = _near(present, moments, contract)
    points = _points_of_table(near, identity, carried).unionByName(
        _points_around(near, moments, contract, identity, carried)
    )
    points = points.unionByName(_points_of_snapshots(said, moments, contract, identity, carried))
    wanted = _joined(points, contract, identity, carried)
    return near, wanted.select(*(sf.col(quoted(name)) for name in columns), VALID_FROM, VALID_TO, IS_CURRENT, ORIGIN)


def _near(present: DataFrame, moments: DataFrame, contract: Contract) -> DataFrame:
    """The periods that end, begin or hold between a scope's first such moment and what follows its last."""
    has_end = sf.count_if(sf.col(_NEXT).isNull()) == 0
    bounds = moments.groupBy(SCOPE).agg(sf.min(AT).alias("first"), sf.when(has_end, sf.max(_NEXT)).alias("last"))
    is_near = (
        scope_of("row", contract).eqNullSafe(sf.col(f"bound.{SCOPE}"))
        & (sf.col(f"row.{VALID_TO}").isNull() | (sf.col(f"row.{VALID_TO}") >= sf.col("bound.first")))
        & (sf.col("bound.last").isNull() | (sf.col(f"row.{VALID_FROM}") <= sf.col("bound.last")))
    )
    return present.alias("row").join(sf.broadcast(bounds.alias("bound")), is_near, "left_semi")


def _point(at: Column, rank: int, values: Column) -> Column:
    """Something that is said of a key from a time on. Null values: that it isn't there."""
    return sf.struct(at.alias(AT), sf.lit(rank).alias(_RANK), values.alias(_VALUES))


def _no(values: Column) -> Column:
    return sf.when(sf.lit(False), values)


def _values(side: str, carried: Sequence[str]) -> Column:
    return sf.struct(*(sf.col(f"{side}.{quoted(name)}").alias(name) for name in [*carried, ORIGIN]))


def _exploded(rows: DataFrame, side: str, identity: Sequence[str], points: Sequence[Column]) -> DataFrame:
    """Those points of each row that have a time."""
    keys = [sf.col(f"{side}.{quoted(name)}").alias(name) for name in identity]
    exploded = rows.select(*keys, sf.explode(sf.array(*points)).alias(_POINT))
    return exploded.select(*(sf.col(quoted(name)) for name in identity), f"{_POINT}.*").where(sf.col(AT).isNotNull())


def _points_of_table(near: DataFrame, identity: Sequence[str], carried: Sequence[str]) -> DataFrame:
    values = _values("row", carried)
    nothing = _no(values)
    return _exploded(
        near.alias("row"),
        "row",
        identity,
        [
            _point(sf.col(f"row.{VALID_FROM}"), _OPENED, values),
            _point(sf.col(f"row.{VALID_TO}"), _CLOSED, nothing),
        ],
    )


def _points_around(
    near: DataFrame, moments: DataFrame, contract: Contract, identity: Sequence[str], carried: Sequence[str]
) -> DataFrame:
    """What holds at a snapshot's time is missing in it, until it says otherwise; what holds at the next stays."""
    values = _values("row", carried)
    nothing = _no(values)
    # The next snapshot may come with the batch, too: then it is for that one to say what is missing.
    at, following = sf.col(f"moment.{AT}"), sf.when(~sf.col(f"moment.{_NEXT_IS_CHOSEN}"), sf.col(f"moment.{_NEXT}"))
    start, end = sf.col(f"row.{VALID_FROM}"), sf.col(f"row.{VALID_TO}")
    holds_at = (start <= at) & (end.isNull() | (at < end))
    holds_next = (start <= following) & (end.isNull() | (following < end))
    same_scope = scope_of("row", contract).eqNullSafe(sf.col(f"moment.{SCOPE}"))
    around = near.alias("row").join(
        moments.alias("moment"), same_scope & (holds_at | sf.coalesce(holds_next, sf.lit(False))), "inner"
    )
    return _exploded(
        around,
        "row",
        identity,
        [
            _point(sf.when(holds_at, at), _MISSING, nothing),
            _point(sf.when(holds_next, following), _OPENED, values),
        ],
    )


def _points_of_snapshots(
    said: DataFrame, moments: DataFrame, contract: Contract, identity: Sequence[str], carried: Sequence[str]
) -> DataFrame:
    """What a snapshot says holds until the next one's time: a key of which nothing is said by then is missing."""
    values = _values("said", carried)
    nothing = _no(values)
    same = scope_of("said", contract).eqNullSafe(sf.col(f"moment.{SCOPE}")) & (
        sf.col(f"said.{AT}") == sf.col(f"moment.{AT}")
    )
    return _exploded(
        said.alias("said").join(moments.alias("moment"), same, "inner"),
        "said",
        identity,
        [
            _point(sf.col(f"said.{AT}"), _SAID, values),
            _point(sf.col(f"moment.{_NEXT}"), _SILENCE, nothing),
        ],
    )


def _joined(points: DataFrame, contract: Contract, identity: Sequence[str], carried: Sequence[str]) -> DataFrame:
    """From points to periods: one a run of equal values."""
    keys = [sf.col(quoted(name)) for name in identity]
    # What tells one snapshot from the next is no value of the rows.
    tracked = [name for name in carried if name != contract.sequence_by]
    types = {field.name: field.dataType for field in points.select(f"{_VALUES}.*").schema}
    compared = sf.struct(
        sf.col(_VALUES).isNotNull().alias("is_there"),
        *(
            sf.expr(comparable(f"{_VALUES}.{quoted(name)}", types[name])).alias(f"c{n}")
            for n, name in enumerate(tracked)
        ),
    )
    of_one_time = Window.partitionBy(*keys, AT).orderBy(sf.col(_RANK).desc())
    by_time = Window.partitionBy(*keys).orderBy(AT)
    one_a_time = (
        points.withColumn("_tidegate_nth", sf.row_number().over(of_one_time))
        .where(sf.col("_tidegate_nth") == 1)
        .withColumn("_tidegate_compared", compared)
    )
    turns = (
        one_a_time.withColumn("_tidegate_last", sf.lag("_tidegate_compared").over(by_time))
        .where(~sf.col("_tidegate_compared").eqNullSafe(sf.col("_tidegate_last")))
        .withColumn(VALID_TO, sf.lead(AT).over(by_time))
        .where(sf.col(_VALUES).isNotNull())
    )
    return turns.select(
        *keys,
        *(
            (sf.col(AT) if name == contract.sequence_by else sf.col(f"{_VALUES}.{quoted(name)}")).alias(name)
            for name in carried
        ),
        sf.col(f"{_VALUES}.{ORIGIN}").alias(ORIGIN),
        sf.col(AT).alias(VALID_FROM),
        VALID_TO,
        sf.col(VALID_TO).isNull().alias(IS_CURRENT),
    )
