"""bitemporal: what was so when, and since when that is known.

A change asserts that in its period, [from, to) with a null for an open end, the key has these values; one that
deletes asserts that in its period there is no row. It is known from its sequence value, or its arrival, until the
next assertion that covers the same time. A row of the table is a rectangle: an assertion, the part of its period and
the interval of knowledge in which nothing newer stands against it. Rectangles of a key never overlap.
"""

from __future__ import annotations

from dataclasses import replace

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as sf

from tidegate_spark.changes import Changes
from tidegate_spark.errors import NotSupported
from tidegate_spark.origin import DELETED, ORIGIN
from tidegate_spark.sources.rows import quoted
from tidegate_spark.strategies.plan import REASON, MergePlan
from tidegate_spark.strategies.rebuild import ORDER, SEQUENCE, Rebuild, plan_rebuild, value_columns, without
from tidegate_spark.table import Target
from tidegate_spark.work import Contract

_BEGIN = "_tidegate_begin"
_END = "_tidegate_end"
_ENDS = "_tidegate_ends"
_SEGMENT = "_tidegate_segment"
_NEXT = "_tidegate_next"
_BEFORE = "_tidegate_before"
_BEGINS = "_tidegate_begins"


def plan_bitemporal(target: Target, changes: Changes, contract: Contract) -> MergePlan:
    """Rebuild the rectangles of the touched keys. A change of an empty or reversed period is refused."""
    begin, end = _period(contract)
    good, refused = without(changes, f"{quoted(begin)} >= {quoted(end)}")
    rebuild = Rebuild(
        rows=lambda history: _rectangles(history, contract),
        identity=(begin,),
        by_place=True,
        compared=(end, "known_from", "known_to"),
    )
    plan = plan_rebuild(
        target,
        good,
        contract,
        rebuild,
        f"Rebuild what was so from {begin} to {end} of the keys ({', '.join(contract.keys)}) that "
        f"{changes.rows_read} rows of {len(changes.files)} files touch: the newest assertion by "
        f"{contract.sequence_by or 'arrival'} holds for its period, the older are kept as formerly believed.",
    )
    return replace(plan, refused=refused.withColumn(REASON, _reason(begin, end)))


def _reason(begin: str, end: str) -> Column:
    def shown(name: str) -> Column:
        return sf.col(quoted(name)).cast("string")

    return sf.concat(
        sf.lit(f"its period is empty: {begin} "), shown(begin), sf.lit(f" is not before {end} "), shown(end)
    )


def _rectangles(history: DataFrame, contract: Contract) -> DataFrame:
    begin, end = _period(contract)
    values = value_columns(history.drop(SEQUENCE, ORDER))
    keys = [sf.col(quoted(key)) for key in contract.keys]
    assertions = history.withColumn(_BEGIN, sf.col(quoted(begin))).withColumn(_END, sf.col(quoted(end)))
    seen = _believed(_segments(assertions, keys), keys)
    joined = _joined(seen.where(f"NOT {DELETED}"), keys)
    shown = {begin: _BEGIN, end: _END}
    return joined.select(
        *(sf.col(shown.get(name, quoted(name))).alias(name) for name in values),
        sf.col(SEQUENCE).alias("known_from"),
        sf.col("known_to"),
        ORIGIN,
    )


def _segments(assertions: DataFrame, keys: list[Column]) -> DataFrame:
    """Each assertion, once for each segment that it covers: between neighbours of all ends of its key's periods.

    The first segment has no begin, the last no end.
    """
    of_key = Window.partitionBy(*keys)
    bounds = sf.array_compact(sf.flatten(sf.collect_set(sf.array(_BEGIN, _END)).over(of_key)))
    segments = f"""
        transform(sequence(0, size({_ENDS})), i -> struct(
            IF(i = 0, NULL, {_ENDS}[i - 1]) AS begin, IF(i = size({_ENDS}), NULL, {_ENDS}[i]) AS end))
    """
    begins_before = f"({_BEGIN} IS NULL OR segment.begin >= {_BEGIN})"
    ends_after = f"({_END} IS NULL OR segment.end <= {_END})"
    covered = f"filter({segments}, segment -> {begins_before} AND {ends_after})"
    return (
        assertions.withColumn(_ENDS, sf.sort_array(sf.array_distinct(bounds)))
        .withColumn(_SEGMENT, sf.explode(sf.expr(covered)))
        .withColumn(_BEGIN, sf.col(f"{_SEGMENT}.begin"))
        .withColumn(_END, sf.col(f"{_SEGMENT}.end"))
        .drop(_SEGMENT, _ENDS)
    )


def _believed(segments: DataFrame, keys: list[Column]) -> DataFrame:
    """Until when each is believed: until the next assertion of the segment. Never, if that is of the same time."""
    of_segment = Window.partitionBy(*keys, _BEGIN).orderBy(ORDER)
    # A struct: the next one's time may be null, too.
    return (
        segments.withColumn(_NEXT, sf.lead(sf.struct(SEQUENCE)).over(of_segment))
        .where(f"{_NEXT} IS NULL OR NOT ({_NEXT}.{SEQUENCE} <=> {SEQUENCE})")
        .withColumn("known_to", sf.col(f"{_NEXT}.{SEQUENCE}"))
        .drop(_NEXT)
    )


def _joined(segments: DataFrame, keys: list[Column]) -> DataFrame:
    """Neighbouring segments of one assertion that are believed equally long, as one."""
    of_assertion = Window.partitionBy(*keys, ORDER).orderBy(_BEGIN)
    until_here = of_assertion.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    continues = f"{_BEFORE}.{_END} <=> {_BEGIN} AND {_BEFORE}.known_to <=> known_to"
    marked = segments.withColumn(_BEFORE, sf.lag(sf.struct(_END, "known_to")).over(of_assertion)).withColumn(
        _BEGINS, sf.expr(f"{_BEFORE} IS NULL OR NOT ({continues})")
    )
    began = sf.last(sf.when(sf.col(_BEGINS), sf.struct(_BEGIN)), ignorenulls=True).over(until_here)
    return (
        marked.withColumn(_NEXT, sf.lead(_BEGINS).over(of_assertion))
        .withColumn(_BEFORE, began)
        .where(f"coalesce({_NEXT}, true)")
        .withColumn(_BEGIN, sf.col(f"{_BEFORE}.{_BEGIN}"))
    )


def _period(contract: Contract) -> tuple[str, str]:
    if contract.valid_from is None or contract.valid_to is None:
        raise NotSupported(
            f"bitemporal needs to know which columns of {contract.table} hold a change's period: name them in the "
            "contract, merge: {valid_from: ..., valid_to: ...}."
        )
    return contract.valid_from, contract.valid_to
