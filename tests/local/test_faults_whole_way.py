"""A run on the deployed stack survives what AWS may do to it: merged once, no arrival lost, no cluster left.

The steps are the stand-in's: what goes wrong here is around them, or ends them.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from clouds import Cloud, assert_nothing_is_left, own_settings
from systems import System, wait_for
from tidegate_local import launcher
from tidegate_local.event_log import read_events
from tidegate_local.faults.plan import plan_faults, strikes
from tidegate_local.stand_in import commits

pytestmark = pytest.mark.local_cloud
Fault = dict[str, Any]


class Stack(System):
    """The deployed stack, what is to go wrong in it and what has come of it."""

    def plan(self, *faults: Fault) -> None:
        plan_faults(self.cloud.here.faults_file, faults)

    def unstruck(self) -> list[Fault]:
        """Planned faults that have not struck as often as they were to."""
        struck = [each["fault"] for each in strikes(self.cloud.here.faults_file)]
        planned = json.loads(self.cloud.here.faults_file.read_text())
        return [fault for fault in planned if struck.count(fault) < fault.get("times", 1)]

    def land_airline(self, key: str) -> None:
        self.land(key, "carrier,name", "AA,American")
        wait_for(f"{key} is recorded", lambda: self.states(key))

    def states(self, key: str) -> list[str]:
        """What the ledger says of a key's versions."""
        return [arrival["state"] for arrival in self.arrivals(key)]

    def dispatch_at_last(self) -> str:
        """Dispatch now, again and again until a run is started; the ARN of its execution."""

        def started() -> dict[str, Any] | None:
            answer = self.lambdas.invoke(
                FunctionName=self.cloud.fields.dispatch_function, Payload=json.dumps({"dispatch": "now"})
            )
            said: dict[str, Any] = json.loads(answer["Payload"].read())
            return said if said.get("run_id") else None

        return self.execution_of(wait_for("a run is started", started)["run_id"])

    def merges_of(self, table: str, key: str) -> int:
        """How many commits of a table have a file of that key."""
        log = commits(self.s3, f"s3://{self.cloud.fields.lake_bucket}/{table}")
        return sum(1 for commit in log if any(file["key"] == key for file in commit["files"]))

    def leases(self) -> list[str]:
        """Tables that a run holds."""
        found = self.ledger.scan(TableName=self.cloud.fields.ledger_table, ConsistentRead=True)["Items"]
        return [item["pk"]["S"] for item in found if item["kind"]["S"] == "table" and "lease" in item]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    here = replace(own_settings(tmp_path_factory.mktemp("faults")), steps="stand-in")
    try:
        cloud = Cloud(launcher.start(here), here)
        cloud.switch_schedule(on=False)
        yield Stack(cloud)
    finally:
        launcher.down(here=here)
    assert_nothing_is_left(here)


OF_CALLS: list[Fault] = [
    {"fault": "repeated", "event": "Object Created"},
    {"fault": "throttled", "call": "dynamodb:*", "caller": "record_arrivals", "times": 2},
    {"fault": "fails_after", "call": "states:StartExecution"},
    {"fault": "killed", "function": "plan_run", "after": 6},
    {"fault": "throttled", "call": "dynamodb:*", "caller": "plan_run", "after": 2, "times": 2},
    {"fault": "fails_after", "call": "dynamodb:UpdateItem", "caller": "plan_run", "after": 1},
    {"fault": "fails", "call": "s3:PutObject", "caller": "plan_run", "times": 2},
    {"fault": "fails_after", "call": "elasticmapreduce:RunJobFlow", "caller": "machine"},
    {"fault": "throttled", "call": "s3:GetObject", "caller": "step", "times": 2},
    {"fault": "hangs", "call": "s3:GetObject", "caller": "settle_run", "seconds": 1},
    {"fault": "fails", "call": "dynamodb:*", "caller": "settle_run", "after": 1},
]
OF_PROCESSES_AND_ANSWERS: list[Fault] = [
    {"fault": "killed_after", "function": "record_arrivals", "call": "dynamodb:PutItem"},
    {"fault": "killed", "function": "dispatch_runs", "after": 2},
    {"fault": "throttled", "call": "lambda:Invoke", "caller": "machine"},
    {"fault": "fails_after", "call": "lambda:Invoke", "caller": "machine"},
    {"fault": "throttled", "call": "elasticmapreduce:RunJobFlow"},
    {"fault": "fails_after", "call": "elasticmapreduce:AddJobFlowSteps"},
    {"fault": "killed", "function": "settle_run", "after": 3},
    {"fault": "fails_after", "call": "elasticmapreduce:TerminateJobFlows"},
    {"fault": "stuck", "state": "TERMINATING", "seconds": 1},
    {"fault": "lost", "event": "EMR Cluster State Change"},
]
OF_CLUSTERS: list[Fault] = [
    {"fault": "no_capacity"},
    {"fault": "quota", "after": 1},
    {"fault": "internal_error", "state": "STARTING", "cluster": "*-2"},
    {"fault": "lost_nodes", "state": "RUNNING"},
]
BEFORE_THE_COMMIT: Fault = {"fault": "killed", "step": "*", "call": "s3:PutObject", "resource": "*/_stand_in_log/*"}
AFTER_THE_COMMIT: Fault = BEFORE_THE_COMMIT | {"fault": "killed_after"}


