"""One commit that makes some rows of a table what they should be, and touches none that is so already."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from tidegate_spark.engines.marking import FILE, ROW, Marking, is_marked
from tidegate_spark.sources.rows import quoted
from tidegate_spark.strategies.comparable import comparable
from tidegate_spark.table import Target

_ACTION = "_tidegate_action"


def differences(
    present: DataFrame, wanted: DataFrame, *, identity: Sequence[str], compared: Sequence[str]
) -> DataFrame:
    """What has to change for `present` to become `wanted`, both with one row an identity.

    Rows of `wanted` with what is to be done with them; those to be deleted have their identity alone. Two rows
    that are equal in the columns `compared` are one, whatever else they have.
    """
    is_there = "_tidegate_is_there"
    types = {field.name: field.dataType for field in wanted.schema}
    old = present.withColumn(is_there, sf.lit(True)).alias("old")
    new = wanted.withColumn(is_there, sf.lit(True)).alias("new")

    def of(side: str, name: str) -> Column:
        return sf.col(f"{side}.{quoted(name)}")

    same_identity = _all([of("old", name).eqNullSafe(of("new", name)) for name in identity])

    def value(side: str, name: str) -> Column:
        return sf.expr(comparable(f"{side}.{quoted(name)}", types[name]))

    is_equal = _all([value("old", name).eqNullSafe(value("new", name)) for name in compared])
    placed = [name for name in (FILE, ROW) if name in present.columns]
    action = (
        sf.when(of("old", is_there).isNull(), sf.lit("insert"))
        .when(of("new", is_there).isNull(), sf.lit("delete"))
        .when(~is_equal, sf.lit("update"))
    )
    return (
        old.join(new, same_identity, "full_outer")
        .select(
            *(
                (sf.coalesce(of("new", name), of("old", name)) if name in identity else of("new", name)).alias(name)
                for name in wanted.columns
            ),
            action.alias(_ACTION),
            *(sf.col(f"old.{name}") for name in placed),
        )
        .where(sf.col(_ACTION).isNotNull())
    )


def merge_differences(
    target: Target, found: DataFrame, condition: str, marking: Marking | None, order: Sequence[str]
) -> None:
    """One commit, be there differences or not. With `marking` `found` is of its rows, and those that go are marked."""
    columns = [name for name in found.columns if name not in {_ACTION, FILE, ROW}]
    if marking is not None and is_marked(target, lambda: marking.apply(found, _ACTION, columns, order)):
        return
    values: dict[str, str | Column] = {quoted(name): f"change.{quoted(name)}" for name in columns}
    (
        target.delta.alias("target")
        .merge(found.alias("change"), condition)
        .whenMatchedDelete(condition=f"change.{_ACTION} = 'delete'")
        .whenMatchedUpdate(set=values)
        .whenNotMatchedInsert(values=values)
        .execute()
    )


def same_row(identity: Sequence[str]) -> str:
    """The condition on which a row of the table and a change are one."""
    return " AND ".join(f"target.{quoted(name)} <=> change.{quoted(name)}" for name in identity)


def _all(conditions: Sequence[Column]) -> Column:
    found = sf.lit(True)
    for condition in conditions:
        found = found & condition
    return found
