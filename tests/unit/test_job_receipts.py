"""What a commit is told is enough to write its receipt again."""

from __future__ import annotations

import json

from tidegate_spark import receipts
from tidegate_spark.commit import parse_commit
from tidegate_spark.receipts import BadRow, Quarantined
from tidegate_spark.work import BatchOrder, Contract, Manifest, SourceFile, Work

CONTRACT = Contract("sales", "csv", {}, (), (), "upsert", ("id",), None, ())
FILE = SourceFile(
    0, "landing", "a.csv", "1".rjust(40, "0"), "", 9, "2026-01-01T00:00:00Z", {}, "s3://landing/a.csv", True
)
MANIFEST = Manifest("sales", 1, None, "app", "s3://lake/sales", CONTRACT, (FILE,), "hash")
ORDER = BatchOrder("sales", 1, "s3://control/m.json", "hash", 1, {}, "s3://control/r.json")


class Read:
    files = (FILE,)
    rejected = ()
    rows_read = 10
    rows_rejected = 0
    rows_filtered = 3
    bytes = 9


def test_a_rebuilt_receipt_knows_what_was_quarantined_and_which_checks_were_not_met() -> None:
    # GIVEN a batch of 10 good rows, one of which its strategy refused, and 2 bad ones
    quarantined = Quarantined(
        rows=3, refused=1, shown=(BadRow("landing/a.csv", 4, "parse", "x" * 900),), unmet={"sane": 2, "noted": 0}
    )
    told = receipts.told(
        MANIFEST,
        Read(),
        order=ORDER,
        work=Work("run-1", 0, "g0", (ORDER,)),
        plan="Upsert.",
        table_rows_before=0,
        quarantined=quarantined,
    )
    # WHEN its receipt is made from the commit alone
    info = {"userMetadata": json.dumps({"tidegate": told}), "operationMetrics": {"numTargetRowsInserted": "9"}}
    commit = parse_commit(1, json.dumps({"commitInfo": info}, separators=(",", ":")).encode())
    receipt = receipts.committed(MANIFEST, commit, replayed=True)
    # THEN
    assert receipt["rows"] == {
        "read": 9, "inserted": 9, "updated": 0, "deleted": 0, "unchanged": 0, "rejected": 0,
        "quarantined": 3, "filtered": 3,
    }  # fmt: skip
    assert receipt["expectations"] == {"sane": 2, "noted": 0}
    [shown] = receipt["quarantined"]
    assert (shown["source"], shown["row"], shown["check"], len(shown["reason"])) == ("landing/a.csv", 4, "parse", 500)


def test_a_commit_of_an_older_release_says_nothing_of_quarantined_rows() -> None:
    # GIVEN
    told = {"rows_read": 2, "files": 1, "manifest_sha256": "hash"}
    info = {"userMetadata": json.dumps({"tidegate": told}), "operationMetrics": {"numOutputRows": "2"}}
    commit = parse_commit(1, json.dumps({"commitInfo": info}, separators=(",", ":")).encode())
    # WHEN
    receipt = receipts.committed(MANIFEST, commit, replayed=True)
    # THEN
    assert (receipt["rows"]["quarantined"], receipt["quarantined"], receipt["expectations"]) == (0, [], {})


def test_a_failed_attempt_counts_nothing() -> None:
    receipt = receipts.failed(ORDER, ValueError("no"))
    assert set(receipt["rows"].values()) == {0}
    assert (receipt["quarantined"], receipt["expectations"]) == ([], {})


def test_a_merge_that_writes_more_rows_than_it_read_left_none_unchanged() -> None:
    # GIVEN a commit of scd2 or bitemporal: one change splits a period in two
    told = {"rows_read": 1, "files": 1, "manifest_sha256": "hash"}
    metrics = {"numTargetRowsInserted": "2", "numTargetRowsUpdated": "1"}
    info = {"userMetadata": json.dumps({"tidegate": told}), "operationMetrics": metrics}
    commit = parse_commit(1, json.dumps({"commitInfo": info}, separators=(",", ":")).encode())
    # WHEN
    rows = receipts.committed(MANIFEST, commit, replayed=False)["rows"]
    # THEN
    assert (rows["read"], rows["inserted"], rows["updated"], rows["unchanged"]) == (1, 2, 1, 0)
