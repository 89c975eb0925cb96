"""The gaps of ministack's Step Functions that the local cloud fills, on small machines in this process."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ministack.services import stepfunctions
from tidegate_local import (
    lambda_errors,
    stepfunctions_emr,
    stepfunctions_execution,
    stepfunctions_jsonata,
    stepfunctions_yaml,
)

ROLE = "arn:aws:iam::000000000000:role/machine"
TASK = "arn:aws:states:::test:task"


@pytest.fixture(scope="module", autouse=True)
def _filled() -> Iterator[None]:
    before = {
        name: getattr(stepfunctions, name)
        for name in dir(stepfunctions)
        if name.startswith(("_execute", "_run", "_apply", "_describe"))
    }
    for gap in (stepfunctions_jsonata, stepfunctions_execution, stepfunctions_emr):
        gap.install()
    yield
    for name, value in before.items():
        setattr(stepfunctions, name, value)


@pytest.fixture
def task() -> Iterator[Callable[[Callable[[Any], Any]], None]]:
    """Give `arn:aws:states:::test:task` a behaviour."""

    def behave(action: Callable[[Any], Any]) -> None:
        stepfunctions._SERVICE_DISPATCH[TASK] = lambda _resource, data: action(data)

    yield behave
    stepfunctions._SERVICE_DISPATCH.pop(TASK, None)


def start(states: dict[str, Any], execution_input: Any = None, **machine: Any) -> str:
    """Start an execution of a machine with these states; its ARN."""
    definition = {"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states, **machine}
    name = f"m{time.monotonic_ns()}"
    made = answer(
        stepfunctions._create_state_machine({"name": name, "definition": json.dumps(definition), "roleArn": ROLE})
    )
    request = {"stateMachineArn": made["stateMachineArn"], "input": json.dumps(execution_input or {})}
    return str(answer(stepfunctions._start_execution(request))["executionArn"])


def answer(response: Any) -> dict[str, Any]:
    status, _, body = response
    found: dict[str, Any] = json.loads(body)
    assert status == 200, found
    return found


def end_of(arn: str) -> dict[str, Any]:
    for _ in range(200):
        execution = answer(stepfunctions._describe_execution({"executionArn": arn}))
        if execution["status"] != "RUNNING":
            return execution
        time.sleep(0.05)
    raise AssertionError("the execution does not end")


def entered(arn: str) -> list[str]:
    events = stepfunctions._executions[arn]["events"]
    return [event["stateEnteredEventDetails"]["name"] for event in events if event["type"].endswith("StateEntered")]


def fail_until_redriven(data: Any) -> Any:
    if data["redrive_count"] == 0:
        raise stepfunctions._ExecutionError("Broken", "by design")
    return {"done": data["value"]}


def test_a_succeed_states_output_is_evaluated() -> None:
    done = end_of(start({"Done": {"Type": "Succeed", "Output": "{% $states.input.a + 1 %}"}}, {"a": 1}))
    assert json.loads(done["output"]) == 2


def test_a_redriven_task_runs_again_with_its_own_input_and_what_succeeded_does_not(task: Any) -> None:
    # GIVEN an execution that failed in its second state
    task(fail_until_redriven)
    arn = start({
        "First": {"Type": "Pass", "Output": {"value": 7}, "Next": "Second"},
        "Second": {
            "Type": "Task",
            "Resource": TASK,
            "Arguments": {
                "value": "{% $states.input.value %}",
                "redrive_count": "{% $states.context.Execution.RedriveCount %}",
            },
            "End": True,
        },
    })  # fmt: skip
    failed = end_of(arn)
    assert (failed["status"], failed["error"], failed["redriveStatus"]) == ("FAILED", "Broken", "REDRIVABLE")
    # WHEN it is redriven
    answer(stepfunctions_execution.redrive({"executionArn": arn}))
    done = end_of(arn)
    # THEN only the second state ran again, with the input that it had
    assert json.loads(done["output"]) == {"done": 7}
    assert done["redriveCount"] == 1
    assert entered(arn) == ["First", "Second", "Second"]


def test_a_fail_state_fails_again_when_it_is_redriven() -> None:
    arn = start({"No": {"Type": "Fail", "Error": "Nope", "Cause": "always"}})
    assert end_of(arn)["error"] == "Nope"
    answer(stepfunctions_execution.redrive({"executionArn": arn}))
    assert end_of(arn)["error"] == "Nope"
    assert entered(arn) == ["No", "No"]


def test_an_execution_that_succeeded_can_not_be_redriven() -> None:
    arn = start({"Done": {"Type": "Succeed"}})
    end_of(arn)
    status, _, body = stepfunctions_execution.redrive({"executionArn": arn})
    assert status == 400
    assert b"ExecutionNotRedrivable" in (body if isinstance(body, bytes) else body.encode())


def test_a_stopped_execution_stays_stopped_and_enters_its_state_again_when_redriven(task: Any) -> None:
    # GIVEN an execution in the middle of a task
    calls: list[float] = []

    def slow(_data: Any) -> dict[str, int]:
        calls.append(time.monotonic())
        time.sleep(0.6)
        return {"call": len(calls)}

    task(slow)
    arn = start({
        "Work": {"Type": "Task", "Resource": TASK, "Arguments": {}, "Next": "After"},
        "After": {"Type": "Succeed"},
    })  # fmt: skip
    while not calls:
        time.sleep(0.02)
    # WHEN it is stopped
    answer(stepfunctions._stop_execution({"executionArn": arn}))
    time.sleep(0.8)
    # THEN what was under way changes nothing
    assert end_of(arn)["status"] == "ABORTED"
    assert entered(arn) == ["Work"]
    # WHEN it is redriven THEN it goes on there
    answer(stepfunctions_execution.redrive({"executionArn": arn}))
    assert end_of(arn)["status"] == "SUCCEEDED"
    assert entered(arn) == ["Work", "Work", "After"]


def test_a_machines_time_limit_ends_its_execution(task: Any) -> None:
    task(lambda _data: time.sleep(3))
    arn = start({"Work": {"Type": "Task", "Resource": TASK, "Arguments": {}, "End": True}}, TimeoutSeconds=1)
    ended = end_of(arn)
    assert ended["status"] == "TIMED_OUT"
    assert ended["redriveStatus"] == "REDRIVABLE"


def test_a_tasks_timeout_may_be_an_expression(task: Any) -> None:
    task(lambda _data: time.sleep(3))
    work = {"Type": "Task", "Resource": TASK, "Arguments": {}, "TimeoutSeconds": "{% 1 %}", "End": True}
    assert end_of(start({"Work": work}))["error"] == "States.Timeout"


def test_a_maps_concurrency_may_be_an_expression() -> None:
    done = end_of(start({
        "Each": {
            "Type": "Map",
            "Items": "{% $states.input.items %}",
            "MaxConcurrency": "{% $states.input.at_once %}",
            "ItemProcessor": {"StartAt": "One", "States": {"One": {"Type": "Pass", "End": True}}},
            "End": True,
        }
    }, {"items": [1, 2, 3], "at_once": 2}))  # fmt: skip
    assert json.loads(done["output"]) == [1, 2, 3]


def test_a_definition_in_yaml_becomes_json() -> None:
    assert json.loads(stepfunctions_yaml.as_json("# why\nStartAt: A\nStates: {A: {Type: Succeed}}\n"))["StartAt"] == "A"
    assert stepfunctions_yaml.as_json('{"StartAt": "A"}') == '{"StartAt": "A"}'


def test_create_cluster_refuses_what_the_integration_refuses() -> None:
    with pytest.raises(stepfunctions._ExecutionError, match="KeepJobFlowAliveWhenNoSteps"):
        stepfunctions_emr.create_cluster("arn:aws:states:::elasticmapreduce:createCluster", {"Instances": {}})
    with pytest.raises(stepfunctions._ExecutionError, match="Steps"):
        stepfunctions_emr.create_cluster("arn:aws:states:::elasticmapreduce:createCluster", {"Steps": []})


@pytest.mark.parametrize(
    ("trace", "name"),
    [
        ('\n  File "x.py", line 1, in handler\ntidegate.errors.RunFailed: no\nmore words: here\n', "RunFailed"),
        ('\n  File "x.py", line 1\n    1/0\n    ~^~\nZeroDivisionError: division by zero\n', "ZeroDivisionError"),
        ("\n  File \"x.py\", line 1\nKeyError\n", "KeyError"),
        ("", None),
    ],
)  # fmt: skip
def test_a_lambda_error_carries_the_name_of_its_exception(trace: str, name: str | None) -> None:
    assert lambda_errors.name_of(trace) == name
