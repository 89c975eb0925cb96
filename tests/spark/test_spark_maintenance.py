"""Maintenance after a table's batches: it makes tables better, never different, and never costs a batch its receipt."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from readers import readers_that_differ

MAINTENANCE = {"optimize": "auto", "vacuum_s": 3600, "checkpoint": "auto", "limit_s": 300}


def record(lake: Any, table: str, batch: int) -> list[dict[str, Any]]:
    """What the maintenance after a batch says of itself."""
    folder = lake.folder / "control" / "receipts" / table / "maintenance"
    return [
        dict(each) for path in folder.glob(f"{batch:012d}-*.json") for each in json.loads(path.read_text())["actions"]
    ]


def target_of(lake: Any, table: str) -> Any:
    from tidegate_spark.job import _session_of
    from tidegate_spark.storage import Storage
    from tidegate_spark.table import Target, path_of

    storage = Storage(lake.spark)
    return Target(
        _session_of(lake.spark, table), storage, path_of(storage, lake.target(table)), app_id="tidegate:sales:1"
    )


def contract_of(lake: Any, table: str) -> Any:
    from tidegate_spark.types import with_canonical_types
    from tidegate_spark.work import _parse_contract

    return with_canonical_types(_parse_contract(lake.contracts[table]))


def test_a_table_is_packed_and_purged_and_the_next_batch_goes_on(lake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tidegate_spark import maintaining, maintenance
    from tidegate_spark.logs import Log

    # GIVEN limits that a small table reaches, and a contract that keeps old files for an hour
    monkeypatch.setattr(maintenance, "SMALL_FILES", 2)
    monkeypatch.setattr(maintenance, "DELETION_VECTORS_FROM_BYTES", 1)
    lake.contract("sales", {"id": "int", "name": "string"}, maintenance=MAINTENANCE, readers=["spark", "delta-rs"])
    # WHEN batches are merged one by one, and the last together with its maintenance
    batches = [lake.batch("sales", n, [lake.land(f"id,name\n{n},a\n{n + 10},b\n{n + 20},c\n")]) for n in (1, 2, 3)]
    code, receipts = lake.run(*batches)
    # THEN it comes after the last alone, and is no part of any receipt
    assert code == 0
    assert [receipt["delta_version"] for receipt in receipts] == [1, 2, 3]
    assert [entry["action"] for entry in record(lake, "sales", 3)] == ["optimize", "deletion_vectors"]
    assert {entry["outcome"] for entry in record(lake, "sales", 3)} == {"done"}
    assert record(lake, "sales", 3)[0]["numbers"]["files_added"] == 1
    assert record(lake, "sales", 1) == record(lake, "sales", 2) == []
    # AND the batch comes again as itself, behind OPTIMIZE
    _, [again] = lake.run(batches[2], run_id="run-2")
    assert (again["replayed"], again["delta_version"], again["table_rows"]) == (True, 3, receipts[2]["table_rows"])
    # WHEN changes leave deletion vectors, a dead attempt has left a file, and the work says that more is due
    orphan = Path(lake.target("sales").removeprefix("file://")) / "part-orphan.snappy.parquet"
    orphan.write_bytes(b"never committed")
    old = time.time() - 2 * 3600
    os.utime(orphan, (old, old))
    hurried = {**lake.batch("sales", 4, [lake.land("id,name\n1,x\n2,y\n")]), "maintenance": False}
    code, [receipt] = lake.run(hurried)
    assert (code, receipt["table_rows"], receipt["rows"]["updated"]) == (0, 9, 2)
    assert record(lake, "sales", 4) == []
    # AND a history lies beside the table
    history = f"{lake.target('sales')}__history"
    for number in range(4):
        lake.spark.range(number, number + 1).coalesce(1).write.format("delta").mode("append").save(history)
    # WHEN it is maintained a while later
    monkeypatch.setattr(maintenance, "SMALL_FILES", 3)
    later = datetime.now(UTC) + timedelta(hours=2)
    target, contract = target_of(lake, "sales"), contract_of(lake, "sales")
    done = maintaining.maintain(target, contract, now=later, log=Log())
    # THEN the hidden rows are gone from its files, and so is what no version needs
    assert [(each["part"], each["action"], each["outcome"]) for each in done] == [
        ("table", "purge", "done"),
        ("table", "vacuum", "done"),
        ("history", "optimize", "done"),
    ]
    assert not orphan.exists()
    assert lake.spark.read.parquet(*lake.read("sales").inputFiles()).count() == 9
    # AND other engines read the same rows
    assert readers_that_differ(lake, "sales") == []
    # AND nothing is left to do
    assert maintaining.maintain(target, contract, now=later, log=Log()) == []
    # AND the next batch follows the last one, and counts right
    code, [receipt] = lake.run(lake.batch("sales", 5, [lake.land("id,name\n1,z\n99,new\n")]))
    assert (code, receipt["table_rows"], receipt["rows"]["updated"]) == (0, 10, 1)
    assert lake.rows("sales")[0] == (1, "z")


def test_the_list_of_files_is_looked_at_only_if_too_many_rows_can_be_hidden(
    lake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tidegate_spark import maintaining, maintenance

    # GIVEN a table that hides rows
    monkeypatch.setattr(maintenance, "DELETION_VECTORS_FROM_BYTES", 1)
    lake.contract("sales", {"id": "int", "name": "string"}, maintenance=MAINTENANCE, readers=["spark", "delta-rs"])
    looks: list[str] = []
    statistics_of = maintaining.statistics_of

    def look(place: Any) -> Any:
        looks.append(place.part)
        return statistics_of(place)

    monkeypatch.setattr(maintaining, "statistics_of", look)

    def merge(batch: int, ids: range) -> None:
        rows = "".join(f"{each},{batch}\n" for each in ids)
        code, _ = lake.run(lake.batch("sales", batch, [lake.land(f"id,name\n{rows}")]))
        assert code == 0

    merge(1, range(100))
    looks.clear()
    # WHEN one row of a hundred is hidden THEN the commit's own figures say that it is not worth a look
    merge(2, range(1))
    assert looks == []
    # WHEN ten are THEN it is looked at
    merge(3, range(10))
    assert looks == ["table"]


def test_maintenance_that_fails_or_takes_too_long_costs_no_batch_its_receipt(
    lake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tidegate_spark import maintaining, maintenance
    from tidegate_spark.logs import Log
    from tidegate_spark.threads import job_limit

    # GIVEN an OPTIMIZE that fails
    monkeypatch.setattr(maintenance, "SMALL_FILES", 0)
    lake.contract("sales", {"id": "int"}, maintenance={**MAINTENANCE, "limit_s": 10})

    def fail(*_: Any) -> Any:
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setitem(maintaining._ACTIONS, "optimize", fail)  # type: ignore[arg-type]
        code, [receipt] = lake.run(lake.batch("sales", 1, [lake.land("id\n1\n")]))
    # THEN the batch is merged, and the record says why
    assert (code, receipt["outcome"]) == (0, "merged")
    [entry] = record(lake, "sales", 1)
    assert (entry["action"], entry["outcome"], entry["error"]) == ("optimize", "failed", "no space left")

    # GIVEN one that would take minutes
    def dawdle(place: Any, _: Any) -> Any:
        sleeps = "java_method('java.lang.Thread', 'sleep', 100L + id) = 'over'"
        return place.session.range(0, 4000, 1, 2).where(sleeps).collect()

    monkeypatch.setitem(maintaining._ACTIONS, "optimize", dawdle)  # type: ignore[arg-type]
    began = time.monotonic()
    later = datetime.now(UTC) + timedelta(hours=2)
    target = target_of(lake, "sales")
    done = maintaining.maintain(target, contract_of(lake, "sales"), now=later, log=Log())
    # THEN it is stopped, and what comes after it is left for the next time
    assert [(each["action"], each["outcome"]) for each in done] == [("optimize", "stopped"), ("vacuum", "no_time")]
    assert time.monotonic() - began < 60
    # AND Delta's own threads are within reach, too
    history = f"{lake.target('sales')}__history"
    for number in range(2):
        lake.spark.range(number, number + 1).coalesce(1).write.format("delta").mode("append").save(history)
    place = maintaining._Place("history", history, target, contract_of(lake, "sales"), later)
    with job_limit(target.session, 300):
        group = target.session.sparkContext.getLocalProperty("spark.jobGroup.id")
        started = lake.count_jobs(lambda: maintaining._optimize(place, done[0]))
    assert len(target.session.sparkContext.statusTracker().getJobIdsForGroup(group)) == started > 0
    # AND the session's later jobs are its own again
    assert target.session.sparkContext.getLocalProperty("spark.jobGroup.id") is None
    assert target.frame().count() == 1
