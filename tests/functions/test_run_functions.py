"""dispatch_runs, plan_run and settle_run on golden events: from what is pending to what is settled."""

import contextlib
import json
from collections.abc import Callable
from typing import Any

import boto3
import dispatch_runs
import plan_run
import pytest
import record_arrivals
import settle_run
from fakes.emr import start_cluster
from tidegate.errors import ClusterLost, InvalidRunInput, RunFailed, RunIsLive, StalePass

Call = Callable[..., Any]
KEY = "flights/2013-01/part-0001.csv"


@pytest.fixture
def landed(run: Call, account: Any, golden: Call) -> str:
    """A file in the landing bucket, recorded; its version."""
    put = account.s3.put_object(Bucket="tidegate-landing", Key=KEY, Body=b"id\n1\n")
    event = golden("record_arrivals.created")
    body = json.loads(event["Records"][0]["body"])
    body["detail"]["object"] |= {"version-id": put["VersionId"], "etag": put["ETag"].strip('"')}
    event["Records"][0]["body"] = json.dumps(body)
    run(record_arrivals, event)
    version: str = put["VersionId"]
    return version


def merge(account: Any, plan: dict[str, Any], *, error: dict[str, Any] | None = None) -> None:
    """The job's part."""
    for group in plan["groups"]:
        work = account.read(group["work_uri"])
        for batch in work["batches"]:
            receipt = {name: batch[name] for name in ("table", "batch", "manifest_sha256")}
            receipt |= {
                "schema": 1,
                "run_id": work["run_id"],
                "pass": work["pass"],
                "started_at": "2026-11-23T14:40:00Z",
            }
            receipt |= {
                "outcome": "failed" if error else "merged",
                "delta_version": None if error else 8,
                "table_rows": 1,
            }
            receipt |= {
                "rows": {"read": 1, "inserted": 1, "quarantined": 2},
                "files": {"read": 1, "rejected": []},
                "error": error,
            }
            receipt |= {"seconds": {"total": 1.25}, "columns": [{"name": "id", "type": "string"}]}
            account.write(batch["receipt_uri"], receipt)


