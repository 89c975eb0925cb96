"""A contract's table: made with what its readers can read, adopted from others, and left alone where that's wiser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

COLUMNS = {"id": "int", "name": "string"}


def folder(lake: Any, table: str) -> Path:
    return Path(lake.target(table).removeprefix("file://"))


def detail(lake: Any, table: str) -> Any:
    return lake.spark.sql(f"DESCRIBE DETAIL delta.`{lake.target(table)}`").first()


def merge(lake: Any, table: str, number: int, content: str, **more: Any) -> dict[str, Any]:
    _, [receipt] = lake.run(lake.batch(table, number, [lake.land(content, **more)]))
    return dict(receipt)


def manifest_files(lake: Any, table: str) -> set[str]:
    listed = (folder(lake, table) / "_symlink_format_manifest").rglob("manifest")
    return {line.rsplit("/", 1)[1] for path in listed for line in path.read_text().split()}


def live_files(lake: Any, table: str) -> set[str]:
    return {path.rsplit("/", 1)[1] for path in lake.read(table).inputFiles()}


def test_a_table_is_made_with_what_its_contract_asks_for(lake: Any) -> None:
    # GIVEN contracts with clustering, a change feed and readers of manifests
    lake.contract("clustered", COLUMNS, cluster_by=["name"], change_data_feed=True)
    lake.contract("listed", COLUMNS, readers=["spark", "hive"])
    wide = {"id": "int", **{f"c{n:02d}": "string" for n in range(35)}, "nested": "struct<a:int,b:struct<c:int,d:int>>"}
    lake.contract("wide", wide, format="json")
    # WHEN they are merged into twice
    for number in (1, 2):
        files = lake.land(f"id,name\n{number},x\n1,y\n")
        nested = lake.land(f'{{"id": {number}, "nested": {{"a": 1}}, "c00": "x"}}\n', "a.json")
        code, receipts = lake.run(
            *(lake.batch(table, number, [files]) for table in ("clustered", "listed")),
            lake.batch("wide", number, [nested]),
            run_id=f"run-{number}",
        )
        assert code == 0, [receipt["error"] for receipt in receipts]
    # THEN each has it
    assert detail(lake, "clustered")["clusteringColumns"] == ["name"]
    assert detail(lake, "clustered")["properties"]["delta.enableChangeDataFeed"] == "true"
    feed = lake.spark.read.format("delta").option("readChangeFeed", "true").option("startingVersion", 1)
    assert feed.load(lake.target("clustered")).where("_commit_version = 2").count() == 3
    assert manifest_files(lake, "listed") == live_files(lake, "listed") != set()
    assert lake.rows("listed") == lake.rows("clustered") == [(1, "y"), (2, "x")]
    # AND the last column, by which re-sent files are found, has statistics
    assert detail(lake, "wide")["properties"]["delta.dataSkippingNumIndexedCols"] == "44"
    assert '\\"source\\":' in (folder(lake, "wide") / "_delta_log" / f"{2:020d}.json").read_text()
    # AND no table has deletion vectors to begin with
    assert all("deletionVectors" not in detail(lake, table)["tableFeatures"] for table in ("clustered", "listed"))


def test_readers_features_and_clustering_may_change_later(lake: Any) -> None:
    # GIVEN a table whose files have deletion vectors, which all of its readers read
    lake.contract("sales", COLUMNS)
    assert merge(lake, "sales", 1, "id,name\n1,a\n2,b\n3,c\n")["outcome"] == "merged"
    table = f"delta.`{lake.target('sales')}`"
    lake.spark.sql(f"ALTER TABLE {table} SET TBLPROPERTIES ('delta.enableDeletionVectors' = 'true')")
    lake.spark.sql(f"DELETE FROM {table} WHERE id = 2")
    before = lake.versions("sales")
    # WHEN nothing changes in the contract
    assert merge(lake, "sales", 2, "id,name\n4,d\n")["outcome"] == "merged"
    # THEN nothing is altered
    assert lake.versions("sales") == before + 1
    # WHEN hive is to read it, with other clustering and a change feed
    lake.contract("sales", COLUMNS, readers=["spark", "hive"], cluster_by=["name"], change_data_feed=True)
    assert merge(lake, "sales", 3, "id,name\n5,e\n")["outcome"] == "merged"
    # THEN its files have none any more, and are listed
    found = detail(lake, "sales")
    assert found["properties"]["delta.enableDeletionVectors"] == "false"
    assert found["clusteringColumns"] == ["name"]
    assert found["properties"]["delta.enableChangeDataFeed"] == "true"
    assert manifest_files(lake, "sales") == live_files(lake, "sales")
    assert lake.spark.read.parquet(*lake.read("sales").inputFiles()).count() == 4
    assert lake.rows("sales") == [(1, "a"), (3, "c"), (4, "d"), (5, "e")]
    # AND the next batch finds all as it should be
    before = lake.versions("sales")
    assert merge(lake, "sales", 4, "id,name\n5,f\n")["table_rows"] == 4
    assert lake.versions("sales") == before + 1
    # WHEN the contract takes it all back
    lake.contract("sales", COLUMNS)
    assert merge(lake, "sales", 5, "id,name\n6,g\n")["table_rows"] == 5
    # THEN
    found = detail(lake, "sales")
    assert found["clusteringColumns"] == []
    assert found["properties"]["delta.enableChangeDataFeed"] == "false"
    assert found["properties"]["delta.compatibility.symlinkFormatManifest.enabled"] == "false"


def test_a_table_of_others_is_adopted_by_hand_alone(lake: Any) -> None:
    # GIVEN a table that somebody else made, without Tidegate's column
    rows = [(1, 5, "old"), (2, 9, "old"), (3, None, "old")]
    lake.spark.createDataFrame(rows, "id int, at int, name string").write.format("delta").save(lake.target("sales"))
    lake.contract("sales", {"id": "int", "at": "int", "name": "string"}, merge={"sequence_by": "at"})
    batch = lake.batch("sales", 1, [lake.land("id,at,name\n1,5,tie\n2,8,late\n3,,null\n4,1,new\n")])
    # WHEN a batch comes
    _, [receipt] = lake.run(batch)
    # THEN it is refused, with the statement that adopts it
    assert receipt["error"]["cause"] == "table"
    statement = "ALTER TABLE" + receipt["error"]["message"].split("ALTER TABLE")[1].split(", then")[0]
    assert lake.versions("sales") == 0
    # WHEN somebody runs that
    lake.spark.sql(statement)
    code, [receipt] = lake.run(batch)
    # THEN its rows are older than any change of the same sequence value
    assert code == 0, receipt["error"]
    assert lake.rows("sales", "id", "at", "name") == [(1, 5, "tie"), (2, 9, "old"), (3, None, "null"), (4, 1, "new")]
    # AND the batch comes again without effect
    version = lake.versions("sales")
    assert lake.run(batch)[1][0]["replayed"]
    assert lake.versions("sales") == version


@pytest.mark.parametrize(
    ("protocol", "verb"),
    [
        ({"minReaderVersion": 4, "minWriterVersion": 8, "readerFeatures": [], "writerFeatures": []}, "read"),
        (
            {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["zebra"], "writerFeatures": ["zebra"]},
            "read",
        ),
        ({"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["zebra"]}, "written"),
    ],
)
def test_a_table_of_a_newer_delta_is_refused(lake: Any, protocol: dict[str, Any], verb: str) -> None:
    # GIVEN a table that a newer Delta has taken over
    lake.contract("sales", COLUMNS)
    merge(lake, "sales", 1, "id,name\n1,a\n")
    log = folder(lake, "sales") / "_delta_log"
    (log / f"{2:020d}.json").write_text(json.dumps({"protocol": protocol}) + "\n")
    lake.spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()
    # WHEN
    receipt = merge(lake, "sales", 2, "id,name\n2,b\n")
    # THEN
    assert (receipt["error"]["type"], receipt["error"]["cause"]) == ("TableRefused", "table")
    assert f"can't be {verb} by this one" in receipt["error"]["message"]
    assert lake.versions("sales") == 2


def test_rows_are_not_merged_in_another_way_than_those_before_them(lake: Any) -> None:
    # GIVEN
    lake.contract("sales", COLUMNS)
    merge(lake, "sales", 1, "id,name\n1,a\n")
    # WHEN the contract gets another key
    lake.contract("sales", COLUMNS, merge={"keys": ["name"]})
    receipt = merge(lake, "sales", 2, "id,name\n2,a\n")
    # THEN
    assert receipt["error"]["cause"] == "table"
    assert "merge.keys" in receipt["error"]["message"]
    assert lake.versions("sales") == 1
