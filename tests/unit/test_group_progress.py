"""A run's progress: work files against what their applications tell."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tidegate.group_progress import READ_SHARE, progress_of
from tidegate.rates import ASSUMED
from tidegate.readings import Progress

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
GIB = 1024**3


def batch(table: str, number: int = 1, *, size: int = GIB, due_in_s: float | None = 600, **fields: Any) -> Any:
    deadline = None if due_in_s is None else (NOW + timedelta(seconds=due_in_s)).isoformat()
    return {"table": table, "batch": number, "action": "merge", "size_bytes": size, "files": 3, "deadline": deadline,
            **fields}  # fmt: skip


def work(group: str, *batches: Any) -> Any:
    return {"group": group, "batches": list(batches)}


def told(*done: tuple[str, int], **fields: Any) -> Any:
    given = {"at": NOW.isoformat(), "cores": 8, "busy_cores": 6, "core_s": 400.0, "input_bytes": 0, "shuffles": False}
    return {"done": [list(each) for each in done]} | given | fields


def read(works: Any, documents: Any) -> Progress:
    found = progress_of(works, documents, ASSUMED, NOW)
    assert found is not None
    return found


def test_one_that_has_told_nothing_has_done_nothing_and_nobody_knows_whether_it_shuffles() -> None:
    progress = read([work("g0", batch("a"), batch("b", due_in_s=300))], {})
    assert (progress.done_bytes, progress.total_bytes, progress.used_unit_s) == (0, 2 * GIB, 0)
    assert progress.shuffles is None
    assert progress.deadline == NOW + timedelta(seconds=300)
    assert progress.at == NOW


def test_what_is_through_is_done_and_hurries_nobody() -> None:
    works = [work("g0", batch("a", size=GIB), batch("b", size=3 * GIB, due_in_s=900))]
    progress = read(works, {"g0": told(("a", 1))})
    assert (progress.done_bytes, progress.total_bytes) == (GIB, 4 * GIB)
    assert progress.deadline == NOW + timedelta(seconds=900)
    assert (progress.used_unit_s, progress.units_in_use, progress.shuffles) == (100, 1.5, False)


def test_what_is_read_counts_in_part_and_never_more_than_all() -> None:
    works = [work("g0", batch("a", size=GIB), batch("b", size=GIB))]
    for input_bytes, expected in ((GIB // 2, 0), (GIB + GIB // 2, GIB // 2), (50 * GIB, GIB)):
        progress = read(works, {"g0": told(("a", 1), input_bytes=input_bytes)})
        assert progress.done_bytes == GIB + int(READ_SHARE * expected)


def test_a_group_that_is_through_has_no_say_in_what_is_under_way() -> None:
    works = [work("g0", batch("a")), work("g1", batch("b"))]
    long_ago = (NOW - timedelta(minutes=9)).isoformat()
    documents = {
        "g0": told(("a", 1), at=long_ago, shuffles=True, core_s=40.0),
        "g1": told(shuffles=False, busy_cores=2),
    }
    progress = read(works, documents)
    assert (progress.at, progress.shuffles, progress.units_in_use) == (NOW, False, 0.5)
    assert progress.used_unit_s == 110


@pytest.mark.parametrize("others", [{}, {"g1": told(shuffles=True)}])
def test_one_group_that_shuffles_or_says_nothing_is_enough(others: Any) -> None:
    progress = read([work("g0", batch("a")), work("g1", batch("b"))], {"g0": told()} | others)
    assert progress.shuffles is (True if others else None)


def test_a_void_is_no_work_and_nothing_promised_is_no_deadline() -> None:
    assert progress_of([work("g0", batch("a", action="void"))], {}, ASSUMED, NOW) is None
    assert progress_of([], {}, ASSUMED, NOW) is None
    assert read([work("g0", batch("a", due_in_s=None))], {}).deadline is None


def test_a_work_file_of_an_earlier_release_says_nothing() -> None:
    old = {"table": "a", "batch": 1, "action": "merge"}
    assert progress_of([work("g0", old)], {}, ASSUMED, NOW) is None
    assert read([work("g0", old, batch("b", size=5))], {}).total_bytes == 5


def test_empty_batches_have_a_rate_all_the_same() -> None:
    assert read([work("g0", batch("a", size=0))], {}).bytes_per_s > 0
