"""A step's protocol: the same cases, the same answers, with Spark and without.

The campaign and the benchmarks believe the stand-in; this is why they may.
"""

from __future__ import annotations

from typing import Any

FACTS = (
    *("outcome", "delta_version", "table_rows", "rows", "files", "bytes", "plan", "manifest_sha256"),
    *("quarantined", "expectations", "columns"),
)
"""What a replay answers again."""
FIELDS = {
    *("schema", "table", "batch", "run_id", "pass", "replayed", "error"),
    *("seconds", "started_at", "ended_at", "spark_application_id", *FACTS),
}
NO_ROWS = dict.fromkeys(
    ("read", "inserted", "updated", "deleted", "unchanged", "rejected", "quarantined", "filtered"), 0
)


def facts(receipt: dict[str, Any]) -> dict[str, Any]:
    return {name: receipt[name] for name in FACTS}


def failure(receipt: dict[str, Any]) -> tuple[str, str, str]:
    assert set(receipt) == FIELDS
    assert receipt["delta_version"] is None
    return receipt["outcome"], receipt["error"]["type"], receipt["error"]["cause"]


def test_a_merge_and_its_repetition_answer_the_same(steps: Any) -> None:
    # GIVEN a batch of two good files and one that breaks its contract
    batch = steps.batch(1, steps.land(), steps.land(steps.ways.broken), steps.land())
    # WHEN it is merged
    code, [first] = steps.run(batch)
    # THEN the receipt says what was done, and one commit carries its number
    assert code == 0
    assert set(first) == FIELDS
    assert (first["outcome"], first["replayed"], first["error"]) == ("merged", False, None)
    assert (first["run_id"], first["pass"], first["batch"], first["delta_version"]) == ("run-1", 1, 1, 1)
    assert first["rows"] == NO_ROWS | {"read": 2, "inserted": 2}
    assert (first["table_rows"], first["files"]["read"]) == (2, 2)
    assert [(entry["index"], entry["key"]) for entry in first["files"]["rejected"]] == [(1, "0002.csv")]
    assert first["files"]["rejected"][0]["reason"]
    # AND merged again, by another run, it answers the same facts and commits nothing
    code, [again] = steps.run(batch, run_id="run-2")
    assert (code, facts(again)) == (0, facts(first))
    assert (again["replayed"], again["run_id"]) == (True, "run-2")
    [commit] = steps.ways.commits(steps.target)
    assert commit == {
        "version": 1,
        "batch": 1,
        "void": False,
        "manifest_sha256": batch["manifest_sha256"],
        "run_id": "run-1",
    }


def test_what_is_not_this_tables_next_batch_is_refused(steps: Any) -> None:
    # GIVEN a table that has batch 1
    steps.run(steps.batch(1))
    # WHEN, THEN a batch comes out of turn, to be merged or voided
    code, [receipt] = steps.run(steps.batch(3))
    assert (code, *failure(receipt)) == (1, "failed", "WrongPredecessor", "table")
    code, [receipt] = steps.run(steps.batch(3, action="void"))
    assert (code, *failure(receipt)) == (1, "failed", "WrongPredecessor", "table")
    # OR its number comes from another manifest
    code, [receipt] = steps.run(steps.batch(1))
    assert (code, *failure(receipt)) == (1, "failed", "ForeignCommit", "table")
    # OR its manifest isn't the one that was sealed
    code, [receipt] = steps.run({**steps.batch(2), "manifest_sha256": "0" * 64})
    assert (code, *failure(receipt)) == (1, "failed", "BrokenWork", "infrastructure")
    # AND nothing of it is in the table
    assert steps.committed() == [(1, "merged")]


