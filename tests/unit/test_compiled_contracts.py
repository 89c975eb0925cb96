"""Compiled contracts: read as the CLI writes them."""

from pathlib import Path

import pytest
from fakes.contracts import contracts, document
from tidegate.contracts import parse_contracts
from tidegate.quiet_hours import QuietHours
from tidegate_cli.contracts.check import check_folder
from tidegate_cli.contracts.compile import compile_contracts

ROOT = Path(__file__).resolve().parents[2]


def test_the_shipped_contracts_are_read() -> None:
    # GIVEN what the build puts into the layer
    checked = check_folder(ROOT / "tables")
    read = parse_contracts(compile_contracts(checked.contracts).decode())
    # THEN each table finds its own files
    assert {"flights", "airlines"} <= set(read.by_table)
    found = read.of_key("flights/2013-01/part-0001.csv")
    assert found is not None
    assert (found[0].table, found[1]) == ("flights", {"month": "2013-01"})


def test_a_key_belongs_to_the_table_whose_pattern_it_matches_whole() -> None:
    read = contracts()
    assert read.of_key("flights/2013-01/a.csv/x") is None
    assert read.of_key("x/flights/2013-01/a.csv") is None
    assert read.of_key("flights/2013-01/x/a.csv") is None


def test_a_schema_of_another_time_is_refused() -> None:
    with pytest.raises(ValueError, match="compiled for schema 2, this code reads 1"):
        parse_contracts(document().replace('{"schema": 1', '{"schema": 2'))


def test_the_manifest_gets_the_whole_of_it() -> None:
    compiled = contracts().by_table["flights"].compiled
    assert {"columns", "merge", "format", "sha256"} <= set(compiled)


def test_quiet_hours_of_a_table_hold_in_dispatch() -> None:
    # GIVEN a contract with quiet hours, compiled as the build does it
    checked = check_folder(ROOT / "tables")
    quiet = [each.model_copy(update={"quiet_hours": "22:00-06:00 Europe/Berlin"}) for each in checked.contracts]
    read = parse_contracts(compile_contracts(quiet).decode())
    # THEN the functions read them
    assert read.by_table["flights"].quiet_hours == QuietHours("22:00", "06:00", "Europe/Berlin")
    assert parse_contracts(compile_contracts(checked.contracts).decode()).by_table["flights"].quiet_hours is None
