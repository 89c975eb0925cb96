"""From what files and paths give to the table's columns: transform, deletes, metadata, columns that nobody named."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from tidegate_spark.conditions import made_by_transform
from tidegate_spark.errors import ContractRefused, DataRefused
from tidegate_spark.work import Column, Contract, Expectation, Transform

from tests.spark.test_spark_parquet_files import parquet


def test_a_transform_makes_the_tables_columns(lake: Any) -> None:
    # GIVEN columns that only the transform, the WHERE and the deletes read, a capture, and metadata
    lake.contract(
        "orders",
        {
            "day": "string",
            "id": "bigint",
            "total": "decimal(10,2)",
            "small": "tinyint",
            "_source_file": "string",
            "_arrived_at": "timestamp",
        },
        captures=["day"],
        reads=[{"name": name, "type": t} for name, t in (("price", "double"), ("op", "string"), ("test", "boolean"))],
        computed=["total", "small"],
        merge={"keys": ["day", "id"], "delete_when": "op = 'D' AND day <> 'x'"},
        transform={
            "select": [
                "`day` AS `day`",
                "nullif(`id`, 13) AS `id`",
                "CAST(price * 2 AS STRING) AS `total`",
                "CAST(price AS INT) AS `small`",
            ],
            "where": "NOT coalesce(test, false)",
        },
        expectations=[{"name": "cheap", "check": "total < 100 AND day < '2027'", "on_fail": "quarantine"}],
    )
    lines = [
        "1,1.25,I,",
        "2,60,D,",  # a delete isn't checked
        "3,1,I,true",  # left out
        ",1,I,true",  # left out, so nobody asks for its key
        "13,1,I,",
        "5,60,I,",
        "6,1.2525,I,",
        "7,x,I,true",  # what doesn't parse is bad before it is left out
        "8,,I,false",
        "9,300,I,",
        "10,2,I,",
    ]
    file = lake.land("id,price,op,test\n" + "\n".join(lines) + "\n", "2026/a.csv", captures={"day": "2026-01-02"})
    # WHEN
    changes = lake.changes(lake.batch("orders", 1, [file]))
    # THEN what is merged is what the transform made, with its place in the file
    frame = changes.rows.withColumn("_arrived_at", lake.utc("_arrived_at"))
    merged = frame.select("*", "_tidegate.position").drop("_tidegate").orderBy("position").collect()
    of_path = ("s3://landing/2026/a.csv", dt.datetime.fromisoformat("2026-01-01T00:00:01"))
    assert [tuple(row) for row in merged] == [
        ("2026-01-02", 1, Decimal("2.50"), 1, *of_path, False, 1),
        ("2026-01-02", 2, Decimal("120.00"), 60, *of_path, True, 2),
        ("2026-01-02", 10, Decimal("4.00"), 2, *of_path, False, 11),
    ]
    # AND the others are in quarantine, each for its own reason, or left out
    bad = {row["row"]: (row["check"], row["reason"], row["raw"]) for row in changes.bad_rows.collect()}
    not_cheap = "expectation cheap is not met: total < 100 AND day < '2027'"
    assert bad == {
        5: ("key", "key column id is null", "13,1,I,"),
        6: ("cheap", not_cheap, "5,60,I,"),
        7: ("parse", "column total: '2.505' is not a valid decimal(10,2)", "6,1.2525,I,"),
        8: ("parse", "column price: 'x' is not a valid double", "7,x,I,true"),
        9: ("cheap", not_cheap, "8,,I,false"),
        10: ("parse", "column small: '300' is not a valid tinyint", "9,300,I,"),
    }
    assert (changes.rows_filtered, changes.rows_quarantined, changes.rows_read) == (2, 6, 3)
    # AND the literals that let a merge skip files are those of the rows that go on
    assert [(found.column, found.condition) for found in changes.key_ranges] == [
        ("day", "{column} IN ('2026-01-02')"),
        ("id", "{column} BETWEEN 1 AND 10"),
    ]


def test_columns_that_nobody_named_are_read_as_text_where_they_may_be_added(lake: Any) -> None:
    # GIVEN CSV and JSON files with more columns than the contract, under other cases, and names that can't be added
    columns = {"id": "int", "name": "string"}
    lake.contract("c", columns, evolution="add_columns")
    lake.contract("j", columns, format="json", evolution="widen", merge={"strategy": "cdc", "partial_updates": True})
    csv_files = [
        lake.land("id,Size,name\n1,7,ann\n", "a.csv"),
        lake.land("size,id,name,colour\n,2,bob,red\n8,x,eve,blue\n", "b.csv"),
        lake.land("id,name\n3,cyd\n", "c.csv"),
        lake.land("id,name,Name\n4,dan,x\n", "alike.csv"),
        lake.land("id,name,my size\n5,dan,x\n", "space.csv"),
        lake.land("id,name,_x,valid_to\n6,dan,x,y\n", "reserved.csv"),
    ]
    lines = [
        '{"id": 1, "Size": {"x": [1, 2]}, "name": "ann"}',
        '{"id": 2, "size": null}',
        '{"id": 3, "a b": 1}',
        '{"id": 4, "NAME": 1}',
        '{"id": 5, "x": 1, "X": 2}',
        '{"id": "six", "never": 1}',
    ]
    json_file = lake.land("\n".join(lines) + "\n", "a.json")
    # WHEN
    of_csv = lake.changes(lake.batch("c", 1, csv_files))
    of_json = lake.changes(lake.batch("j", 1, [json_file]))
    # THEN they come after the contract's columns, by name, in lower case; those of bad rows alone don't come
    assert [(column.name, column.type) for column in of_csv.new_columns] == [("colour", "string"), ("size", "string")]
    assert of_csv.rows.columns == ["id", "name", "colour", "size", "_tidegate", "_tidegate_deleted"]
    found = of_csv.rows.select("id", "name", "colour", "size").orderBy("id").collect()
    assert [tuple(row) for row in found] == [
        (1, "ann", None, "7"),
        (2, "bob", "red", None),
        (3, "cyd", None, None),
    ]
    reasons = {each.file.key: each.reason for each in of_csv.rejected}
    assert "column 'Name' has the name of another one" in reasons["alike.csv"]
    assert "column 'my size' can't be added" in reasons["space.csv"]
    assert "column '_x', 'valid_to' can't be added" in reasons["reserved.csv"]
    # AND under partial updates a row says which of them it brings
    found = of_json.rows.select("id", "size", "_tidegate_set").orderBy("id").collect()
    assert [tuple(row) for row in found] == [
        (1, '{"x":[1,2]}', ["id", "name", "size"]),
        (2, None, ["id", "size"]),
    ]
    assert [column.name for column in of_json.new_columns] == ["size"]
    bad = {row["row"]: row["reason"] for row in of_json.bad_rows.collect()}
    assert "column a b can't be added" in bad[3]
    assert "column NAME can't be added" in bad[4]
    assert "differ by upper and lower case alone" in bad[5]
    assert "'six'" in bad[6]
    # AND a file that knows its columns' types brings them as text
    lake.contract("p", columns, format="parquet", evolution="add_columns")
    extra = "SELECT 1::INTEGER AS id, 'ann' AS name, [1, 2] AS \"Sizes\", DATE '2026-01-02' AS day"
    of_parquet = lake.changes(lake.batch("p", 1, [lake.land(parquet(extra), "a.parquet")]))
    assert [tuple(row) for row in of_parquet.rows.drop("_tidegate").collect()] == [
        (1, "ann", "2026-01-02", "[1,2]", False)
    ]
    # AND keys of a map are not taken for columns
    many = "{" + ", ".join(f'"k{number}": 1' for number in range(201)) + ', "id": 1}'
    with pytest.raises(DataRefused, match="201 columns that table j doesn't have"):
        lake.changes(lake.batch("j", 2, [lake.land(many, "many.json")]))


CONTRACT = Contract(
    table="t",
    format="csv",
    options={},
    columns=(Column("id", "int"), Column("at", "timestamp"), Column("tags", "array<string>")),
    captures=(),
    strategy="upsert",
    keys=("id",),
    sequence_by=None,
    partition_by=(),
    reads=(Column("op", "string"),),
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("id >", "can't be used"),
        ("no_such_column = 1", "can't be used.*no_such_column"),
        ("no_such_function(id) = 1", "can't be used.*no_such_function"),
        ("id + 1", "is no condition.*int"),
        ("rand() < 0.5", "doesn't always give the same"),
        ("at < current_timestamp()", "doesn't always give the same"),
        ("at < now()", "doesn't always give the same"),
        ("uuid() <> ''", "doesn't always give the same"),
        ("sum(id) > 1", "more than one row"),
        ("row_number() OVER (ORDER BY id) > 1", "more than one row"),
        ("explode(tags) = 'a'", "can't be used.*generator"),
        ("id IN (SELECT 1)", "has a query inside"),
        ("'${spark.app.name}' = 'x'", "Spark would put its settings there"),
    ],
)
def test_sql_that_is_no_check_of_a_row_is_refused_before_a_row_is_read(spark: Any, text: str, why: str) -> None:
    # GIVEN / WHEN / THEN: as an expectation, as delete_when and in the transform, with its name and the table's
    expectation = Expectation("odd", text, "warn")
    with pytest.raises(ContractRefused, match=f"(?s)Expectation odd of table t.*{why}"):
        made_by_transform(spark, replace(CONTRACT, expectations=(expectation,)))
    with pytest.raises(ContractRefused, match=f"(?s)Delete_when of table t.*{why}"):
        made_by_transform(spark, replace(CONTRACT, delete_when=text))
    with pytest.raises(ContractRefused, match=f"(?s)The transform's WHERE of table t.*{why}"):
        made_by_transform(spark, replace(CONTRACT, transform=Transform(("id AS `id`",), text)))


def test_checks_see_the_table_and_deletes_the_source(spark: Any) -> None:
    # GIVEN a column that arrivals have and the table doesn't
    of_source = replace(CONTRACT, delete_when="op = 'D' AND _source_file LIKE '%x'")
    made_by_transform(spark, of_source)
    # WHEN / THEN
    with pytest.raises(ContractRefused, match="op"):
        made_by_transform(spark, replace(CONTRACT, expectations=(Expectation("odd", "op = 'D'", "warn"),)))
    twice = Transform(("id AS `id`", "id + 1 AS `id`"))
    with pytest.raises(ContractRefused, match="makes column id more than once"):
        made_by_transform(spark, replace(CONTRACT, transform=twice))
    # AND a sequence that orders nothing
    for name in ("tags", "at"):
        contract = replace(CONTRACT, sequence_by=name)
        if name == "tags":
            with pytest.raises(ContractRefused, match=r"sequence_by of table t is tags, which is array<string>"):
                made_by_transform(spark, contract)
        else:
            made_by_transform(spark, contract)
