"""Planning: who may plan a run, which tables it gets, where their files are read."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from fakes.control_plane import LANDING, NOW, ControlPlane, execution
from fakes.ledger import FakeLedger
from tidegate.errors import (
    ClaimMoved,
    ClusterLeft,
    InvalidRunInput,
    RunFailed,
    RunIsLive,
    StalePass,
    UnknownTable,
)
from tidegate.ports import OpenClaim
from tidegate.runs import Run

RUN = {"run": "r"}


def tables_of(plan: dict[str, Any]) -> list[str]:
    return sorted(table for group in plan["groups"] for table in group["tables"])


class TestTheWork:
    def test_an_empty_input_takes_all_that_is_pending(self) -> None:
        plane = ControlPlane()
        plane.land("flights/2013-01/a.csv")
        plane.land("airlines/a.csv")
        plan = plane.plan({}, execution("r"))
        assert (plan["run_id"], plan["pass"], plan["work"]) == ("r", 0, "merge")
        assert tables_of(plan) == ["airlines", "flights"]
        assert plan["cluster"]["name"] == "tidegate-r-0-1"
        assert {tag["Key"]: tag["Value"] for tag in plan["cluster"]["tags"]}["tidegate:stack"] == "tidegate"
        assert plane.ledger.runs["r"].batches == (("airlines", 1), ("flights", 1))

    def test_named_tables_alone_are_taken(self) -> None:
        plane = ControlPlane()
        plane.land("flights/2013-01/a.csv")
        plane.land("airlines/a.csv")
        assert tables_of(plane.plan({"tables": ["airlines"]}, execution("r"))) == ["airlines"]
        assert [arrival.table for arrival in plane.ledger.pending()] == ["flights"]

    def test_nothing_pending_starts_no_cluster_and_keeps_no_lease(self) -> None:
        plane = ControlPlane()
        plan = plane.plan({"tables": ["flights"]}, execution("r"))
        assert (plan["work"], plan["reason"]) == ("none", "nothing is pending")
        assert plane.ledger.table("flights").lease is None

    def test_a_work_file_has_what_the_job_reads(self) -> None:
        plane = ControlPlane()
        plane.land("flights/2013-01/a.csv")
        plan = plane.plan(RUN, execution("r-1"))
        document = json.loads(plane.objects.by_uri[plan["groups"][0]["work_uri"]])
        assert plan["groups"][0]["work_uri"] == "s3://control/runs/r/0/g0.json"
        batch = document.pop("batches")[0]
        assert document == {
            "schema": 1, "run_id": "r", "pass": 0, "group": "g0",
            "progress_uri": "s3://control/progress/r/0/g0.json",
        }  # fmt: skip
        assert len(batch.pop("manifest_sha256")) == 64
        assert batch == {
            "table": "flights",
            "batch": 1,
            "manifest_uri": "s3://control/batches/flights/000000000001/manifest.json",
            "action": "merge",
            "fence": 1,
            "locations": {},
            "receipt_uri": "s3://control/receipts/flights/000000000001/r-0.json",
            "maintenance": True,
            "size_bytes": 5,
            "files": 1,
            "deadline": None,
        }

    def test_a_work_file_says_until_when_its_batches_must_be_queryable(self) -> None:
        plane = ControlPlane(freshness={"kind": "within", "seconds": 900})
        arrival = plane.land("flights/2013-01/a.csv")
        [work] = plane.work_of(plane.plan(RUN, execution("r-1")))
        assert work["deadline"] == (arrival.event_time + timedelta(seconds=900)).isoformat()

    def test_planning_again_gives_the_same_batches(self) -> None:
        # GIVEN Step Functions retries the function after a lost answer
        plane = ControlPlane()
        plane.land("flights/2013-01/a.csv")
        first = plane.plan(RUN, execution("r-1"))
        plane.land("flights/2013-01/b.csv")
        second = plane.plan(RUN, execution("r-1"))
        assert second["groups"] == first["groups"]
        assert len(plane.manifests()) == 1

    def test_a_batch_that_is_not_settled_comes_before_a_newer_one(self) -> None:
        # Design: "a batch planned and not settled is done again *as that batch* before a newer one."
        plane = ControlPlane()
        plane.land("flights/2013-01/a.csv")
        plane.whole_run(RUN, execution("r-1"), failing={"flights": "data"})
        plane.land("flights/2013-01/b.csv")
        (work,) = plane.work_of(plane.plan({}, execution("later")))
        assert (work["batch"], work["fence"]) == (1, 2)


class TestWhereFilesAreRead:
    def locations(self, plane: ControlPlane) -> dict[str, str]:
        (work,) = plane.work_of(plane.plan({}, execution("r")))
        found: dict[str, str] = work["locations"]
        return found

    def test_a_current_version_under_a_plain_key_is_read_in_place(self) -> None:
        plane = ControlPlane()
        plane.land("flights/2013-01/a.csv")
        assert self.locations(plane) == {}

    @pytest.mark.parametrize(
        "name", ["a b.csv", "a+b.csv", "100%.csv", "é.csv", "_a.csv", ".a.csv", "a[1].csv", "a\n.csv"]
    )
    def test_a_key_that_spark_would_misread_is_staged_under_a_safe_name(self, name: str) -> None:
        plane = ControlPlane()
        plane.land(f"flights/2013-01/{name}", b"odd")
        (uri,) = self.locations(plane).values()
        assert uri == "s3://control/staging/flights/000000000001/000000.csv"
        assert plane.objects.by_uri[uri] == b"odd"

    def test_an_overwritten_version_is_staged_and_the_newest_is_not(self) -> None:
        plane = ControlPlane()
        plane.land("flights/2013-01/a.csv", b"old")
        plane.land("flights/2013-01/a.csv", b"new")
        locations = self.locations(plane)
        assert [plane.objects.by_uri[uri] for uri in locations.values()] == [b"old"]
        assert list(locations) == ["0"]

    def test_a_deleted_object_is_staged_from_its_version(self) -> None:
        plane = ControlPlane()
        plane.land("flights/2013-01/a.csv", b"still a version")
        plane.objects.current = lambda bucket, key: (None, None)  # type: ignore[method-assign]
        assert list(self.locations(plane)) == ["0"]

    def test_a_version_that_is_gone_is_the_only_one_that_fails(self) -> None:
        # GIVEN one file of three whose pinned version is no longer there
        plane = ControlPlane()
        gone, *others = (plane.land(f"flights/2013-01/{name}.csv") for name in "abc")
        plane.land("airlines/a.csv")
        plane.objects.forget(LANDING, gone.key, gone.version_id or "")
        # WHEN it is merged THEN its batch is opened up until it is alone
        summary = plane.whole_run({}, execution("r"))
        assert summary["outcome"] == "succeeded"
        assert sorted(plane.merged_keys("flights")) == [each.key for each in others]
        failed = plane.ledger.arrivals[gone.bucket, gone.key, gone.sequencer]
        assert failed.state == "failed"
        assert "is gone" in (failed.reason or "")


class TestWhoMayPlan:
    def test_a_settled_run_is_a_no_op_that_says_what_it_did(self) -> None:
        plane = ControlPlane()
        plane.land("flights/2013-01/a.csv")
        plane.whole_run(RUN, execution("r-1"))
        plan = plane.plan(RUN, execution("r-2"))
        assert plan["work"] == "none"
        assert "run r is settled: merged flights (version 1)" in plan["reason"]
        merged = plan["summary"]["merged"][0]
        assert merged["delta_version"] == 1
        assert merged["receipt"] == "s3://control/receipts/flights/000000000001/r-0.json"

    def test_a_live_run_is_refused_by_the_name_of_its_execution(self) -> None:
        plane = ControlPlane()
        plane.land("flights/2013-01/a.csv")
        plane.plan(RUN, execution("r-1"))
        plane.machine.running.add(execution("r-1").arn)
        with pytest.raises(RunIsLive, match="execution:tidegate-run:r-1"):
            plane.plan(RUN, execution("r-2"))

    def test_a_redriven_execution_that_was_refused_still_takes_nothing_from_the_live_one(self) -> None:
        # GIVEN r-1 lives, r-2 was refused and failed, and somebody redrives r-2
        plane = ControlPlane()
        plane.land("flights/2013-01/a.csv")
        plane.plan(RUN, execution("r-1"))
        plane.machine.running.add(execution("r-1").arn)
        with pytest.raises(RunFailed):
            plane.settle("fail_run", RUN, execution("r-2"))
        assert plane.ledger.runs["r"].state == "running"
        assert plane.ledger.table("flights").lease is not None
        assert plane.settle("fail_run", RUN, execution("r-2", 1))["redriven"] is True
        # THEN it is refused again, once, and r-1 is still the one
        with pytest.raises(RunIsLive):
            plane.plan(RUN, execution("r-2", 1))
        with pytest.raises(RunFailed):
            plane.settle("fail_run", RUN, execution("r-2", 1))
        plane.settle_batches(RUN, execution("r-1"))

    def test_a_failed_run_goes_on_with_its_own_batch(self) -> None:
        plane = ControlPlane()
        plane.land("flights/2013-01/a.csv")
        summary = plane.whole_run(RUN, execution("r-1"), failing={"flights": "infrastructure"})
        assert summary["outcome"] == "failed"
        with pytest.raises(RunFailed):
            plane.settle("fail_run", RUN, execution("r-1"))
        assert plane.whole_run(RUN, execution("r-2"))["outcome"] == "succeeded"

    def test_of_two_executions_that_begin_a_run_at_once_one_goes_on(self) -> None:
        class Blind(FakeLedger):
            def run(self, run_id: str) -> Run | None:
                return None  # both looked before either wrote

        plane = ControlPlane(Blind())
        plane.land("flights/2013-01/a.csv")
        plane.plan(RUN, execution("r-1"))
        with pytest.raises(RunIsLive):
            plane.plan(RUN, execution("r-2"))

    def test_a_run_that_another_execution_began_since_it_was_looked_at_is_left_to_that_one(self) -> None:
        plane = ControlPlane()
        plane.land("flights/2013-01/a.csv")
        pending = plane.ledger.pending

        def meanwhile(table: str | None = None) -> Any:
            plane.ledger.pending = pending  # type: ignore[method-assign]
            plane.plan(RUN, execution("r-2"))
            plane.machine.running.add(execution("r-2").arn)
            return pending(table)

        plane.ledger.pending = meanwhile  # type: ignore[method-assign]
        with pytest.raises(RunIsLive, match="execution:tidegate-run:r-2"):
            plane.plan(RUN, execution("r-1"))
        assert plane.ledger.runs["r"].execution_arn == execution("r-2").arn

    def test_a_new_execution_is_not_refused_because_the_reaper_gives_up_the_old_one_at_this_moment(self) -> None:
        # GIVEN an execution that was stopped, and a person who starts a new one at once
        plane = ControlPlane()
        plane.land("flights/2013-01/a.csv")
        plane.plan(RUN, execution("r-1"))
        tables = plane.ledger.tables

        def meanwhile(names: Any) -> Any:
            plane.ledger.tables = tables  # type: ignore[method-assign]
            assert plane.ledger.fence_run(plane.ledger.runs["r"], "its execution has ended", NOW)
            return tables(names)

        plane.ledger.tables = meanwhile  # type: ignore[method-assign]
        # WHEN the reaper comes between its look and its write THEN it goes on all the same
        assert plane.plan(RUN, execution("r-2"))["work"] == "merge"
        assert plane.ledger.runs["r"].state == "running"

    def test_a_plan_that_was_overtaken_hands_out_nothing(self) -> None:
        class Overtaken(FakeLedger):
            def plan_batches(self, run: Run) -> None:
                self.runs[run.run_id] = replace(self.runs[run.run_id], execution_arn="another")
                super().plan_batches(run)

        plane = ControlPlane(Overtaken())
        plane.land("flights/2013-01/a.csv")
        with pytest.raises(StalePass):
            plane.plan(RUN, execution("r-1"))

    def test_no_second_writer_beside_a_cluster_that_an_aborted_attempt_left(self) -> None:
        # Design: the lease "is not taken over on a clock, but when its owner is proven dead".
        plane = ControlPlane()
        plane.land("flights/2013-01/a.csv")
        plane.clusters.names["j-1"] = plane.plan(RUN, execution("r-1"))["cluster"]["name"]
        with pytest.raises(ClusterLeft, match=r"j-1 .* is ended before the run is planned again"):
            plane.plan(RUN, execution("r-2"))
        # AND the failure path finds the cluster by its name, ends it and plans again
        answer = plane.settle("assess_failure", RUN, execution("r-2"), error={"Error": "ClusterLeft", "Cause": "c"})
        assert (answer["cluster_id"], answer["go_on"]) == ("j-1", True)
        plane.clusters.names.clear()
        assert plane.plan(RUN, execution("r-2"))["work"] == "merge"


class TestLeases:
    def of_another(self, *, lives: bool = False, cluster: bool = False) -> ControlPlane:
        """flights is leased to run `other`."""
        plane = ControlPlane()
        plane.land("flights/2013-01/a.csv")
        name = plane.plan({"run": "other", "tables": ["flights"]}, execution("other-1"))["cluster"]["name"]
        if lives:
            plane.machine.running.add(execution("other-1").arn)
        if cluster:
            plane.clusters.names["j-other"] = name
        return plane

    @pytest.mark.parametrize(("lives", "cluster"), [(True, False), (False, True), (True, True)])
    def test_a_table_of_a_living_owner_is_held(self, lives: bool, cluster: bool) -> None:
        plane = self.of_another(lives=lives, cluster=cluster)
        plan = plane.plan({"tables": ["flights"]}, execution("mine"))
        assert plan["work"] == "none"
        assert [(each["table"], each["run_id"]) for each in plan["held"]] == [("flights", "other")]
        assert "run other is at it" in plan["reason"]

    def test_a_dead_owners_table_and_its_batch_are_taken_over(self) -> None:
        plane = self.of_another()
        (work,) = plane.work_of(plane.plan({"tables": ["flights"]}, execution("mine")))
        assert (work["batch"], work["fence"]) == (1, 2)

    def test_a_table_that_is_held_keeps_no_other_from_being_merged(self) -> None:
        plane = self.of_another(lives=True)
        plane.land("airlines/a.csv")
        assert tables_of(plane.plan({}, execution("mine"))) == ["airlines"]

    def test_a_claim_that_another_run_moved_keeps_no_other_table_from_being_merged(self) -> None:
        class Moved(FakeLedger):
            def open_claim(self, table: str, run_id: str, claim: OpenClaim) -> None:
                if table == "flights":
                    raise ClaimMoved("batch 1 of flights was taken")
                super().open_claim(table, run_id, claim)

        plane = ControlPlane(Moved())
        plane.land("flights/2013-01/a.csv")
        plane.land("airlines/a.csv")
        plan = plane.plan({}, execution("r"))
        assert tables_of(plan) == ["airlines"]
        assert [each["reason"] for each in plan["held"]] == ["batch 1 of flights was taken"]

    def test_what_was_settled_between_the_look_and_the_lease_is_not_done_again(self) -> None:
        plane = ControlPlane()
        plane.land("flights/2013-01/a.csv")
        plane.plan({}, execution("other"))
        stale = replace(plane.ledger.table("flights"), lease=None)
        assert stale.unsettled_batch == 1
        plane.whole_run({}, execution("other"))
        plane.ledger.tables = lambda names: dict.fromkeys(names, stale)  # type: ignore[method-assign]
        assert plane.plan({"tables": ["flights"]}, execution("mine"))["work"] == "none"


class TestBlockedTables:
    def blocked(self) -> ControlPlane:
        plane = ControlPlane()
        plane.land("flights/2013-01/a.csv")
        plane.ledger.block_table("flights", "it broke five times")
        return plane

    def test_all_that_is_pending_leaves_out_what_is_blocked(self) -> None:
        assert self.blocked().plan({}, execution("r"))["work"] == "none"

    def test_naming_it_tries_again_and_success_opens_it(self) -> None:
        plane = self.blocked()
        assert plane.whole_run({"tables": ["flights"]}, execution("r"))["outcome"] == "succeeded"
        assert plane.ledger.table("flights").blocked_reason is None


@pytest.mark.parametrize(
    ("run_input", "error", "words"),
    [
        ([], InvalidRunInput, "the input is a list, but must be an object"),
        (None, InvalidRunInput, "the input is a null"),
        ({"replay": {}}, InvalidRunInput, "replay must be an object with at least one of"),
        ({"table": "flights"}, InvalidRunInput, "unknown field 'table'; there are run, tables, reason, replay"),
        ({"tables": "flights"}, InvalidRunInput, "tables is a text, but must be a list"),
        ({"tables": [7]}, InvalidRunInput, "tables has a number in it"),
        ({"tables": []}, InvalidRunInput, "tables is empty"),
        ({"run": "-x"}, InvalidRunInput, "run '-x' is no run id"),
        ({"run": "x" * 81}, InvalidRunInput, "is no run id"),
        ({"run": "a/b"}, InvalidRunInput, "is no run id"),
        ({"run": 7}, InvalidRunInput, "run is a number"),
        ({"reason": None}, InvalidRunInput, "reason is a null"),
        ({"tables": ["flight"]}, UnknownTable, "no contract has table 'flight'; there are airlines, clicks, flights"),
    ],
)
def test_a_wrong_input_is_refused_with_what_to_write(run_input: Any, error: type[Exception], words: str) -> None:
    plane = ControlPlane()
    with pytest.raises(error, match=words):
        plane.plan(run_input, execution("r"))
    assert plane.ledger.runs == {}
    # AND it ends as a failed run that says the same, whatever the input was
    with pytest.raises(RunFailed, match="the words"):
        plane.settle("fail_run", run_input, execution("r"), error={"Error": error.__name__, "Cause": "the words"})
    assert plane.ledger.runs["r"].state == "failed"
    assert plane.ledger.runs["r"].started_at == NOW
