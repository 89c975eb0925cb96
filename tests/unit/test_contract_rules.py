# ruff: noqa: E501 - what is said is quoted as one line
"""What `tidegate tables check` says about formats, layout, readers and maintenance, word for word."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tidegate_cli.contracts.check import check_texts

BASE: dict[str, Any] = {
    "table": "t",
    "landing": "t/*.json",
    "format": {"type": "json"},
    "columns": {
        "id": "bigint",
        "ok": "boolean",
        "at": "timestamp",
        "tags": "array<string>",
        "raw": "binary",
        "n": "int",
    },
    "merge": {"strategy": "append"},
    "freshness": "15m",
}
COLUMNS = BASE["columns"]

GOOD: list[dict[str, Any]] = [
    {"format": {"type": "avro"}},
    {"format": {"type": "orc"}},
    {"cluster_by": ["id", "at"]},
    {"columns": {**COLUMNS, "_source_file": "string", "_arrived_at": "timestamp"}, "cluster_by": ["_arrived_at"]},
    {"readers": ["spark", "hive", "redshift"], "cluster_by": ["id"], "change_data_feed": True},
    {"maintenance": {"optimize": False, "vacuum": False, "checkpoint": False}},
    {"maintenance": {"optimize": "off", "vacuum": "off", "checkpoint": "auto", "limit": "90s"}},
    {"evolution": "add_columns"},
    {"reads": {"not_kept": "struct<a:int>"}},
]


@pytest.mark.parametrize("others", GOOD)
def test_what_can_be_done_has_no_findings(others: dict[str, Any]) -> None:
    assert said(others) == []


def said(others: dict[str, Any]) -> list[str]:
    checked = check_texts([("t.yaml", json.dumps({**BASE, **others}).encode())])
    return [str(finding).removeprefix("t.yaml:1: ") for finding in checked.findings]


DURATION = "is not a length of time; write a number and s, m, h or d, such as"
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"format": {"type": "avro", "header": True}}, "format.header: is not a field of a contract; known here: type"),
    (
        {"format": {"type": "csv", "delimiter": '";"'}, "columns": {"id": "int"}},
        "format.delimiter: '\";\"' is the quote, too; give each its own character",
    ),
    (
        {"format": {"type": "csv", "delimiter": "\n"}, "columns": {"id": "int"}},
        "format.delimiter: '\\n' must be at least one character, and no line break",
    ),
    (
        {"columns": {**COLUMNS, "_metadata": "int"}},
        "columns._metadata: is reserved by Spark and Delta; use another name",
    ),
    ({"columns": {}}, "columns: must not be empty"),
    ({"table": "t" * 101}, "table: is longer than 100 characters; give the table a shorter name"),
    ({"batch": {"max_files": "many"}}, "batch.max_files: must be a whole number"),
    ({"cluster_by": ["id"], "partition_by": ["n"]}, "cluster_by: excludes partition_by; remove one of the two"),
    ({"cluster_by": ["idd"]}, "cluster_by: 'idd' is not a column; did you mean 'id'?"),
    ({"cluster_by": ["id", "id"]}, "cluster_by: 'id' stands there twice; remove one"),
    ({"cluster_by": ["ok"]}, "cluster_by: 'ok' is boolean, by which files are not told apart; use another column"),
    (
        {"cluster_by": ["tags"]},
        "cluster_by: 'tags' is array<string>, by which files are not told apart; use another column",
    ),
    ({"cluster_by": ["raw"]}, "cluster_by: 'raw' is binary, by which files are not told apart; use another column"),
    ({"cluster_by": ["id", "at", "n", "ok", "raw"]}, "cluster_by: holds 5, and 4 is the most; remove the others"),
    (
        {"columns": {**COLUMNS, "_arrived_at": "timestamp"}, "partition_by": ["_arrived_at"]},
        "partition_by: '_arrived_at' differs from file to file, so each would make a folder; use another column",
    ),
    (
        {"partition_by": ["tags"]},
        "partition_by: 'tags' is array<string>, which cannot name a folder; use another column",
    ),
    (
        {"columns": {"n": "int"}, "partition_by": ["n"]},
        "partition_by: names all columns, and Delta needs one that is not; remove one",
    ),
    ({"readers": ["spark", "spark"]}, "readers: 'spark' stands there twice; remove one"),
    (
        {"readers": ["presto", "hive"], "columns": {**COLUMNS, "local": "timestamp_ntz"}},
        "warning: columns.local: timestamp_ntz may not be read by hive or presto, which read files without knowing Delta; timestamp is safer",
    ),
    (
        {"maintenance": {"vacuum": "2d"}},
        "warning: maintenance.vacuum: 2d is less than the 7d that Delta asks for: a query that takes longer may lose its files, and time travel reaches back 2d alone",
    ),
    ({"maintenance": {"vacuum": "auto"}}, "maintenance.vacuum: 'auto' is not an age; write 7d, 30d or off"),
    ({"maintenance": {"vacuum": True}}, "maintenance.vacuum: 'auto' is not an age; write 7d, 30d or off"),
    ({"maintenance": {"vacuum": "1 week"}}, f"maintenance.vacuum: '1 week' {DURATION} 1h or 3650d"),
    ({"maintenance": {"vacuum": "5m"}}, "maintenance.vacuum: 5m is out of range: from 1h to 3650d"),
    ({"maintenance": {"vacuum": 7}}, "maintenance.vacuum: must be text; put it in quotes"),
    ({"maintenance": {"limit": "1s"}}, "maintenance.limit: 1s is out of range: from 10s to 6h"),
    ({"maintenance": {"limit": "never"}}, f"maintenance.limit: 'never' {DURATION} 10s or 6h"),
    ({"maintenance": {"optimize": "daily"}}, "maintenance.optimize: 'daily' is not known; write auto or off"),
    (
        {"maintenance": {"optimise": "auto"}},
        "maintenance.optimise: is not a field of a contract; did you mean 'optimize'?",
    ),
    ({"maintenance": "off"}, "maintenance: must have fields, such as {name: value}"),
    ({"evolution": "adds_columns"}, "evolution: 'adds_columns' is not known; did you mean 'add_columns'?"),
    (
        {"freshness": "5m"},
        "freshness: a start-up takes up to 420 s and a merge 120 s: 5m can't be kept; write 9m or more, or asap",
    ),
    (
        {"freshness": "9m"},
        "warning: freshness: will be missed now and then: a start-up takes up to 600 s and a merge 120 s: 9m can't be kept; write 12m or more, or asap",
    ),
    (
        {"freshness": "1h", "quiet_hours": "22:00-06:00 UTC"},
        "warning: freshness: will be missed now and then: a start-up takes up to 600 s and a merge 120 s, after up to 8.0 h of quiet hours: 60m can't be kept; write 492m or more, or asap",
    ),
    (
        {"quiet_hours": "at night"},
        "quiet_hours: 'at night' are no quiet hours; write them as 22:00-06:00 Europe/Berlin",
    ),
    ({"quiet_hours": "22:00-06:00 Europe/Berln"}, "quiet_hours: 'Europe/Berln' is not a time zone"),
    (
        {"quiet_hours": "06:00-06:00 UTC"},
        "quiet_hours: quiet hours from 06:00 to 06:00 are none, or all day: pause the table instead",
    ),
    ({"change_data_feed": "yes"}, "change_data_feed: must be true or false"),
    ({"expectations": {"name": "a"}}, "expectations: must be a list, such as [a, b]"),
    ({"transform": 5}, "transform: must be text; put it in quotes"),
    ({"reads": ["a"]}, "reads: must have fields, such as {name: value}"),
    ({"reads": {"a": "strin"}}, "reads.a: 'strin' is not a Spark SQL type; did you mean 'string'?"),
    (
        {"reads": {"a": "int", "A": "int"}},
        "reads.A: differs from 'a' by case alone, which Spark does not see; rename one",
    ),
    (
        {"format": {"type": "csv"}, "columns": {"id": "int"}, "reads": {"a": "array<int>"}},
        "reads.a: array<int> cannot be written in CSV; use string, or json or parquet as the format",
    ),
    (
        {"landing": "t/{a}/*.json", "reads": {"a": "array<int>"}},
        "reads.a: comes from the path, which holds no array<int>; write string",
    ),
]


@pytest.mark.parametrize(("others", "expected"), WRONG)
def test_each_mistake_is_one_line_that_says_what_to_write(others: dict[str, Any], expected: str) -> None:
    assert said(others) == [expected]


def test_a_partition_of_the_sequence_is_two_warnings() -> None:
    merge = {"strategy": "upsert", "keys": ["id"], "sequence_by": "n"}
    grows, is_no_key = said({"merge": merge, "partition_by": ["n"]})
    assert grows == "warning: partition_by: 'n' grows with each change, so each merge would make new folders"
    assert is_no_key.startswith("warning: partition_by: 'n' is not among merge.keys")
