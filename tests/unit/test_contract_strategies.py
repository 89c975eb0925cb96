# ruff: noqa: E501 - what is said is quoted as one line
"""What `tidegate tables check` says about each strategy's fields, word for word."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tidegate_cli.contracts.check import check_texts
from tidegate_cli.contracts.compile import compile_contract
from tidegate_spark.work import Expectation, Maintenance, SnapshotRule, _parse_contract

BASE: dict[str, Any] = {
    "table": "t",
    "landing": "t/{day}/*.json",
    "format": {"type": "json"},
    "columns": {"day": "date", "id": "bigint", "v": "string", "at": "timestamp", "since": "date", "until": "date"},
    "reads": {"op": "string"},
    "freshness": "15m",
}
MERGES: dict[str, dict[str, Any]] = {
    "append": {"strategy": "append"},
    "upsert": {"strategy": "upsert", "keys": ["id"], "sequence_by": "at"},
    "cdc": {"strategy": "cdc", "keys": ["id"], "sequence_by": "at", "delete_when": "op = 'D'"},
    "partial": {"strategy": "cdc", "keys": ["id"], "partial_updates": True, "ignore_null_updates": True},
    "scd2": {
        "strategy": "scd2",
        "keys": ["id"],
        "sequence_by": "at",
        "delete_when": "op = 'D'",
        "track_columns": ["v"],
    },
    "snapshot": {
        "strategy": "snapshot",
        "keys": ["day", "id"],
        "snapshot": {"scope": ["day"], "complete": "marker", "marker": "_DONE", "keep_history": True},
    },
    "bitemporal": {
        **{"strategy": "bitemporal", "keys": ["id"], "sequence_by": "at", "delete_when": "op = 'D'"},
        **{"valid_from": "since", "valid_to": "until"},
    },
}
"""A good `merge` of each strategy."""


def said(merge: dict[str, Any], **others: Any) -> list[str]:
    """What is found in the base contract with this merge; JSON is YAML."""
    written = {**BASE, "merge": merge, **others}
    checked = check_texts([("t.yaml", json.dumps({k: v for k, v in written.items() if v is not None}).encode())])
    return [str(finding).removeprefix("t.yaml:1: ") for finding in checked.findings]


@pytest.mark.parametrize("name", MERGES)
def test_each_strategy_has_a_contract_without_findings(name: str) -> None:
    assert said(MERGES[name]) == []


OF_OTHERS = [
    # strategy, a field that it has not and what is said
    (
        "append",
        "delete_when",
        "op = 'D'",
        "merge.delete_when: append keeps every row; remove it, or leave rows out with the transform's WHERE",
    ),
    ("upsert", "delete_when", "op = 'D'", "merge.delete_when: upsert deletes nothing; write strategy: cdc"),
    (
        "snapshot",
        "delete_when",
        "op = 'D'",
        "merge.delete_when: a snapshot deletes what is missing from it; remove it, or use cdc",
    ),
    ("upsert", "partial_updates", True, "merge.partial_updates: belongs to cdc, not to upsert; remove it"),
    ("scd2", "ignore_null_updates", True, "merge.ignore_null_updates: belongs to cdc, not to scd2; remove it"),
    (
        "cdc",
        "ignore_null_updates",
        True,
        "merge.ignore_null_updates: is for partial updates; write partial_updates: true as well, or remove it",
    ),
    ("cdc", "track_columns", ["v"], "merge.track_columns: belongs to scd2, not to cdc; remove it"),
    (
        "snapshot",
        "track_columns",
        ["v"],
        "merge.track_columns: with keep_history every column but the keys is tracked; remove it, or use scd2",
    ),
    ("scd2", "valid_from", "since", ("merge.valid_from: scd2 makes that column itself; remove it, or use bitemporal")),
    ("upsert", "valid_to", "until", "merge.valid_to: belongs to bitemporal, not to upsert; remove it"),
    ("cdc", "snapshot", {"keep_history": True}, "merge.snapshot: belongs to snapshot, not to cdc; remove it"),
]


@pytest.mark.parametrize(("strategy", "field", "value", "expected"), OF_OTHERS)
def test_a_field_of_another_strategy_says_what_to_write(strategy: str, field: str, value: Any, expected: str) -> None:
    assert said({**MERGES[strategy], field: value}) == [expected]


WITHIN = [
    # strategy, changes of merge, changes of the contract -> what is said
    ("cdc", {"keys": []}, {}, "merge.keys: cdc needs them: the columns that tell rows apart, such as [id]"),
    (
        "cdc",
        {"keys": ["op"]},
        {},
        "merge.keys: 'op' is not a column: it is among reads, which the table doesn't keep; move it to columns",
    ),
    (
        "upsert",
        {"keys": ["v"]},
        {"columns": {**BASE["columns"], "v": "array<int>"}},
        "merge.keys: 'v' is array, which cannot be compared; use another column",
    ),
    (
        "upsert",
        {"keys": ["v"]},
        {"columns": {**BASE["columns"], "v": "double"}},
        "warning: merge.keys: 'v' is double: two numbers that look equal may differ; decimal(p,s) or string is safer",
    ),
    (
        "upsert",
        {"sequence_by": "v"},
        {"columns": {**BASE["columns"], "v": "struct<a:int>"}},
        "merge.sequence_by: 'v' is struct<a:int>, which has no order",
    ),
    (
        "upsert",
        {"sequence_by": "v"},
        {"columns": {**BASE["columns"], "v": "boolean"}},
        "merge.sequence_by: 'v' is boolean, which has no order",
    ),
    (
        "upsert",
        {"sequence_by": "id"},
        {},
        "merge.sequence_by: 'id' is one of the keys, so the changes of a row never differ in it; use another",
    ),
    (
        "upsert",
        {"sequence_by": "w"},
        {},
        "merge.sequence_by: 'w' is not a column (columns: day, id, v, at, since, until)",
    ),
    (
        "upsert",
        {"sequence_by": "op"},
        {},
        "merge.sequence_by: 'op' is not a column: it is among reads, which the table doesn't keep; move it to columns",
    ),
    (
        "snapshot",
        {"sequence_by": "op"},
        {"reads": {"op": "array<int>"}},
        "merge.sequence_by: 'op' is array<int>, which has no order",
    ),
    ("upsert", {"sequence_by": "_arrived_at"}, {}, "merge.sequence_by: '_arrived_at' orders changes anyway; remove it"),
    (
        "upsert",
        {"keys": ["_source_file"]},
        {"columns": {**BASE["columns"], "_source_file": "string"}},
        "merge.keys: '_source_file' says where a row came from, not which row it is; use another column",
    ),
    (
        "cdc",
        {"delete_when": None},
        {},
        "warning: merge.strategy: cdc without delete_when deletes nothing; write delete_when, or upsert if that is meant",
    ),
    (
        "partial",
        {"ignore_null_updates": False},
        {"format": {"type": "csv", "header": False}},
        "merge.partial_updates: a CSV file without a header can't lack a column; write header: true, or ignore_null_updates: true",
    ),
    (
        "scd2",
        {"sequence_by": None},
        {},
        "warning: merge.strategy: scd2 without sequence_by takes the time at which a file landed for the time of its changes; name the column that says when they were made",
    ),
    (
        "scd2",
        {"track_columns": []},
        {},
        "merge.track_columns: names no column; remove it, and all but the keys and the sequence are tracked",
    ),
    (
        "scd2",
        {"track_columns": ["w"]},
        {},
        "merge.track_columns: 'w' is not a column (columns: day, id, v, at, since, until)",
    ),
    ("scd2", {"track_columns": ["v", "v"]}, {}, "merge.track_columns: 'v' stands there twice; remove one"),
    (
        "scd2",
        {"track_columns": ["id"]},
        {},
        "merge.track_columns: 'id' is one of the keys, which never change; remove it",
    ),
    (
        "scd2",
        {"track_columns": ["at"]},
        {},
        "merge.track_columns: 'at' is the sequence, so each change would begin a version; remove it",
    ),
    (
        "scd2",
        {"track_columns": ["_arrived_at"]},
        {"columns": {**BASE["columns"], "_arrived_at": "timestamp"}},
        "merge.track_columns: '_arrived_at' differs from file to file, so each change would begin a version; remove it",
    ),
    (
        "scd2",
        {},
        {"columns": {**BASE["columns"], "is_current": "boolean"}},
        "columns.is_current: is a column that scd2 adds to the table by itself; use another name, such as 'is_current_in_source'",
    ),
    (
        "snapshot",
        {},
        {"columns": {**BASE["columns"], "valid_to": "date"}},
        "columns.valid_to: is a column that snapshot adds to the table by itself; use another name, such as 'valid_to_in_source'",
    ),
    (
        "bitemporal",
        {},
        {"columns": {**BASE["columns"], "Known_From": "date"}},
        "columns.Known_From: is a column that bitemporal adds to the table by itself; use another name, such as 'Known_From_in_source'",
    ),
    (
        "snapshot",
        {"snapshot": {"scope": ["x"]}},
        {},
        "merge.snapshot.scope: 'x' is not a column (columns: day, id, v, at, since, until)",
    ),
    (
        "snapshot",
        {"snapshot": {"scope": ["_source_file"]}},
        {"columns": {**BASE["columns"], "_source_file": "string"}},
        "merge.snapshot.scope: '_source_file' differs from file to file, so no file could replace another",
    ),
    (
        "snapshot",
        {"snapshot": {"scope": ["v"]}},
        {"columns": {**BASE["columns"], "v": "array<int>"}},
        "merge.snapshot.scope: 'v' is array<int>, which cannot be compared; use another",
    ),
    (
        "snapshot",
        {"snapshot": {"marker": "_DONE"}},
        {},
        "merge.snapshot.marker: each file is a snapshot; write complete: marker as well, or remove it",
    ),
    (
        "snapshot",
        {"snapshot": {"complete": "manifest", "marker": "a/b"}},
        {},
        "merge.snapshot.marker: 'a/b' must be the name of one file, without '/', '*' or braces, such as _SUCCESS",
    ),
    (
        "snapshot",
        {},
        {"landing": "t/{day}/*"},
        "landing: matches the marker '_DONE', too, which holds no rows; write what rows' files end in, such as 't/{day}/*.json'",
    ),
    (
        "snapshot",
        {},
        {"landing": "t/x/{day}.json"},
        "merge.snapshot.scope: 'day' comes from the file's name, and a folder's files are one snapshot; let a folder give it",
    ),
    (
        "snapshot",
        {},
        {"expectations": [{"name": "a", "check": "id > 0"}]},
        "expectations.on_fail: a row in quarantine would be missing from its snapshot, which deletes it; write warn or fail",
    ),
    (
        "snapshot",
        {"snapshot": {"complet": "file"}},
        {},
        "merge.snapshot.complet: is not a field of a contract; did you mean 'complete'?",
    ),
    (
        "snapshot",
        {"snapshot": {"complete": "files"}},
        {},
        "merge.snapshot.complete: 'files' is not known; did you mean 'file'?",
    ),
    (
        "bitemporal",
        {"valid_from": None},
        {},
        "merge.valid_from: bitemporal needs it: the column with the begin of the period that a change speaks of",
    ),
    (
        "bitemporal",
        {"valid_to": None},
        {},
        "merge.valid_to: bitemporal needs it: the column with the end of the period that a change speaks of",
    ),
    ("bitemporal", {"valid_to": "untl"}, {}, "merge.valid_to: 'untl' is not a column; did you mean 'until'?"),
    ("bitemporal", {"valid_to": "v"}, {"columns": {**BASE["columns"], "v": "boolean"}}, None),
    (
        "bitemporal",
        {"valid_to": "since"},
        {},
        "merge.valid_to: 'since' is the begin of the period, too; name another column",
    ),
    (
        "bitemporal",
        {},
        {"columns": {**BASE["columns"], "until": "timestamp"}},
        "merge.valid_to: 'until' is timestamp and 'since' is date; give both one type",
    ),
    (
        "bitemporal",
        {"keys": ["id", "since"]},
        {},
        "merge.valid_from: 'since' is one of the keys; a period is what changes, so remove it from the keys",
    ),
    (
        "bitemporal",
        {"sequence_by": "since"},
        {},
        "merge.valid_from: 'since' says when a change was made (sequence_by); a period needs a column of its own",
    ),
    ("upsert", {}, {"tombstones": "7d"}, "tombstones: belongs to cdc; upsert has no tombstones, so remove it"),
    (
        "cdc",
        {},
        {"tombstones": "3 days"},
        "tombstones: '3 days' is not a length of time; write a number and s, m, h or d, such as 1d or 3650d",
    ),
    ("cdc", {}, {"tombstones": "1h"}, "tombstones: 1h is out of range: from 1d to 3650d"),
]


@pytest.mark.parametrize(("strategy", "merge", "others", "expected"), WITHIN)
def test_each_mistake_of_a_strategy_is_one_line(
    strategy: str, merge: dict[str, Any], others: dict[str, Any], expected: str | None
) -> None:
    found = said({**MERGES[strategy], **merge}, **others)
    if expected is None:
        # THEN a period of a type without order is refused, and for two types
        expected_lines = [
            "merge.valid_to: 'v' is boolean, which makes no period; use date, timestamp or a whole number",
            "merge.valid_to: 'v' is boolean and 'since' is date; give both one type",
        ]
        assert found == expected_lines
    else:
        assert found == [expected]


def test_a_scope_need_not_be_among_the_keys_and_lets_merges_skip_files() -> None:
    merge = {"strategy": "snapshot", "keys": ["id"], "snapshot": {"scope": ["day"]}}
    assert said(merge, partition_by=["day"]) == []


def test_the_sequence_of_snapshots_need_not_be_kept() -> None:
    assert said({"strategy": "snapshot", "keys": ["id"], "sequence_by": "op"}) == []


def test_a_marker_belongs_to_one_table_as_files_do() -> None:
    # GIVEN a table whose files may have the name of another's marker
    one = {**BASE, "merge": MERGES["snapshot"]}
    other = {**BASE, "table": "u", "landing": "t/{day}/_DONE", "merge": MERGES["upsert"]}
    checked = check_texts([("t.yaml", json.dumps(one).encode()), ("u.yaml", json.dumps(other).encode())])
    # THEN the key that both would have is named
    assert [str(finding) for finding in checked.findings] == [
        "u.yaml:1: landing: 't/x/_DONE' would belong to 't' (t.yaml:1) as well; let their folders differ"
    ]


class TestTheJobReadsWhatIsCompiled:
    def job_contract(self, merge: dict[str, Any], **others: Any) -> Any:
        checked = check_texts([("t.yaml", json.dumps({**BASE, "merge": merge, **others}).encode())])
        assert checked.errors == ()
        return _parse_contract(json.loads(json.dumps(compile_contract(checked.contracts[0]))))

    @pytest.mark.parametrize("name", MERGES)
    def test_each_strategy(self, name: str) -> None:
        read = self.job_contract(MERGES[name])
        for field in ("strategy", "delete_when", "partial_updates", "ignore_null_updates", "valid_from", "valid_to"):
            assert getattr(read, field) == MERGES[name].get(field, getattr(type(read), field, None)), field
        assert read.captures == ("day",)
        assert [column.name for column in read.source_columns] == [*BASE["columns"], "op"]

    def test_a_snapshot_and_its_marker(self) -> None:
        read = self.job_contract(MERGES["snapshot"])
        assert read.snapshot == SnapshotRule(("day",), "marker", "_DONE", keep_history=True)
        checked = check_texts([("t.yaml", json.dumps({**BASE, "merge": MERGES["snapshot"]}).encode())])
        compiled = compile_contract(checked.contracts[0])
        assert compiled["marker_regex"] == "^t/(?P<day>[^/]+)/_DONE$"

    def test_a_snapshot_without_more_is_a_file_for_the_whole_table(self) -> None:
        assert self.job_contract({"strategy": "snapshot", "keys": ["id"]}).snapshot == SnapshotRule()

    def test_everything_else(self) -> None:
        read = self.job_contract(
            MERGES["cdc"],
            expectations=[{"name": "id_is_positive", "check": "id > 0", "on_fail": "warn"}],
            evolution="widen",
            cluster_by=["id"],
            change_data_feed=True,
            tombstones="7d",
            readers=["spark", "duckdb"],
            maintenance={"optimize": False, "vacuum": "14d", "limit": "2m"},
        )
        assert read.expectations == (Expectation("id_is_positive", "id > 0", "warn"),)
        assert (read.evolution, read.cluster_by, read.change_data_feed) == ("widen", ("id",), True)
        assert (read.tombstones_s, read.readers) == (7 * 86400, ("spark", "duckdb"))
        assert read.maintenance == Maintenance("off", 14 * 86400, "auto", 120)

    def test_a_contract_without_them_has_the_jobs_defaults(self) -> None:
        read = self.job_contract(MERGES["upsert"])
        assert read.maintenance == Maintenance()
        assert read.tombstones_s == type(read).tombstones_s
