"""`<table>__now` as SQL: which columns bound a row's intervals, and what "now" is for their type."""

from __future__ import annotations

import pytest
from pyspark.sql.types import DataType, DateType, IntegerType, StringType, StructField, StructType, TimestampType
from tidegate_spark.as_of import NotAsOf, bounds_of, now_condition, now_view


def schema(kind: DataType, *bounds: str, **renamed: str) -> StructType:
    """A table with a key and these bounds; `renamed` have other column names, as a contract may give them."""
    fields = [StructField(bound, kind) for bound in bounds]
    fields += [StructField(name, kind, metadata={"tidegate.bound": bound}) for bound, name in renamed.items()]
    return StructType([StructField("id", StringType()), *fields, StructField("_tidegate", StringType())])


def test_a_scd2_rows_now_is_the_newest() -> None:
    made = now_view("db.customers", schema(TimestampType(), "valid_from", "valid_to", "is_current"))
    assert made == (
        "CREATE OR REPLACE VIEW `db`.`customers__now` AS SELECT `id`, `valid_from`, `valid_to`, `is_current` "
        "FROM `db`.`customers` WHERE `is_current`"
    )


@pytest.mark.parametrize(("kind", "now"), [(TimestampType(), "current_timestamp()"), (DateType(), "current_date()")])
def test_a_bitemporal_rows_now_is_valid_and_believed(kind: DataType, now: str) -> None:
    # GIVEN a contract whose period has columns of its own names
    found = schema(kind, valid_from="since", valid_to="un`til", known_from="known_from", known_to="known_to")
    # THEN the condition is on these, quoted
    cast = f"CAST(({now}\n) AS {kind.simpleString()})"
    assert now_condition(found) == (
        f"(`since` IS NULL OR `since` <= {cast}) AND (`un``til` IS NULL OR {cast} < `un``til`) AND `known_to` IS NULL"
    )


def test_of_a_period_of_numbers_nobody_knows_what_is_now() -> None:
    found = schema(IntegerType(), "valid_from", "valid_to", "known_from", "known_to")
    assert now_condition(found) == "`known_to` IS NULL"


def test_metadata_goes_before_names() -> None:
    # GIVEN a scd2 table of which some other column has the name of a bound
    found = schema(IntegerType(), "known_from", valid_from="valid_from", valid_to="valid_to")
    # THEN it isn't taken for one
    assert set(bounds_of(found)) == {"valid_from", "valid_to"}


def test_a_table_without_intervals_has_no_now() -> None:
    with pytest.raises(NotAsOf, match="merged by scd2 or bitemporal; this one has no columns"):
        now_view("flights", schema(IntegerType()))
