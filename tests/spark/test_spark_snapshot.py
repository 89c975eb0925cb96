"""snapshot: "indivisible; the ordered list of applied snapshots a scope is kept; a late one only says something about
keys of its own time." (the design)"""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.convergence.cases import snapshot as case


def _contract(lake: Any, table: str, *, sequence_by: str | None = None, columns: Any = None, **rule: Any) -> None:
    lake.contract(
        table,
        columns or {"id": "int", "v": "string"},
        merge={"strategy": "snapshot", "keys": ["id"], "sequence_by": sequence_by, "snapshot": rule},
        **({"captures": ["taken"], "reads": [{"name": "taken", "type": "int"}]} if sequence_by else {}),
    )


def test_a_table_is_what_its_newest_snapshot_says(lake: Any) -> None:
    # GIVEN four snapshots of a whole table; of two rows of a key the last counts
    _contract(lake, "stock")
    first = lake.land("id,v\n1,a\n2,b\n3,c\n3,d\n", "a.csv")
    second = lake.land("id,v\n1,a\n3,e\n4,f\n", "b.csv")
    late = lake.land("id,v\n9,late\n", "c.csv", event_time="2026-01-01T00:00:01.500Z")
    emptied = lake.land("id,v\n", "d.csv")
    # WHEN they come one after another, one late, one again
    batches = [[first], [second], [late], [second], [emptied], [late, first]]
    shown, receipts = [], []
    for number, files in enumerate(batches, start=1):
        code, found = lake.run(lake.batch("stock", number, files), run_id=f"run-{number}")
        assert code == 0, found[0]["error"]
        receipts += found
        shown.append(lake.rows("stock"))
    # THEN missing keys are deleted, a late snapshot and a repeated one change nothing, an empty one empties the table
    newest = [(1, "a"), (3, "e"), (4, "f")]
    assert shown == [[(1, "a"), (2, "b"), (3, "d")], newest, newest, newest, [], []]
    # AND the merge holds real differences alone
    counts = [(r["rows"]["inserted"], r["rows"]["updated"], r["rows"]["deleted"]) for r in receipts]
    assert counts == [(3, 0, 0), (1, 1, 1), (0, 0, 0), (0, 0, 0), (0, 0, 3), (0, 0, 0)]
    assert [receipt["delta_version"] for receipt in receipts] == [1, 2, 3, 4, 5, 6]


def test_a_file_that_says_no_scope_of_its_own_is_rejected_whole(lake: Any) -> None:
    # GIVEN regions that rows say, not paths: one file has two, one has no row, one has a row without a key
    columns = {"region": "string", "id": "int", "v": "string", "day": "int"}
    _contract(lake, "stock", columns=columns, scope=["region"])
    lake.contracts["stock"]["merge"]["sequence_by"] = "day"
    files = {
        "good.csv": "region,id,v,day\nnorth,1,a,5\nnorth,2,b,5\n",
        "two.csv": "region,id,v,day\nnorth,1,x,6\nsouth,1,x,6\n",
        "days.csv": "region,id,v,day\nsouth,1,x,6\nsouth,1,x,7\n",
        "none.csv": "region,id,v,day\n",
        "keyless.csv": "region,id,v,day\nsouth,1,x,6\nsouth,,x,6\n",
        "null.csv": "region,id,v,day\nsouth,1,x,\n",
        "other.csv": "region,id,v,day\n,1,o,5\n,1,p,5\n",
    }
    # WHEN
    code, (receipt,) = lake.run(lake.batch("stock", 1, [lake.land(text, name) for name, text in files.items()]))
    # THEN the others are merged; a null is a region like any other
    assert code == 0, receipt["error"]
    assert lake.rows("stock") == [("north", 1, "a", 5), ("north", 2, "b", 5), (None, 1, "p", 5)]
    reasons = lake.reasons(receipt)
    assert sorted(reasons) == ["days.csv", "keyless.csv", "none.csv", "null.csv", "two.csv"]
    assert "column region is the scope of the snapshot, yet rows of the file have different" in reasons["two.csv"]
    assert "column day is the order of the snapshot, yet" in reasons["days.csv"]
    assert "has no rows, so nothing says its region" in reasons["none.csv"]
    assert "column day is null" in reasons["null.csv"]
    assert "row 2: key column id is null" in reasons["keyless.csv"]
    assert receipt["files"]["read"] == 2


