# ruff: noqa: E501 - what is said is quoted as one line
"""What is said, before a deploy, of each change that it would make to a table that is there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tidegate_cli.contracts import widening
from tidegate_cli.contracts.change import INSTEAD, Change, changes
from tidegate_cli.contracts.check import check_texts
from tidegate_cli.contracts.compile import compile_contract

BASE: dict[str, Any] = {
    "table": "t",
    "landing": "t/{day}/*.json",
    "format": {"type": "json"},
    "columns": {"day": "date", "id": "int", "amount": "decimal(10,2)", "at": "int", "since": "int", "until": "int"},
    "reads": {"op": "string"},
    "merge": {"strategy": "cdc", "keys": ["day", "id"], "sequence_by": "at", "delete_when": "op = 'D'"},
    "partition_by": ["day"],
    "freshness": "15m",
}
COLUMNS = BASE["columns"]
NOW_ON = f"holds for what is merged from now on; for the rows that are there, {INSTEAD}"


def compiled(**others: Any) -> dict[str, Any]:
    written = {**BASE, **others}
    checked = check_texts([("t.yaml", json.dumps({k: v for k, v in written.items() if v is not None}).encode())])
    assert checked.errors == (), checked.findings
    return compile_contract(checked.contracts[0])


def merge(**others: Any) -> dict[str, Any]:
    return {"merge": {k: v for k, v in {**BASE["merge"], **others}.items() if v is not None}}


SNAPSHOT = {"merge": {"strategy": "snapshot", "keys": ["day", "id"]}}
BITEMPORAL = merge(strategy="bitemporal", valid_from="since", valid_to="until")
SCD2 = merge(strategy="scd2", track_columns=["amount"])
TAKEN = {"merge": {**SNAPSHOT["merge"], "sequence_by": "taken"}}
CASES: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    # what the old contract has, what the new one has -> what is said
    ({}, {"freshness": "1h"}, "t: freshness: holds from the deploy on"),
    ({}, {"batch": {"max_files": 10}}, "t: batch: holds for batches that are made from now on"),
    ({}, {"maintenance": {"optimize": "off"}}, "t: maintenance: holds from the next run on"),
    (
        {},
        {"change_data_feed": True},
        "t: change_data_feed: is on from the next merge on; there is no feed of the versions before",
    ),
    ({"change_data_feed": True}, {}, "t: change_data_feed: is off from now on"),
    (
        {},
        {"tombstones": "60d"},
        "t: tombstones_s: deletes are remembered for 60 days, not 30; those that are forgotten by now do not come back",
    ),
    ({}, {"tombstones": "7d"}, "t: tombstones_s: deletes are remembered for 7 days, not 30"),
    (
        {},
        {"readers": ["spark", "hive"]},
        "t: readers: hive comes: what the table uses of Delta is changed with its next merge",
    ),
    (
        {"readers": ["spark", "hive"]},
        {},
        "t: readers: hive goes: what the table uses of Delta is changed with its next merge",
    ),
    ({}, {"evolution": "widen"}, "t: evolution: strict becomes widen"),
    (
        {"partition_by": []},
        {"partition_by": [], "cluster_by": ["id"]},
        "t: cluster_by: files are clustered anew as they are optimized",
    ),
    (
        {},
        {"format": {"type": "parquet"}},
        "t: format: files are read otherwise, also those that have landed and are not merged yet",
    ),
    (
        {},
        {"reads": {"op": "string", "x": "int"}},
        "t: reads: other columns are read, also from files that have landed and are not merged yet",
    ),
    (
        {},
        {"landing": "u/{day}/*.json"},
        "t: landing: 't/{day}/*.json' becomes 'u/{day}/*.json': what is merged stays; files that matched no table before are taken by a replay",
    ),
    ({}, {"transform": "SELECT abs(id) AS amount FROM arrivals"}, f"t: transform: {NOW_ON}"),
    ({}, merge(delete_when="op = 'X'"), f"t: merge.delete_when: {NOW_ON}"),
    (
        merge(partial_updates=True),
        merge(partial_updates=True, ignore_null_updates=True),
        f"t: merge.ignore_null_updates: {NOW_ON}",
    ),
    (
        {},
        {"expectations": [{"name": "a", "check": "id > 0"}]},
        "t: expectations.a: holds for rows that are merged from now on; those that are there are not checked",
    ),
    (
        {"expectations": [{"name": "a", "check": "id > 0"}]},
        {},
        "t: expectations.a: is not checked any more; what is in quarantine for it is taken by a replay",
    ),
    (
        {"expectations": [{"name": "a", "check": "id > 0"}]},
        {"expectations": [{"name": "a", "check": "id > 1"}]},
        "t: expectations.a: is changed for rows that are merged from now on",
    ),
    (
        {"evolution": "add_columns"},
        {"evolution": "add_columns", "columns": {**COLUMNS, "x": "int"}},
        "t: columns.x: int is added with the next merge; rows that are there have null in it",
    ),
    (
        {"evolution": "widen"},
        {"evolution": "widen", "columns": {**COLUMNS, "amount": "decimal(12,2)"}},
        "t: columns.amount: decimal(10,2) becomes decimal(12,2): the table is widened with its next merge",
    ),
    # what is refused
    (
        {**TAKEN, "reads": {"taken": "int"}},
        {**TAKEN, "reads": {"taken": "bigint"}},
        f"t: refused: reads.taken: int becomes bigint, and it is the sequence, whose type stays; {INSTEAD}",
    ),
    (
        {},
        {"columns": {**COLUMNS, "x": "int"}},
        "t: refused: columns.x: int is new; write evolution: add_columns, and it is added",
    ),
    (
        {},
        {"columns": {**COLUMNS, "amount": "decimal(12,2)"}},
        "t: refused: columns.amount: decimal(10,2) becomes decimal(12,2); write evolution: widen, and the table is widened",
    ),
    (
        {"evolution": "widen"},
        {"evolution": "widen", "columns": {**COLUMNS, "amount": "decimal(8,2)"}},
        f"t: refused: columns.amount: decimal(10,2) becomes decimal(8,2): values may not fit any more; {INSTEAD}",
    ),
    (
        {"evolution": "widen"},
        {"evolution": "widen", "columns": {**COLUMNS, "since": "decimal(9,0)"}},
        f"t: refused: columns.since: int becomes decimal(9,0): decimal(9,0) does not hold all digits of int: write decimal(10,0) or more; {INSTEAD}",
    ),
    (
        {},
        {"columns": {**COLUMNS, "amount": "string"}},
        f"t: refused: columns.amount: decimal(10,2) becomes string: values would be others; {INSTEAD}",
    ),
    (
        {"columns": {**COLUMNS, "d": "date"}},
        {"columns": {**COLUMNS, "d": "timestamp"}},
        f"t: refused: columns.d: date becomes timestamp: which moment a day is depends on a time zone; {INSTEAD}",
    ),
    (
        {"evolution": "widen"},
        {"evolution": "widen", "columns": {**COLUMNS, "id": "bigint"}},
        f"t: refused: columns.id: int becomes bigint, and it is one of the keys, whose type stays; {INSTEAD}",
    ),
    (
        {"evolution": "widen"},
        {"evolution": "widen", "columns": {**COLUMNS, "at": "bigint"}},
        f"t: refused: columns.at: int becomes bigint, and it is the sequence, whose type stays; {INSTEAD}",
    ),
    (
        {},
        {"columns": {name: ddl for name, ddl in COLUMNS.items() if name != "amount"}},
        f"t: refused: columns.amount: is not in the contract any more, and the table has it; write it as it was (null where files have none), or {INSTEAD}",
    ),
    (
        {"evolution": "widen"},
        {
            "evolution": "widen",
            "columns": {"Amount" if name == "amount" else name: ddl for name, ddl in COLUMNS.items()},
        },
        f"t: refused: columns.amount: is now written 'Amount', and the table has it; write it as it was (null where files have none), or {INSTEAD}",
    ),
    (
        {},
        merge(strategy="upsert", delete_when=None),
        f"t: refused: merge.strategy: cdc becomes upsert, and remembers other things; {INSTEAD}",
    ),
    (
        {},
        merge(keys=["day"]),
        f"t: refused: merge.keys: [day, id] becomes [day], and the rows that are there were told apart by the old ones; {INSTEAD}",
    ),
    (
        {},
        merge(sequence_by=None),
        f"t: refused: merge.sequence_by: at becomes none, and the rows that are there were put in order by the old one; {INSTEAD}",
    ),
    (
        {},
        merge(partial_updates=True),
        f"t: refused: merge.partial_updates: false becomes true, and the rows that are there don't say which change set which column; {INSTEAD}",
    ),
    (
        {},
        {"partition_by": []},
        f"t: refused: partition_by: [day] becomes [], and the files that are there lie in folders of the old one; {INSTEAD}",
    ),
    (
        SCD2,
        merge(strategy="scd2"),
        f"t: refused: merge.track_columns: [amount] becomes none, and the versions that are there began by the old ones; {INSTEAD}",
    ),
    (
        SNAPSHOT,
        {"merge": {**SNAPSHOT["merge"], "snapshot": {"scope": ["day"]}}},
        f"t: refused: merge.snapshot.scope: [] becomes [day], and the snapshots that are there were of the old one; {INSTEAD}",
    ),
    (
        SNAPSHOT,
        {"merge": {**SNAPSHOT["merge"], "snapshot": {"complete": "marker"}}},
        f"t: refused: merge.snapshot.complete: file becomes marker, and the snapshots that are there were made up otherwise; {INSTEAD}",
    ),
    (
        SNAPSHOT,
        {"merge": {**SNAPSHOT["merge"], "snapshot": {"keep_history": True}}},
        f"t: refused: merge.snapshot.keep_history: false becomes true, and the table has, or lacks, the columns of a history; {INSTEAD}",
    ),
    (
        {"merge": {**SNAPSHOT["merge"], "snapshot": {"complete": "marker"}}},
        {"merge": {**SNAPSHOT["merge"], "snapshot": {"complete": "marker", "marker": "_OK"}}},
        f"t: refused: merge.snapshot.marker: _SUCCESS becomes _OK, and snapshots that wait for the old one would never be complete; {INSTEAD}",
    ),
    (
        BITEMPORAL,
        {"merge": {**BITEMPORAL["merge"], "valid_from": "until", "valid_to": "since"}},
        f"t: refused: merge.valid_from: since becomes until, and the periods that are there are those of the old one; {INSTEAD}",
    ),
    (
        {**BITEMPORAL, "evolution": "widen"},
        {**BITEMPORAL, "evolution": "widen", "columns": {**COLUMNS, "since": "bigint", "until": "bigint"}},
        f"t: refused: columns.since: int becomes bigint, and it is an end of the period, whose type stays; {INSTEAD}",
    ),
    (
        {"partition_by": ["since"], "evolution": "widen"},
        {"partition_by": ["since"], "evolution": "widen", "columns": {**COLUMNS, "since": "bigint"}},
        f"t: refused: columns.since: int becomes bigint, and it is a partition column, whose type stays; {INSTEAD}",
    ),
]


@pytest.mark.parametrize(("old", "new", "said"), CASES)
def test_each_change_says_what_it_does(old: dict[str, Any], new: dict[str, Any], said: str) -> None:
    first, *_ = changes([compiled(**old)], [compiled(**new)])
    assert str(first) == said


def test_the_same_contract_is_no_change() -> None:
    assert changes([compiled()], [compiled()]) == []


def test_what_an_older_release_compiled_means_what_it_meant_then() -> None:
    # GIVEN an upsert as it was compiled before there was more
    new = compiled(**merge(strategy="upsert", delete_when=None), reads=None)
    old = {name: new[name] for name in ("table", "landing", "landing_regex", "format", "columns", "partition_by")}
    old |= {name: new[name] for name in ("freshness", "readers", "evolution", "batch")}
    old["merge"] = {name: new["merge"][name] for name in ("strategy", "keys", "sequence_by")}
    # THEN what is new is maintenance alone
    assert [str(change) for change in changes([old], [new])] == ["t: maintenance: holds from the next run on"]


def test_tables_that_come_and_go() -> None:
    other = compiled(table="u", landing="u/{day}/*.json")
    assert changes([], [other]) == [
        Change("u", "", "is a new table; files that have landed before, and matched no table, are taken by a replay")
    ]
    assert changes([other], []) == [
        Change("u", "", "has no contract any more: its table stays as it is, its files are ignored")
    ]


def test_a_table_with_another_name_starts_anew() -> None:
    assert [str(change) for change in changes([compiled()], [compiled(table="u")])] == [
        "t: has no contract any more: its table stays as it is, its files are ignored",
        "u: is a new table in place of 't'; files that 't' has merged must land again (docs/contract-reference.md#changing-a-contract)",
    ]


WIDER = [
    *(("tinyint", "smallint"), ("smallint", "int"), ("int", "bigint"), ("tinyint", "bigint"), ("float", "double")),
    *(
        ("tinyint", "decimal(3,0)"),
        ("int", "decimal(12,2)"),
        ("bigint", "decimal(19,0)"),
        ("decimal(10,2)", "decimal(12,4)"),
    ),
]
NOT_WIDER = [
    *(
        ("int", "int"),
        ("bigint", "int"),
        ("double", "float"),
        ("int", "double"),
        ("int", "string"),
        ("date", "timestamp"),
    ),
    *(
        ("int", "decimal(10,2)"),
        ("decimal(10,2)", "decimal(10,3)"),
        ("decimal(10,2)", "decimal(12,1)"),
        ("float", "decimal(38,10)"),
    ),
    *(("decimal(10,0)", "bigint"), ("timestamp_ntz", "timestamp"), ("array<int>", "array<bigint>")),
]


@pytest.mark.parametrize(("old", "new"), WIDER)
def test_a_wider_type_holds_every_value(old: str, new: str) -> None:
    assert widening.is_wider(new, old)


@pytest.mark.parametrize(("old", "new"), NOT_WIDER)
def test_any_other_does_not(old: str, new: str) -> None:
    assert not widening.is_wider(new, old)


NUMBERS = st.sampled_from(["tinyint", "smallint", "int", "bigint"])
DECIMALS = (
    st.tuples(st.integers(1, 38), st.integers(0, 38))
    .filter(lambda d: d[1] <= d[0])
    .map(lambda d: f"decimal({d[0]},{d[1]})")
)


@given(st.one_of(NUMBERS, DECIMALS), st.one_of(NUMBERS, DECIMALS), st.one_of(NUMBERS, DECIMALS))
def test_wider_is_an_order(one: str, two: str, three: str) -> None:
    assert not (widening.is_wider(one, two) and widening.is_wider(two, one))
    if widening.is_wider(two, one) and widening.is_wider(three, two):
        assert widening.is_wider(three, one)