class TestDispatch:
    def test_nothing_pending_starts_nothing(self, run: Call, account: Any, golden: Call) -> None:
        answer = run(dispatch_runs, golden("dispatch_runs.scheduled"))
        assert (answer["run_id"], answer["tables"], answer["reason"]) == (None, [], "no table is due")
        assert answer["decisions"]["flights"] == "nothing is pending"
        assert account.executions() == []

    def test_a_due_table_starts_a_run_named_after_its_minute(
        self, run: Call, account: Any, golden: Call, landed: str
    ) -> None:
        answer = run(dispatch_runs, golden("dispatch_runs.scheduled"))
        assert (answer["run_id"], answer["tables"]) == ("run-20261123T1435Z", ["flights"])
        (execution,) = account.executions()
        assert execution["name"] == "run-20261123T1435Z-1"
        run_input = json.loads(execution["input"])
        assert run_input == {"run": "run-20261123T1435Z", "tables": ["flights"], "reason": answer["reason"]}

    def test_what_is_late_and_what_is_stopped_is_counted(
        self, run: Call, account: Any, golden: Call, landed: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        account.ledger.put_item(Item={"pk": "table#clicks", "sk": "table", "kind": "table", "blocked_reason": "b"})
        run(dispatch_runs, golden("dispatch_runs.scheduled"))
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
        (counted,) = [line for line in lines if "_aws" in line]
        # The golden event is of a day long ago.
        assert counted["PendingLateness"][0] > 3600
        assert counted["TablesBlocked"] == [1.0]

    def test_a_tick_that_comes_twice_starts_one_run(self, run: Call, account: Any, golden: Call, landed: str) -> None:
        for _ in range(2):
            run(dispatch_runs, golden("dispatch_runs.scheduled"))
        assert len(account.executions()) == 1

    def test_now_starts_a_run_of_its_own(self, run: Call, account: Any, golden: Call, landed: str) -> None:
        answer = run(dispatch_runs, golden("dispatch_runs.now"))
        assert [each["name"] for each in account.executions()] == [f"{answer['run_id']}-1"]
        assert answer["run_id"].startswith("run-")

    def test_a_table_that_a_live_run_holds_is_left_to_it(
        self, run: Call, account: Any, golden: Call, landed: str
    ) -> None:
        run(dispatch_runs, golden("dispatch_runs.scheduled"))
        run(plan_run, golden("plan_run"))
        answer = run(dispatch_runs, golden("dispatch_runs.now"))
        assert answer["run_id"] is None
        assert answer["decisions"]["flights"] == "run run-20261123T1435Z is at it"


class TestPlan:
    def test_has_what_the_machine_was_written_for(self, run: Call, golden: Call, landed: str) -> None:
        plan, recorded = run(plan_run, golden("plan_run")), golden("plan_run.result")
        assert set(plan) == set(recorded)
        assert set(plan["cluster"]) >= set(recorded["cluster"])
        assert set(plan["cluster"]["scaling"]) == set(recorded["cluster"]["scaling"])
        assert set(plan["groups"][0]) == set(recorded["groups"][0])
        for name in ("run_id", "pass", "work"):
            assert plan[name] == recorded[name]
        assert plan["cluster"]["name"] == recorded["cluster"]["name"]
        assert plan["groups"] == recorded["groups"]

    def test_by_hand_takes_its_run_from_the_executions_name(self, run: Call, golden: Call, landed: str) -> None:
        plan = run(plan_run, golden("plan_run.by_hand"))
        assert plan["run_id"] == "2f0b6c1e-9c1d-4c1a-8f0e-6f2a5d0b7a11"
        assert plan["work"] == "merge"

    def test_pins_the_version_that_landed(self, run: Call, account: Any, golden: Call, landed: str) -> None:
        plan = run(plan_run, golden("plan_run"))
        (batch,) = account.read(plan["groups"][0]["work_uri"])["batches"]
        (file,) = account.read(batch["manifest_uri"])["files"]
        assert (file["version_id"], batch["locations"]) == (landed, {})

    def test_reads_an_overwritten_version_from_a_copy(self, run: Call, account: Any, golden: Call, landed: str) -> None:
        account.s3.put_object(Bucket="tidegate-landing", Key=KEY, Body=b"newer")
        plan = run(plan_run, golden("plan_run"))
        (batch,) = account.read(plan["groups"][0]["work_uri"])["batches"]
        key = batch["locations"]["0"].removeprefix("s3://tidegate-control/")
        assert account.s3.get_object(Bucket="tidegate-control", Key=key)["Body"].read() == b"id\n1\n"

    def test_refuses_a_wrong_input_by_name(self, run: Call, golden: Call) -> None:
        with pytest.raises(InvalidRunInput):
            run(plan_run, golden("plan_run") | {"input": ["not", "an", "object"]})

    def test_refuses_a_live_run(self, run: Call, account: Any, golden: Call, landed: str) -> None:
        run(dispatch_runs, golden("dispatch_runs.scheduled"))
        run(plan_run, golden("plan_run"))
        event = golden("plan_run")
        event["execution"] |= {"arn": event["execution"]["arn"] + "-again", "name": "again"}
        with pytest.raises(RunIsLive):
            run(plan_run, event)


class TestClaimMore:
    def test_takes_what_landed_meanwhile_on_the_same_cluster(
        self, run: Call, account: Any, golden: Call, landed: str
    ) -> None:
        # GIVEN a round that is merged, and another file since
        merge(account, run(plan_run, golden("plan_run")))
        run(settle_run, golden("settle_run.settle_group"))
        event = golden("record_arrivals.created")
        body = json.loads(event["Records"][0]["body"])
        put = account.s3.put_object(Bucket="tidegate-landing", Key="flights/2013-01/b.csv", Body=b"id\n2\n")
        body["detail"]["object"] |= {"key": "flights/2013-01/b.csv", "version-id": put["VersionId"]}
        body["detail"]["object"] |= {"etag": put["ETag"].strip('"')}
        event["Records"][0]["body"] = json.dumps(body)
        run(record_arrivals, event)
        # WHEN the run claims more, and again as Step Functions does when it did not hear the answer
        more, again = (run(plan_run, golden("plan_run.claim_more")) for _ in range(2))
        # THEN both are the same second round
        assert (more["work"], more["pass"]) == ("merge", 1)
        assert more["groups"] == again["groups"]
        (batch,) = account.read(more["groups"][0]["work_uri"])["batches"]
        assert (batch["batch"], batch["receipt_uri"].rsplit("-", 1)[-1]) == (2, "1.json")

    def test_a_cluster_that_is_gone_under_unmerged_batches_is_said_by_name(
        self, run: Call, golden: Call, landed: str
    ) -> None:
        # GIVEN a plan whose cluster has ended
        plan = run(plan_run, golden("plan_run"))
        emr = boto3.client("emr")
        cluster_id = start_cluster(plan["cluster"]["name"], plan["cluster"]["tags"])
        emr.terminate_job_flows(JobFlowIds=[cluster_id])
        run(settle_run, golden("settle_run.settle_group"))
        with pytest.raises(ClusterLost, match="before flights could be merged"):
            run(plan_run, golden("plan_run.claim_more") | {"cluster_id": cluster_id})
        # AND the run is planned again, with another attempt
        event = golden("settle_run.assess_failure") | {"cluster_id": cluster_id}
        assert run(settle_run, event)["go_on"] is True
        assert run(plan_run, golden("plan_run"))["pass"] == 1


class TestReplay:
    def test_merged_files_are_merged_again_as_a_batch_of_their_own(
        self, run: Call, account: Any, golden: Call, landed: str
    ) -> None:
        merge(account, run(plan_run, golden("plan_run")))
        run(settle_run, golden("settle_run.settle_run"))
        replay = golden("plan_run.replay")
        replay["input"]["replay"]["from"] = "2013-01-01T00:00:00Z"
        plan = run(plan_run, replay)
        (batch,) = account.read(plan["groups"][0]["work_uri"])["batches"]
        (file,) = account.read(batch["manifest_uri"])["files"]
        assert (batch["batch"], file["key"], file["version_id"]) == (2, KEY, landed)

    def test_one_that_nothing_fits_starts_no_cluster(self, run: Call, golden: Call) -> None:
        plan = run(plan_run, golden("plan_run.replay"))
        assert (plan["work"], plan["reason"]) == ("none", "no arrival is as the replay asks for")


class TestSettle:
    def test_the_good_way(self, run: Call, account: Any, golden: Call, landed: str) -> None:
        merge(account, run(plan_run, golden("plan_run")))
        settled = run(settle_run, golden("settle_run.settle_group"))
        assert (settled["merged"], settled["unsettled"]) == (1, 0)
        more = run(plan_run, golden("plan_run.claim_more"))
        assert (more["work"], more["reason"]) == ("none", "nothing more is due")
        summary = run(settle_run, golden("settle_run.settle_run"))
        assert (summary["outcome"], summary["message"]) == ("succeeded", "merged flights (version 8)")
        again = run(plan_run, golden("plan_run"))
        assert again["work"] == "none"
        assert again["summary"]["merged"][0]["delta_version"] == 8
        (table,) = account.items("table")
        assert (table["last_merged_batch"], table["row_count"], "lease" in table) == (1, 1, False)

    def test_the_bad_way_and_back(self, run: Call, account: Any, golden: Call, landed: str) -> None:
        # GIVEN a batch that fails
        error = {"type": "BrokenFile", "message": "row 3 of a.csv", "cause": "data"}
        merge(account, run(plan_run, golden("plan_run")), error=error)
        assert run(settle_run, golden("settle_run.settle_group"))["merged"] == 0
        answer = run(settle_run, golden("settle_run.assess_failure") | {"error": {"Error": "Throttled", "Cause": "c"}})
        assert (answer["cluster_id"], answer["go_on"]) == ("j-1ABCDEFGHIJKL", False)
        with pytest.raises(RunFailed, match=r"row 3 of a\.csv"):
            run(settle_run, golden("settle_run.fail_run"))
        # WHEN the execution is redriven
        assert run(settle_run, golden("settle_run.fail_run_redriven"))["redriven"] is True
        event = golden("plan_run")
        event["execution"]["redrive_count"] = 1
        plan = run(plan_run, event)
        # THEN the same batch is done again under another name
        assert plan["cluster"]["name"] == "tidegate-run-20261123T1435Z-1-1"
        merge(account, plan)
        event = golden("settle_run.settle_run")
        event["execution"]["redrive_count"] = 1
        assert run(settle_run, event)["outcome"] == "succeeded"

    def test_a_stale_pass_is_refused_by_name(self, run: Call, golden: Call, landed: str) -> None:
        run(plan_run, golden("plan_run"))
        for function, name in ((settle_run, "settle_run.settle_group"), (plan_run, "plan_run.claim_more")):
            event = golden(name)
            event["execution"]["redrive_count"] = 1
            with pytest.raises(StalePass):
                run(function, event)

    def test_a_lost_cluster_is_found_by_its_name(self, run: Call, golden: Call, landed: str) -> None:
        plan = run(plan_run, golden("plan_run"))
        cluster_id = start_cluster(plan["cluster"]["name"], plan["cluster"]["tags"])
        event = golden("settle_run.assess_failure") | {"cluster_id": None}
        assert run(settle_run, event)["cluster_id"] == cluster_id

    def test_what_was_merged_and_what_failed_is_counted(
        self, run: Call, account: Any, golden: Call, landed: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        merge(account, run(plan_run, golden("plan_run")))
        capsys.readouterr()
        run(settle_run, golden("settle_run.settle_group"))
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
        (metrics,) = [line for line in lines if "_aws" in line]
        assert (metrics["BatchesMerged"], metrics["BatchesFailed"], metrics["FilesQuarantined"]) == (
            [1.0],
            [0.0],
            [0.0],
        )
        assert metrics["RowsQuarantined"] == [2.0]
        keys = settle_run.logger.get_current_keys()
        assert (keys["run_id"], keys["pass"], keys["action"]) == ("run-20261123T1435Z", 0, "settle_group")

    def test_a_failed_run_is_counted_and_a_redriven_one_is_not(
        self, run: Call, golden: Call, landed: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run(plan_run, golden("plan_run"))
        for name, counted in (("fail_run", True), ("fail_run_redriven", False)):
            capsys.readouterr()
            with contextlib.suppress(RunFailed):
                run(settle_run, golden(f"settle_run.{name}"))
            assert ("RunsFailed" in capsys.readouterr().out) is counted
