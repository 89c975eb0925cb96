"""How far a purge of tombstones may go, and what it leaves behind: decisions, without Spark."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from tidegate_spark.errors import TableRefused
from tidegate_spark.origin import order_of, order_type, origin_type
from tidegate_spark.strategies.bound import Bound, bound_of, can_purge, horizon_of, text_of
from tidegate_spark.work import Column, Contract


def contract(sequence: str | None = "timestamp", **more: Any) -> Contract:
    columns = (Column("id", "int"), *([Column("at", sequence)] if sequence else []))
    return Contract("t", "json", {}, columns, (), "cdc", ("id",), "at" if sequence else None, (), **more)


@pytest.mark.parametrize(
    ("sequence", "can"),
    [("timestamp", True), ("timestamp_ntz", True), ("date", True), (None, True), ("bigint", False), ("string", False)],
)
def test_only_times_say_something_about_other_keys(sequence: str | None, can: bool) -> None:
    # GIVEN a sequence column; a number may count each key's versions by itself
    # WHEN, THEN
    assert can_purge(contract(sequence)) is can


@pytest.mark.parametrize(
    ("sequence", "through"),
    [
        ("timestamp", "2026-01-31T23:00:00.000000Z"),
        ("timestamp_ntz", "2026-01-31T23:00:00.000000"),
        ("date", "2026-01-31"),
        (None, "2026-01-31T23:00:00.000000Z"),
    ],
)
def test_the_horizon_is_in_utc_whatever_the_clock_says(sequence: str | None, through: str) -> None:
    # GIVEN a clock of another zone
    now = datetime(2026, 2, 2, 0, 0, tzinfo=timezone(timedelta(hours=1)))
    # WHEN, THEN
    assert horizon_of(contract(sequence, tombstones_s=86400), now).through == through


def test_a_bound_never_moves_back() -> None:
    # GIVEN
    older, newer = (
        Bound("at", "timestamp", text_of(datetime(2026, 1, day, tzinfo=UTC), "timestamp")) for day in (1, 2)
    )
    # WHEN, THEN
    assert (older.or_later(newer), newer.or_later(older), older.or_later(None)) == (newer, newer, older)


def test_what_a_bound_reaches_is_sql_of_literals() -> None:
    # GIVEN a sequence column, and none
    by_column = Bound("at", "date", text_of(date(2026, 1, 2), "date"))
    by_arrival = Bound(None, "timestamp", text_of(datetime(2026, 1, 2, tzinfo=UTC), "timestamp"))
    # WHEN, THEN
    assert by_column.reaches("change") == "(change.`at` IS NULL OR change.`at` <= CAST('2026-01-02' AS date))"
    assert by_arrival.reaches("change") == (
        "(change._tidegate.event_time IS NULL OR change._tidegate.event_time <= "
        "CAST('2026-01-02T00:00:00.000000Z' AS timestamp))"
    )
    # AND the reason says which bound, and what to do
    assert "at or before 2026-01-02" in by_column.reason()
    assert by_column.reason().endswith("send it again with a later at")
    assert by_arrival.reason().endswith("send it again in a new file")


class _History:
    uri = "s3://lake/t__history"

    def __init__(self, value: str | None) -> None:
        self.value = value

    def property(self, name: str) -> str | None:
        assert name == "tidegate.purged_through"
        return self.value


def test_a_bound_is_read_as_it_was_written() -> None:
    # GIVEN
    written = Bound("at", "timestamp", "2026-01-02T00:00:00.000000Z")
    # WHEN, THEN
    assert bound_of(_History(written.to_json()), contract()) == written  # type: ignore[arg-type]
    assert bound_of(_History(None), contract()) is None  # type: ignore[arg-type]


def test_a_bound_of_another_sequence_column_is_refused() -> None:
    # GIVEN deletes that were forgotten by time of arrival
    history = _History(Bound(None, "timestamp", "2026-01-02T00:00:00.000000Z").to_json())
    # WHEN, THEN
    with pytest.raises(TableRefused, match=r"forgotten deletes by time of arrival.*orders changes by at now"):
        bound_of(history, contract())  # type: ignore[arg-type]


def test_delete_last_breaks_ties_of_a_sequence_and_nothing_else() -> None:
    # GIVEN, WHEN, THEN with a sequence the delete comes right after it
    assert order_of("change", contract(), deleted="dead").startswith("struct(change.`at` AS sequence, dead AS deleted,")
    # AND without one a key that was deleted can be born again
    assert order_of("change", contract(None), deleted="dead").startswith("struct(change._tidegate.event_time AS")
    assert "dead" not in order_of("change", contract(None), deleted="dead")


def test_rows_remember_an_order_a_column_under_partial_updates_alone() -> None:
    # GIVEN, WHEN, THEN
    assert "orders" not in origin_type(contract())
    found = origin_type(contract(partial_updates=True))
    order = order_type(contract())
    assert order == (
        "struct<sequence:timestamp,deleted:boolean,event_time:timestamp,source:string,sequencer:string,position:bigint>"
    )
    assert found.endswith(f"batch:bigint,orders:map<string,{order}>,last_delete:{order}>")
