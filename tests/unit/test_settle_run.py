"""Settling: receipts are believed, failures are counted by cause, a failed run can always be redriven."""

from typing import Any

import pytest
from fakes.control_plane import NOW, ControlPlane, execution
from fakes.crashes import Crashed, CrashPoint
from tidegate.clusters import EndReason
from tidegate.errors import ClusterLost, RunFailed, StalePass

BY = execution("r")


def planned(**changes: Any) -> tuple[ControlPlane, dict[str, Any]]:
    plane = ControlPlane(**changes)
    plane.land("flights/2013-01/a.csv")
    plane.land("airlines/a.csv")
    return plane, plane.plan({}, BY)


def fail(plane: ControlPlane, by: Any = BY, **fields: Any) -> str:
    with pytest.raises(RunFailed) as failed:
        plane.settle("fail_run", {}, by, **fields)
    return str(failed.value)


class TestReceipts:
    def test_what_they_say_is_merged_is_settled(self) -> None:
        plane, plan = planned()
        plane.merge(plan)
        answer = plane.settle_batches({}, BY)
        assert [(each["table"], each["delta_version"]) for each in answer.merged] == [("airlines", 1), ("flights", 1)]
        assert answer.unsettled == []
        assert plane.ledger.table("flights").last_merged_batch == 1

    def test_one_tables_failure_leaves_the_others_merged_and_fails_the_run(self) -> None:
        plane, plan = planned()
        plane.merge(plan, failing={"flights": "data"})
        plane.settle_batches({}, BY)
        summary = plane.settle("settle_run", {}, BY)
        assert summary["outcome"] == "failed"
        assert [each["table"] for each in summary["merged"]] == ["airlines"]
        assert [(each["table"], each["error"]) for each in summary["unsettled"]] == [("flights", "Broken: it broke")]
        assert {table.lease for table in plane.ledger.table_items.values()} == {None}

    def test_any_success_wins(self) -> None:
        # Design: "any success wins; none means unknown."
        plane, plan = planned()
        plane.merge(plan, failing={"flights": "infrastructure"})
        plane.settle_batches({}, BY)
        fail(plane)
        plane.settle("fail_run", {}, execution("r", 1))
        plane.merge(plane.plan({}, execution("r", 1)))
        assert plane.settle("settle_run", {}, execution("r", 1))["outcome"] == "succeeded"

    def test_a_success_of_another_list_is_not_this_batchs(self) -> None:
        plane, plan = planned()
        plane.merge(plan)
        for uri in plane.objects.names("s3://control/receipts/flights/"):
            plane.objects.by_uri[uri] = plane.objects.by_uri[uri].replace(
                b'"manifest_sha256": "', b'"manifest_sha256": "0'
            )
        assert [each["table"] for each in plane.settle_batches({}, BY).unsettled] == ["flights"]

    def test_rejected_files_are_quarantined_with_the_jobs_words(self) -> None:
        plane, plan = planned()
        plane.merge(plan, rejected=(0,))
        answer = plane.settle_batches({}, BY)
        assert {(each.state, each.reason) for each in plane.ledger.arrivals.values()} == {
            ("quarantined", "row 3: no number")
        }
        assert [each["rejected_files"] for each in answer.merged] == [1, 1]

    def test_quarantined_rows_are_counted_and_keep_no_file_back(self) -> None:
        plane, plan = planned()
        plane.merge(plan)
        for uri, written in list(plane.objects.by_uri.items()):
            plane.objects.by_uri[uri] = written.replace(b'"rejected": 0', b'"rejected": 0, "quarantined": 3')
        answer = plane.settle_batches({}, BY)
        assert [each["rows"]["quarantined"] for each in answer.merged] == [3, 3]
        assert plane.settle("settle_group", {}, BY)["quarantined_rows"] == 0  # its group is empty

    def test_settling_twice_changes_nothing(self) -> None:
        plane, plan = planned()
        plane.merge(plan, failing={"flights": "data"})
        first = plane.settle_batches({}, BY)
        tables = dict(plane.ledger.table_items)
        assert plane.settle_batches({}, BY) == first
        assert plane.ledger.table_items == tables
        assert plane.ledger.table("flights").attempts == 1


