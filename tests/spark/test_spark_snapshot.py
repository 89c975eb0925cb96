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


@pytest.mark.parametrize("keep_history", [False, True])
@pytest.mark.parametrize("by_sequence", [True, False])
def test_any_order_repetition_and_batching_gives_the_same_table(
    lake: Any, keep_history: bool, by_sequence: bool
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
    if not keep_history:
        assert lake.rows("stock", "region", "id", "v", "w") == case.table(files)
        return
    times = [lake_time(name, by_sequence) for name in ("valid_from", "valid_to")]
    found = [
        tuple(row) for row in lake.read("stock").selectExpr("region", "id", "v", "w", *times, "is_current").collect()
    ]
    assert sorted(found, key=repr) == case.history(files)


def lake_time(name: str, by_sequence: bool) -> str:
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
