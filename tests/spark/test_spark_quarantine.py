"""Rows that break their contract: kept beside the table, each once, and taken out when they are fine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pyspark.sql import functions as sf
from tidegate_spark import batch as job_batch

COLUMNS = {"id": "int", "amount": "double"}
SANE = {"name": "sane", "check": "amount < 100", "on_fail": "quarantine"}


def expectations(lake: Any, table: str, *checks: dict[str, str]) -> None:
    lake.contracts[table]["expectations"] = list(checks)


def versions(lake: Any, table: str) -> int:
    return int(lake.versions(f"{table}__quarantine"))


def test_a_bad_row_is_in_quarantine_once_and_goes_when_it_is_fine(lake: Any) -> None:
    # GIVEN a file with a row that doesn't parse and one that fails an expectation, and a file that can't be read
    lake.contract("sales", COLUMNS, expectations=[SANE])
    mixed = lake.land("id,amount\n1,1\n2,much\n3,300\n", "mixed.csv")
    files = [mixed, lake.land("id\n1\n", "short.csv"), lake.land("id,amount\n9,9\n", "good.csv")]
    # WHEN it is merged, and comes again in another batch
    _, receipts = lake.run(*(lake.batch("sales", number, files) for number in (1, 2)))
    # THEN the quarantine has them once, as the first batch found them
    found = lake.quarantine("sales")
    assert [(row, check) for row, check, *_ in found["mixed.csv"]] == [(2, "parse"), (3, "sane")]
    assert found["mixed.csv"][1][2:] == ("expectation sane is not met: amount < 100", "3,300")
    assert [(row, check) for row, check, *_ in found["short.csv"]] == [(None, "parse")]
    table = lake.spark.read.format("delta").load(lake.target("sales") + "__quarantine")
    assert {row[0] for row in table.select("_tidegate.batch").collect()} == {1}
    assert [receipt["rows"]["quarantined"] for receipt in receipts] == [2, 2]
    assert [receipt["expectations"] for receipt in receipts] == [{"sane": 1}, {"sane": 1}]
    # WHEN a batch without anything bad follows
    before = versions(lake, "sales")
    clean = lake.batch("sales", 3, [lake.land("id,amount\n7,7\n", "clean.csv")])
    # AND the first file again, when the contract takes its third row
    expectations(lake, "sales")
    lake.run(clean, lake.batch("sales", 4, [mixed]))
    # THEN the clean one made no commit there, and the row has moved into the table
    assert versions(lake, "sales") == before + 1
    assert [row for row, *_ in lake.quarantine("sales")["mixed.csv"]] == [2]
    assert lake.rows("sales") == [(1, 1.0), (3, 300.0), (7, 7.0), (9, 9.0)]
    # AND what is said of other files stayed
    assert "short.csv" in lake.quarantine("sales")


def test_a_crash_before_the_main_commit_and_a_void_leave_no_row_twice_or_too_many(
    lake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # GIVEN a batch that dies after its commit to the quarantine
    lake.contract("sales", COLUMNS)
    first = lake.batch("sales", 1, [lake.land("id,amount\n1,x\n2,2\n", "a.csv")])

    def die(*_: Any, **__: Any) -> None:
        raise RuntimeError("died before the main commit")

    with monkeypatch.context() as patched:
        patched.setattr(job_batch, "_commit_once", die)
        code, [receipt] = lake.run(first)
        assert (code, receipt["outcome"]) == (1, "failed")
    assert [row for row, *_ in lake.quarantine("sales")["a.csv"]] == [1]
    # WHEN the batch comes again
    _, [receipt] = lake.run(first)
    # THEN it is merged, and its row is there once
    assert (receipt["outcome"], receipt["rows"]["quarantined"]) == ("merged", 1)
    assert [row for row, *_ in lake.quarantine("sales")["a.csv"]] == [1]
    # WHEN the next one dies there and is voided
    second = lake.batch("sales", 2, [lake.land("id,amount\n3,y\n", "b.csv")])
    with monkeypatch.context() as patched:
        patched.setattr(job_batch, "_commit_once", die)
        lake.run(second)
    assert "b.csv" in lake.quarantine("sales")
    lake.run({**second, "action": "void", "reason": "it kept failing"})
    # THEN its rows are forgotten: its files come again in other batches
    assert set(lake.quarantine("sales")) == {"a.csv"}


def test_an_expectation_quarantines_warns_or_fails_its_batch(lake: Any) -> None:
    # GIVEN a table that warns and quarantines, with a null and a delete among its rows
    lake.contract(
        "sales",
        {**COLUMNS, "note": "string"},
        merge={"strategy": "cdc", "keys": ["id"], "delete_when": "note = 'gone'"},
        expectations=[{"name": "noted", "check": "note IS NOT NULL", "on_fail": "warn"}, SANE],
    )
    text = "id,amount,note\n1,1,\n2,500,\n3,,x\n4,700,gone\n5,x,x\n"
    sales = lake.batch("sales", 1, [lake.land(text, "a.csv")])
    # AND one that fails its batch for a row of its second file, which fails another check as well
    lake.contract("strict", COLUMNS, expectations=[SANE, {"name": "small", "check": "amount < 50", "on_fail": "fail"}])
    files = [lake.land("id,amount\n1,1\n", "b.csv"), lake.land("id,amount\n1,x\n2,500\n3,600\n", "c.csv")]
    # WHEN
    code, [merged, failed] = lake.run(sales, lake.batch("strict", 1, files))
    # THEN a null meets no check, a delete isn't checked, and a warning keeps its row
    assert code == 1
    assert lake.rows("sales", "id") == [(1,)]
    assert [(row, check) for row, check, *_ in lake.quarantine("sales")["a.csv"]] == [
        (2, "sane"),
        (3, "sane"),
        (5, "parse"),
    ]
    assert merged["expectations"] == {"noted": 2, "sane": 2}
    # AND the failed one says which row of which file, and has written nothing
    assert (failed["error"]["cause"], failed["error"]["file"], failed["error"]["row"]) == ("data", "c.csv", 2)
    assert "landing/c.csv, row 2: expectation small is not met: amount < 50" in failed["error"]["message"]
    assert lake.rows("strict") == []
    assert not lake.has_quarantine("strict")


def test_a_snapshot_is_rejected_whole_for_one_bad_row(lake: Any) -> None:
    # GIVEN a snapshot with a row that doesn't parse: were it left out, its key would seem to be gone
    lake.contract("prices", COLUMNS, merge={"strategy": "snapshot"})
    files = [lake.land("id,amount\n1,1\n2,x\n", "bad.csv"), lake.land("id,amount\n1,1\n", "good.csv")]
    # WHEN
    changes = lake.changes(lake.batch("prices", 1, files))
    # THEN
    assert [(each.file.key, each.rows) for each in changes.rejected] == [("bad.csv", 2)]
    assert changes.rejected[0].reason == "row 2: column amount: 'x' is not a valid double"
    assert [file.key for file in changes.files] == ["good.csv"]
    assert (changes.rows.count(), changes.bad_rows) == (1, None)


def test_what_a_strategy_refuses_is_quarantined_as_too_late(lake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN a strategy that can't take one of three changes
    lake.contract("sales", COLUMNS)
    plan_merge = job_batch.plan_merge

    def refusing(target: Any, changes: Any, contract: Any) -> Any:
        late = changes.rows.where("id = 2").withColumn("_tidegate_reason", sf.lit("its key was purged"))
        return replace(plan_merge(target, changes, contract), refused=late)

    monkeypatch.setattr(job_batch, "plan_merge", refusing)
    # WHEN
    _, [receipt] = lake.run(lake.batch("sales", 1, [lake.land("id,amount\n1,x\n2,2\n3,3\n", "a.csv")]))
    # THEN it is in quarantine as it was understood, and the receipt counts it there
    assert lake.quarantine("sales")["a.csv"] == [
        (1, "parse", "column amount: 'x' is not a valid double", "1,x"),
        (2, "too_late", "its key was purged", '{"id":2,"amount":2.0}'),
    ]
    assert (receipt["rows"]["read"], receipt["rows"]["quarantined"]) == (1, 2)


def test_a_void_brings_back_what_an_earlier_batch_has_said_of_its_files(
    lake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # GIVEN two bad rows of a file that is merged
    lake.contract("sales", COLUMNS)
    expectations(lake, "sales", SANE)
    file = lake.land("id,amount\n1,x\n2,200\n3,3\n", "a.csv")
    lake.run(lake.batch("sales", 1, [file]))
    before = lake.quarantine("sales")
    assert [row for row, *_ in before["a.csv"]] == [1, 2]

    def die(*_: Any, **__: Any) -> None:
        raise RuntimeError("died before the main commit")

    # WHEN it comes again under another contract, in which one of them is fine, the attempt dies, and is voided twice
    expectations(lake, "sales")
    second = lake.batch("sales", 2, [file])
    void = {**second, "action": "void", "reason": "it kept failing"}
    with monkeypatch.context() as patched:
        patched.setattr(job_batch, "_commit_once", die)
        lake.run(second)
        assert [row for row, *_ in lake.quarantine("sales")["a.csv"]] == [1]
        lake.run(void)
    _, [receipt] = lake.run(void)
    # THEN the quarantine says what the batch said that is in the table
    assert receipt["outcome"] == "voided"
    assert lake.quarantine("sales") == before
