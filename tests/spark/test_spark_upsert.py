"""upsert: "Any order, repetition and batching of the same arrivals give the same table." (the design)"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

COLUMNS = {"kind": "string", "id": "int", "value": "string", "seq": "int"}
MERGE = {"keys": ["kind", "id"], "sequence_by": "seq"}

Change = tuple[str, int, str, int | None]

# Every key is a case of its own; a file is a list of changes, and files arrive in this order.
ARRIVALS: dict[str, list[Change]] = {
    "a.csv": [
        ("once", 1, "a", 1),
        ("later_sequence_wins", 1, "a", 1),
        ("late_arrival_of_an_old_change", 1, "a", 9),
        ("same_sequence_later_event_wins", 1, "a", 5),
        ("no_sequence_is_oldest", 1, "a", 1),
        ("no_sequence_at_all", 1, "a", None),
        ("twice_in_a_file", 1, "a1", 1),
        ("twice_in_a_file", 1, "a2", 1),
        ("back_and_forth", 1, "a", 2),
        ("value_becomes_null", 1, "a", 1),
    ],
    "b.csv": [
        ("later_sequence_wins", 1, "b", 2),
        ("late_arrival_of_an_old_change", 1, "b", 3),
        ("same_sequence_later_event_wins", 1, "b", 5),
        ("no_sequence_is_oldest", 1, "b", None),
        ("no_sequence_at_all", 1, "b", None),
        ("back_and_forth", 1, "b", 3),
        ("same_moment_other_key", 1, "b", 1),
        ("only_in_b", 1, "b", -4),
    ],
    "c.csv": [
        ("back_and_forth", 1, "c", 1),
        ("same_moment_other_key", 1, "c", 1),
        ("same_id_other_kind", 1, "c", 1),
        ("value_becomes_null", 1, "", 2),
        ("newest_first_in_a_file", 1, "c9", 9),
        ("newest_first_in_a_file", 1, "c1", 1),
    ],
    "d.csv": [("late_arrival_of_an_old_change", 1, "d", 4), ("twice_in_a_file", 1, "d", 0)],
    "nothing.csv": [],
}
SAME_MOMENT = {"b.csv": "2026-01-01T00:00:30.000Z", "c.csv": "2026-01-01T00:00:30.000Z"}


def oracle(arrivals: Sequence[tuple[dict[str, Any], list[Change]]]) -> list[tuple[Any, ...]]:
    """The newest change of each key, by the total order of the design, in plain Python."""
    newest: dict[tuple[str, int], tuple[tuple[Any, ...], tuple[Any, ...]]] = {}
    for entry, changes in arrivals:
        source = f"{entry['bucket']}/{entry['key']}"
        for position, (kind, number, value, seq) in enumerate(changes, start=1):
            # In Python None can't be compared: a missing sequence comes first as (0, 0).
            order = ((seq is not None, seq or 0), entry["event_time"], source, entry["sequencer"], position)
            row = (kind, number, value or None, seq, source, entry["sequencer"], position)
            if (kind, number) not in newest or order > newest[kind, number][0]:
                newest[kind, number] = (order, row)
    return sorted((row for _, row in newest.values()), key=repr)


def test_any_order_repetition_and_batching_give_the_same_table(lake: Any) -> None:
    # GIVEN the same arrivals in four tables, batched, ordered and repeated in four ways
    ways = {
        "all_at_once": [["a.csv", "b.csv", "c.csv", "d.csv", "nothing.csv"]],
        "in_order": [["a.csv"], ["b.csv", "nothing.csv"], ["c.csv", "d.csv"]],
        "backwards": [["d.csv", "c.csv"], ["b.csv"], ["a.csv"]],
        "repeated": [["b.csv", "d.csv"], ["c.csv", "a.csv"], ["b.csv"]],
    }
    entries = {}
    for name, changes in ARRIVALS.items():
        text = lake.csv(("id", "kind", "value", "seq"), *((i, k, v, s) for k, i, v, s in changes))
        moment = {"event_time": SAME_MOMENT[name]} if name in SAME_MOMENT else {}
        entries[name] = lake.land(text, name, **moment)
    batches = []
    for table, way in ways.items():
        lake.contract(table, COLUMNS, merge=MERGE)
        batches += [
            lake.batch(table, number, [entries[name] for name in names]) for number, names in enumerate(way, start=1)
        ]
    # WHEN all are merged, tables side by side, in one application
    code, receipts = lake.run(*batches)
    # THEN every table is what plain Python says
    assert code == 0, [receipt["error"] for receipt in receipts]
    wanted = oracle([(entries[name], changes) for name, changes in ARRIVALS.items()])
    place = ("_tidegate.source", "_tidegate.sequencer", "_tidegate.position")
    for table in ways:
        assert lake.rows(table, *COLUMNS, *place) == wanted, table
    # AND a repetition alone changed nothing, and read = inserted + updated + unchanged
    assert receipts[-1]["rows"] == {
        "read": 8, "inserted": 0, "updated": 0, "deleted": 0, "unchanged": 8, "rejected": 0,
        "quarantined": 0, "filtered": 0,
    }  # fmt: skip
    for receipt in receipts:
        rows = receipt["rows"]
        assert rows["read"] == rows["inserted"] + rows["updated"] + rows["unchanged"]
        assert receipt["delta_version"] == receipt["batch"]  # one commit a batch, after the table's own


def test_without_a_sequence_column_the_arrivals_own_order_decides(lake: Any) -> None:
    # GIVEN
    lake.contract("plain", {"id": "int", "value": "string"})
    older, newer = lake.land("id,value\n1,old\n", "z.csv"), lake.land("id,value\n1,new\n", "a.csv")
    # WHEN the newer comes first
    lake.run(lake.batch("plain", 1, [newer]), lake.batch("plain", 2, [older]))
    # THEN
    assert lake.rows("plain") == [(1, "new")]


def test_the_plan_says_what_it_will_do_before_it_does_it(lake: Any) -> None:
    # GIVEN
    from tidegate_spark.changes import Changes, KeyRange
    from tidegate_spark.origin import ORIGIN_TYPE
    from tidegate_spark.strategies import plan_merge
    from tidegate_spark.table import Target
    from tidegate_spark.work import Column, Contract

    columns = (Column("month", "string"), Column("id", "int"), Column("at", "timestamp"))
    contract = Contract(
        "t", "csv", {}, columns, ("month",), "upsert", ("month", "id"), "at", ("month",)
    )  # fmt: skip
    ranges = (KeyRange("month", "{column} IN ('2026-01')"), KeyRange("id", "{column} BETWEEN 1 AND 9"))
    frame = lake.spark.range(0).selectExpr(
        "'' AS month",
        "1 AS id",
        "now() AS at",
        f"cast(null AS {ORIGIN_TYPE}) AS _tidegate",
        "false AS _tidegate_deleted",
    )
    changes = Changes(frame, (), (), {0: 3}, ranges, lambda: None)
    target = Target(lake.spark, None, "nowhere", rows=1)  # type: ignore[arg-type]
    # WHEN
    plan = plan_merge(target, changes, contract)
    # THEN keys are compared null-safely, behind literals by which Delta skips files
    assert plan.condition == (
        "target.`month` IN ('2026-01') AND target.`id` BETWEEN 1 AND 9 AND "
        "target.`month` <=> change.`month` AND target.`id` <=> change.`id`"
    )
    assert (plan.update_if or "").startswith("struct(change.`at` AS sequence, 0 AS deleted, change._tid")
    assert "the newest by at wins" in plan.sentence
