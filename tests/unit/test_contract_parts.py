"""The pieces of a contract: types, landing patterns, freshness, and what they compile to."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from tidegate_cli.contracts import freshness, landing, types
from tidegate_cli.contracts.check import check_folder, check_texts
from tidegate_cli.contracts.compile import compile_contract, compile_contracts, hash_of
from tidegate_cli.contracts.reference import json_schema, markdown

ROOT = Path(__file__).parents[2]


class TestTypes:
    @pytest.mark.parametrize(
        ("written", "ddl"),
        [
            ("string", "string"),
            ("INT", "int"),
            ("Integer", "int"),
            ("long", "bigint"),
            ("decimal", "decimal(10,0)"),
            ("numeric( 12 , 2 )", "decimal(12,2)"),
            ("array< map<string, array<long>> >", "array<map<string,array<bigint>>>"),
            ("struct<a: int, `b c`: struct<D string>>", "struct<a:int,`b c`:struct<D:string>>"),
        ],
    )
    def test_each_type_has_one_spelling(self, written: str, ddl: str) -> None:
        assert types.parse(written).ddl == ddl
        assert types.parse(ddl).ddl == ddl

    @pytest.mark.parametrize(
        "written",
        [
            "",
            "int int",
            "decimal(2,3)",
            "decimal(a)",
            "array",
            "map<string>",
            "struct<>",
            "struct<a>",
            "int>",
            "`",
            "struct<a:int,A:int>",
            "interval day",
            "varchar(3)",
            "void",
        ],
    )
    def test_what_spark_does_not_know_is_refused(self, written: str) -> None:
        with pytest.raises(types.InvalidType):
            types.parse(written)

    @given(st.text(alphabet="arymapstuctdeiln<>(),:` 0123", max_size=30))
    def test_no_text_breaks_the_parser(self, text: str) -> None:
        try:
            ddl = types.parse(text).ddl
        except types.InvalidType:
            return
        assert types.parse(ddl).ddl == ddl


class TestLanding:
    def test_a_pattern_becomes_a_prefix_and_a_regular_expression(self) -> None:
        pattern = landing.parse("flights/{month}/*.csv")
        assert pattern.prefix == "flights/"
        assert pattern.regex == r"^flights/(?P<month>[^/]+)/[^/]*\.csv$"
        assert pattern.captures == ("month",)

    @pytest.mark.parametrize(
        ("one", "other", "key"),
        [
            ("a/*.csv", "a/*.csv", "a/.csv"),
            ("a/*.csv", "a/b*", "a/b.csv"),
            ("a/*.csv", "a/*/*.csv", None),
            ("a/{x}.csv", "a/.csv", None),
            ("a/*.csv", "a/.csv", "a/.csv"),
            ("a/x*", "a/*y", "a/xy"),
            ("a/x*", "b/x*", None),
            ("a/{d}/f.csv", "a/2013/*", "a/2013/f.csv"),
            ("a/*a*b", "a/*b*a", None),
        ],
    )
    def test_a_key_that_two_patterns_match_is_found(self, one: str, other: str, key: str | None) -> None:
        assert landing.common_key(landing.parse(one), landing.parse(other)) == key
        assert (landing.common_key(landing.parse(other), landing.parse(one)) is None) == (key is None)

    patterns = st.lists(st.sampled_from(["a", "b", "*", "{c}", "/", "."]), min_size=1, max_size=6).map(
        lambda parts: "t/" + "".join(parts)
    )

    @given(patterns, patterns, st.text(alphabet="ab./", max_size=6).map(lambda text: "t/" + text))
    def test_common_key_agrees_with_the_regular_expressions(self, one: str, other: str, some: str) -> None:
        try:
            left, right = landing.parse(one), landing.parse(other)
        except landing.InvalidLanding:
            return
        key = landing.common_key(left, right)
        if key is not None:
            assert re.fullmatch(left.regex, key)
            assert re.fullmatch(right.regex, key)
        elif re.fullmatch(left.regex, some):
            assert not re.fullmatch(right.regex, some)


@pytest.mark.parametrize(
    ("written", "compiled"),
    [
        ("asap", {"kind": "asap"}),
        ("15m", {"kind": "within", "seconds": 900}),
        ("90s", {"kind": "within", "seconds": 90}),
        ("2h", {"kind": "within", "seconds": 7200}),
        ("1d", {"kind": "within", "seconds": 86400}),
        ("by 6:00 Europe/Berlin", {"kind": "daily", "at": "06:00", "zone": "Europe/Berlin"}),
    ],
)
def test_freshness_compiles_to_seconds_or_a_time_of_day(written: str, compiled: dict[str, object]) -> None:
    assert freshness.parse(written) == compiled


class TestCompiled:
    TEXT = b"""\