def merged_once(stack: Stack, key: str) -> None:
    assert stack.unstruck() == []
    assert stack.merges_of("airlines", key) == 1
    assert stack.live_clusters() == []
    assert stack.leases() == []


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param(OF_CALLS, id="calls"),
        pytest.param(OF_PROCESSES_AND_ANSWERS, id="processes and answers"),
        pytest.param(OF_CLUSTERS, id="clusters"),
    ],
)
def test_a_run_comes_through_by_itself(stack: Stack, faults: list[Fault]) -> None:
    # GIVEN all that may go wrong between a file and its table, at once
    key = f"airlines/{uuid4().hex}.csv"
    stack.plan(*faults)
    # WHEN the file lands and a run is dispatched
    stack.land_airline(key)
    execution = stack.end_of(stack.dispatch_at_last())
    # THEN
    assert execution["status"] == "SUCCEEDED", (execution.get("error"), execution.get("cause"))
    merged_once(stack, key)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(BEFORE_THE_COMMIT, id="before its commit"),
        pytest.param(AFTER_THE_COMMIT, id="after its commit"),
    ],
)
def test_a_step_that_ends_fails_its_run_and_a_redrive_merges_once(stack: Stack, fault: Fault) -> None:
    key = f"airlines/{uuid4().hex}.csv"
    stack.plan(fault)
    stack.land_airline(key)
    arn = stack.dispatch_at_last()
    failed = stack.end_of(arn)
    assert (failed["status"], failed["error"]) == ("FAILED", "RunFailed")
    assert (stack.merges_of("airlines", key), stack.live_clusters()) == (int(fault is AFTER_THE_COMMIT), [])
    stack.steps.redrive_execution(executionArn=arn)
    assert stack.end_of(arn)["status"] == "SUCCEEDED"
    merged_once(stack, key)


def test_a_merged_table_is_registered_and_announced_though_it_takes_a_second_try(stack: Stack) -> None:
    # GIVEN a catalog and a bus that fail a step group's settling
    key = f"planes/{uuid4().hex}.csv"
    stack.plan(
        {"fault": "throttled", "call": "glue:GetTable", "caller": "settle_run", "times": 3},
        {"fault": "throttled", "call": "events:PutEvents", "caller": "settle_run", "times": 3},
    )
    stack.land(key, "tailnum,year,type,manufacturer,model,engines,seats,speed,engine", "N1,1999,a,b,c,2,55,,d")
    wait_for(f"{key} is recorded", lambda: stack.states(key))
    # WHEN a run merges it
    execution = stack.end_of(stack.dispatch_at_last())
    assert execution["status"] == "SUCCEEDED", (execution.get("error"), execution.get("cause"))
    assert stack.unstruck() == []
    # THEN the end of the run has told what the settling could not
    cloud = stack.cloud
    glue, database = cloud.client("glue"), cloud.fields.catalog_database
    entry = glue.get_table(DatabaseName=database, Name="planes")["Table"]
    assert entry["StorageDescriptor"]["Location"] == f"s3://{cloud.fields.lake_bucket}/planes"
    assert "tailnum" in [each["Name"] for each in entry["StorageDescriptor"]["Columns"]]
    (told,) = [each for each in read_events(cloud.here.events_file) if each["detail"]["table"] == "planes"]
    assert (told["source"], told["detail-type"]) == ("tidegate", "Table Updated")
    merged = json.loads(execution["output"])["merged"][0]
    assert (told["detail"]["batches"], told["detail"]["versions"]["to"]) == ([merged["batch"]], merged["delta_version"])
    assert (told["detail"]["database"], told["detail"]["stack"]) == (database, cloud.fields.stack_name)
