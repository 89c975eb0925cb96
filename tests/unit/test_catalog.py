"""Entries of the Glue Data Catalog: their shape, their types, and when they are written."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tidegate.catalog import (
    LOOKED_AT_FOR,
    Catalogued,
    FoundEntry,
    Subject,
    TableInput,
    decide_entry,
    entries_of,
    is_remembered,
    merged_entry,
    sha256_of,
)
from tidegate.catalog_types import catalog_type
from tidegate.errors import CatalogTaken

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
FLIGHTS = Subject(
    table="flights",
    batch=7,
    location="s3://lake/flights",
    columns=(
        {"name": "Id", "type": "string"},
        {"name": "month", "type": "string"},
        {"name": "_tidegate", "type": "struct<event_time:timestamp,batch:bigint>"},
    ),
    partition_by=("month",),
)


def entry_of(subject: Subject = FLIGHTS) -> TableInput:
    return entries_of(subject)[0]


@pytest.mark.parametrize(
    ("spark", "hive"),
    [
        ("string", "string"),
        ("bigint", "bigint"),
        ("LONG", "bigint"),
        ("decimal(38, 10)", "decimal(38,10)"),
        ("varchar(10)", "varchar(10)"),
        ("timestamp_ntz", "timestamp"),
        ("array<timestamp_ntz>", "array<timestamp>"),
        ("map<string,array<decimal(10,2)>>", "map<string,array<decimal(10,2)>>"),
        ("struct<a:timestamp_ntz,b:struct<c:map<string,long>>>", "struct<a:timestamp,b:struct<c:map<string,bigint>>>"),
        # Fields may be called as types are, and keep their case.
        ("struct<timestamp_ntz:string,Long:long>", "struct<timestamp_ntz:string,Long:bigint>"),
        ("struct<`a,b:c`:int>", "struct<`a,b:c`:int>"),
        ("variant", "variant"),
    ],
)
def test_types_are_written_as_hive_writes_them(spark: str, hive: str) -> None:
    assert catalog_type(spark) == hive


class TestEntries:
    def test_a_table_is_delta_to_athena_and_to_spark(self) -> None:
        (entry,) = entries_of(FLIGHTS)
        assert (entry["Name"], entry["TableType"], entry["PartitionKeys"]) == ("flights", "EXTERNAL_TABLE", [])
        storage, parameters = entry["StorageDescriptor"], entry["Parameters"]
        assert storage["Location"] == storage["SerdeInfo"]["Parameters"]["path"] == "s3://lake/flights"
        assert {name: parameters[name] for name in ("EXTERNAL", "table_type", "spark.sql.sources.provider")} == {
            "EXTERNAL": "TRUE",
            "table_type": "DELTA",
            "spark.sql.sources.provider": "delta",
        }
        assert [(each["Name"], each["Type"]) for each in storage["Columns"]] == [
            ("id", "string"),
            ("month", "string"),
            ("_tidegate", "struct<event_time:timestamp,batch:bigint>"),
        ]

    def test_a_quarantine_has_one_of_its_own_once_it_is_there(self) -> None:
        _, quarantine = entries_of(replace(FLIGHTS, has_quarantine=True))
        assert quarantine["Name"] == "flights__quarantine"
        assert quarantine["StorageDescriptor"]["SerdeInfo"]["Parameters"]["path"] == "s3://lake/flights__quarantine"
        assert {"reason", "raw"} <= {each["Name"] for each in quarantine["StorageDescriptor"]["Columns"]}

    @pytest.mark.parametrize("reader", ["hive", "presto", "redshift"])
    def test_engines_without_delta_read_lists_of_files(self, reader: str) -> None:
        _, lists = entries_of(replace(FLIGHTS, readers=("spark", reader)))
        assert lists["Name"] == "flights_manifest"
        storage = lists["StorageDescriptor"]
        assert storage["Location"] == "s3://lake/flights/_symlink_format_manifest/"
        assert storage["InputFormat"].endswith("SymlinkTextInputFormat")
        assert [each["Name"] for each in storage["Columns"]] == ["id", "_tidegate"]
        assert lists["PartitionKeys"] == [{"Name": "month", "Type": "string"}]
        assert "spark.sql.sources.provider" not in lists["Parameters"]

    def test_engines_with_delta_need_no_lists(self) -> None:
        assert len(entries_of(replace(FLIGHTS, readers=("spark", "athena", "trino")))) == 1

    def test_the_hash_is_of_all_that_matters_and_not_of_the_batch(self) -> None:
        assert sha256_of(entry_of()) == sha256_of(entry_of(replace(FLIGHTS, batch=8)))
        for other in (
            replace(FLIGHTS, location="s3://elsewhere/flights"),
            replace(FLIGHTS, columns=(*FLIGHTS.columns, {"name": "more", "type": "string"})),
            replace(FLIGHTS, columns=({"name": "id", "type": "int"}, *FLIGHTS.columns[1:])),
        ):
            assert sha256_of(entry_of()) != sha256_of(entry_of(other))


class TestDecision:
    def test_what_is_not_there_is_created(self) -> None:
        assert decide_entry(None, entry_of()) == "create"

    def test_what_is_as_wanted_is_kept(self) -> None:
        assert decide_entry(FoundEntry(entry_of(), "1"), entry_of(replace(FLIGHTS, batch=9))) == "keep"

    def test_another_schema_or_place_is_written(self) -> None:
        found = FoundEntry(entry_of(), "1")
        assert decide_entry(found, entry_of(replace(FLIGHTS, columns=FLIGHTS.columns[:2]))) == "update"
        assert decide_entry(found, entry_of(replace(FLIGHTS, location="s3://other/flights"))) == "update"

    def test_an_older_batch_undoes_no_newer_ones_entry(self) -> None:
        found = FoundEntry(entry_of(replace(FLIGHTS, batch=9, columns=FLIGHTS.columns[:2])), "1")
        assert decide_entry(found, entry_of()) == "keep"

    def test_somebody_elses_entry_of_the_same_table_is_taken_over(self) -> None:
        # GIVEN what a crawler wrote
        crawled = {"Name": "flights", "StorageDescriptor": {"Location": "s3://lake/flights/"}, "Parameters": {"c": "1"}}
        assert decide_entry(FoundEntry(crawled, "1"), entry_of()) == "update"

    @pytest.mark.parametrize("storage", [{"Location": "s3://theirs/flights"}, {}, None])
    def test_somebody_elses_entry_of_another_place_is_left_alone(self, storage: dict[str, str] | None) -> None:
        theirs = FoundEntry({"Name": "flights", "StorageDescriptor": storage}, "1")
        with pytest.raises(CatalogTaken, match="not Tidegate's"):
            decide_entry(theirs, entry_of())

    def test_what_others_have_added_stays(self) -> None:
        # GIVEN an entry with an owner, a parameter and a comment that somebody has given it
        own = entry_of()
        columns = [{**own["StorageDescriptor"]["Columns"][0], "Comment": "of the flight"}]
        theirs = {
            **own,
            "Owner": "analysts",
            "StorageDescriptor": {**own["StorageDescriptor"], "Columns": columns},
            "Parameters": {**own["Parameters"], "pii": "no"},
            "CreateTime": "never taken over",
        }
        written = merged_entry(FoundEntry(theirs, "1"), entry_of(replace(FLIGHTS, location="s3://new/flights")))
        assert (written["Owner"], written["Parameters"]["pii"], "CreateTime" in written) == ("analysts", "no", False)
        assert written["StorageDescriptor"]["Location"] == "s3://new/flights"
        assert written["StorageDescriptor"]["Columns"][0]["Comment"] == "of the flight"


class TestMemory:
    WRITTEN = Catalogued({"flights": sha256_of(entry_of())}, NOW)

    def test_spares_the_question(self) -> None:
        assert is_remembered([entry_of()], self.WRITTEN, NOW + timedelta(hours=1))

    def test_is_not_believed_for_more_than_a_day(self) -> None:
        assert not is_remembered([entry_of()], self.WRITTEN, NOW + LOOKED_AT_FOR + timedelta(seconds=1))

    def test_is_of_each_entry_as_it_is_wanted_now(self) -> None:
        assert not is_remembered([entry_of()], None, NOW)
        assert not is_remembered(entries_of(replace(FLIGHTS, readers=("hive",))), self.WRITTEN, NOW)
        assert not is_remembered([entry_of(replace(FLIGHTS, columns=()))], self.WRITTEN, NOW)
