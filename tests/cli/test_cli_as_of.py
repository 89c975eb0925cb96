"""as_of and `<table>__now` in `tidegate query`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from arro3.core import Array, DataType, Field, Schema, Table
from deltalake import write_deltalake
from tidegate_cli import as_of
from tidegate_cli.adapters.lake import InvalidQuery, Lake, UnknownTable


@pytest.fixture
def rooms(lake: Path) -> Lake:
    """A table whose period is in columns of other names, of numbers, next to one without periods."""
    columns = {
        "room": ["a", "a", "b"],
        "begin": [9, 10, None],
        "stop": [10, None, 2],
        "known_from": [1, 1, 2],
        "known_to": [None, 3, None],
    }
    bounds = {"begin": "valid_from", "stop": "valid_to"}
    fields = [
        Field(
            name,
            DataType.utf8() if name == "room" else DataType.int64(),
            metadata={} if name == "room" else {"tidegate.bound": bounds.get(name, name)},
        )
        for name in columns
    ]
    arrays = [Array(values, field.type) for values, field in zip(columns.values(), fields, strict=True)]
    write_deltalake(str(lake / "rooms"), Table.from_arrays(arrays, schema=Schema(fields)))
    return Lake(str(lake))


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("as_of(rooms, 9)", {("a", 9)}),
        ("as_of(rooms, 10)", set()),
        ("as_of(rooms, 10, 2)", {("a", 10)}),
        ("as_of(rooms, 10, 3)", set()),
        ("AS_OF ( ROOMS , 1 + 8, 1 ) r", {("a", 9)}),
        ("as_of(rooms, '10', '2')", {("a", 10)}),  # compared as numbers, not as text
        ("as_of(rooms, -5, null)", {("b", None)}),
        ("as_of(rooms, null, 1)", {("a", 9), ("a", 10)}),
        ("as_of(\"rooms\", 9 -- nine\n) where rooms.room <> 'as_of('", {("a", 9)}),
        ("rooms__now", {("a", 9), ("b", None)}),
        ("as_of(rooms, 9) x join as_of(rooms, 9) y using (room)", {("a", 9)}),
    ],
)
def test_rows_are_those_that_were_so(rooms: Lake, source: str, wanted: set[tuple[Any, ...]]) -> None:
    columns = "room, x.begin" if " x join" in source else "room, begin"
    assert set(rooms.query(f"select {columns} from {source}").rows) == wanted


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("as_of(rooms, begin)", "constants after the table, such as '2026-01-31', not begin"),
        ("as_of(rooms, (select 1))", "constants after the table"),
        ("as_of(rooms, 1) or (1)", "ParserError|Expected"),
        ("as_of(rooms, )", "not nothing"),
        ("as_of(rooms, 1; select 2)", "constants after the table"),
        ("as_of((select 1), 1)", "takes a table's name"),
        ("as_of(rooms, 1, 2, 3)", "takes a table's name, a valid time and perhaps a known time"),
        ("as_of(rooms, 1", "never closed"),
        ("as_of(flights, 1)", "merged by scd2 or bitemporal; this one has the columns month, flight_id, delay"),
        ("as_of(rooms, 'nine')", "nine"),
        ("rooms where as_of(1)", "stands where a table can"),
    ],
)
def test_what_cannot_be_asked_is_said(rooms: Lake, source: str, said: str) -> None:
    with pytest.raises(InvalidQuery, match=said):
        rooms.query(f"select * from {source}")


@pytest.mark.parametrize("kind", [DataType.date32(), DataType.timestamp("us", tz="UTC"), DataType.timestamp("us")])
def test_times_are_compared_as_times(lake: Path, kind: DataType) -> None:
    # GIVEN intervals of a type of time
    years = {"valid_from": ["2020", "9020"], "valid_to": ["9020", None], "known_from": ["2020", "2020"]}
    columns = {
        name: Array([year and f"{year}-01-01" for year in values], DataType.utf8()).cast(kind)
        for name, values in {**years, "known_to": [None, None]}.items()
    }
    write_deltalake(str(lake / "times"), Table.from_pydict(columns))
    command = Lake(str(lake))
    # THEN text, typed literals and now are values of that type
    for source in ("as_of(times, '2021-06-30')", "as_of(times, DATE '2020-01-01', now())", "times__now"):
        assert len(command.query(f"select valid_from from {source}").rows) == 1, source
    assert command.query("select * from as_of(times, '9020-01-01', '2019-12-31')").rows == ()


@pytest.mark.parametrize("source", ["as_of(nosuch, 1)", "nosuch__now", "flights__now"])
def test_a_table_that_is_not_there_is_named(rooms: Lake, source: str) -> None:
    with pytest.raises(UnknownTable):
        rooms.query(f"select * from {source}")


def test_a_scd2_table_knows_no_beliefs(rooms: Lake) -> None:
    class Plain:
        metadata = None

        def __init__(self, name: str, type_name: str) -> None:
            self.name, self.type = name, type_name

    fields = [Plain("valid_from", "date"), Plain("valid_to", "date")]
    with pytest.raises(as_of.NotAsOf, match=r"write as_of\(t, valid\)"):
        as_of.rewrite("select * from as_of(t, '2026-01-01', '2026-01-01')", lambda _: fields)
    assert as_of.now_condition(fields) == '"valid_to" IS NULL'
