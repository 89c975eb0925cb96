"""Tombstones: "Deletes leave a tombstone. ... a later change at or below it for a key that is not in the table is
quarantined as too late, never resurrected." (the design)
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

COLUMNS = {"id": "int", "name": "string", "seq": "timestamp"}
MERGE = {"strategy": "cdc", "sequence_by": "seq", "delete_when": "op = 'D'"}
READS = [{"name": "op", "type": "string"}]
MONTH_LATER = datetime(2026, 2, 10, tzinfo=UTC)
"""More than 30 days after the arrivals of these tests."""


def line(key: int, name: str | None, seq: int | None, op: str = "U", **more: Any) -> dict[str, Any]:
    """A change; `seq` counts minutes of one hour."""
    moment = None if seq is None else f"2026-01-01T12:{seq:02d}:00Z"
    return {"id": key, "name": name, "seq": moment, "op": op, **more}


def land(lake: Any, *lines: dict[str, Any], **entry: Any) -> dict[str, Any]:
    text = "".join(json.dumps(each) + "\n" for each in lines)
    return dict(lake.land(text, entry.pop("name", "a.json"), **entry))


def contract(lake: Any, table: str, columns: dict[str, str] | None = None, **more: Any) -> None:
    merge = {**MERGE, **more.pop("merge", {})}
    lake.contract(table, columns or COLUMNS, format="json", reads=READS, merge=merge, **more)


def run(lake: Any, *batches: Any) -> list[dict[str, Any]]:
    code, receipts = lake.run(*batches)
    assert code == 0, [receipt["error"] for receipt in receipts if receipt["error"]]
    return list(receipts)


def tombstones(lake: Any, table: str) -> list[tuple[Any, ...]]:
    history = lake.spark.read.format("delta").load(lake.target(table) + "__history")
    return sorted((row["id"], row["batch"]) for row in history.select("id", "_tidegate.batch").collect())


def purge(lake: Any, table: str, now: datetime = MONTH_LATER) -> int:
    from tidegate_spark.job import _session_of
    from tidegate_spark.storage import Storage
    from tidegate_spark.strategies.tombstones import purge_tombstones
    from tidegate_spark.table import Target

    def in_a_thread() -> int:
        # As in the job: the session of a table is the active one of a thread of its own.
        target = Target(_session_of(lake.spark, table), Storage(lake.spark), lake.target(table))
        return purge_tombstones(target, parsed(lake, table), now)

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(in_a_thread).result()


def parsed(lake: Any, table: str) -> Any:
    from tidegate_spark.types import with_canonical_types
    from tidegate_spark.work import _parse_contract

    return with_canonical_types(_parse_contract(lake.contracts[table]))


def test_each_case_of_a_deleted_key(lake: Any) -> None:
    # GIVEN keys which are cases of their own
    contract(lake, "keys")
    first = land(
        lake,
        line(1, "deleted", 1),
        line(2, "reborn", 1),
        line(3, None, 5, "D"),  # before its insert arrives
        line(4, "tie", 5),
        line(5, "no sequence", None),
        line(6, "a late delete", 9),
        line(7, "deleted and reborn in one file", 1),
        line(7, None, 2, "D"),
        line(7, "second life", 3),
        line(8, "only a tie in one file", 5),
        line(8, None, 5, "D"),
        line(9, None, None, "D"),
    )
    second = land(
        lake,
        line(1, None, 2, "D"),
        line(2, None, 2, "D"),
        line(3, "late insert", 4),
        line(4, None, 5, "D"),
        line(5, None, None, "D"),
        line(6, None, 4, "D"),
        line(9, "newer than a delete without a sequence", 1),
    )
    third = land(
        lake,
        line(1, "late", 1),
        line(2, "second life", 4),
        line(4, "a tie, again", 5),
        line(5, "newer than nothing", None),
    )
    fourth = land(lake, line(2, "between death and birth", 3), line(3, "newer than the delete", 6))
    # WHEN each is a batch
    receipts = run(lake, *(lake.batch("keys", n, [f]) for n, f in enumerate((first, second, third, fourth), start=1)))
    # THEN
    alive = [
        (2, "second life"),
        (3, "newer than the delete"),
        (6, "a late delete"),
        (7, "second life"),
        (9, "newer than a delete without a sequence"),
    ]
    assert lake.rows("keys", "id", "name") == alive
    assert [receipt["rows"]["deleted"] for receipt in receipts] == [0, 4, 0, 0]
    assert [receipt["table_rows"] for receipt in receipts] == [6, 3, 4, 5]
    remembered = tombstones(lake, "keys")
    assert remembered == [(1, 2), (2, 2), (3, 1), (4, 2), (5, 2), (6, 2), (8, 1), (9, 1)]
    # WHEN all of it comes again, backwards and at once
    again = run(lake, lake.batch("keys", 5, [fourth]), lake.batch("keys", 6, [first, second, third]))
    # THEN nothing changes, and no tombstone is written twice
    assert lake.rows("keys", "id", "name") == alive
    assert tombstones(lake, "keys") == remembered
    assert [r["rows"][name] for r in again for name in ("inserted", "updated", "deleted")] == [0] * 6


def test_an_attempt_that_died_between_the_two_commits_is_done_again_or_voided(
    lake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # GIVEN a batch with a delete whose attempt died after the history's commit
    from tidegate_spark import batch

    contract(lake, "died")
    run(lake, lake.batch("died", 1, [land(lake, line(1, "a", 1), line(2, "b", 1))]))
    assert not Path(lake.target("died").removeprefix("file://") + "__history").exists()
    files = [land(lake, line(1, None, 2, "D"), line(3, None, 2, "D"))]
    two = lake.batch("died", 2, files)

    def die(*given: Any, **named: Any) -> Any:
        raise OSError("the node is gone")

    def dies() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(batch, "_commit_once", die)
            assert lake.run(two)[0] == 1

    dies()
    assert (tombstones(lake, "died"), lake.rows("died", "id")) == ([(1, 2), (3, 2)], [(1,), (2,)])
    # WHEN it is done again
    [receipt] = run(lake, two)
    # THEN the delete is carried out
    assert (receipt["rows"]["deleted"], lake.rows("died", "id")) == (1, [(2,)])
    assert tombstones(lake, "died") == [(1, 2), (3, 2)]
    # WHEN another dies, and is voided instead
    two = lake.batch("died", 3, [land(lake, line(2, None, 3, "D"))])
    dies()
    assert tombstones(lake, "died") == [(1, 2), (2, 3), (3, 2)]
    [receipt] = run(lake, {**two, "action": "void", "reason": "for the test"})
    # THEN it leaves no tombstone, and an older change of the key is taken
    assert (receipt["outcome"], tombstones(lake, "died")) == ("voided", [(1, 2), (3, 2)])
    run(lake, lake.batch("died", 4, [land(lake, line(2, "older than the voided delete", 2))]))
    assert lake.rows("died", "id", "name") == [(2, "older than the voided delete")]


def test_without_a_delete_nothing_more_is_read_or_written(lake: Any) -> None:
    # GIVEN, WHEN
    contract(lake, "calm")
    [first, second] = run(
        lake,
        lake.batch("calm", 1, [land(lake, line(1, "a", 1))]),
        lake.batch("calm", 2, [land(lake, line(1, "b", 2))]),
    )
    # THEN
    assert not Path(lake.target("calm").removeprefix("file://") + "__history").exists()
    assert "the history is neither read nor written" in first["plan"]
    assert "the history is neither read nor written" in second["plan"]


@pytest.mark.parametrize("is_partial", [False, True], ids=["whole", "partial"])
def test_a_change_that_comes_after_the_purge_is_refused(
    lake: Any, monkeypatch: pytest.MonkeyPatch, is_partial: bool
) -> None:
    # GIVEN deleted keys, a living one, and one that was deleted and born again
    from tidegate_spark import batch

    contract(lake, "late", merge={"partial_updates": is_partial})
    run(
        lake,
        lake.batch("late", 1, [land(lake, *(line(key, "a", 1) for key in (1, 2, 3, 4)), line(5, None, 50, "D"))]),
        lake.batch("late", 2, [land(lake, *(line(key, None, 20, "D") for key in (1, 2, 4)), line(4, "reborn", 21))]),
        lake.batch("late", 3, [land(lake, line(2, None, 30, "D"), event_time="2026-02-09T00:00:00.000Z")]),
    )
    assert tombstones(lake, "late") == [(1, 2), (2, 2), (2, 3), (5, 1)]
    # WHEN what is older than 30 days is purged, of key 2 only what its newest tombstone covers
    assert purge(lake, "late") == 3
    assert tombstones(lake, "late") == [(2, 3)]
    assert purge(lake, "late") == 0
    # AND changes come that are at or below what was purged
    refused: list[Any] = []
    plan_merge = batch.plan_merge

    def spy(*given: Any) -> Any:
        plan = plan_merge(*given)
        refused.append(sorted(map(tuple, plan.refused.select("id", "name", "_tidegate_reason").collect())))
        assert [name for name in plan.refused.columns if name != "_tidegate_reason"] == given[1].rows.columns
        return plan

    monkeypatch.setattr(batch, "plan_merge", spy)
    late = land(
        lake,
        line(1, "a deleted key", 10),
        line(1, "at the bound", 50),
        line(2, "its tombstone is there", 10),
        line(3, "a living key", 10),
        line(4, "a reborn key", 10),
        line(6, "a new key", 49),
        line(7, "a new key, later", 51),
        line(8, None, 40, "D"),
        line(9, "without a sequence", None),
    )
    [receipt] = run(lake, lake.batch("late", 4, [late]))
    # THEN those of which nothing is known are refused, in words; a delete of nothing is no refusal
    assert [row[:2] for row in refused[0]] == [
        (1, "a deleted key"), (1, "at the bound"), (6, "a new key"), (9, "without a sequence")
    ]  # fmt: skip
    assert "with seq at or before 2026-01-01T12:50:00.000000Z" in refused[0][0][2]
    assert "send it again with a later seq" in refused[0][0][2]
    assert "refused with seq at or before 2026-01-01T12:50" in receipt["plan"]
    assert lake.rows("late", "id", "name") == [(3, "a living key"), (4, "reborn"), (7, "a new key, later")]
    assert tombstones(lake, "late") == [(2, 3)]


def test_what_was_purged_sets_no_column_of_a_new_row(lake: Any) -> None:
    # GIVEN a purged delete, and two keys that begin a new life afterwards
    contract(lake, "parts", {**COLUMNS, "other": "string"}, merge={"partial_updates": True})
    run(lake, lake.batch("parts", 1, [land(lake, *(line(key, None, 20, "D") for key in (1, 2, 3)))]))
    assert purge(lake, "parts") == 3

    def change(key: int, seq: int, **columns: Any) -> dict[str, Any]:
        found = line(key, None, seq)
        del found["name"]
        return {**found, **columns}

    # WHEN older changes come after, before, and together with the newer ones
    run(
        lake,
        lake.batch("parts", 2, [land(lake, change(1, 30, name="new"), change(2, 10, other="old"))]),
        lake.batch("parts", 3, [land(lake, change(1, 10, other="old"), change(2, 30, name="new"))]),
        lake.batch("parts", 4, [land(lake, change(3, 10, other="old"), change(3, 30, name="new"))]),
    )
    # THEN they set nothing, in whichever order
    assert lake.rows("parts", "id", "name", "other") == [(1, "new", None), (2, "new", None), (3, "new", None)]


def test_sequences_that_are_no_times_and_values_from_the_future_are_kept(lake: Any) -> None:
    # GIVEN a number that may count each key's versions, and a delete of the year 2199
    contract(lake, "versions", {**COLUMNS, "seq": "int"})
    contract(lake, "future")
    run(
        lake,
        lake.batch("versions", 1, [land(lake, {"id": 1, "name": None, "seq": 1, "op": "D"})]),
        lake.batch("versions", 2, [land(lake, {"id": 1, "name": None, "seq": 7, "op": "D"})]),
        lake.batch("future", 1, [land(lake, {**line(1, None, 1, "D"), "seq": "2199-01-01T00:00:00Z"})]),
    )
    # WHEN
    went = purge(lake, "versions"), purge(lake, "future")
    # THEN only what another tombstone covers goes, and a new key's first version is taken
    assert went == (1, 0)
    assert (tombstones(lake, "versions"), tombstones(lake, "future")) == ([(1, 2)], [(1, 1)])
    run(lake, lake.batch("versions", 3, [land(lake, {"id": 2, "name": "new", "seq": 1, "op": "I"})]))
    assert lake.rows("versions", "id", "name") == [(2, "new")]


def test_upsert_deletes_nothing_and_says_so(lake: Any) -> None:
    # GIVEN, WHEN
    contract(lake, "wrong", merge={"strategy": "upsert"})
    code, [receipt] = lake.run(lake.batch("wrong", 1, [land(lake, line(1, "a", 1))]))
    # THEN
    assert (code, receipt["error"]["type"]) == (1, "NotSupported")
    assert "say `strategy: cdc`" in receipt["error"]["message"]
