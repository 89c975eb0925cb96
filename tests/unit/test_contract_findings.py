# ruff: noqa: E501 - what is said is quoted as one line
"""What `tidegate tables check` says about contracts that are wrong, word for word."""

from __future__ import annotations

import pytest
from tidegate_cli.contracts.check import check_texts

GOOD = """\
table: flights
landing: flights/{month}/*.csv
format: {type: csv}
columns:
  month: string
  flight_id: string
  delay: int
  updated_at: timestamp
merge:
  strategy: upsert
  keys: [month, flight_id]
  sequence_by: updated_at
partition_by: [month]
freshness: 15m
"""


def lines(*texts: str) -> list[str]:
    names = ["t.yaml", "u.yaml", "v.yaml"]
    checked = check_texts([(name, text.encode()) for name, text in zip(names, texts, strict=False)])
    return [str(finding) for finding in checked.findings]


def test_a_good_contract_has_no_findings() -> None:
    assert lines(GOOD) == []


WRONG_FIELDS = {
    # what is changed in the good contract -> what is said
    ("table: flights", "table: Flights 2"): (
        "t.yaml:1: table: 'Flights 2' cannot be a table's name; small letters, digits and '_', such as 'flights_2'"
    ),
    ("table: flights", "table: flights__history"): (
        "t.yaml:1: table: 'flights__history' has '__', which is kept for tables that go with a table; write one '_'"
    ),
    ("table: flights\n", ""): "t.yaml:1: 'table' is missing; write `table: flights` or the like",
    ("table: flights", "table: 12"): "t.yaml:1: table: must be text; put it in quotes",
    ("landing: flights/{month}/*.csv", "landing: /flights/{month}/*.csv"): (
        "t.yaml:2: landing: begins with '/', and keys do not; write 'flights/{month}/*.csv'"
    ),
    ("landing: flights/{month}/*.csv", "landing: s3://bucket/{month}/*.csv"): (
        "t.yaml:2: landing: begins with s3://; write the path below the landing bucket, such as flights/*.csv"
    ),
    ("landing: flights/{month}/*.csv", "landing: flights/{month}/**/*.csv"): (
        "t.yaml:2: landing: has '**', which is not supported; write one '*' for each folder: a/*/*.csv"
    ),
    ("landing: flights/{month}/*.csv", "landing: flights/{month}/../*.csv"): (
        "t.yaml:2: landing: has the part '..'; write the path without it"
    ),
    ("landing: flights/{month}/*.csv", "landing: flights//{month}/*.csv"): (
        "t.yaml:2: landing: has an empty part ('//'); write one '/'"
    ),
    ("landing: flights/{month}/*.csv", "landing: flights/{month}/"): (
        "t.yaml:2: landing: ends with '/', so it matches no file; write 'flights/{month}/*'"
    ),
    ("landing: flights/{month}/*.csv", "landing: '*.csv'"): (
        "t.yaml:2: landing: must begin with a folder of its own, such as flights/*.csv"
    ),
    ("landing: flights/{month}/*.csv", "landing: flights/{month}*.csv"): (
        "t.yaml:2: landing: {month} touches '*': where one ends is a guess; put a character between"
    ),
    ("landing: flights/{month}/*.csv", "landing: flights/{month}/{month}.csv"): (
        "t.yaml:2: landing: has the capture {month} twice; give each its own name"
    ),
    ("landing: flights/{month}/*.csv", "landing: flights/{month/*.csv"): (
        "t.yaml:2: landing: has a brace without its partner; a capture is {name} within one folder or file name"
    ),
    ("landing: flights/{month}/*.csv", "landing: flights/{month}/[ab]?.csv"): (
        "t.yaml:2: landing: has '['; only '*' and '{name}' stand for other characters"
    ),
    (
        "format: {type: csv}",
        "format: {type: cvs}",
    ): "t.yaml:3: format.type: 'cvs' is not a format; did you mean 'csv'?",
    ("format: {type: csv}", "format: {header: true}"): (
        "t.yaml:3: format: type is missing; write {type: csv}, {type: json}, {type: parquet}, {type: avro} or {type: orc}"
    ),
    ("format: {type: csv}", "format: csv"): (
        "t.yaml:3: format: must have fields; write {type: csv}, {type: json}, {type: parquet}, {type: avro} or {type: orc}"
    ),
    ("format: {type: csv}", "format: {type: csv, heder: true}"): (
        "t.yaml:3: format.heder: is not a field of a contract; did you mean 'header'?"
    ),
    (
        "format: {type: csv}",
        "format: {type: csv, header: 1}",
    ): "t.yaml:3: format.header: must be true or false",
    ("format: {type: csv}", "format: {type: csv, quote: '||'}"): (
        "t.yaml:3: format.quote: '||' must be one character, and not a line break"
    ),
    ("format: {type: csv}", "format: {type: csv, null_value: NULL}"): (
        "t.yaml:3: format.null_value: must be text; put it in quotes"
    ),
    ("format: {type: csv}", "format: {type: csv, encoding: UTF-16}"): (
        "t.yaml:3: format.encoding: 'UTF-16' is not supported yet; write UTF-8, US-ASCII, ISO-8859-1, windows-1252"
    ),
    (
        "delay: int",
        "delay: integr",
    ): "t.yaml:7: columns.delay: 'integr' is not a Spark SQL type; did you mean 'integer'?",
    ("delay: int", "delay: datetime"): (
        "t.yaml:7: columns.delay: 'datetime' is not a Spark SQL type; write 'timestamp'"
    ),
    ("delay: int", "delay: decimal(40,2)"): (
        "t.yaml:7: columns.delay: decimal(40,2) is not a type: write decimal(p,s) with p from 1 to 38 and s from 0 to p"
    ),
    ("delay: int", "delay: array<int"): (
        "t.yaml:7: columns.delay: 'array<int' is not a type: it ends where '>' should stand"
    ),
    ("delay: int", "delay:"): "t.yaml:7: columns.delay: must be text; put it in quotes",
    ("delay: int", "delay: array<int>"): (
        "t.yaml:7: columns.delay: array<int> cannot be written in CSV; use string, or json or parquet as the format"
    ),
    ("delay: int", "dep delay: int"): (
        "t.yaml:7: columns.dep delay: cannot be a column's name; letters, digits and '_', such as 'dep_delay'"
    ),
    ("delay: int", "Month: int"): (
        "t.yaml:7: columns.Month: differs from 'month' by case alone, which Spark does not see; rename one"
    ),
    ("delay: int", "month: int"): (
        "t.yaml:7: columns.month: stands here a second time, after line 5; remove one of them"
    ),
    (
        "strategy: upsert",
        "strategy: upsrt",
    ): "t.yaml:10: merge.strategy: 'upsrt' is not known; did you mean 'upsert'?",
    (
        "  strategy: upsert\n",
        "",
    ): "t.yaml:9: merge: 'strategy' is missing; write `strategy: upsert` or the like",
    ("keys: [month, flight_id]", "keys: [month, flight]"): (
        "t.yaml:11: merge.keys: 'flight' is not a column; did you mean 'flight_id'?"
    ),
    ("keys: [month, flight_id]", "keys: [month, zzz]"): (
        "t.yaml:11: merge.keys: 'zzz' is not a column (columns: month, flight_id, delay, updated_at)"
    ),
    (
        "keys: [month, flight_id]",
        "keys: [month, month]",
    ): "t.yaml:11: merge.keys: 'month' stands there twice; remove one",
    ("keys: [month, flight_id]", "keys: month"): "t.yaml:11: merge.keys: must be a list, such as [a, b]",
    ("  keys: [month, flight_id]\n", ""): (
        "t.yaml:9: merge.keys: upsert needs them: the columns that tell rows apart, such as [id]"
    ),
    ("sequence_by: updated_at", "sequence_by: updated"): (
        "t.yaml:12: merge.sequence_by: 'updated' is not a column; did you mean 'updated_at'?"
    ),
    ("partition_by: [month]", "partition_by: [moth]"): (
        "t.yaml:13: partition_by: 'moth' is not a column; did you mean 'month'?"
    ),
    ("freshness: 15m", "freshness: 15 minutes"): (
        "t.yaml:14: freshness: 'minutes' is not a unit of time; write 15m, 2h, 1d, `by 06:00 Europe/Berlin` or asap"
    ),
    ("freshness: 15m", "freshness: by 06:00"): (
        "t.yaml:14: freshness: 'by 06:00' lacks its time zone; write `by 06:00 UTC` or `by 06:00 Europe/Berlin`"
    ),
    ("freshness: 15m", "freshness: by 06:00 Europe/Berln"): (
        "t.yaml:14: freshness: 'Europe/Berln' is not a time zone; did you mean 'Europe/Berlin'?"
    ),
    ("freshness: 15m", "freshness: by 26:00 UTC"): (
        "t.yaml:14: freshness: 26:00 is not a time of day; write 15m, 2h, 1d, `by 06:00 Europe/Berlin` or asap"
    ),
    ("freshness: 15m", "freshness: 5s"): (
        "t.yaml:14: freshness: 5s is out of range: due tables are looked for once a minute, so 1m is the least"
        " (or asap), and 31d the most"
    ),
    ("freshness: 15m", "freshness: 15m\nreaders: [sprak]"): (
        "t.yaml:15: readers: 'sprak' is not a known reader; did you mean 'spark'? (known: spark, athena, trino,"
        " presto, hive, redshift, duckdb, delta-rs)"
    ),
    ("freshness: 15m", "freshness: 15m\nbatch: {max_bytes: 5 apples}"): (
        "t.yaml:15: batch.max_bytes: '5 apples' is not a size; write 50 GiB, 500 MB or a number of bytes"
    ),
    (
        "freshness: 15m",
        "freshness: 15m\nbatch: {max_files: 0}",
    ): "t.yaml:15: batch.max_files: must be at least 1",
    ("freshness: 15m", "freshness: 15m\nfollow_ups:\n  - hive"): (
        "t.yaml:15: follow_ups: not supported yet; start what follows from the run's success"
    ),
}


