"""Merges that mark rows instead of rewriting files: the same table as any other merge makes, and readable by all."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from readers import readers_that_differ

COLUMNS = {"id": "bigint", "place": "string", "value": "string", "seq": "int"}
CDC = {"strategy": "cdc", "sequence_by": "seq", "delete_when": "op = 'D'"}
VECTORS = "'delta.enableDeletionVectors' = 'true'"


def marks_rows(lake: Any, table: str) -> None:
    lake.spark.sql(f"ALTER TABLE delta.`{lake.target(table)}` SET TBLPROPERTIES ({VECTORS})")


def actions(lake: Any, table: str, version: int) -> list[dict[str, Any]]:
    path = Path(lake.target(table).removeprefix("file://")) / "_delta_log" / f"{version:020d}.json"
    return [json.loads(line) for line in path.read_text().splitlines()]


def vectors(lake: Any, table: str, version: int) -> dict[str, int]:
    """Rows that are marked, by file, among those that this version adds."""
    added = [action["add"] for action in actions(lake, table, version) if "add" in action]
    return {add["path"]: add["deletionVector"]["cardinality"] for add in added if "deletionVector" in add}


def test_few_rows_are_one_file_and_many_are_ranges(lake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tidegate_spark.engines import marking

    # GIVEN rows in eight parts, in no order, in a session that leaves small partitions as they are
    session = lake.spark.newSession()
    session.conf.set("spark.sql.adaptive.enabled", "false")
    rows = session.range(1000).orderBy("id", ascending=False).repartition(8)
    # WHEN they are few enough THEN they are one part, by their key
    few = marking.in_files(rows, 1000, ["id"])
    assert few.rdd.getNumPartitions() == 1
    assert [row.id for row in few.collect()] == list(range(1000))
    # WHEN they aren't THEN each part has keys of its own
    monkeypatch.setattr(marking, "_ONE_FILE_ROWS", 999)
    parts = marking.in_files(rows, 1000, ["id"]).rdd.glom().collect()
    ranges = sorted((min(part).id, max(part).id) for part in parts if part)
    assert len(ranges) > 1
    assert all(before[1] < after[0] for before, after in pairwise(ranges))


@pytest.mark.parametrize("partition_by", [[], ["place"]])
def test_marking_makes_the_table_that_rewriting_makes(lake: Any, partition_by: list[str]) -> None:
    # GIVEN changes with ties, nulls, late ones and deletes, of few keys, in places with names that paths escape
    drawn = random.Random(5)
    places = ["a b", "c/d%20", "é=1"]
    files = []
    for name in ("a.csv", "b.csv", "c.csv", "d.csv", "e.csv"):
        ids = [drawn.randrange(60) for _ in range(60)]
        rows = [
            (key, places[key % 3], drawn.choice(["", "x", "y"]), drawn.choice(["", 1, 2, 3]), drawn.choice(["", "D"]))
            for key in ids
        ]
        files.append(lake.land(lake.csv((*COLUMNS, "op"), *rows), name))
    keys = ["id", "place"] if partition_by else ["id"]
    for table in ("rewritten", "marked"):
        reads = [{"name": "op", "type": "string"}]
        lake.contract(table, COLUMNS, merge={**CDC, "keys": keys}, reads=reads, partition_by=partition_by)
    # WHEN they come in another order, one of them twice, into a table of either kind
    receipts: dict[str, list[dict[str, Any]]] = {"rewritten": [], "marked": []}
    for number, taken in enumerate(([2], [0, 4], [3], [2, 1], [1]), start=1):
        for table in receipts:
            code, made = lake.run(lake.batch(table, number, [files[at] for at in taken]))
            assert code == 0, made[0]["error"]
            receipts[table] += made
        if number == 1:
            marks_rows(lake, "marked")
    # THEN rows and counts are the same
    shown = ("*", "_tidegate.source", "_tidegate.sequencer", "_tidegate.position", "_tidegate.batch")
    assert lake.rows("marked", *shown) == lake.rows("rewritten", *shown)
    for marked, rewritten in zip(receipts["marked"], receipts["rewritten"], strict=True):
        assert marked["rows"] == rewritten["rows"]
        assert marked["table_rows"] == rewritten["table_rows"]
    # AND rows were marked, again in files that had some, without a word of a way around
    assert all("marks the rows that go" in receipt["plan"] for receipt in receipts["marked"][1:])
    assert not any("could not be marked" in receipt["plan"] for receipt in receipts["marked"])
    first, second = vectors(lake, "marked", 3), vectors(lake, "marked", 4)
    assert any(second[path] > first[path] for path in first.keys() & second.keys())
    # AND engines that are not ours read it
    assert readers_that_differ(lake, "marked") == []


def test_what_is_left_of_a_file_without_rows(lake: Any) -> None:
    # GIVEN a file of two rows
    lake.contract("t", COLUMNS, merge={**CDC}, reads=[{"name": "op", "type": "string"}])
    header = "id,place,value,seq,op\n"
    assert lake.run(lake.batch("t", 1, [lake.land(f"{header}1,,a,1,\n2,,a,1,\n")]))[0] == 0
    marks_rows(lake, "t")
    # WHEN both go
    code, (receipt,) = lake.run(lake.batch("t", 2, [lake.land(f"{header}1,,,2,D\n2,,b,2,\n")]))
    # THEN the file is gone, not marked through and through
    assert code == 0, receipt["error"]
    assert lake.rows("t", "id", "value") == [(2, "b")]
    assert (receipt["rows"]["updated"], receipt["rows"]["deleted"], receipt["rows"]["inserted"]) == (1, 1, 0)
    assert vectors(lake, "t", 3) == {}
    assert sum("remove" in action for action in actions(lake, "t", 3)) == 1


@pytest.mark.parametrize("is_committed", [False, True])
def test_a_merge_that_cannot_mark_rewrites(lake: Any, monkeypatch: pytest.MonkeyPatch, is_committed: bool) -> None:
    # GIVEN a table whose rows may be marked, and a Delta that fails at it, before its commit or right after
    from tidegate_spark.engines.marking import Marking

    lake.contract("t", COLUMNS, merge={"sequence_by": "seq"})
    assert lake.run(lake.batch("t", 1, [lake.land("id,place,value,seq\n1,,a,1\n2,,a,1\n")]))[0] == 0
    marks_rows(lake, "t")
    real = Marking.commit

    def fails(self: Marking, *given: Any) -> bool:
        if is_committed:
            real(self, *given)
        raise AttributeError("no such method in this Delta")

    monkeypatch.setattr(Marking, "commit", fails)
    # WHEN
    batch = lake.batch("t", 2, [lake.land("id,place,value,seq\n2,,b,2\n3,,b,2\n")])
    code, (receipt,) = lake.run(batch)
    # THEN there is one commit all the same, and the receipt says which
    assert code == 0, receipt["error"]
    assert lake.rows("t", "id", "value") == [(1, "a"), (2, "b"), (3, "b")]
    assert receipt["rows"]["inserted"] == receipt["rows"]["updated"] == 1
    assert lake.versions("t") == 3
    assert ("could not be marked (no such method in this Delta)" in receipt["plan"]) is not is_committed
    # AND it isn't done again
    code, (again,) = lake.run(batch)
    assert (code, again["replayed"], lake.versions("t")) == (0, True, 3)


def test_another_driver_of_the_same_batch_wins_or_loses_whole(lake: Any) -> None:
    # GIVEN two drivers that have found the same rows to mark
    from tidegate_spark.commit import numbered_commit
    from tidegate_spark.engines.marking import FILE, Counts, Marking
    from tidegate_spark.storage import Storage
    from tidegate_spark.table import Target, path_of

    lake.contract("t", COLUMNS, merge={"sequence_by": "seq"})
    assert lake.run(lake.batch("t", 1, [lake.land("id,place,value,seq\n1,,a,1\n2,,a,1\n")]))[0] == 0
    marks_rows(lake, "t")
    target = Target(lake.spark, Storage(lake.spark), path_of(Storage(lake.spark), lake.target("t")))
    first, second = Marking(target), Marking(target)
    found = {}
    for marking in (first, second):
        rows = marking.frame().where("id = 2").groupBy(FILE).agg(marking.marks().alias("marks")).collect()
        found[marking] = [(row[FILE], row["marks"]["bitmap"]) for row in rows]
    new = lake.read("t").where("id = 2")
    # WHEN one commits THEN the other can't, and later ones see that it is done
    with numbered_commit(lake.spark, "tidegate:t:1", 2, {}):
        assert first.commit(found[first], new, Counts(1, 0))
        with pytest.raises(Exception, match=r"(?i)concurrent"):
            second.commit(found[second], new, Counts(1, 0))
        assert not Marking(target).commit(found[second], new, Counts(1, 0))
    assert lake.rows("t", "id") == [(1,), (2,)]


@pytest.mark.parametrize("can_mark", [True, False])
def test_snapshots_mark_what_is_missing_from_them(lake: Any, monkeypatch: pytest.MonkeyPatch, can_mark: bool) -> None:
    # GIVEN a snapshot in a table whose rows may be marked, by a Delta that can or can't
    from tidegate_spark.engines.marking import Marking

    lake.contract("t", {"id": "int", "v": "string"}, merge={"strategy": "snapshot", "keys": ["id"], "snapshot": {}})
    assert lake.run(lake.batch("t", 1, [lake.land("id,v\n1,a\n2,b\n3,c\n", "a.csv")]))[0] == 0
    marks_rows(lake, "t")
    if not can_mark:
        monkeypatch.setattr(Marking, "__init__", lambda *_: None + 1)  # type: ignore[operator] # as of a class not there
    # WHEN the next one lacks a row, changes one and has a new one
    code, (receipt,) = lake.run(lake.batch("t", 2, [lake.land("id,v\n1,a\n3,x\n4,n\n", "b.csv")]))
    # THEN the table is what it says, by either way
    assert code == 0, receipt["error"]
    assert lake.rows("t") == [(1, "a"), (3, "x"), (4, "n")]
    assert [receipt["rows"][name] for name in ("inserted", "updated", "deleted")] == [1, 1, 1]
    assert ("are marked in deletion vectors" in receipt["plan"]) is can_mark
