"""Tombstones: what is remembered of deleted keys, so that a late change doesn't bring one back.

A tombstone is a row of `<table>__history`: the key, the sequence value and the place of the change that deleted it.
Rows are only added; of a key the newest one counts. `purge_tombstones` takes the old ones away and keeps one value
instead, `purged_through`: what is at or below it, of a key of which nothing is known, may have been deleted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as sf
from pyspark.sql.types import StructType

from tidegate_spark.changes import Changes
from tidegate_spark.origin import DELETED, ORIGIN, ORIGIN_TYPE, order_of, order_type, place_of
from tidegate_spark.side_tables import SideTable
from tidegate_spark.sources.rows import quoted, text_literal
from tidegate_spark.strategies.bound import (
    PURGED_THROUGH,
    Bound,
    bound_of,
    can_purge,
    horizon_of,
    text_of,
    type_of,
    value_of,
)
from tidegate_spark.strategies.keys import is_after, ranges_of, same_key
from tidegate_spark.strategies.plan import REASON
from tidegate_spark.table import Target
from tidegate_spark.types import parse_type
from tidegate_spark.work import Contract

_IS_NEWEST = "_tidegate_is_newest"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TOMBSTONE = "_tidegate_tombstone"
"""A column of changes: the order of the newest tombstone of their key, null if there is none."""


@dataclass(frozen=True)
class Late:
    """Keys of which nothing is known, with changes that a purge reaches."""

    keys: DataFrame
    bound: Bound
    contract: Contract

    def leave_out(self, rows: DataFrame) -> DataFrame:
        """The rows that don't come too late."""
        return rows.alias("change").join(self.keys.alias("late"), self._is_late, "left_anti")

    def refused(self, rows: DataFrame) -> DataFrame:
        """Those that do, with the reason. A delete of what isn't there is done, not refused."""
        late = rows.where(~sf.col(DELETED)).alias("change").join(self.keys.alias("late"), self._is_late, "left_semi")
        return late.withColumn(REASON, sf.lit(self.bound.reason()))

    @property
    def _is_late(self) -> Column:
        return sf.expr(f"{same_key('late', 'change', self.contract)} AND {self.bound.reaches('change')}")


@dataclass(frozen=True)
class Memory:
    """What a batch has to know of deleted keys. Made by :func:`recall`."""

    target: Target
    changes: Changes
    contract: Contract
    newest: DataFrame | None
    """The keys that the batch may be about, each with the order of its newest tombstone; None without a history."""
    bound: Bound | None
    """What was purged; None if nothing ever was."""

    @cached_property
    def has_deletes(self) -> bool:
        """Does a change of the batch delete its key? One look at rows that are kept already."""
        return bool(self.contract.delete_when) and not self.changes.rows.where(sf.col(DELETED)).isEmpty()

    @property
    def is_blank(self) -> bool:
        """Nothing was ever deleted, nor is it now."""
        return self.newest is None and not self.has_deletes

    def join(self, rows: DataFrame) -> DataFrame:
        """Changes with the newest tombstone of their key."""
        if self.newest is None:
            return rows.withColumn(TOMBSTONE, sf.lit(None).cast(order_type(self.contract)))
        of_key = sf.expr(same_key("tombstone", "change", self.contract))
        return (
            rows.alias("change")
            .join(self.newest.alias("tombstone"), of_key, "left")
            .select("change.*", f"tombstone.{TOMBSTONE}")
        )

    def late(self, rows: DataFrame) -> Late | None:
        """The keys of those of `rows` (joined) that come too late to know whether they were deleted.

        None if the purge reaches no row, which is the everyday case: then the table isn't read.
        """
        if self.bound is None:
            return None
        late = rows.alias("change").where(f"{TOMBSTONE} IS NULL AND {self.bound.reaches('change')}")
        if late.isEmpty():
            return None
        present = self.target.frame().alias("target")
        for condition in ranges_of("target", self.changes):
            present = present.where(condition)
        of_key = sf.expr(same_key("target", "change", self.contract))
        keys = late.select(*(quoted(key) for key in self.contract.keys)).distinct()
        return Late(keys.alias("change").join(present, of_key, "left_anti"), self.bound, self.contract)

    def sentence(self) -> str:
        """For a plan."""
        if self.is_blank:
            return "nothing is deleted, now or before, so the history is neither read nor written"
        said = ["deletes leave tombstones in the history"] if self.has_deletes else []
        if self.newest is not None:
            said.append("what isn't newer than a tombstone is left out")
        if self.bound is not None:
            said.append(f"keys of which nothing is known are refused {self.bound.words()}")
        return "; ".join(said)

    def keep(self, rows: DataFrame) -> None:
        """Write the tombstones of the newest changes (joined) of the keys; those that are there are not written again.

        Not only of keys that the table has: the change that is deleted may be late.
        """
        order = order_of("change", self.contract, deleted=f"change.{DELETED}")
        new = rows.alias("change").where(f"change.{DELETED} AND {is_after(order, TOMBSTONE)}")
        history = self.target.side("history")
        schema = _schema(self.contract)
        if not history.exists:
            history.create(schema)
        history.append(new.select(*(quoted(name) for name in schema.names)), self.changes.batch)