class TestAttempts:
    @pytest.mark.parametrize(
        ("cause", "counted"), [("data", 1), ("table", 1), ("code", 1), ("infrastructure", 0), ("source_changed", 0)]
    )
    def test_only_what_trying_again_cannot_mend_is_counted(self, cause: str, counted: int) -> None:
        # Design: "Only failures caused by data count as attempts (no capacity, lost nodes, throttling condemn no file)"
        plane, plan = planned()
        plane.merge(plan, failing={"flights": cause})
        plane.settle_batches({}, BY)
        table = plane.ledger.table("flights")
        assert (table.attempts, table.failures) == (counted, 1)
        assert table.retry_after is not None
        assert table.retry_after > NOW

    def test_an_old_failure_is_not_counted_for_an_attempt_that_never_ran(self) -> None:
        plane, plan = planned()
        plane.merge(plan, failing={"flights": "data"})
        plane.settle_batches({}, BY)
        fail(plane)
        for number in range(1, 6):
            by = execution("r", number)
            plane.settle("fail_run", {}, by)
            plane.plan({}, by)
            fail(plane, by, error={"Error": "x", "Cause": "no capacity"})
        assert plane.ledger.table("flights").attempts == 1
        assert plane.ledger.table("flights").blocked_reason is None

    @pytest.mark.parametrize("cause", ["table", "code"])
    def test_the_last_failure_that_only_a_person_can_mend_blocks_the_table(self, cause: str) -> None:
        plane = ControlPlane()
        plane.land("flights/2013-01/a.csv")
        for number in range(3):
            assert plane.ledger.table("flights").blocked_reason is None
            plane.whole_run({"tables": ["flights"]}, execution(f"r{number}"), failing={"flights": cause})
        assert "3 attempts failed, the last with: Broken: it broke" in (
            plane.ledger.table("flights").blocked_reason or ""
        )

    def test_a_batch_that_another_run_has_taken_is_not_counted(self) -> None:
        plane, _ = planned()
        plane.plan({}, execution("other"))
        answer = plane.settle_batches({}, BY)
        assert len(answer.unsettled) == 2
        assert plane.ledger.table("flights").failures == 0


class TestPasses:
    def test_whatever_a_redrive_calls_first_finds_its_pass_out_of_date(self) -> None:
        plane, _ = planned()
        for action in ("settle_group", "settle_run"):
            with pytest.raises(StalePass, match="planned in pass 0, and this is pass 1"):
                plane.settle(action, {}, execution("r", 1))
        with pytest.raises(StalePass):
            plane.more({}, execution("r", 1), {"pass": 0})

    def test_a_run_that_was_never_planned_is_planned_first(self) -> None:
        with pytest.raises(StalePass):
            ControlPlane().settle("settle_run", {}, BY)

    def test_an_execution_that_lost_its_run_settles_nothing(self) -> None:
        plane = ControlPlane()
        plane.land("flights/2013-01/a.csv")
        plane.plan({"run": "r"}, execution("r-1"))
        plane.plan({"run": "r"}, execution("r-2"))
        with pytest.raises(StalePass, match="this one has lost it"):
            plane.settle("settle_run", {"run": "r"}, execution("r-1"))

    def test_a_redrive_returns_once_and_never_loops(self) -> None:
        # Design: Fail run "returns only if RedriveCount is larger than the recorded pass".
        plane, _ = planned()
        fail(plane)
        assert plane.settle("fail_run", {}, execution("r", 1)) == {"run_id": "r", "redriven": True}
        fail(plane, execution("r", 1))
        assert plane.settle("fail_run", {}, execution("r", 2))["redriven"] is True
        plane.plan({}, execution("r", 2))
        fail(plane, execution("r", 2))

    def test_a_redrive_of_what_was_aborted_enters_in_the_middle_and_is_planned_again(self) -> None:
        plane, _ = planned()
        by = execution("r", 1)
        with pytest.raises(StalePass):
            plane.settle_batches({}, by)
        plane.settle("assess_failure", {}, by)
        assert plane.settle("fail_run", {}, by)["redriven"] is True
        assert plane.whole_run({}, by)["outcome"] == "succeeded"