table: orders
landing: orders/{day}/{shop}-*.csv.gz
format: {type: csv, delimiter: ";", encoding: latin1}
columns: {day: date, id: Long, amount: "decimal(12, 2)"}
merge: {strategy: upsert, keys: [id]}
freshness: 15m
batch: {max_bytes: 1 GiB}
"""

    def test_everything_is_spelled_out(self) -> None:
        (contract,) = check_texts([("t.yaml", self.TEXT)]).contracts
        entry = compile_contract(contract)
        assert entry == {
            "table": "orders",
            "landing": "orders/{day}/{shop}-*.csv.gz",
            "landing_prefix": "orders/",
            "landing_regex": r"^orders/(?P<day>[^/]+)/(?P<shop>[^/]+)\-[^/]*\.csv\.gz$",
            "captures": ["day"],
            "marker_regex": None,
            "format": {
                "type": "csv",
                "options": {
                    "header": True,
                    "delimiter": ";",
                    "quote": '"',
                    "escape": '"',
                    "null_value": "",
                    "encoding": "ISO-8859-1",
                    "multiline": True,
                },
            },
            "columns": [
                {"name": "day", "type": "date"},
                {"name": "id", "type": "bigint"},
                {"name": "amount", "type": "decimal(12,2)"},
            ],
            "reads": [],
            "computed": [],
            "transform": None,
            "merge": {
                "strategy": "upsert",
                "keys": ["id"],
                "sequence_by": None,
                "delete_when": None,
                "partial_updates": False,
                "ignore_null_updates": False,
                "track_columns": None,
                "valid_from": None,
                "valid_to": None,
                "snapshot": None,
            },
            "partition_by": [],
            "cluster_by": [],
            "freshness": {"kind": "within", "seconds": 900},
            "quiet_hours": None,
            "readers": ["spark"],
            "expectations": [],
            "evolution": "strict",
            "change_data_feed": False,
            "tombstones_s": 30 * 86400,
            "maintenance": {"optimize": "auto", "vacuum_s": 7 * 86400, "checkpoint": "auto", "limit_s": 300},
            "batch": {"max_files": 5000, "max_bytes": 2**30},
            "sha256": hash_of(entry),
        }

    def test_the_same_contracts_give_the_same_bytes_in_any_order(self) -> None:
        contracts = check_folder(ROOT / "tables").contracts
        compiled = compile_contracts(contracts)
        assert compile_contracts(reversed(contracts)) == compiled
        assert [table["table"] for table in json.loads(compiled)["tables"]] == sorted(
            contract.table for contract in contracts
        )

    def test_the_hash_follows_the_content(self) -> None:
        (contract,) = check_texts([("t.yaml", self.TEXT)]).contracts
        (changed,) = check_texts([("t.yaml", self.TEXT.replace(b"15m", b"16m"))]).contracts
        assert compile_contract(contract)["sha256"] != compile_contract(changed)["sha256"]


def test_the_shipped_contracts_have_no_findings() -> None:
    checked = check_folder(ROOT / "tables")
    assert checked.findings == ()
    assert {contract.table for contract in checked.contracts} >= {"flights", "airlines", "weather"}


def test_the_reference_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "contract-reference.md").read_text(encoding="utf-8")
    assert page == markdown(), "run: tidegate tables reference --out docs/contract-reference.md"


def test_the_reference_pages_example_is_a_good_contract() -> None:
    whole, transform, expectations = re.findall(r"```yaml\n(.*?)```", markdown(), re.DOTALL)
    assert check_texts([("example.yaml", whole.encode())]).findings == ()
    around = "table: t\nlanding: t/*.csv\nformat: {type: csv}\nmerge: {strategy: append}\nfreshness: asap\n"
    assert check_texts([("example.yaml", f"{around}{transform}{expectations}".encode())]).findings == ()


@pytest.mark.parametrize(
    ("change", "is_right"),
    [
        ({}, True),
        ({"tombstones": "7d", "maintenance": {"vacuum": "off", "limit": "90s"}, "cluster_by": ["id"]}, True),
        ({"merge": {"strategy": "snapshot", "keys": ["id"], "snapshot": {"complete": "marker"}}}, True),
        ({"expectations": [{"name": "a", "check": "id > 0", "on_fail": "warn"}], "transform": "t.sql"}, True),
        ({"tombstones": "a week"}, False),
        ({"maintenance": {"vacuum": "auto"}}, False),
        ({"merge": {"strategy": "scd3"}}, False),
        ({"merge": {"strategy": "snapshot", "snapshot": {"complet": "file"}}}, False),
        ({"expectations": [{"name": "A b", "check": "id > 0"}]}, False),
        ({"cluster_by": ["a", "b", "c", "d", "e"]}, False),
        ({"batch": {"max_bytes": "5 GiB"}}, True),
    ],
)
def test_editors_check_by_the_schema(change: dict[str, object], is_right: bool) -> None:
    contract = {
        **{"table": "t", "landing": "t/*.orc", "format": {"type": "orc"}, "columns": {"id": "int"}},
        **{"merge": {"strategy": "append"}, "freshness": "asap"},
        **change,
    }
    assert Draft202012Validator(json_schema()).is_valid(contract) == is_right


def test_editors_get_every_field_with_its_description() -> None:
    schema = json_schema()
    assert set(schema["required"]) == {"table", "landing", "format", "columns", "merge", "freshness"}
    assert schema["additionalProperties"] is False
    assert all("description" in field or "$ref" in field for field in schema["properties"].values())
