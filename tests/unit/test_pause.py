"""Pauses: what lands is recorded, what is begun ends, and nothing more is taken on until somebody resumes."""

import pytest
from fakes.control_plane import NOW, ControlPlane, execution
from tidegate.usecases.dispatch_runs import Started, dispatch_due_runs

A, B = "flights/2013-01/a.csv", "flights/2013-01/b.csv"
BY = execution("r")
ONE_OR_ALL = pytest.mark.parametrize("paused", ["flights", None], ids=["table", "stack"])


def dispatch(plane: ControlPlane, *, at_once: bool = False) -> Started:
    return dispatch_due_runs(
        ledger=plane.ledger,
        machine=plane.machine,
        contracts=plane.contracts,
        now=NOW,
        run_id="run-1",
        at_once=at_once,
    )


@ONE_OR_ALL
def test_what_lands_during_a_pause_is_recorded_and_merged_once_after_it(paused: str | None) -> None:
    # Issue: "`pause` / `resume` of a table or the stack (arrivals are still recorded)"
    plane = ControlPlane()
    plane.ledger.pause(paused, "moving house", NOW)
    plane.land(A)
    assert [each.key for each in plane.ledger.pending("flights")] == [A]
    assert plane.whole_run({}, BY)["work"] == "none"
    assert plane.merged_keys("flights") == []
    # WHEN it is resumed THEN it is merged, by the very run that found nothing to do too
    plane.ledger.resume(paused)
    plane.whole_run({}, BY)
    plane.whole_run({}, execution("later"))
    assert plane.merged_keys("flights") == [A]


@ONE_OR_ALL
def test_both_may_be_said_again(paused: str | None) -> None:
    plane = ControlPlane()
    plane.land(A)
    for reason in ("moving house", "moving house", "still moving"):
        plane.ledger.pause(paused, reason, NOW)
    assert "paused: still moving" in plane.plan({"tables": ["flights"]}, BY)["reason"]
    for _ in range(2):
        plane.ledger.resume(paused)
    assert plane.plan({"tables": ["flights"]}, BY)["work"] == "merge"


@ONE_OR_ALL
def test_a_live_run_ends_what_it_has_claimed_and_claims_no_more_of_it(paused: str | None) -> None:
    # GIVEN a run with a batch, and a backlog that it would go on with
    plane = ControlPlane(max_files=1)
    plane.land(A)
    plane.land(B)
    plan = plane.plan({}, BY)
    # WHEN the table is paused while the batch is being merged
    plane.ledger.pause(paused, "moving house", NOW)
    plane.merge(plan)
    plane.settle("settle_group", {}, BY, work_uri=plan["groups"][0]["work_uri"])
    # THEN the batch is merged and settled, and the run has nothing more to do
    assert plane.more({}, BY, plan)["work"] == "none"
    assert plane.settle("settle_run", {}, BY)["outcome"] == "succeeded"
    assert plane.merged_keys("flights") == [A]
    assert plane.ledger.table("flights").lease is None
    assert [each.key for each in plane.ledger.pending()] == [B]


@ONE_OR_ALL
def test_a_batch_that_was_not_merged_waits_for_the_end_of_the_pause_and_is_done_as_itself(paused: str | None) -> None:
    plane = ControlPlane()
    plane.land(A)
    plane.whole_run({}, BY, failing={"flights": "infrastructure"})
    plane.ledger.pause(paused, "moving house", NOW)
    plane.land(B)
    # WHEN somebody starts a run for it THEN it is held, with words, and not freed for anything newer
    plan = plane.plan({"tables": ["flights"]}, execution("by-hand"))
    assert plan["work"] == "none"
    assert plan["reason"].startswith("nothing can be merged now: flights: paused: moving house")
    assert "tidegate resume" in plan["reason"]
    assert plan["held"][0]["table"] == "flights"
    assert plane.ledger.runs["by-hand"].state == "nothing_to_do"
    plane.ledger.resume(paused)
    plane.whole_run({}, execution("later"))
    assert plane.merged_keys("flights") == [A, B]


@pytest.mark.parametrize("at_once", [False, True])
def test_dispatch_starts_no_run_for_what_is_paused(at_once: bool) -> None:
    plane = ControlPlane()
    plane.land(A)
    plane.land("airlines/a.csv")
    # GIVEN one table is paused THEN the other's run starts without it
    plane.ledger.pause("flights", "moving house", NOW)
    started = dispatch(plane, at_once=at_once)
    assert started.dispatch.tables == ("airlines",)
    assert {each.table: each.reason for each in started.dispatch.decisions}["flights"] == "paused: moving house"
    # GIVEN the stack is paused THEN none starts
    plane.ledger.pause(None, "month's end", NOW)
    assert dispatch(plane, at_once=at_once).run_id is None


def test_resuming_the_stack_leaves_a_table_that_was_paused_by_its_name() -> None:
    plane = ControlPlane()
    plane.land(A)
    plane.ledger.pause("flights", "moving house", NOW)
    plane.ledger.pause(None, "month's end", NOW)
    plane.ledger.resume(None)
    assert "paused: moving house" in plane.plan({"tables": ["flights"]}, BY)["reason"]