@pytest.mark.parametrize("complete", ["marker", "manifest"])
def test_the_files_of_a_folder_wait_for_its_marker(lake: Any, complete: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN two folders, each a snapshot of all
    _contract(lake, "stock", complete=complete)
    lake.contracts["stock"]["merge"]["keys"] = ["id"]

    def file(day: int, name: str, text: str) -> dict[str, Any]:
        return dict(lake.land(f"id,v\n{text}", f"stock/{day}/{name}.csv"))

    def marker(day: int, *names: str) -> dict[str, Any]:
        listed = "".join(f"{name}.csv\n" for name in names) if complete == "manifest" else ""
        return dict(lake.land(listed, f"stock/{day}/_SUCCESS", marker=True))

    a1, b1, c1 = file(1, "a", "1,a\n2,a\n"), file(1, "b", "2,b\n3,b\n"), file(1, "c", "9,c\n")
    first = marker(1, "a", "b")
    a2, b2 = file(2, "a", "2,A\n3,b\n"), file(2, "b", "7,B\n")
    second = marker(2, "a", "b")
    newer_a2 = file(2, "a", "3,c\n")
    listed_only = complete == "manifest"
    steps = [
        # A file without its marker; the marker of another folder; then one whole, with the last row of a key.
        ([a1, second], []),
        ([first, b1], [(1, "a"), (2, "b"), (3, "b")]),
        # A list waits for all that it names; a marker alone can't know that a file is missing.
        ([a2], [(1, "a"), (2, "b"), (3, "b")] if listed_only else [(2, "A"), (3, "b")]),
        ([b2, c1], [(2, "A"), (3, "b"), (7, "B")]),
        # A newer version of one of the files, and all of it again.
        ([newer_a2], [(3, "c"), (7, "B")]),
        ([a1, b1, first, a2, b2, second], [(3, "c"), (7, "B")]),
    ]
    batches = [lake.batch("stock", number, files) for number, (files, _) in enumerate(steps, start=1)]
    # WHEN they come one after another; the second batch dies before its commit, and comes again
    shown = []
    for number, batch in enumerate(batches, start=1):
        if number == 2:
            with monkeypatch.context() as broken:
                broken.setattr("tidegate_spark.batch._commit_once", _die)
                code, _ = lake.run(batch, run_id="dies")
                assert code != 0
        code, (receipt,) = lake.run(batch, run_id=f"run-{number}")
        assert code == 0, receipt["error"]
        shown.append(lake.rows("stock"))
    # THEN
    assert shown == [table for _, table in steps]


def _die(*_: Any, **__: Any) -> None:
    raise ConnectionError("the driver dies between two commits")


@pytest.mark.parametrize(("keep_history", "by_sequence"), [(False, False), (True, True), (True, False)])
def test_any_order_repetition_and_batching_gives_the_same_table(
    lake: Any, keep_history: bool, by_sequence: bool, summary: list[str]
) -> None:
    # GIVEN snapshots of many regions
    rng = random.Random(f"{keep_history} {by_sequence}")
    files = case.draw(rng, by_sequence=by_sequence)
    of_path = ["region", *(["taken"] if by_sequence else [])]
    lake.contract(
        "stock",
        {"region": "string", "id": "int", "v": "int", "w": "string"},
        merge={
            "strategy": "snapshot",
            "keys": ["id"],
            "sequence_by": "taken" if by_sequence else None,
            "snapshot": {"scope": ["region"], "keep_history": keep_history},
        },
        captures=of_path,
        reads=[{"name": "taken", "type": "int"}] if by_sequence else [],
    )
    # WHEN they land in some order, in some batches, and some again
    landed = [_land(lake, file) for file in files]
    rng.shuffle(landed)
    batches = [landed[start::3] for start in range(3)] + [rng.sample(landed, len(landed) // 4)]
    code, receipts = lake.run(*(lake.batch("stock", number, batch) for number, batch in enumerate(batches, start=1)))
    assert code == 0, [receipt["error"] for receipt in receipts]
    # THEN the table is what plain Python says
    if keep_history:
        times = [_as_drawn(name, by_sequence) for name in ("valid_from", "valid_to")]
        found = lake.read("stock").selectExpr("region", "id", "v", "w", *times, "is_current").collect()
        assert sorted((tuple(row) for row in found), key=repr) == case.history(files)
    else:
        assert lake.rows("stock", "region", "id", "v", "w") == case.table(files)
    kept = "with history" if keep_history else "without history"
    order = "sequence" if by_sequence else "arrival"
    summary.append(
        f"snapshot {kept}, by {order}: {case.count_histories(files)} histories (each a key of a scope, {len(files)} "
        f"snapshots) in {len(batches)} batches"
    )


def _as_drawn(name: str, by_sequence: bool) -> str:
    zoned = f"to_utc_timestamp({name}, current_timezone())"
    return name if by_sequence else f"date_format({zoned}, \"yyyy-MM-dd'T'HH:mm:ss.SSS'Z'\")"


def _land(lake: Any, file: case.SnapshotFile) -> dict[str, Any]:
    rows = [("id", "v", "w"), *((key, "" if v is None else v, w) for key, v, w in file.rows)]
    return dict(
        lake.land(
            lake.csv(*rows),
            file.key,
            sequencer=file.sequencer,
            event_time=file.event_time,
            captures={"region": file.region} | ({} if file.taken is None else {"taken": str(file.taken)}),
        )
    )


@pytest.mark.parametrize("keep_history", [False, True])
def test_maps_are_equal_if_their_entries_are_to_the_microsecond(lake: Any, keep_history: bool) -> None:
    # GIVEN a map in three snapshots: written in another order, then a microsecond later
    lake.contract(
        "stock", {"id": "int", "seen": "map<string,timestamp>"}, format="json",
        merge={"strategy": "snapshot", "snapshot": {"keep_history": keep_history}},
    )  # fmt: skip
    a, b, later = (f'"{name}": "2026-01-01T00:00:00.00000{at}Z"' for name, at in (("a", 1), ("b", 1), ("b", 2)))
    files = [lake.land(f'{{"id": 1, "seen": {{{x}, {y}}}}}\n', "a.json") for x, y in ((a, b), (b, a), (a, later))]
    # WHEN
    code, receipts = lake.run(*(lake.batch("stock", number, [file]) for number, file in enumerate(files, start=1)))
    # THEN the order is nothing, and the microsecond is a change
    assert code == 0, [receipt["error"] for receipt in receipts]
    counts = [(r["rows"]["inserted"], r["rows"]["updated"], r["rows"]["deleted"]) for r in receipts]
    assert counts == [(1, 0, 0), (0, 0, 0), (1, 1, 0) if keep_history else (0, 1, 0)]
    newest = lake.read("stock").where("is_current" if keep_history else "true")
    assert newest.selectExpr("unix_micros(seen['b']) % 1000000").collect() == [(2,)]
