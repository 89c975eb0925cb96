"""The second engine: "under the same lease, txn rules and convergence campaign; Spark remains the one that can do
everything"."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

COLUMNS = {"id": "bigint", "value": "string", "seq": "int", "at": "timestamp", "day": "date", "cost": "decimal(9,2)"}
MERGE = {"sequence_by": "seq"}
HEADER = tuple(COLUMNS)


def log_of(lake: Any, table: str, version: int) -> list[dict[str, Any]]:
    path = Path(lake.target(table).removeprefix("file://")) / "_delta_log" / f"{version:020d}.json"
    return [json.loads(line) for line in path.read_text().splitlines()]


def engine_of(lake: Any, table: str, version: int) -> str:
    (info,) = (action["commitInfo"] for action in log_of(lake, table, version) if "commitInfo" in action)
    return "delta-rs" if "delta-rs" in info["engineInfo"] else "spark"


def test_both_engines_make_the_same_table_and_each_reads_the_others(lake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN changes with ties, nulls, late ones, and times at the calendars' ends
    drawn = random.Random(11)
    moments = ["", "1900-01-01 00:00:00", "2026-01-01 10:00:00.123456", "9999-12-31 23:59:59.999999"]
    files = []
    for name in ("a.csv", "b.csv", "c.csv", "d.csv"):
        rows = [
            (
                drawn.randrange(40),
                drawn.choice(["", "x", "y"]),
                drawn.choice(["", 1, 2]),
                drawn.choice(moments),
                drawn.choice(["", "1582-10-15", "2026-01-01"]),
                drawn.choice(["", "-1.50", "7.25"]),
            )
            for _ in range(60)
        ]
        files.append(lake.land(lake.csv(HEADER, *rows), name))
    order = [files[1], files[3], files[0], files[2]]
    for table in ("by_spark", "by_both"):
        lake.contract(table, COLUMNS, merge=MERGE)
    # WHEN one table is merged by Spark alone, the other by both in turns
    receipts = []
    for number, file in enumerate(order, start=1):
        with monkeypatch.context() as patched:
            patched.setattr("tidegate_spark.engines.choice.MOST_ROWS", 0)
            batches = [lake.batch("by_spark", number, [file])]
            batches += [lake.batch("by_both", number, [file])] if number == 3 else []
            code, found = lake.run(*batches)
            assert code == 0, found
            receipts += found
        if number != 3:
            code, found = lake.run(lake.batch("by_both", number, [file]))
            assert code == 0, found
            receipts += found
    # THEN rows, places and counts are the same
    place = ("_tidegate.source", "_tidegate.sequencer", "_tidegate.position", "_tidegate.batch")
    rows = {table: lake.rows(table, *COLUMNS, *place) for table in ("by_spark", "by_both")}
    assert rows["by_spark"] == rows["by_both"]
    counts = {(r["table"], r["batch"]): {**r["rows"], "table": r["table_rows"]} for r in receipts}
    for number in range(1, 5):
        assert counts["by_spark", number] == counts["by_both", number], number
    engines = [engine_of(lake, "by_both", version) for version in range(1, 5)]
    assert engines == ["delta-rs", "delta-rs", "spark", "delta-rs"]
    # AND the plans say so
    plans = {(r["table"], r["batch"]): r["plan"] for r in receipts}
    assert "Append: the table has no rows yet; delta-rs, for it is 60 changes." in plans["by_both", 1]
    assert "Merge: 1 of its 1 files may hold a changed key; delta-rs" in plans["by_both", 2]
    assert "Spark, since 60 changes are more than the 0" in plans["by_both", 3]
    # AND Spark skips delta-rs's files by their statistics: by key, by moment, by origin
    read = lake.read("by_both")
    for found, condition in [(False, "id > 1000"), (True, "at > '9999-12-31 23:59:59.999998'"),
                             (False, "_tidegate.source = 'landing/zzz'"), (True, "at < '1900-01-02'")]:  # fmt: skip
        shown = read.where(condition)
        assert bool(shown.count()) == found, condition
        assert bool(files_read(shown)) == found, condition


def test_times_of_older_calendars_are_written_by_spark(lake: Any) -> None:
    # GIVEN a table that has an ancient date in the file of key 1
    lake.contract("t", {"id": "bigint", "day": "date"}, partition_by=[])
    first = lake.batch("t", 1, [lake.land("id,day\n1,0900-03-01\n")])
    # WHEN that file is not touched, is touched, and an ancient one comes
    batches = [first]
    for number, row in enumerate(("5,2026-01-01", "1,2026-01-01", "5,1400-01-01"), start=2):
        batches.append(lake.batch("t", number, [lake.land(f"id,day\n{row}\n")]))
    code, receipts = lake.run(*batches)
    # THEN whoever reads with Spark reads all of it
    assert code == 0, receipts
    assert [engine_of(lake, "t", version) for version in range(1, 5)] == ["spark", "delta-rs", "spark", "spark"]
    assert "Spark, since the rows have dates before 1582" in receipts[0]["plan"]
    assert [(key, str(day)) for key, day in lake.rows("t")] == [(1, "2026-01-01"), (5, "1400-01-01")]


def files_read(frame: Any) -> int:
    """Of a Delta table: how many files are left after skipping."""
    plan = frame._jdf.queryExecution().executedPlan()
    frame._jdf.collectAsList()
    leaves = plan.collectLeaves()
    scans = [leaves.apply(number) for number in range(leaves.size())]
    return sum(int(scan.metrics().apply("numFiles").value()) for scan in scans)


def test_deletes_go_through_either_engine(lake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN two tables of the same four rows
    from tidegate_spark.commit import numbered_commit
    from tidegate_spark.engines.keyed import KeyedChanges, plan_keyed_merge
    from tidegate_spark.storage import Storage
    from tidegate_spark.table import Target, path_of
    from tidegate_spark.work import Column, Contract

    contract = Contract(
        "t", "csv", {}, (Column("id", "bigint"), Column("seq", "int")), (), "cdc", ("id",), "seq", ()
    )  # fmt: skip
    file = lake.land(lake.csv(("id", "seq"), (1, 5), (2, 5), (3, 5), (4, 5)), "a.csv")
    for table in ("spark", "rust"):
        lake.contract(table, {"id": "bigint", "seq": "int"}, merge=MERGE)
    assert lake.run(lake.batch("spark", 1, [file]), lake.batch("rust", 1, [file]))[0] == 0
    # WHEN a newer, an older and a tied delete come, an update, and deletes and changes of keys that aren't there
    rows = lake.spark.sql(
        """SELECT bigint(id) AS id, int(seq) AS seq, named_struct('event_time', timestamp'2026-01-02', 'source', 's',
                  'sequencer', '1', 'position', 1L, 'batch', 2L) AS _tidegate, deleted AS _tidegate_deleted
           FROM VALUES (1, 6, true), (2, 4, true), (3, 5, true), (4, 6, false), (8, 1, true), (9, 1, false)
                AS t(id, seq, deleted)"""
    )
    for table, engine in (("spark", "Spark, since"), ("rust", "delta-rs, for")):
        target = Target(lake.spark, Storage(lake.spark), path_of(Storage(lake.spark), lake.target(table)), rows=4)
        changes = KeyedChanges(rows, 6, 100, (), deletes=True)
        with monkeypatch.context() as patched:
            if table == "spark":
                patched.setattr("tidegate_spark.engines.choice.MOST_ROWS", 0)
            plan = plan_keyed_merge(target, contract, changes, "Merge the changes")
        assert engine in plan.sentence
        assert plan.deletes
        with numbered_commit(lake.spark, f"tidegate:{table}:1", 2, {"batch": 2}):
            plan.run()
        commit = target.commit(2)
        assert commit is not None
        assert (commit.inserted, commit.updated, commit.deleted) == (1, 1, 2), table
        assert commit.told == {"batch": 2}
        assert commit.batches == {f"tidegate:{table}:1": 2}
    # THEN
    assert lake.rows("spark") == lake.rows("rust") == [(2, 5), (4, 6), (9, 1)]


def test_values_of_all_types_come_through_the_second_engine(lake: Any) -> None:
    # GIVEN a row and its change of all types but times, with nulls inside and out
    from tidegate_spark.commit import numbered_commit
    from tidegate_spark.engines.keyed import KeyedChanges, plan_keyed_merge
    from tidegate_spark.storage import Storage
    from tidegate_spark.table import Target, path_of
    from tidegate_spark.work import Column, Contract

    rows = lake.spark.sql(
        """SELECT bigint(id) AS id, tinyint(id) AS tiny, smallint(-id) AS small, float('NaN') AS f, double(id) / 3 AS d,
                  id = 2 AS flag, CAST('12345678901234567890123456789.123456789' AS decimal(38,9)) AS wide,
                  encode('\u00e9', 'utf-8') AS raw, map('a', bigint(id), 'b', NULL) AS tags,
                  array(named_struct('x', bigint(id), 'y', array('p', NULL)), NULL) AS items,
                  IF(id = 2, NULL, named_struct('deep', named_struct('deeper', id))) AS nested,
                  named_struct('event_time', timestamp'2026-01-01' + make_interval(0, 0, 0, 0, 0, version),
                    'source', 's', 'sequencer', '1', 'position', 1L, 'batch', bigint(version)) AS _tidegate
           FROM VALUES (1, 1), (2, 1), (2, 2), (3, 2) AS t(id, version)"""
    )
    types = {field.name: field.dataType.simpleString() for field in rows.schema if field.name != "_tidegate"}
    contract = Contract("t", "json", {}, tuple(map(Column, types, types.values())), (), "upsert", ("id",), None, ())
    rows.where("_tidegate.batch = 1").write.format("delta").save(lake.target("t"))
    storage = Storage(lake.spark)
    target = Target(lake.spark, storage, path_of(storage, lake.target("t")), rows=2)
    changes = KeyedChanges(rows.where("_tidegate.batch = 2"), 2, 100, ())
    # WHEN
    plan = plan_keyed_merge(target, contract, changes, "Upsert")
    with numbered_commit(lake.spark, "tidegate:t:1", 2, {}):
        plan.run()
    # THEN Spark reads what it would have written
    assert engine_of(lake, "t", 1) == "delta-rs"
    wanted = rows.where("_tidegate.batch = 2 OR id = 1").selectExpr("to_json(struct(*))").collect()
    assert sorted(lake.read("t").selectExpr("to_json(struct(*))").collect()) == sorted(wanted)


@pytest.mark.parametrize("is_committed", [False, True])
def test_spark_takes_over_what_the_second_engine_leaves_undone(
    lake: Any, monkeypatch: pytest.MonkeyPatch, is_committed: bool
) -> None:
    # GIVEN a table, and a second engine that fails before its commit, or right after it
    from tidegate_spark.engines import delta_rs

    lake.contract("t", {"id": "bigint", "value": "string"})
    assert lake.run(lake.batch("t", 1, [lake.land("id,value\n1,a\n2,a\n")]))[0] == 0
    real = delta_rs.merge

    def fails(*given: Any, **named: Any) -> bool:
        if is_committed:
            real(*given, **named)
        raise OSError("the bucket went away")

    monkeypatch.setattr(delta_rs, "merge", fails)
    # WHEN
    batch = lake.batch("t", 2, [lake.land("id,value\n2,b\n3,b\n")])
    code, (receipt,) = lake.run(batch)
    # THEN there is one commit all the same, and the receipt names the engine that made it
    assert code == 0, receipt["error"]
    assert lake.rows("t") == [(1, "a"), (2, "b"), (3, "b")]
    assert receipt["rows"]["inserted"] == receipt["rows"]["updated"] == 1
    assert lake.versions("t") == 2
    assert engine_of(lake, "t", 2) == ("delta-rs" if is_committed else "spark")
    told = "delta-rs did not commit (the bucket went away), so Spark did." in receipt["plan"]
    assert told is not is_committed
    # AND neither engine commits the number again
    code, (again,) = lake.run(batch)
    assert (code, again["replayed"], lake.versions("t")) == (0, True, 2)


def test_a_checkpoint_of_the_second_engine_is_enough_for_spark(lake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN a table of two batches, whose log is a checkpoint by delta-rs
    from deltalake import DeltaTable

    lake.contract("t", {"id": "bigint", "at": "timestamp"})
    first, second = lake.land("id,at\n1,2026-01-01 00:00:00\n2,\n"), lake.land("id,at\n2,9999-12-31 00:00:00\n")
    assert lake.run(lake.batch("t", 1, [first]), lake.batch("t", 2, [second]))[0] == 0
    folder = Path(lake.target("t").removeprefix("file://"))
    DeltaTable(folder).create_checkpoint()
    for name in ("00000000000000000000.json", "00000000000000000001.json"):
        (folder / "_delta_log" / name).unlink()
    lake.spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()
    # WHEN Spark merges the next batch, then gets it again
    monkeypatch.setattr("tidegate_spark.engines.choice.MOST_ROWS", 0)
    third = lake.batch("t", 3, [lake.land("id,at\n1,2026-01-02 00:00:00\n3,\n")])
    receipts = [lake.run(third)[1][0] for _ in range(2)]
    # THEN the numbers and the rows were in the checkpoint
    assert [receipt["error"] for receipt in receipts] == [None, None]
    assert [receipt["replayed"] for receipt in receipts] == [False, True]
    assert receipts[0]["rows"]["updated"] == receipts[0]["rows"]["inserted"] == 1
    assert [(key, str(at)[:10]) for key, at in lake.rows("t")] == [(1, "2026-01-02"), (2, "9999-12-31"), (3, "None")]
