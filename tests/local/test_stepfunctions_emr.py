"""Step Functions' EMR integrations: their shapes, their errors, and how `.sync` waits."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import machines
import pytest
from machines import end_of, output_of, run, start
from ministack.services import emr
from tidegate_local.stepfunctions_emr import PREFIX

Json = dict[str, Any]
STEP = {
    "Name": "merge",
    "ActionOnFailure": "CONTINUE",
    "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["true"]},
}


@pytest.fixture(scope="module", autouse=True)
def _filled() -> Iterator[None]:
    with machines.filled():
        yield


class Emr:
    """An EMR that says what it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Json]] = []
        self.step_states = ["PENDING", "RUNNING", "COMPLETED"]
        self.cluster_states = ["STARTING", "WAITING"]
        self.refusal: tuple[str, str] | None = None

    def answer(self, operation: str, request: Json) -> tuple[int, Json, bytes]:
        self.asked.append((operation, request))
        if self.refusal:
            code, message = self.refusal
            return 400, {}, json.dumps({"__type": code, "message": message}).encode()
        return 200, {}, json.dumps(self.said(operation)).encode()

    def said(self, operation: str) -> Json:
        if operation == "DescribeStep":
            return {"Step": {"Id": "s-1", "Name": "merge", "Status": {"State": self._next(self.step_states)}}}
        if operation == "DescribeCluster":
            return {"Cluster": {"Id": "j-1", "Status": {"State": self._next(self.cluster_states)}}}
        always: dict[str, Json] = {
            "RunJobFlow": {"JobFlowId": "j-1", "ClusterArn": "arn:j-1"},
            "AddJobFlowSteps": {"StepIds": ["s-1"]},
            "CancelSteps": {"CancelStepsInfoList": [{"StepId": "s-1", "Status": "SUBMITTED"}]},
            "ListInstanceFleets": {"InstanceFleets": [{"Id": "if-1", "Name": "core"}, {"Id": "if-2", "Name": "task"}]},
        }
        return always.get(operation, {})

    @staticmethod
    def _next(states: list[str]) -> str:
        return states.pop(0) if len(states) > 1 else states[0]

    def asked_for(self, operation: str) -> list[Json]:
        return [request for name, request in self.asked if name == operation]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Emr:
    made = Emr()

    def handler(operation: str) -> Callable[[Json], Any]:
        return lambda request: made.answer(operation, request)

    names = (
        "RunJobFlow", "AddJobFlowSteps", "DescribeStep", "DescribeCluster", "CancelSteps", "TerminateJobFlows",
        "ListInstanceFleets", "ModifyInstanceFleet", "SetTerminationProtection",
    )  # fmt: skip
    monkeypatch.setattr(emr, "_HANDLERS", {name: handler(name) for name in names})
    return made


def task(action: str, arguments: Json, **fields: Any) -> Json:
    return {"Do": {"Type": "Task", "Resource": f"{PREFIX}{action}", "Arguments": arguments, "End": True, **fields}}


CREATE = {"Name": "tidegate-run-1-0-0", "Instances": {"KeepJobFlowAliveWhenNoSteps": True}}


def test_create_cluster_gives_the_id_at_once(cluster: Emr) -> None:
    assert output_of(task("createCluster", CREATE)) == {"ClusterId": "j-1"}
    assert cluster.asked == [("RunJobFlow", CREATE)]


def test_create_cluster_sync_waits_until_it_waits_for_steps(cluster: Emr) -> None:
    assert output_of(task("createCluster.sync", CREATE)) == {"ClusterId": "j-1"}
    assert len(cluster.asked_for("DescribeCluster")) == 2
    cluster.cluster_states = ["TERMINATED_WITH_ERRORS"]
    assert run(task("createCluster.sync", CREATE))["error"] == "States.TaskFailed"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"Instances": {}}, "KeepJobFlowAliveWhenNoSteps"),
        ({**CREATE, "Steps": [STEP]}, "Steps"),
    ],
)
def test_create_cluster_refuses_what_the_integration_refuses(cluster: Emr, arguments: Json, words: str) -> None:
    failed = run(task("createCluster", arguments))
    assert failed["error"] == "States.Runtime"
    assert words in failed["cause"]
    assert cluster.asked == []


