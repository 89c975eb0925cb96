"""Small state machines on the local cloud's Step Functions, in this process and without a server."""

import importlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ministack.services import stepfunctions
from tidegate_local import server, stepfunctions_execution

ROLE = "arn:aws:iam::000000000000:role/machine"
TASK = "arn:aws:states:::test:task"
"""A Task's resource; `behave` says what it does."""

Json = dict[str, Any]


@contextmanager
def filled() -> Iterator[None]:
    """ministack's Step Functions with its gaps filled."""
    before = dict(vars(stepfunctions))
    for gap in server.GAPS:
        if ".stepfunctions_" in gap:
            importlib.import_module(gap).install()
    stepfunctions._SFN_WAIT_SCALE = 0.005
    try:
        yield
    finally:
        vars(stepfunctions).update(before)
        stepfunctions._SERVICE_DISPATCH.pop(TASK, None)


def behave(action: Callable[[Any], Any]) -> None:
    """Give TASK a behaviour: from its arguments to its result."""
    stepfunctions._SERVICE_DISPATCH[TASK] = lambda _resource, data: action(data)


def broken(name: str = "Broken", cause: str = "by design") -> Exception:
    """What an action raises to fail its Task with that error."""
    error: Exception = stepfunctions._ExecutionError(name, cause)
    return error


def create(states: Json, **machine: Any) -> str:
    """A machine with these states, in their order; its ARN."""
    definition = {"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states, **machine}
    name = f"m{time.monotonic_ns()}"
    request = {"name": name, "definition": json.dumps(definition), "roleArn": ROLE}
    return str(answer(stepfunctions._create_state_machine(request))["stateMachineArn"])


def start(states: Json, execution_input: Any = None, **machine: Any) -> str:
    """Start an execution of a machine with these states; its ARN."""
    request = {"stateMachineArn": create(states, **machine), "input": json.dumps(execution_input or {})}
    return str(answer(stepfunctions._start_execution(request))["executionArn"])


def task(**fields: Any) -> Json:
    """A Task that calls TASK and ends the machine."""
    after = {} if "Next" in fields else {"End": True}
    return {"Type": "Task", "Resource": TASK, "Arguments": {}, **after, **fields}


def run(states: Json, execution_input: Any = None, **machine: Any) -> Json:
    """Run a machine; its execution."""
    return end_of(start(states, execution_input, **machine))


def output_of(states: Json, execution_input: Any = None) -> Any:
    """Run a machine that succeeds; what it gives."""
    execution = run(states, execution_input)
    assert execution["status"] == "SUCCEEDED", execution
    return json.loads(execution["output"])


def evaluate(expression: str, execution_input: Any = None) -> Any:
    """What a JSONata expression gives."""
    return output_of({"Say": {"Type": "Pass", "Output": f"{{% {expression} %}}", "End": True}}, execution_input)


def redrive(arn: str) -> Json:
    """Redrive an execution and wait for its end."""
    answer(stepfunctions_execution.redrive({"executionArn": arn}))
    return end_of(arn)


def stop(arn: str) -> None:
    answer(stepfunctions._stop_execution({"executionArn": arn}))


def answer(response: Any) -> Json:
    status, _, body = response
    found: Json = json.loads(body)
    assert status == 200, found
    return found


def refusal(response: Any) -> str:
    """The error's name."""
    status, _, body = response
    assert status == 400
    return str(json.loads(body)["__type"])


def end_of(arn: str) -> Json:
    for _ in range(400):
        execution = answer(stepfunctions._describe_execution({"executionArn": arn}))
        if execution["status"] != "RUNNING":
            return execution
        time.sleep(0.02)
    raise AssertionError("the execution does not end")


def events(arn: str, kind: str) -> list[Json]:
    """The events of that kind in an execution's history."""
    return [event for event in stepfunctions._executions[arn]["events"] if event["type"].endswith(kind)]


def entered(arn: str) -> list[str]:
    return [event["stateEnteredEventDetails"]["name"] for event in events(arn, "StateEntered")]
