"""A receipt says which columns its table has, for whoever registers it."""

from typing import Any


def test_a_receipt_names_the_tables_columns_and_so_does_one_that_is_made_again(lake: Any) -> None:
    # GIVEN a contract whose types are written in several ways
    columns = {"id": "STRING", "n": "integer", "price": "DECIMAL(10,2)", "at": "timestamp_ntz", "tags": "array<long>"}
    lake.contract("flights", columns, merge={"strategy": "upsert", "keys": ["id"]}, format="json")
    batch = lake.batch("flights", 1, [lake.land('{"id": "a", "n": 1}\n', "a.json")])
    # WHEN it is merged, and its receipt is asked for again
    (_, [first]), (_, [again]) = (lake.run(batch, run_id=name) for name in ("one", "two"))
    # THEN both have Spark's own names of the types that the table has
    assert first["error"] is None, first["error"]
    assert (first["replayed"], again["replayed"]) == (False, True)
    assert first["columns"] == again["columns"]
    table = [{"name": field.name, "type": field.dataType.simpleString()} for field in lake.read("flights").schema]
    assert first["columns"] == table
    assert first["columns"][1:4] == [
        {"name": "n", "type": "int"},
        {"name": "price", "type": "decimal(10,2)"},
        {"name": "at", "type": "timestamp_ntz"},
    ]


def test_a_receipt_names_the_columns_that_files_brought_too(lake: Any) -> None:
    # GIVEN a table to which a file has brought a column that its contract doesn't name
    lake.contract("flights", {"id": "int", "n": "int"}, evolution="add_columns")
    one = lake.batch("flights", 1, [lake.land("id,n,gate\n1,1,A\n")])
    two = lake.batch("flights", 2, [lake.land("id,n\n2,2\n", "b.csv")])
    # WHEN a later batch doesn't bring it, and that batch's receipt is made again
    lake.run(one, run_id="one")
    (_, [second]), (_, [again]) = (lake.run(two, run_id=name) for name in ("two", "three"))
    # THEN both have the table's columns
    assert second["error"] is None, second["error"]
    table = [{"name": field.name, "type": field.dataType.simpleString()} for field in lake.read("flights").schema]
    assert second["columns"] == again["columns"] == table
    assert again["replayed"]