def test_add_step_takes_one_step_and_gives_its_id(cluster: Emr) -> None:
    assert output_of(task("addStep", {"ClusterId": "j-1", "Step": STEP})) == {"StepId": "s-1"}
    assert cluster.asked == [("AddJobFlowSteps", {"JobFlowId": "j-1", "Steps": [STEP]})]


def test_add_step_sync_gives_the_step_once_it_is_through(cluster: Emr) -> None:
    done = output_of(task("addStep.sync", {"ClusterId": "j-1", "Step": STEP}))
    assert done["Step"]["Status"]["State"] == "COMPLETED"


@pytest.mark.parametrize("state", ["FAILED", "CANCELLED", "INTERRUPTED"])
def test_a_step_that_does_not_complete_fails_its_task_with_its_record(cluster: Emr, state: str) -> None:
    cluster.step_states = ["RUNNING", state]
    failed = run(task("addStep.sync", {"ClusterId": "j-1", "Step": STEP}))
    assert failed["error"] == "States.TaskFailed"
    assert json.loads(failed["cause"])["Status"]["State"] == state


def test_a_step_is_cancelled_when_its_execution_is_stopped(cluster: Emr) -> None:
    cluster.step_states = ["RUNNING"]
    arn = start(task("addStep.sync", {"ClusterId": "j-1", "Step": STEP}))
    while not cluster.asked_for("DescribeStep"):
        time.sleep(0.01)
    machines.stop(arn)
    time.sleep(0.2)
    assert cluster.asked_for("CancelSteps") == [{"ClusterId": "j-1", "StepIds": ["s-1"]}]
    asked = len(cluster.asked)
    time.sleep(0.2)
    assert len(cluster.asked) == asked, "nobody waits for the step any more"


def test_a_step_goes_on_when_its_task_is_out_of_time(cluster: Emr) -> None:
    cluster.step_states = ["RUNNING"]
    arn = start(task("addStep.sync", {"ClusterId": "j-1", "Step": STEP}, TimeoutSeconds=1))
    assert end_of(arn)["error"] == "States.Timeout"
    time.sleep(0.2)
    assert cluster.asked_for("CancelSteps") == []


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("ValidationException", "EMR.AmazonElasticMapReduceException"),
        ("ThrottlingException", "EMR.AmazonElasticMapReduceException"),
        ("InvalidRequestException", "EMR.InvalidRequestException"),
    ],
)
def test_a_refusal_has_the_name_and_the_words_of_the_integration(cluster: Emr, code: str, error: str) -> None:
    cluster.refusal = (code, "The subnet is gone")
    failed = run(task("createCluster", CREATE))
    assert failed["error"] == error
    assert failed["cause"] == (
        f"The subnet is gone (Service: AmazonElasticMapReduce; Status Code: 400; Error Code: {code})"
    )


def test_the_other_integrations_ask_for_what_they_stand_for(cluster: Emr) -> None:
    cluster.cluster_states = ["TERMINATING", "TERMINATED_WITH_ERRORS"]
    assert output_of(task("terminateCluster.sync", {"ClusterId": "j-1"}))["Cluster"]["Id"] == "j-1"
    assert output_of(task("cancelStep", {"ClusterId": "j-1", "StepId": "s-1"})) == {
        "CancelStepsInfo": {"StepId": "s-1", "Status": "SUBMITTED"}
    }
    output_of(task("setClusterTerminationProtection", {"ClusterId": "j-1", "TerminationProtected": True}))
    resize = {"ClusterId": "j-1", "InstanceFleetName": "task", "InstanceFleet": {"TargetSpotCapacity": 4}}
    output_of(task("modifyInstanceFleetByName", resize))
    assert cluster.asked_for("TerminateJobFlows") == [{"JobFlowIds": ["j-1"]}]
    assert cluster.asked_for("SetTerminationProtection") == [{"JobFlowIds": ["j-1"], "TerminationProtected": True}]
    assert cluster.asked_for("ModifyInstanceFleet") == [
        {"ClusterId": "j-1", "InstanceFleet": {"TargetSpotCapacity": 4, "InstanceFleetId": "if-2"}}
    ]


def test_a_fleet_that_is_not_there_is_named(cluster: Emr) -> None:
    resize = {"ClusterId": "j-1", "InstanceFleetName": "gone", "InstanceFleet": {"TargetSpotCapacity": 4}}
    assert "gone" in run(task("modifyInstanceFleetByName", resize))["cause"]