class TestWakingLate:
    def test_a_fail_run_of_a_pass_that_is_over_changes_nothing(self) -> None:
        # GIVEN Fail run of a stopped execution, which goes on in its Lambda while the execution is redriven
        plane, _ = planned()
        plane.plan({}, execution("r", 1))
        # THEN it neither frees the new attempt's leases nor closes its run
        fail(plane)
        assert plane.ledger.table("flights").lease is not None
        assert plane.ledger.runs["r"].state == "running"

    def test_a_function_that_read_the_run_before_it_was_planned_again_frees_nothing(self) -> None:
        # GIVEN a settling that sleeps between its first look and its end
        plane, plan = planned()
        plane.merge(plan)
        end_run = plane.ledger.end_run

        def asleep(*args: Any) -> None:
            plane.settle("fail_run", {}, execution("r", 1))
            plane.plan({}, execution("r", 1))
            end_run(*args)

        plane.land("clicks/a.csv")
        plane.ledger.end_run = asleep
        plane.settle("settle_run", {}, BY)
        assert plane.ledger.runs["r"].state == "running"
        assert plane.ledger.table("clicks").lease is not None


class TestFailing:
    def test_the_cause_says_what_happened_and_what_to_do(self) -> None:
        plane, plan = planned()
        plane.merge(plan, failing={"flights": "data"})
        words = fail(plane, error={"Error": "States.TaskFailed", "Cause": "the step failed"})
        for part in ("Run r failed", "flights batch 1: Broken: it broke", "the step failed", "Redrive this execution"):
            assert part in words
        assert plane.ledger.runs["r"].error == words

    def test_leases_are_freed_once_no_cluster_lives(self) -> None:
        plane, plan = planned()
        plane.clusters.names["j-1"] = plan["cluster"]["name"]
        fail(plane)
        assert plane.ledger.table("flights").lease is not None
        plane.clusters.names.clear()
        fail(plane)
        assert {table.lease for table in plane.ledger.table_items.values()} == {None}

    def test_leases_of_a_plan_that_died_are_freed(self) -> None:
        plane = ControlPlane()
        plane.land("flights/2013-01/a.csv")
        point = CrashPoint()
        plane.plan({}, execution("trial"), crash=point)
        plane = ControlPlane()
        plane.land("flights/2013-01/a.csv")
        with pytest.raises(Crashed):
            plane.plan({}, BY, crash=CrashPoint(point.calls - 1))
        assert plane.ledger.table("flights").lease is not None
        fail(plane)
        assert plane.ledger.table("flights").lease is None

    def test_a_lost_cluster_is_found_by_its_name_and_others_are_left_alone(self) -> None:
        plane, plan = planned()
        plane.clusters.names |= {"j-other": "tidegate-r-1-0-1", "j-mine": plan["cluster"]["name"]}
        answer = plane.settle("assess_failure", {}, BY, error={"Error": "States.Timeout", "Cause": "c"})
        assert answer["cluster_id"] == "j-mine"
        assert answer["error"] == {"Error": "States.Timeout", "Cause": "c"}
        assert not answer["go_on"]

    def test_the_clusters_own_reason_comes_before_the_steps(self) -> None:
        plane, _ = planned()
        plane.clusters.reasons["j-1"] = EndReason("INTERNAL_ERROR", "no capacity", "TERMINATED_WITH_ERRORS")
        with pytest.raises(ClusterLost, match="INTERNAL_ERROR: no capacity") as lost:
            plane.more({}, BY, {"pass": 0})
        error = {"Error": "ClusterLost", "Cause": str(lost.value)}
        answer = plane.settle("assess_failure", {}, BY, cluster_id="j-1", failed_in="Claim more", error=error)
        assert answer["cluster_id"] == "j-1"
        assert "INTERNAL_ERROR: no capacity" in answer["error"]["Cause"]

    def test_what_was_merged_all_the_same_is_settled_on_the_way_down(self) -> None:
        plane, plan = planned()
        plane.merge(plan, failing={"flights": "infrastructure"})
        plane.settle("assess_failure", {}, BY, error={"Error": "E", "Cause": "c"})
        assert plane.ledger.table("airlines").last_merged_batch == 1