def recall(target: Target, changes: Changes, contract: Contract) -> Memory:
    """What the history says of the batch's keys, as far as their ranges tell them from others."""
    history = target.side("history")
    if not history.exists:
        return Memory(target, changes, contract, None, None)
    tombstones = history.delta.toDF().alias("tombstone")
    for condition in ranges_of("tombstone", changes):
        tombstones = tombstones.where(condition)
    return Memory(target, changes, contract, newest_tombstones(tombstones, contract), bound_of(history, contract))


def newest_tombstones(tombstones: DataFrame, contract: Contract) -> DataFrame:
    """Of each key the order of its newest tombstone."""
    order = order_of("tombstone", contract, deleted="true")
    return (
        tombstones.alias("tombstone")
        .groupBy(*(quoted(key) for key in contract.keys))
        .agg(sf.expr(f"max({order})").alias(TOMBSTONE))
    )


def _schema(contract: Contract) -> StructType:
    types = {column.name: column.type for column in contract.columns}
    schema = StructType()
    for name in dict.fromkeys([*contract.keys, *([contract.sequence_by] if contract.sequence_by else [])]):
        schema.add(name, parse_type(types[name]))
    return schema.add(ORIGIN, parse_type(ORIGIN_TYPE)).add(DELETED, "boolean")


def keeps_tombstones(contract: Contract) -> bool:
    """Are the rows of the table's history tombstones? Other strategies keep other things there."""
    return contract.strategy == "cdc"


def purge_tombstones(target: Target, contract: Contract, now: datetime) -> int:
    """Forget the deletes that arrived before `now - contract.tombstones_s`; how many tombstones went.

    Only what is of an older sequence value than that, too: a value from the future would put the bound there, and
    every new key would be too late. Whatever its age, a tombstone that isn't its key's newest goes.
    Raises :class:`TableRefused`.
    """
    history = target.side("history")
    if not keeps_tombstones(contract) or not history.exists:
        return 0
    before = bound_of(history, contract)
    going = _going(history, contract, now)
    found = going.agg(
        sf.count("*").alias("tombstones"),
        sf.count_if(_IS_NEWEST).alias("newest"),
        sf.expr(_through(contract) if can_purge(contract) else "NULL").alias("through"),
    ).first()
    if found is None or not found["tombstones"]:
        return 0
    if found["newest"]:
        # First the bound, then the rows: a purge that dies in between has forgotten nothing.
        bound = Bound(contract.sequence_by, type_of(contract), _text_of(found["through"], contract))
        history.set_property(PURGED_THROUGH, bound.or_later(before).to_json())
    same_place = f"{place_of('tombstone')} <=> {place_of('gone')}"
    (
        history.delta.alias("tombstone")
        .merge(going.alias("gone"), f"{same_key('tombstone', 'gone', contract)} AND {same_place}")
        .whenMatchedDelete()
        .execute()
    )
    return int(found["tombstones"])


def _going(history: SideTable, contract: Contract, now: datetime) -> DataFrame:
    """The tombstones that a purge takes away, and whether each is its key's newest."""
    of_key = Window.partitionBy(*(sf.col(quoted(key)) for key in contract.keys))
    newest_first = of_key.orderBy(sf.expr(order_of("tombstone", contract, deleted="true")).desc())
    ranked = history.delta.toDF().alias("tombstone").withColumn(_IS_NEWEST, sf.row_number().over(newest_first) == 1)
    expired = "false"
    if can_purge(contract):
        arrived = text_of(now.astimezone(UTC) - timedelta(seconds=contract.tombstones_s), "timestamp")
        expired = (
            f"tombstone.{ORIGIN}.event_time < CAST({text_literal(arrived)} AS timestamp) "
            f"AND {horizon_of(contract, now).reaches('tombstone')}"
        )
    return ranked.alias("tombstone").where(f"NOT {_IS_NEWEST} OR ({expired})")


def _through(contract: Contract) -> str:
    """SQL: the greatest value that goes, in a form that comes to Python unharmed, whatever the session's zone.

    No value, or one from before 1970, is as good as 1970: the bound may be too high, never too low.
    """
    value = value_of("tombstone", contract.sequence_by)
    value, first = {
        "timestamp": (f"unix_micros({value})", "0L"),
        "timestamp_ntz": (value, "TIMESTAMP_NTZ '1970-01-01 00:00:00'"),
        "date": (value, "DATE '1970-01-01'"),
    }[type_of(contract)]
    return f"greatest(max(CASE WHEN {_IS_NEWEST} THEN {value} END), {first})"


def _text_of(through: int | datetime | date, contract: Contract) -> str:
    moment = _EPOCH + timedelta(microseconds=through) if isinstance(through, int) else through
    return text_of(moment, type_of(contract))
