"""A batch that its data fails is opened up: voided, and merged in halves until the bad file is alone."""

from datetime import timedelta
from typing import Any

import pytest
from fakes.control_plane import NOW, ControlPlane, execution
from fakes.crashes import Crashed, CrashPoint
from hypothesis import given, settings
from hypothesis import strategies as st


def landed(files: int, **changes: Any) -> ControlPlane:
    plane = ControlPlane(**changes)
    for number in range(files):
        plane.land(key(number))
    return plane


def key(number: int) -> str:
    return f"flights/2013-01/{number:03d}.csv"


def run_for_days(plane: ControlPlane, poison: set[str], runs: int = 30) -> None:
    """What dispatch does, with a day between two runs: no pause is that long."""
    for number in range(runs):
        if not list(plane.ledger.pending()) and not plane.ledger.table("flights").has_work:
            return
        by, run_input = execution(f"r{number}"), {"tables": ["flights"]}
        plan = plane.plan(run_input, by, now=NOW + timedelta(days=number))
        while plan["work"] == "merge":
            plane.merge(plan, failing=dict.fromkeys(poison, "data"))
            plane.settle_batches(run_input, by, now=NOW + timedelta(days=number))
            plan = plane.more(run_input, by, plan, now=NOW + timedelta(days=number))
        plane.settle("settle_run", run_input, by, now=NOW + timedelta(days=number))
    pytest.fail("it does not come to an end")


@settings(max_examples=40, deadline=None)
@given(files=st.integers(1, 17), poison=st.sets(st.integers(0, 16)), max_files=st.integers(1, 20))
def test_each_bad_file_ends_alone_as_failed_and_all_else_is_merged_once(
    files: int, poison: set[int], max_files: int
) -> None:
    # Design: "Its arrivals go out again in halves until the one file is left; it ends as failed, with the job's own
    # words." "One main-table commit a batch, even an empty one."
    plane = landed(files, max_files=max_files)
    bad = {key(number) for number in poison if number < files}
    run_for_days(plane, bad)
    assert sorted(plane.merged_keys("flights")) == sorted({key(number) for number in range(files)} - bad)
    failed = {each.key: each.reason for each in plane.ledger.arrivals.values() if each.state == "failed"}
    assert failed == dict.fromkeys(bad, "Broken: it broke")
    assert [number for number, _ in plane.delta["flights"]] == list(range(1, len(plane.delta["flights"]) + 1))
    assert plane.ledger.table("flights").blocked_reason is None


def test_a_thousand_files_with_one_bad_one_cost_few_rounds() -> None:
    plane = landed(1000)
    run_for_days(plane, {key(617)}, runs=8)
    # Three attempts at the whole, then two commits a halving.
    assert len(plane.delta["flights"]) <= 2 * 10 + 2


def test_failures_of_infrastructure_condemn_nothing() -> None:
    # Design: "Failures of infrastructure condemn nothing."
    plane = landed(4)
    for number in range(12):
        plane.whole_run({"tables": ["flights"]}, execution(f"r{number}"), failing={"flights": "infrastructure"})
    assert plane.ledger.table("flights").void_reason is None
    plane.whole_run({"tables": ["flights"]}, execution("last"))
    assert len(plane.merged_keys("flights")) == 4


def test_a_batch_that_was_merged_after_all_is_not_opened_up() -> None:
    # GIVEN a void order for a batch whose commit a lost driver made in the end
    plane = landed(2)
    plane.whole_run({}, execution("r0"), failing={"flights": "infrastructure"})
    plane.ledger.order_void(plane.ledger.batch("flights", 1), "row 3")
    plane.delta["flights"] = [(1, "merge")]
    # WHEN the job finds it merged THEN that stands: "whichever commit of that number is first decides"
    summary = plane.whole_run({}, execution("r1"))
    assert [each["batch"] for each in summary["merged"]] == [1]
    assert plane.ledger.table("flights").reopened == frozenset()


def test_what_was_reopened_comes_before_what_is_pending() -> None:
    # Design: "a batch not settled is done again as itself first"
    plane = landed(2)
    plane.ledger.take_lease("flights", "x", None)
    run_for_days(plane, {key(0), key(1)})
    plane.land(key(2))
    run_for_days(plane, set())
    assert plane.merged_keys("flights") == [key(2)]


def voided() -> ControlPlane:
    """A run whose job has just voided a batch of three files."""
    plane = landed(3)
    plane.whole_run({}, execution("r0"), failing={"flights": "infrastructure"})
    plane.ledger.order_void(plane.ledger.batch("flights", 1), "row 3")
    plane.merge(plane.plan({}, execution("r1")))
    return plane


def calls_of_settling() -> int:
    point = CrashPoint()
    voided().settle_batches({}, execution("r1"), crash=point)
    return point.calls


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(calls_of_settling()))
def test_opening_up_survives_a_crash_at_each_call(at: int, after: bool) -> None:
    # GIVEN a voided batch whose settling dies at its n-th call
    plane = voided()
    with pytest.raises(Crashed):
        plane.settle_batches({}, execution("r1"), crash=CrashPoint(at, after))
    # WHEN the machine goes on
    run_for_days(plane, {key(1)})
    # THEN it is as if nothing had happened
    assert sorted(plane.merged_keys("flights")) == [key(0), key(2)]
    assert [each.key for each in plane.ledger.arrivals.values() if each.state == "failed"] == [key(1)]
