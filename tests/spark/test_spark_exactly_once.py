"""A batch's number is its commit, and nothing is merged twice, out of turn or into the wrong table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

SAME = (
    *("outcome", "delta_version", "table_rows", "rows", "files", "bytes", "plan", "manifest_sha256"),
    *("quarantined", "expectations"),
)


@pytest.fixture
def sales(lake: Any) -> Any:
    lake.contract("sales", {"id": "int", "name": "string"})
    return lake


def test_a_batch_that_is_merged_already_gets_the_same_receipt_again(sales: Any) -> None:
    # GIVEN a batch that is merged, with a rejected file
    files = [sales.land("id,name\n1,ann\n2,bob\n", "a.csv"), sales.land("id\n1\n", "b.csv")]
    batch = sales.batch("sales", 1, files)
    _, [first] = sales.run(batch)
    # WHEN it is done again, by another run
    code, [again] = sales.run(batch, run_id="run-2")
    # THEN nothing happens to the table, and the receipt has the same numbers
    assert code == 0
    assert sales.versions("sales") == 1
    assert {name: again[name] for name in SAME} == {name: first[name] for name in SAME}
    assert (first["replayed"], again["replayed"], again["run_id"]) == (False, True, "run-2")


def test_a_crash_between_commit_and_receipt_loses_nothing(sales: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN an attempt that dies after its commit, with more rejected files than the commit has room for reasons
    from tidegate_spark import receipts

    files = [sales.land("id,name\n1,ann\n", "good.csv")]
    files += [sales.land("id\n1\n", f"bad{number:02d}.csv") for number in range(23)]
    batch = sales.batch("sales", 1, files)

    def die(*_: Any) -> bool:
        raise OSError("the node is gone")

    with monkeypatch.context() as patched:
        patched.setattr(receipts, "write", die)
        work = sales.work(batch)
        from tidegate_spark.job import run

        assert run(sales.spark, work.as_uri()) == 1
    assert not sales.receipts(work)[0].exists()
    assert sales.versions("sales") == 1
    # WHEN the next attempt comes
    code, [receipt] = sales.run(batch)
    # THEN it finds the commit, and knows every file that was rejected
    assert (code, receipt["outcome"], receipt["replayed"]) == (0, "merged", True)
    assert sales.versions("sales") == 1
    assert len(sales.reasons(receipt)) == 23
    assert receipt["rows"]["inserted"] == 1


def test_an_attempt_never_writes_its_receipt_twice(sales: Any) -> None:
    # GIVEN an attempt with a receipt
    from tidegate_spark.job import run

    batch = sales.batch("sales", 1, [sales.land("id,name\n1,ann\n")])
    work = sales.work(batch)
    run(sales.spark, work.as_uri())
    before = sales.receipts(work)[0].read_bytes()
    # WHEN its step is started once more
    run(sales.spark, work.as_uri())
    # THEN
    assert sales.receipts(work)[0].read_bytes() == before


def test_batches_go_in_one_after_another(sales: Any) -> None:
    # GIVEN a table that has batch 1
    one, two, three = (sales.batch("sales", n, [sales.land(f"id,name\n{n},x\n")]) for n in (1, 2, 3))
    sales.run(one)
    # WHEN batch 3 comes before batch 2
    code, [receipt] = sales.run(three)
    # THEN it is refused, and the table is as it was
    assert code == 1
    assert receipt["error"]["type"] == "WrongPredecessor"
    assert receipt["error"]["cause"] == "table"
    assert "follows batch 2" in receipt["error"]["message"]
    assert "is batch 1" in receipt["error"]["message"]
    # AND batch 1 is no longer accepted as a first batch once 2 is in
    assert sales.run(two)[0] == 0
    code, [late] = sales.run(sales.batch("sales", 1, [sales.land("id,name\n9,x\n")]))
    assert (code, late["error"]["type"]) == (1, "WrongPredecessor")
    assert sales.rows("sales", "id") == [(1,), (2,)]


def test_the_same_number_from_another_manifest_is_refused(sales: Any) -> None:
    # GIVEN
    sales.run(sales.batch("sales", 1, [sales.land("id,name\n1,ann\n")]))
    # WHEN
    code, [receipt] = sales.run(sales.batch("sales", 1, [sales.land("id,name\n2,bob\n")]))
    # THEN
    assert (code, receipt["error"]["type"], receipt["error"]["cause"]) == (1, "ForeignCommit", "table")
    assert sales.rows("sales") == [(1, "ann")]


def test_a_batch_without_one_good_row_still_commits_its_number(sales: Any) -> None:
    # GIVEN a file that can't be read, and one whose only row is bad
    bad, worse = sales.land("id\n1\n", "a.csv"), sales.land("id,name\nx,ann\n", "b.csv")
    # WHEN
    code, receipts = sales.run(
        sales.batch("sales", 1, [bad, worse]), sales.batch("sales", 2, [sales.land("id,name\n1,ann\n")])
    )
    # THEN the next batch finds its predecessor
    assert code == 0
    assert [receipt["delta_version"] for receipt in receipts] == [1, 2]
    assert receipts[0]["rows"]["read"] == receipts[0]["rows"]["inserted"] == 0
    assert set(sales.reasons(receipts[0])) == {"a.csv"}
    assert receipts[0]["rows"]["quarantined"] == 1
    assert sales.rows("sales") == [(1, "ann")]


def test_an_attempt_that_died_before_the_first_commit_blocks_no_table(sales: Any) -> None:
    # GIVEN the folders that a step leaves when it is killed between making them and the table's first commit
    (Path(sales.target("sales").removeprefix("file://")) / "_delta_log").mkdir(parents=True)
    # WHEN
    code, receipts = sales.run(sales.batch("sales", 1, [sales.land("id,name\n1,ann\n")]))
    # THEN
    assert code == 0, receipts
    assert sales.rows("sales") == [(1, "ann")]


def test_the_commit_tells_its_story(sales: Any) -> None:
    # GIVEN, WHEN
    batch = sales.batch("sales", 1, [sales.land("id,name\n1,ann\n")])
    sales.run(batch)
    # THEN
    log = Path(sales.target("sales").removeprefix("file://")) / "_delta_log" / f"{1:020d}.json"
    info = json.loads(log.read_text().splitlines()[0])["commitInfo"]
    told = json.loads(info["userMetadata"])["tidegate"]
    wanted = {"table": "sales", "batch": 1, "run_id": "run-1", "pass": 0, "fence": 1, "files": 1, "rows_read": 1}
    assert {name: told[name] for name in wanted} == wanted
    assert told["manifest_sha256"] == batch["manifest_sha256"]
    assert told["rejected"] == []


def test_commits_of_others_dont_confuse_the_count(sales: Any) -> None:
    # GIVEN batches 1 and 2, and somebody who rewrites the table's files after each
    from delta.tables import DeltaTable

    numbers = []
    for number in (1, 2, 3):
        batch = sales.batch("sales", number, [sales.land(f"id,name\n{number},x\n")])
        code, [receipt] = sales.run(batch)
        assert code == 0, receipt["error"]
        numbers.append((receipt["delta_version"], receipt["table_rows"]))
        DeltaTable.forPath(sales.spark, sales.target("sales")).delete(f"id = {number - 1}")
        # WHEN the batch is done again after that
        code, [again] = sales.run(batch)
        # THEN its commit is found behind the other
        assert (code, again["delta_version"], again["replayed"]) == (0, receipt["delta_version"], True)
    # AND the table's rows are those that are there
    assert numbers == [(1, 1), (2, 2), (4, 2)]


def test_two_files_of_one_place_are_refused(sales: Any) -> None:
    # GIVEN two versions of an object, both to be read where only one can be
    file = sales.land("id,name\n1,ann\n")
    # WHEN
    _, [receipt] = sales.run(sales.batch("sales", 1, [file, {**file, "sequencer": "9" * 40}]))
    # THEN
    assert receipt["error"]["type"] == "BrokenWork"
    assert "both read from" in receipt["error"]["message"]


def test_settings_of_a_transaction_dont_outlive_it(sales: Any) -> None:
    # GIVEN a session
    from tidegate_spark.commit import numbered_commit

    session = sales.spark.newSession()
    # WHEN a merge within it fails
    with pytest.raises(ZeroDivisionError), numbered_commit(session, "app", 7, {}):
        assert session.conf.get("spark.databricks.delta.write.txnVersion") == "7"
        raise ZeroDivisionError
    # THEN
    for name in ("write.txnAppId", "write.txnVersion", "commitInfo.userMetadata"):
        assert session.conf.get(f"spark.databricks.delta.{name}", None) is None


def test_one_tables_failure_is_its_own(sales: Any) -> None:
    # GIVEN four tables of one work file: a manifest that was changed, a target that is another's, one that isn't
    # a table at all, and one that is fine
    for table in ("tampered", "foreign", "litter"):
        sales.contract(table, {"id": "int", "name": "string"})
    file = sales.land("id,name\n1,ann\n")
    tampered = {**sales.batch("tampered", 1, [file]), "manifest_sha256": "0" * 64}
    sales.spark.range(3).write.format("delta").save(sales.target("foreign"))
    litter = Path(sales.target("litter").removeprefix("file://"))
    litter.mkdir(parents=True)
    (litter / "notes.txt").write_text("mine")
    batches = [
        tampered,
        sales.batch("tampered", 2, [file]),
        sales.batch("foreign", 1, [file]),
        sales.batch("litter", 1, [file]),
        sales.batch("sales", 1, [file]),
    ]
    # WHEN
    code, receipts = sales.run(*batches)
    # THEN each says what is wrong with it, and the good one is merged
    assert code == 1
    errors = [receipt["error"] and (receipt["error"]["type"], receipt["error"]["cause"]) for receipt in receipts]
    assert errors == [
        ("BrokenWork", "infrastructure"),
        ("EarlierBatchFailed", "table"),
        ("TableRefused", "table"),
        ("TableRefused", "table"),
        None,
    ]
    assert receipts[4]["outcome"] == "merged"
    assert sales.rows("sales") == [(1, "ann")]
    assert [path.name for path in litter.iterdir()] == ["notes.txt"]


def test_a_table_that_no_longer_fits_its_contract_is_refused(sales: Any) -> None:
    # GIVEN a table, and a contract that changed since
    sales.run(sales.batch("sales", 1, [sales.land("id,name\n1,ann\n")]))
    sales.contract("sales", {"id": "bigint", "name": "string", "size": "int"})
    # WHEN
    _, [receipt] = sales.run(sales.batch("sales", 2, [sales.land("id,name,size\n2,bob,1\n")]))
    # THEN
    assert receipt["error"]["cause"] == "table"
    assert "column id is int in the table and bigint in the contract" in receipt["error"]["message"]
    assert "column size int is not in the table" in receipt["error"]["message"]


def test_a_file_that_changed_after_the_plan_fails_the_attempt_and_condemns_nothing(
    sales: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # GIVEN a file read in place whose ETag isn't the manifest's any more, and that is broken by now
    from tidegate_spark.storage import Storage

    file = sales.land("nothing,of,the,kind\n")
    batch = sales.batch("sales", 1, [file])
    monkeypatch.setattr(Storage, "etag", lambda self, uri: "another")
    monkeypatch.setattr("tidegate_spark.work._parse_file", _in_place)
    # WHEN
    _, [receipt] = sales.run(batch)
    # THEN
    assert receipt["error"]["cause"] == "source_changed"
    assert receipt["error"]["file"] == "a.csv"
    assert receipt["files"]["rejected"] == []
    assert sales.versions("sales") == 0


def _in_place(entry: dict[str, Any], order: Any) -> Any:
    from tidegate_spark.work import SourceFile

    return SourceFile(
        **{name: entry[name] for name in ("index", "bucket", "key", "sequencer", "etag", "size_bytes")},
        event_time=entry["event_time"],
        captures={},
        uri=order.locations[str(entry["index"])],
        in_place=True,
    )


def test_a_staged_copy_that_is_gone_is_no_fault_of_the_data(sales: Any) -> None:
    # GIVEN
    file = sales.land("id,name\n1,ann\n")
    Path(file["location"].removeprefix("file://")).unlink()
    # WHEN
    code, [receipt] = sales.run(sales.batch("sales", 1, [file]))
    # THEN
    assert (code, receipt["error"]["type"], receipt["error"]["cause"]) == (1, "ReadFailed", "infrastructure")
