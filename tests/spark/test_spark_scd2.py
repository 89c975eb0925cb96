"""scd2: "intervals are rebuilt for the touched keys from `<table>__history`, which keeps every change" (the design)"""

from __future__ import annotations

from typing import Any


def test_crashes_voids_and_replays_leave_no_trace(lake: Any, monkeypatch: Any) -> None:
    # GIVEN a table without a sequence, whose every value is tracked, one of them a map
    from tidegate_spark import batch as batches

    lake.contract(
        "bags",
        {"id": "int", "tags": "map<string,int>"},
        format="json",
        reads=[{"name": "op", "type": "string"}],
        merge={"strategy": "scd2", "delete_when": "op = 'D'"},
    )
    first = lake.land('{"id": 1, "tags": {"a": 1, "b": 2}}\n{"id": 3, "op": "D"}\n{"id": 3, "tags": {}}\n', "1.json")
    second = lake.land('{"id": 1, "tags": {"b": 2, "a": 1}}\n{"id": 2, "tags": null}\n', "2.json")
    third = lake.land('{"id": 1, "op": "D"}\n{"id": 3, "tags": {"c": 1}}\n', "3.json")
    fourth = lake.land('{"id": 1, "tags": {"a": 1, "b": 2}}\n', "4.json")
    real, died = batches._commit_once, []

    def die(target: Any, *args: Any, manifest: Any, **more: Any) -> Any:
        if manifest.batch in (1, 2) and manifest.batch not in died:
            died.append(manifest.batch)
            raise RuntimeError("died between the commits")
        return real(target, *args, manifest=manifest, **more)

    monkeypatch.setattr(batches, "_commit_once", die)
    one = lake.batch("bags", 1, [first, second])
    two = lake.batch("bags", 2, [third, second])
    # WHEN the first attempt dies between its commits and comes again, and the second batch dies and is voided
    for work, expected in ((one, 1), (one, 0), (two, 1), ({**two, "action": "void", "reason": "tried"}, 0)):
        code, _ = lake.run(work)
        assert code == expected
    before = lake.rows("bags", "id", "tags", "valid_to", "is_current")
    # THEN nothing is left of the second, and equal maps are equal in whatever order they are written
    assert before == [(1, {"b": 2, "a": 1}, None, True), (2, None, None, True), (3, {}, None, True)]
    # WHEN its files come again, in two batches, and one of them twice
    code, _ = lake.run(lake.batch("bags", 3, [fourth]), lake.batch("bags", 4, [third, second, fourth]))
    # THEN the late delete has its place before the rebirth, and no change is kept twice
    assert code == 0
    found = sorted(
        tuple(row)
        for row in lake.read("bags")
        .selectExpr("id", "_tidegate.source", "second(valid_from)", "second(valid_to)", "is_current")
        .collect()
    )
    assert found == [
        (1, "landing/2.json", 1, 3, False),
        (1, "landing/4.json", 4, None, True),
        (2, "landing/2.json", 2, None, True),
        (3, "landing/1.json", 1, 3, False),
        (3, "landing/3.json", 3, None, True),
    ]
    history = lake.spark.read.format("delta").load(lake.target("bags") + "__history")
    assert history.count() == 8


def test_rows_without_a_history_are_never_deleted(lake: Any) -> None:
    # GIVEN a table with rows whose history is gone
    import shutil

    lake.contract("lost", {"id": "int", "a": "string"}, merge={"strategy": "scd2"})
    assert lake.run(lake.batch("lost", 1, [lake.land("id,a\n1,x\n")]))[0] == 0
    shutil.rmtree(lake.folder / "lake" / "lost__history")
    # WHEN another change of the key lands
    code, (receipt,) = lake.run(lake.batch("lost", 2, [lake.land("id,a\n1,y\n")]))
    # THEN it is refused, with what to do
    assert code == 1
    assert "Restore the history" in receipt["error"]["message"]
    assert lake.rows("lost", "id", "a") == [(1, "x")]


def test_the_history_is_widened_with_its_table(lake: Any) -> None:
    # GIVEN a table whose contract gets a wider type
    merge = {"strategy": "scd2"}
    lake.contract("wide", {"id": "int", "v": "int"}, merge=merge)
    first = lake.batch("wide", 1, [lake.land("id,v\n1,7\n")])
    lake.contract("wide", {"id": "int", "v": "bigint"}, merge=merge, evolution="widen")
    # WHEN a value comes that the old one had no room for
    code, receipts = lake.run(first, lake.batch("wide", 2, [lake.land("id,v\n1,3000000000\n")]))
    # THEN the key's rows are made of its old change and the new one
    assert code == 0, [receipt["error"] for receipt in receipts]
    assert lake.rows("wide", "v", "is_current") == [(3_000_000_000, True), (7, False)]
    history = lake.spark.read.format("delta").load(lake.target("wide") + "__history")
    assert dict(history.dtypes)["v"] == "bigint"
