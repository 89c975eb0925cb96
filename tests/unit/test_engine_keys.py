"""Which files may hold a changed key."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime

import pytest
from tidegate_spark.engines.keys import FileRange, candidates, few_spans, literal, within


def test_a_file_is_left_out_only_if_no_change_can_be_in_it() -> None:
    # GIVEN files of random ranges and random changed keys
    drawn = random.Random(7)
    for _ in range(500):
        keys = sorted({drawn.randrange(60) for _ in range(drawn.randrange(1, 6))})
        files = []
        for _ in range(6):
            low, high = sorted((drawn.randrange(60), drawn.randrange(60)))
            files.append(FileRange(1, {"id": (low, high)}))
        # WHEN
        found = candidates(files, {"id": [(key, key) for key in keys]})
        # THEN it is what brute force says
        assert found == [f for f in files if any(f.bounds["id"][0] <= key <= f.bounds["id"][1] for key in keys)]


def test_one_key_column_that_can_not_meet_is_enough_and_an_unknown_one_says_nothing() -> None:
    # GIVEN
    both = FileRange(1, {"day": (date(2026, 1, 1), date(2026, 1, 1)), "id": (1, 9)})
    other_day = FileRange(1, {"day": (date(2026, 1, 2), date(2026, 1, 2)), "id": (1, 9)})
    unknown = FileRange(1, {})
    changed = {"day": [(date(2026, 1, 1), date(2026, 1, 1))], "id": [(3, 3)]}
    # THEN
    assert candidates([both, other_day, unknown], changed) == [both, unknown]
    assert candidates([both, other_day, unknown], {}) == [both, other_day, unknown]


def test_few_spans_cover_all_and_leave_out_the_widest_gaps() -> None:
    # GIVEN recent keys and a few very old ones
    keys = [3, 5, 1000, 1001, 1003, 9000]
    # WHEN three spans are allowed
    spans = few_spans([(key, key) for key in reversed(keys)], most=3)
    # THEN
    assert spans == ((3, 5), (1000, 1003), (9000, 9000))
    assert few_spans([(1, 4), (2, 3), (4, 6), (9, 9)]) == ((1, 6), (9, 9))
    assert few_spans([(date(2026, 1, d), date(2026, 1, d)) for d in (1, 2, 20)], most=2) == (
        (date(2026, 1, 1), date(2026, 1, 2)),
        (date(2026, 1, 20), date(2026, 1, 20)),
    )


def test_spans_are_written_as_literals() -> None:
    assert within("t.`id`", [(1, 4)]) == "t.`id` BETWEEN 1 AND 4"
    assert within("t.`id`", [(1, 4), (7, 7), (9, 9)]) == "(t.`id` BETWEEN 1 AND 4 OR t.`id` IN (7, 9))"
    assert within("t.`day`", [(date(2026, 1, 1), date(2026, 1, 1))]) == "t.`day` IN (DATE '2026-01-01')"
    assert within("t.`code`", [("a", "a b")]) == "t.`code` BETWEEN 'a' AND 'a b'"


@pytest.mark.parametrize("value", ["it's", "back\\slash", "${spark.app.name}", "line\n", 1.5, True, datetime.now(UTC)])
def test_what_the_engines_write_in_different_ways_is_no_literal(value: object) -> None:
    with pytest.raises(ValueError, match=r"literal|written"):
        literal(value)


def test_changes_say_exactly_which_keys_they_have_and_whether_times_are_ancient() -> None:
    # GIVEN
    from arro3.core import Array, DataType, Table
    from tidegate_spark.engines.changed_keys import changed_keys, has_ancient, literal_spans

    def days(*values: int | None) -> Array:
        return Array(list(values), type=DataType.int32()).cast(DataType.date32())

    def moments(*values: int | None) -> Array:
        return Array(list(values), type=DataType.int64()).cast(DataType.timestamp("us", tz="UTC"))

    before_1900 = -2_208_988_800_000_001
    changes = Table.from_pydict(
        {
            "id": Array([9, 3, 9], type=DataType.int64()),
            "code": Array(["b", "a", "b"], type=DataType.utf8()),
            "day": days(20_000, 20_000, 20_001),
            "some": days(None, 1, 2),
            "at": moments(0, None, before_1900 + 1),
        }
    )
    # WHEN
    types = {"id": "bigint", "code": "string", "day": "date", "some": "date", "at": "timestamp"}
    found = changed_keys(changes, types)
    # THEN a column with nulls, or of moments, tells nothing
    assert found == {
        "id": [(3, 3), (9, 9)],
        "code": [("a", "a"), ("b", "b")],
        "day": [(date(2024, 10, 4), date(2024, 10, 4)), (date(2024, 10, 5), date(2024, 10, 5))],
    }
    assert literal_spans(found["id"]) == ((3, 3), (9, 9))
    assert literal_spans([(f"{n:03}", f"{n:03}") for n in range(40)]) == (("000", "039"),)
    # AND the last instant of the old calendar is seen among nulls or not
    assert not has_ancient(changes, types)
    for old in (days(-141_428, 0, 0), days(None, None, -141_428)):
        assert has_ancient(Table.from_pydict({"day": old}), {"day": "date"})
    assert not has_ancient(Table.from_pydict({"day": days(-141_427, None, None)}), {"day": "date"})
    for old in (moments(before_1900), moments(None, before_1900)):
        assert has_ancient(Table.from_pydict({"at": old}), {"at": "timestamp"})
