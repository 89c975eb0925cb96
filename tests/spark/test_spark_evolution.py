"""Tables follow their contracts: columns are added and types widened, once, whatever dies in between."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import functions as sf


def merge(lake: Any, table: str, number: int, content: str) -> dict[str, Any]:
    _, [receipt] = lake.run(lake.batch(table, number, [lake.land(content, f"{number}.csv")]))
    assert receipt["error"] is None, receipt["error"]
    return dict(receipt)


def types(lake: Any, table: str) -> list[tuple[str, str]]:
    return [(name, kind) for name, kind in lake.read(table).dtypes if name != "_tidegate"]


def test_columns_are_added_and_types_widened(lake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN a partitioned table with a history that keeps whole rows, and one of keys alone
    old = {"id": "int", "day": "date", "price": "decimal(6,2)"}
    options = {"partition_by": ["day"], "evolution": "widen", "change_data_feed": True}
    lake.contract("sales", old, **options)
    lake.contract("clustered", {"id": "int", "price": "float"}, cluster_by=["id"], evolution="widen")
    merge(lake, "sales", 1, "id,day,price\n1,2026-01-01,1.50\n2,2026-01-02,\n")
    merge(lake, "clustered", 1, "id,price\n1,1.5\n2,\n")
    for table, columns in (("sales", ["id", "day", "price", "_tidegate"]), ("clustered", ["id"])):
        side = f"{lake.target(table)}__history"
        lake.read(table).select(*columns).write.format("delta").save(side)
    # WHEN the contract grows, and the first attempt dies after the table's rewrite
    new = {"id": "bigint", "day": "date", "price": "decimal(12,4)", "note": "string", "parts": "array<int>"}
    lake.contract("sales", new, format="json", **options)
    batch = lake.batch("sales", 2, [lake.land('{"id": 3000000000, "day": "2026-01-02", "price": 0.1234}\n', "a.json")])

    def die(*_: Any) -> None:
        raise OSError("the node is gone")

    from tidegate_spark import fitting

    with monkeypatch.context() as patched:
        patched.setattr(fitting, "_add", die)
        assert lake.run(batch)[1][0]["error"]["cause"] == "infrastructure"
    code, [receipt] = lake.run(batch)
    # THEN the rows are what they were, with nulls in what is new
    assert code == 0, receipt["error"]
    assert receipt["table_rows"] == 3
    assert types(lake, "sales") == list(new.items())
    assert lake.read("sales").columns[-1] == "_tidegate"
    texts = lake.read("sales").selectExpr("id", "cast(day AS string)", "cast(price AS string)", "note")
    shown = sorted(tuple(row) for row in texts.collect())
    assert shown == [
        (1, "2026-01-01", "1.5000", None),
        (2, "2026-01-02", None, None),
        (3000000000, "2026-01-02", "0.1234", None),
    ]
    assert (Path(lake.target("sales").removeprefix("file://")) / "day=2026-01-02").is_dir()
    # AND the history that keeps whole rows follows, the other only where it has the column
    history = lake.spark.read.format("delta").load(f"{lake.target('sales')}__history")
    assert [pair for pair in history.dtypes if pair[0] != "_tidegate"] == list(new.items())
    lake.contract(
        "clustered", {"id": "bigint", "price": "double", "note": "string"}, cluster_by=["id"], evolution="widen"
    )
    merge(lake, "clustered", 2, "id,price,note\n3000000000,0.1,x\n")
    keys = lake.spark.read.format("delta").load(f"{lake.target('clustered')}__history")
    assert keys.dtypes == [("id", "bigint")]
    # AND a rewrite keeps the clustering
    detail = lake.spark.sql(f"DESCRIBE DETAIL delta.`{lake.target('clustered')}`").first()
    assert detail["clusteringColumns"] == ["id"]
    assert lake.rows("clustered") == [(1, 1.5, None), (2, None, None), (3000000000, 0.1, "x")]
    # AND once it fits, nothing is altered again
    version = lake.versions("clustered")
    merge(lake, "clustered", 3, "id,price,note\n1,2.5,y\n")
    assert lake.versions("clustered") == version + 1


def test_what_is_not_safe_is_refused_whole(lake: Any) -> None:
    # GIVEN
    lake.contract("sales", {"id": "bigint", "name": "string", "at": "timestamp"})
    merge(lake, "sales", 1, "id,name,at\n1,a,2026-01-01 00:00:00\n")
    # WHEN one thing would be allowed and others are not
    lake.contract("sales", {"id": "int", "name": "string", "size": "int"}, evolution="add_columns")
    code, [receipt] = lake.run(lake.batch("sales", 2, [lake.land("id,name,size\n2,b,1\n")]))
    # THEN all that is wrong is said, and nothing is done
    assert (code, receipt["error"]["type"], receipt["error"]["cause"]) == (1, "TableRefused", "table")
    assert "column id is bigint in the table and int in the contract" in receipt["error"]["message"]
    assert "column at timestamp is not in the contract" in receipt["error"]["message"]
    assert lake.versions("sales") == 1


def test_a_refused_batch_alters_nothing(lake: Any) -> None:
    # GIVEN a table with batch 1
    lake.contract("sales", {"id": "int"})
    merge(lake, "sales", 1, "id\n1\n")
    # WHEN a batch out of turn comes with a grown contract
    lake.contract("sales", {"id": "int", "name": "string"}, evolution="add_columns")
    _, [receipt] = lake.run(lake.batch("sales", 3, [lake.land("id,name\n2,b\n")]))
    # THEN
    assert receipt["error"]["type"] == "WrongPredecessor"
    assert lake.versions("sales") == 1


def test_columns_that_files_bring_are_kept_as_texts(lake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tidegate_spark import batch
    from tidegate_spark.changes import Changes, read_changes
    from tidegate_spark.work import Column

    @dataclass(frozen=True)
    class Brought(Changes):
        new_columns: tuple[Column, ...] = ()

    def reading(*brought: str) -> Any:
        """As if the batch's files had columns that the contract doesn't name."""

        def read(*arguments: Any) -> Any:
            changes = read_changes(*arguments)
            given = {
                field.name: getattr(changes, field.name) for field in fields(changes) if field.name != "new_columns"
            }
            given["rows"] = changes.rows.select(
                "id",
                *(sf.concat(sf.lit(f"{name} of "), "id").alias(name) for name in brought),
                *changes.rows.columns[1:],
            )
            return Brought(**given, new_columns=tuple(Column(name, "string") for name in brought))

        monkeypatch.setattr(batch, "read_changes", read)

    lake.contract("sales", {"id": "int"}, evolution="add_columns")
    lake.contract("events", {"id": "int"}, evolution="add_columns", merge={"strategy": "append", "keys": []})
    # WHEN a batch brings none, the next two, and one after it another
    for number, brought in ((1, ()), (2, ("b", "a")), (3, ("c",)), (4, ())):
        reading(*brought)
        for table in ("sales", "events"):
            merge(lake, table, number, f"id\n{number}\n1\n")
    # THEN the table has them all, and each row what its newest change brought
    for table in ("sales", "events"):
        assert types(lake, table) == [("id", "int"), ("a", "string"), ("b", "string"), ("c", "string")]
    assert lake.rows("sales") == [
        (1, None, None, None),
        (2, "a of 2", "b of 2", None),
        (3, None, None, "c of 3"),
        (4, None, None, None),
    ]
    assert (1, "a of 1", "b of 1", None) in lake.rows("events")
    # WHEN a contract names one of them
    reading()
    lake.contract("sales", {"id": "int", "b": "string"}, evolution="add_columns")
    merge(lake, "sales", 5, "id,b\n4,mine\n")
    # THEN it is the contract's
    assert lake.rows("sales", "id", "b")[-1] == (4, "mine")
    # BUT not with another type, and not if it is only written otherwise
    lake.contract("sales", {"id": "int", "c": "int"}, evolution="widen")
    _, [receipt] = lake.run(lake.batch("sales", 6, [lake.land("id,c\n4,1\n")]))
    assert "write string" in receipt["error"]["message"]
    lake.contract("sales", {"id": "int"}, evolution="add_columns")
    reading("C")
    _, [receipt] = lake.run(lake.batch("sales", 6, [lake.land("id\n4\n")]))
    assert receipt["error"]["cause"] == "data"
