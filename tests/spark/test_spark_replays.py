"""A replay of merged files is safe: what a table has of a file's version, it doesn't take a second time."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize("strategy", ["upsert", "append"])
def test_merged_files_change_nothing_when_they_come_again(lake: Any, strategy: str) -> None:
    # GIVEN files in a table, one of them in two versions
    keys = ["id"] if strategy == "upsert" else []
    lake.contract("sales", {"id": "int", "name": "string"}, merge={"strategy": strategy, "keys": keys})
    older = lake.land("id,name\n1,ann\n2,ann\n", "a.csv", version_id="v1")
    other = lake.land("id,name\n3,cyd\n", "b.csv", version_id="v1")
    newer = lake.land("id,name\n1,amy\n2,amy\n", "a.csv", version_id="v2")
    lake.run(lake.batch("sales", 1, [older, other]), lake.batch("sales", 2, [newer]))
    place = ("_tidegate.sequencer", "_tidegate.position", "_tidegate.batch")
    before = lake.rows("sales", "id", "name", *place)
    assert [row[:2] for row in before] == [(1, "amy"), (2, "amy"), (3, "cyd")]
    # WHEN the same versions are batches again: all of it with a file that is new, the older alone, the newer's copy
    again = {**newer, "location": lake.land("id,name\n1,amy\n2,amy\n", "copy.csv")["location"]}
    new = lake.land("id,name\n4,dan\n", "c.csv", version_id="v1")
    code, receipts = lake.run(
        lake.batch("sales", 3, [other, newer, new]),
        lake.batch("sales", 4, [older]),
        lake.batch("sales", 5, [again]),
    )
    # THEN only the new file's row comes in; what was there stays as it was, its place in the order included
    assert code == 0, [receipt["error"] for receipt in receipts]
    found = lake.rows("sales", "id", "name", *place)
    assert found[:-1] == before
    assert found[-1][:2] == (4, "dan")
    assert [receipt["rows"]["inserted"] for receipt in receipts] == [1, 0, 0]
    assert [receipt["rows"]["updated"] + receipt["rows"]["deleted"] for receipt in receipts] == [0, 0, 0]
    assert [receipt["table_rows"] for receipt in receipts] == [4, 4, 4]


def test_rows_are_taken_away_though_the_first_attempt_died_before_its_commit(
    lake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # GIVEN an append table with a file's rows, and a newer version without rows, remembered by an attempt that died
    from tidegate_spark import batch

    lake.contract("log", {"line": "string"}, merge={"strategy": "append", "keys": []})
    lake.run(lake.batch("log", 1, [lake.land("line\none\n", "a.csv")]))
    emptied = lake.land("line\n", "a.csv")
    two = lake.batch("log", 2, [emptied])

    def die(*given: Any, **named: Any) -> Any:
        raise OSError("the node is gone")

    with monkeypatch.context() as patched:
        patched.setattr(batch, "_commit_once", die)
        assert lake.run(two)[0] == 1
    assert lake.rows("log") == [("one",)]
    # WHEN it is done again
    code, [receipt] = lake.run(two)
    # THEN
    assert (code, receipt["rows"]["deleted"], lake.rows("log")) == (0, 1, [])