@pytest.mark.parametrize(("change", "said"), WRONG_FIELDS.items())
def test_each_mistake_is_one_line_that_says_what_to_write(change: tuple[str, str], said: str) -> None:
    # GIVEN the good contract with one mistake
    old, new = change
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    # WHEN it is checked THEN exactly that is said
    assert lines(text) == [said]


def test_several_mistakes_are_all_said_at_once_in_the_order_of_their_lines() -> None:
    text = GOOD.replace("delay: int", "_tidegate: int").replace("sequence_by: updated_at", "sequence_by: flight_id")
    assert lines(text) == [
        "t.yaml:7: columns._tidegate: is reserved: Tidegate keeps the origin of each row in _tidegate; use another name",
        "t.yaml:12: merge.sequence_by: 'flight_id' is one of the keys, so the changes of a row never differ in it;"
        " use another",
    ]


def test_a_misspelt_field_is_both_unknown_and_missing() -> None:
    assert lines(GOOD.replace("freshness", "freshnes")) == [
        "t.yaml:1: 'freshness' is missing; write `freshness: 15m` or the like",
        "t.yaml:14: freshnes: is not a field of a contract; did you mean 'freshness'?",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "t.yaml:1: is empty; a contract begins with `table: <name>`"),
        (b"# nothing\n", "t.yaml:1: is empty; a contract begins with `table: <name>`"),
        (b"- a\n- b\n", "t.yaml:1: holds no fields; a contract begins with `table: <name>`"),
        (
            b"table: t\n\tlanding: x\n",
            "t.yaml:2: is not YAML: while scanning for the next token found character",
        ),
        (b"table: t\nlanding: {a\n", "t.yaml:3: is not YAML: while parsing a flow mapping"),
        (b"table: t\nlanding: caf\xe9\n", "t.yaml:2: is not UTF-8; save the file in that encoding"),
        (b"table: t\n---\ntable: u\n", "t.yaml:2: is not YAML: expected a single document"),
        (b"table: &a\n  b: *a\n", "t.yaml:1: table.b: refers to itself; write its content out"),
        (b"table: \x00\n", "t.yaml:1: is not YAML:"),
        (b"? [a, b]\n: c\n", "t.yaml:1: a field's name must be a word"),
    ],
)
def test_a_file_that_is_not_a_contract_says_so_without_a_traceback(content: bytes, said: str) -> None:
    first, *_ = check_texts([("t.yaml", content)]).findings
    assert str(first).startswith(said)


