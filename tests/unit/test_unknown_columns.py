"""Columns of files that the contract doesn't name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tidegate_spark.sources.unknown import faults_of, listed
from tidegate_spark.work import Column, Contract

STRICT = Contract(
    table="sales",
    format="csv",
    options={},
    columns=(Column("id", "int"), Column("total", "int"), Column("day", "string"), Column("_source_file", "string")),
    captures=("day",),
    strategy="upsert",
    keys=("id",),
    sequence_by=None,
    partition_by=(),
    reads=(Column("price", "int"),),
    computed=frozenset({"total"}),
)
OPEN = replace(STRICT, evolution="add_columns")


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["id", "price"], None),
        (["id", "price", "colour"], None),
        (["id", "price", "Size_2"], None),
        (["id", "price", "my size"], "'my size' can't be added"),
        (["id", "price", "2nd"], "'2nd' can't be added"),
        (["id", "price", ""], "'' can't be added"),
        (["id", "price", "größe"], "'größe' can't be added"),
        (["id", "price", "a`b"], "can't be added"),
        (["id", "price", "x" * 129], "can't be added"),
        (["id", "price", "_tidegate"], "'_tidegate' can't be added"),
        (["id", "price", "_change_type"], "'_change_type' can't be added"),
        (["id", "price", "Valid_From"], "'Valid_From' can't be added"),
        (["id", "price", "Price"], "'Price' has the name of another one"),
        (["id", "price", "size", "SIZE"], "'SIZE', 'size' has the name of another one"),
        (["id", "price", "total"], "'total' has the name of another one"),
        (["id", "price", "day"], "'day' has the name of another one"),
        (["id", "price", "_source_file"], "can't be added"),
    ],
)
def test_a_new_column_has_a_name_that_a_table_can_take(names: list[str], why: str | None) -> None:
    # GIVEN / WHEN
    faults = faults_of(names, OPEN)
    # THEN
    assert bool(faults) == (why is not None), faults
    assert why is None or why in "; ".join(faults)


def test_under_strict_there_is_none() -> None:
    assert faults_of(["id", "price"], STRICT) == []
    assert faults_of(["id", "price", "a", "b"], STRICT) == ["column 'a', 'b' is not in the contract"]
    assert faults_of(["id", "a"], STRICT, where="header") == ["column 'a' in the header is not in the contract"]


def test_a_list_of_names_stays_short() -> None:
    assert listed([f"c{number}" for number in range(10)]).endswith("'c7' and 2 more")
    assert len(listed(["x" * 1000])) < 70