def test_a_void_uses_the_number_up_and_looks_at_no_file(steps: Any) -> None:
    # GIVEN a first batch, whose table isn't there yet, and of which a file is gone
    gone = steps.land()
    batch = steps.batch(1, gone)
    steps.ways.delete(gone["location"])
    # WHEN it is voided
    code, [first] = steps.run({**batch, "action": "void", "reason": "it is poison"})
    # THEN
    assert (code, first["outcome"], first["replayed"], first["error"]) == (0, "voided", False, None)
    assert set(first) == FIELDS
    assert (first["rows"], first["table_rows"], first["delta_version"]) == (NO_ROWS, 0, 1)
    assert first["files"] == {"read": 0, "rejected": []}
    # AND whoever comes late with it, to void or to merge it, gets that answer
    for late in ({**batch, "action": "void"}, batch):
        code, [again] = steps.run(late, run_id="run-2")
        assert (code, facts(again), again["replayed"]) == (0, facts(first), True)
    # AND the next batch finds its predecessor
    assert steps.run(steps.batch(2))[0] == 0
    assert steps.committed() == [(1, "voided"), (2, "merged")]


def test_a_merged_batch_can_no_longer_be_voided(steps: Any) -> None:
    # GIVEN
    batch = steps.batch(1)
    _, [merged] = steps.run(batch)
    # WHEN
    code, [late] = steps.run({**batch, "action": "void"})
    # THEN
    assert (code, facts(late), late["replayed"]) == (0, facts(merged), True)
    assert steps.committed() == [(1, "merged")]


def test_a_tables_batches_go_one_after_another_until_one_fails(steps: Any) -> None:
    # GIVEN, WHEN four batches in one work file, in any order; the third has data that can't be merged
    poison = steps.land(steps.ways.bad)
    good, voided, bad, late = steps.batch(1), steps.batch(2, action="void"), steps.batch(3, poison), steps.batch(4)
    code, receipts = steps.run(bad, late, voided, good)
    # THEN
    assert code == 1
    assert failure(receipts[0])[::2] == ("failed", "data")
    assert failure(receipts[1]) == ("failed", "EarlierBatchFailed", "table")
    assert [receipt["outcome"] for receipt in receipts[2:]] == ["voided", "merged"]
    assert steps.committed() == [(1, "merged"), (2, "voided")]
    # AND voided, the third makes way for the fourth
    code, receipts = steps.run({**bad, "action": "void"}, late)
    assert (code, [receipt["outcome"] for receipt in receipts]) == (0, ["voided", "merged"])
    assert receipts[1]["table_rows"] == 2


def test_a_staged_copy_that_is_missing_condemns_nothing(steps: Any) -> None:
    # GIVEN
    file = steps.land()
    steps.ways.delete(file["location"])
    # WHEN
    code, [receipt] = steps.run(steps.batch(1, file))
    # THEN
    assert (code, *failure(receipt)) == (1, "failed", "ReadFailed", "infrastructure")
    assert receipt["error"]["file"] == file["key"]
    assert steps.committed() == []


def test_a_receipt_is_never_rewritten(steps: Any) -> None:
    # GIVEN an attempt that failed, and has said so
    file = steps.land()
    steps.ways.delete(file["location"])
    work_uri, [receipt_uri] = steps.plan(steps.batch(1, file))
    assert steps.ways.step(work_uri) == 1
    before = steps.ways.read(receipt_uri)
    # WHEN the very same step is started once more, and succeeds
    steps.ways.write(file["location"], b"id,name\n1,ann\n")
    assert steps.ways.step(work_uri) == 0
    # THEN
    assert steps.ways.read(receipt_uri) == before
    assert steps.committed() == [(1, "merged")]


def test_a_step_without_a_usable_work_file_does_nothing(steps: Any) -> None:
    # GIVEN
    work_uri, [receipt_uri] = steps.plan(steps.batch(1, action="erase"))
    # WHEN, THEN an order that it doesn't know, or no work file at all
    assert steps.ways.step(work_uri) == 1
    assert steps.ways.step(f"{steps.ways.control}/runs/none.json") == 1
    assert steps.ways.read(receipt_uri) is None