def test_column_names_that_yaml_would_read_as_something_else_stay_words() -> None:
    # GIVEN column names that YAML 1.1 takes for booleans, null and a number
    text = GOOD.replace("  delay: int\n", "  on: int\n  no: int\n  null: int\n")
    # WHEN it is checked THEN they are columns
    (contract,) = check_texts([("t.yaml", text.encode())]).contracts
    assert list(contract.columns) == ["month", "flight_id", "on", "no", "null", "updated_at"]


class TestWarnings:
    def test_a_partition_outside_the_keys_says_what_it_costs(self) -> None:
        checked = check_texts([("t.yaml", GOOD.replace("[month, flight_id]", "[flight_id]").encode())])
        assert [str(finding) for finding in checked.findings] == [
            "t.yaml:13: warning: partition_by: 'month' is not among merge.keys, so a merge cannot skip files by it:"
            " the row of a key may stand in any folder, and every merge searches the whole table; add it to the keys"
            " if it never changes for a key"
        ]
        assert checked.errors == ()

    def test_a_capture_without_a_column_is_dropped_aloud(self) -> None:
        assert lines(GOOD.replace("landing: flights/{month}/*", "landing: flights/{mnth}/*")) == [
            "t.yaml:2: warning: landing: {mnth} is not among the columns, so its value is not kept (write * if that is"
            " meant); did you mean 'month'?"
        ]

    def test_an_append_by_partition_costs_nothing(self) -> None:
        text = GOOD.replace(
            "strategy: upsert\n  keys: [month, flight_id]\n  sequence_by: updated_at", "strategy: append"
        )
        assert lines(text) == []


class TestAppend:
    def test_it_has_neither_keys_nor_a_sequence(self) -> None:
        assert lines(GOOD.replace("strategy: upsert", "strategy: append")) == [
            "t.yaml:11: merge.keys: append keeps every row, so it has no keys; remove them, or use upsert",
            "t.yaml:12: merge.sequence_by: append keeps every row; remove it, or use upsert",
        ]


class TestBetweenContracts:
    def test_two_files_with_one_table(self) -> None:
        assert lines(GOOD, GOOD.replace("landing: flights/", "landing: other/")) == [
            "u.yaml:1: table: 'flights' is the table of t.yaml:1; rename one"
        ]

    def test_patterns_that_can_match_one_key(self) -> None:
        other = GOOD.replace("table: flights", "table: others").replace("flights/{month}", "flights/{month}-late")
        assert lines(GOOD, other) == [
            "u.yaml:2: landing: 'flights/x-late/.csv' would belong to 'flights' (t.yaml:2) as well; let their folders"
            " differ"
        ]

    def test_patterns_that_cannot(self) -> None:
        other = GOOD.replace("table: flights", "table: others").replace("/*.csv", "/*.json")
        assert lines(GOOD, other) == []
