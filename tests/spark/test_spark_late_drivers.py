"""A late step, a second attempt or a timed-out driver of a dead run never commits beside its successor.

The lease and the end of the old cluster keep drivers apart; here both live, and the table alone decides.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

OLD, NEW = "run-old", "run-new"


# A MERGE and a plain append are two ways of Delta's to look for a number that is there already.
BOTH = pytest.mark.parametrize("strategy", ["upsert", "append"])


@pytest.fixture
def strategy() -> str:
    return "upsert"


@pytest.fixture
def sales(strategy: str, lake: Any) -> Any:
    """A table with batch 1."""
    merge = {"strategy": strategy, "keys": ["id"] if strategy == "upsert" else []}
    lake.contract("sales", {"id": "int", "name": "string"}, merge=merge)
    lake.run(lake.batch("sales", 1, [lake.land("id,name\n1,ann\n", "one.csv")]))
    return lake


@pytest.fixture
def before_commit(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Have something happen right before the next commit of a batch, when all is read and planned."""
    from tidegate_spark import batch

    commit_once = batch._commit_once

    def patch(happening: Callable[[], Any]) -> None:
        def late(*given: Any, **named: Any) -> Any:
            monkeypatch.setattr(batch, "_commit_once", commit_once)
            happening()
            return commit_once(*given, **named)

        monkeypatch.setattr(batch, "_commit_once", late)

    return patch


def signed(lake: Any, version: int) -> str:
    """Whose commit it is."""
    from tidegate_spark.commit import parse_commit
    from tidegate_spark.storage import Storage

    raw = Storage(lake.spark).read(f"{lake.target('sales')}/_delta_log/{version:020d}.json")
    return str(parse_commit(version, raw).told["run_id"])


@BOTH
def test_a_late_driver_finds_its_batch_merged_by_its_successor(sales: Any, before_commit: Any) -> None:
    # GIVEN a driver that has read and planned batch 2, when its successor merges that batch and the next
    two = sales.batch("sales", 2, [sales.land("id,name\n2,bob\n", "two.csv")])
    three = sales.batch("sales", 3, [sales.land("id,name\n3,cyd\n", "three.csv")])
    successor: list[Any] = []
    before_commit(lambda: successor.append(sales.run(two, three, run_id=NEW)))
    # WHEN the late one goes on
    code, [late] = sales.run(two, run_id=OLD)
    # THEN its receipt is that of the successor's commit, and the table is the successor's
    [(_, [first, _])] = successor
    assert (code, late["outcome"], late["replayed"], late["run_id"]) == (0, "merged", True, OLD)
    assert (late["delta_version"], late["rows"]) == (first["delta_version"], first["rows"])
    assert sales.versions("sales") == 3
    assert [signed(sales, version) for version in (2, 3)] == [NEW, NEW]
    assert sales.rows("sales") == [(1, "ann"), (2, "bob"), (3, "cyd")]
    # AND one that comes later still is refused before it reads a file
    code, [receipt] = sales.run(two, run_id=OLD)
    assert (code, receipt["error"]["type"], receipt["error"]["cause"]) == (1, "WrongPredecessor", "table")
    assert sales.versions("sales") == 3


def test_a_late_driver_of_a_first_batch_makes_no_second_table(lake: Any, before_commit: Any) -> None:
    # GIVEN a driver that has made the table, when its successor merges the first batch into it
    lake.contract("sales", {"id": "int", "name": "string"})
    one = lake.batch("sales", 1, [lake.land("id,name\n1,ann\n")])
    before_commit(lambda: lake.run(one, run_id=NEW))
    # WHEN
    code, [late] = lake.run(one, run_id=OLD)
    # THEN
    assert (code, late["outcome"], late["replayed"]) == (0, "merged", True)
    assert (lake.versions("sales"), signed(lake, 1), lake.rows("sales")) == (1, NEW, [(1, "ann")])


def test_of_a_merge_and_a_void_the_first_decides_for_both(sales: Any, before_commit: Any) -> None:
    # GIVEN a driver about to merge batch 2 when its successor voids it
    two = sales.batch("sales", 2, [sales.land("id,name\n2,bob\n", "two.csv")])
    before_commit(lambda: sales.run({**two, "action": "void", "reason": "poison"}, run_id=NEW))
    # WHEN, THEN
    code, [late] = sales.run(two, run_id=OLD)
    assert (code, late["outcome"], late["replayed"], late["rows"]["inserted"]) == (0, "voided", True, 0)
    # GIVEN one about to void batch 3 when it is merged
    three = sales.batch("sales", 3, [sales.land("id,name\n3,cyd\n", "three.csv")])
    before_commit(lambda: sales.run(three, run_id=NEW))
    # WHEN, THEN
    code, [late] = sales.run({**three, "action": "void", "reason": "poison"}, run_id=OLD)
    assert (code, late["outcome"], late["replayed"], late["rows"]["inserted"]) == (0, "merged", True, 1)
    assert sales.versions("sales") == 3
    assert sales.rows("sales") == [(1, "ann"), (3, "cyd")]


@pytest.mark.parametrize(("strategy", "other"), [("upsert", "merge"), ("append", "merge"), ("upsert", "void")])
def test_of_two_drivers_at_once_one_commits(sales: Any, other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN two drivers that have planned the same batch, and wait for each other right before the commit
    from tidegate_spark import batch

    commit_once, together = batch._commit_once, threading.Barrier(2)

    def at_once(*given: Any, **named: Any) -> Any:
        together.wait(timeout=60)
        return commit_once(*given, **named)

    monkeypatch.setattr(batch, "_commit_once", at_once)
    two = sales.batch("sales", 2, [sales.land("id,name\n2,bob\n", "two.csv")])
    # WHEN
    with ThreadPoolExecutor(2) as pool:
        orders = [(two, OLD), ({**two, "action": other}, NEW)]
        done = list(pool.map(lambda order: sales.run(order[0], run_id=order[1]), orders))
    # THEN there is one commit of the number, and both answer what it says
    receipts = [receipt for _, [receipt] in done]
    assert [code for code, _ in done] == [0, 0], [receipt["error"] for receipt in receipts]
    assert sales.versions("sales") == 2
    assert {receipt["delta_version"] for receipt in receipts} == {2}
    assert len({receipt["outcome"] for receipt in receipts}) == 1
    [winner] = [receipt for receipt in receipts if not receipt["replayed"]]
    assert signed(sales, 2) == winner["run_id"]
    merged = [(2, "bob")] if winner["outcome"] == "merged" else []
    assert sales.rows("sales") == [(1, "ann"), *merged]


def test_a_commit_whose_answer_was_lost_is_found(sales: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN a commit that takes effect before its call fails
    from tidegate_spark import batch

    commit_once = batch._commit_once

    def answer_lost(target: Any, run: Callable[[], None], *given: Any, **named: Any) -> Any:
        def lose() -> None:
            run()
            raise ConnectionError("the answer was lost")

        return commit_once(target, lose, *given, **named)

    monkeypatch.setattr(batch, "_commit_once", answer_lost)
    # WHEN
    code, [receipt] = sales.run(sales.batch("sales", 2, [sales.land("id,name\n2,bob\n", "two.csv")]))
    # THEN it is this attempt's own
    assert (code, receipt["outcome"], receipt["replayed"]) == (0, "merged", False)
    assert sales.rows("sales") == [(1, "ann"), (2, "bob")]
