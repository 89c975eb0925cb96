"""Rounds: what a run takes on while its cluster is warm, and when its cluster has to go."""

from datetime import timedelta
from typing import Any

import pytest
from fakes.control_plane import NOW, ControlPlane, execution
from tidegate.clusters import EndReason
from tidegate.errors import ClusterLost, RunFailed, StalePass, StepUnclear
from tidegate.runs import LONGEST_RUN, MAXIMUM_BATCHES, MAXIMUM_ROUNDS, Run, why_hand_over

BY = execution("r")


def first_round(**changes: Any) -> tuple[ControlPlane, dict[str, Any]]:
    plane = ControlPlane(**changes)
    plane.land("flights/2013-01/a.csv")
    plan = plane.plan({}, BY)
    plane.merge(plan)
    plane.settle_batches({}, BY)
    return plane, plan


def test_a_backlog_beyond_one_batch_is_merged_in_one_run() -> None:
    plane = ControlPlane(max_files=2)
    for number in range(7):
        plane.land(f"flights/2013-01/{number}.csv")
    summary = plane.whole_run({}, BY)
    assert [each["batch"] for each in summary["merged"]] == [1, 2, 3, 4]
    assert not list(plane.ledger.pending())


def test_another_table_that_became_due_rides_along() -> None:
    plane, plan = first_round()
    plane.land("airlines/a.csv")
    more = plane.more({}, BY, plan)
    assert [each["tables"] for each in more["groups"]] == [["airlines"]]
    assert plane.ledger.runs["r"].tables == ("flights", "airlines")
    assert plane.ledger.table("airlines").lease is not None


def test_what_is_not_due_before_a_new_cluster_could_be_there_waits() -> None:
    plane, plan = first_round(freshness={"kind": "within", "seconds": 86_400})
    plane.land("airlines/a.csv")
    assert plane.more({}, BY, plan, now=NOW - timedelta(minutes=59))["work"] == "none"


def test_the_same_round_claimed_twice_is_one_round() -> None:
    plane, plan = first_round()
    plane.land("airlines/a.csv")
    first, again = plane.more({}, BY, plan), plane.more({}, BY, plan)
    assert first["groups"] == again["groups"]
    assert plane.ledger.runs["r"].rounds == 1


def test_a_round_that_is_over_claims_nothing() -> None:
    plane, plan = first_round()
    for name in ("airlines/a.csv", "clicks/a.csv"):
        plane.land(name)
        following = plane.more({}, BY, plan)
        stale, plan = plan, following
        plane.merge(plan)
        plane.settle_batches({}, BY)
    with pytest.raises(StalePass, match="is over"):
        plane.more({}, BY, stale | {"pass": 0})


def test_a_batch_that_failed_waits_for_its_pause() -> None:
    plane = ControlPlane()
    plane.land("flights/2013-01/a.csv")
    plan = plane.plan({}, BY)
    plane.merge(plan, failing={"flights": "infrastructure"})
    plane.settle_batches({}, BY)
    assert plane.more({}, BY, plan)["work"] == "none"
    assert plane.more({}, BY, plan, now=NOW + timedelta(hours=2))["work"] == "merge"


def test_a_paused_table_is_left_alone_also_when_it_is_named() -> None:
    plane, plan = first_round()
    plane.land("airlines/a.csv")
    plane.ledger.pause("airlines", "moving house", NOW)
    assert plane.more({}, BY, plan)["work"] == "none"
    named = plane.plan({"tables": ["airlines"]}, execution("by-hand"))
    assert "airlines: paused: moving house" in named["reason"]
    assert plane.ledger.table("airlines").lease is None
    # AND the whole stack can be paused
    plane.ledger.resume("airlines")
    plane.ledger.pause(None, "month's end", NOW)
    assert "month's end" in plane.plan({}, execution("by-hand-2"))["reason"]
    plane.ledger.resume(None)
    assert plane.plan({}, execution("by-hand-3"))["work"] == "merge"


def test_what_could_not_be_settled_is_not_merged_again_round_after_round_but_settled_at_the_end() -> None:
    # GIVEN a round whose step has merged all, and whose Settle group failed each time
    plane = ControlPlane()
    plane.land("flights/2013-01/a.csv")
    plan = plane.plan({}, BY)
    plane.merge(plan)
    assert plane.more({}, BY, plan)["work"] == "merge", "without that word the batch is taken for one to merge"
    # WHEN the machine says so THEN the cluster goes, and Settle run believes the receipts
    answer = plane.more({}, BY, plan, unsettled=("g0",))
    assert (answer["work"], "g0" in answer["reason"]) == ("none", True)
    assert plane.settle("settle_run", {}, BY, cluster_id="j-1")["outcome"] == "succeeded"
    assert plane.merged_keys("flights") == ["flights/2013-01/a.csv"]


def test_a_step_that_nobody_saw_end_ends_the_cluster_first() -> None:
    # Design: "Anything less sure (a time-out, a lost answer to addStep) ends the cluster"
    plane, plan = first_round()
    with pytest.raises(StepUnclear, match="g0"):
        plane.more({}, BY, plan, unclear=("g0",))
    answer = plane.settle(
        "assess_failure", {}, BY, cluster_id="j-1", failed_in="Claim more", error={"Error": "StepUnclear"}, attempt=0
    )
    assert answer["go_on"] is True
    assert plane.ledger.runs["r"].attempt == 1


def test_a_cluster_that_ended_early_is_replaced_a_bounded_number_of_times() -> None:
    plane = ControlPlane()
    plane.land("flights/2013-01/a.csv")
    names = set()
    for _ in range(20):
        plan = plane.plan({}, BY)
        names.add(plan["cluster"]["name"])
        plane.clusters.reasons["j-1"] = EndReason("INSTANCE_FAILURE", "nodes were lost", "TERMINATED_WITH_ERRORS")
        plane.settle_batches({}, BY)
        with pytest.raises(ClusterLost) as lost:
            plane.more({}, BY, plan)
        answer = plane.settle(
            "assess_failure",
            {},
            BY,
            cluster_id="j-1",
            failed_in="Claim more",
            error={"Error": "ClusterLost", "Cause": str(lost.value)},
            attempt=plan["pass"],
        )
        if not answer["go_on"]:
            break
    assert 2 <= len(names) < 20
    with pytest.raises(RunFailed, match="nodes were lost"):
        plane.settle("fail_run", {}, BY, error=answer["error"])
    # AND no file is condemned by it
    assert plane.ledger.table("flights").attempts == 0


def test_a_failure_that_no_cluster_can_mend_is_not_tried_again() -> None:
    plane, _ = first_round()
    answer = plane.settle("assess_failure", {}, BY, failed_in="Settle run", error={"Error": "KeyError", "Cause": "x"})
    assert answer["go_on"] is False


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rounds": MAXIMUM_ROUNDS}, "rounds"),
        ({"batches": tuple(("t", number) for number in range(MAXIMUM_BATCHES))}, "batches"),
        ({"started_at": NOW - LONGEST_RUN}, "12:00:00"),
    ],
)
def test_a_run_hands_over_when_it_has_had_its_share(changes: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"started_at": NOW} | changes
    run = Run("r", "running", 0, "arn", "", **given)
    assert words in (why_hand_over(run, NOW) or "")
    assert why_hand_over(Run("r", "running", 0, "arn", "", NOW), NOW) is None
