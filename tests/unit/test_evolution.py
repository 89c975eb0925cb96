"""A contract against the table that is there: what changes by itself, and what is refused with what to do."""

from __future__ import annotations

from typing import Any

import pytest
from tidegate_spark.evolution import Evolution, Field, compare, is_widening

ORIGIN = Field("_tidegate", "struct<batch:bigint>")


def changed(old: str, new: str, rule: Any = "widen", **more: Any) -> Evolution:
    there = [Field("x", old, **more), ORIGIN]
    return compare([Field("x", new), ORIGIN], there, rule=rule, strategy="upsert")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("tinyint", "smallint"),
        ("tinyint", "bigint"),
        ("smallint", "int"),
        ("int", "bigint"),
        ("float", "double"),
        ("int", "decimal(10,0)"),
        ("bigint", "decimal(21,2)"),
        ("decimal(10,2)", "decimal(12,2)"),
        ("decimal(10,2)", "decimal(12,4)"),
    ],
)
def test_a_type_that_holds_every_value_is_a_widening(old: str, new: str) -> None:
    assert is_widening(old, new)
    # and the way back is none
    assert not is_widening(new, old)
    assert changed(old, new) == Evolution(widen=(Field("x", new),))
    # AND only where the contract allows it
    for rule in ("strict", "add_columns"):
        [fault] = changed(old, new, rule).faults
        assert "`evolution: widen`" in fault


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("date", "timestamp"),
        ("int", "string"),
        ("int", "double"),
        ("bigint", "double"),
        ("int", "decimal(9,0)"),
        ("bigint", "decimal(20,2)"),
        ("decimal(10,2)", "decimal(11,4)"),
        ("decimal(10,2)", "decimal(12,1)"),
        ("decimal(10,2)", "double"),
        ("array<int>", "array<bigint>"),
    ],
)
def test_a_type_that_might_change_a_value_is_refused(old: str, new: str) -> None:
    [fault] = changed(old, new).faults
    assert f"column x is {old} in the table and {new} in the contract" in fault
    assert "another table name for the contract, and land its files again" in fault


def test_columns_are_added_where_the_contract_allows_it() -> None:
    asked, there = [Field("id", "int"), Field("x", "int"), ORIGIN], [Field("id", "int"), ORIGIN]
    for rule in ("add_columns", "widen"):
        assert compare(asked, there, rule=rule, strategy="upsert") == Evolution(add=(Field("x", "int"),))  # type: ignore[arg-type]
    [fault] = compare(asked, there, rule="strict", strategy="upsert").faults
    assert "column x int is not in the table" in fault
    assert "`evolution: add_columns`" in fault


def test_a_column_that_the_contract_lost_is_refused() -> None:
    there = [Field("id", "int"), Field("x", "int"), ORIGIN]
    [fault] = compare([Field("id", "int"), ORIGIN], there, rule="widen", strategy="upsert").faults
    assert "column x int is not in the contract" in fault


def test_a_column_that_files_brought_is_carried_and_stays_text() -> None:
    unknown = Field("x", "string", is_unknown=True)
    there = [Field("id", "int"), unknown, ORIGIN]
    assert compare([Field("id", "int"), ORIGIN], there, rule="strict", strategy="upsert") == Evolution(extra=(unknown,))
    # AND a contract may name it later, as a string
    assert changed("string", "string", is_unknown=True) == Evolution()
    [fault] = changed("string", "int", is_unknown=True).faults
    assert "write string" in fault
    assert "another table name" in fault


def test_names_that_differ_by_case_are_one_to_spark() -> None:
    [fault, lost] = compare(
        [Field("X", "int"), ORIGIN], [Field("x", "int"), ORIGIN], rule="widen", strategy="upsert"
    ).faults
    assert "column X is x in the table" in fault
    assert "column x int is not in the contract" in lost


def test_another_strategys_table_is_refused() -> None:
    asked = [Field("id", "int"), Field("valid_from", "timestamp", is_added=True), ORIGIN]
    [fault] = compare(asked, [Field("id", "int"), ORIGIN], rule="widen", strategy="scd2").faults
    assert "valid_from" in fault
    assert "made for another strategy" in fault
    # AND so is one with another kind of memory
    [fault] = compare([ORIGIN], [Field("_tidegate", "struct<x:int>")], rule="widen", strategy="cdc").faults
    assert "another kind of merge" in fault


@pytest.mark.parametrize("strategy", ["append", "upsert", "cdc"])
def test_a_table_of_others_is_adopted_even_if_strict(strategy: str) -> None:
    assert compare([Field("id", "int"), ORIGIN], [Field("id", "int")], rule="strict", strategy=strategy) == Evolution(
        add=(ORIGIN,)
    )


@pytest.mark.parametrize(("strategy", "partial"), [("scd2", False), ("snapshot", False), ("cdc", True)])
def test_a_table_of_others_is_not_adopted_where_its_past_matters(strategy: str, partial: bool) -> None:
    there = [Field("id", "int")]
    [fault] = compare(
        [Field("id", "int"), ORIGIN], there, rule="widen", strategy=strategy, partial_updates=partial
    ).faults
    assert "Tidegate didn't make it" in fault
