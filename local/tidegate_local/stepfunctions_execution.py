"""Gap: ministack's executions know no redrive, no time limit of their own, and go on after they were stopped.

Here an execution walks its states in lives: the first, and one more for each redrive. A life ends when the execution
ends, and what an ended life still does changes nothing. Limits of this stand-in: a redriven Map runs all of its
iterations again, where AWS keeps those that succeeded, and a Task that is stopped is not interrupted, only ignored.
"""

from __future__ import annotations

import contextvars
import json
import threading
from typing import Any

from ministack.core.responses import error_response_json, json_response, now_iso
from ministack.services import stepfunctions

Execution = dict[str, Any]

_REDRIVABLE = {"FAILED", "TIMED_OUT", "ABORTED"}
_WITH_EVENTS = {"Task", "Map", "Parallel"}
_redriving = threading.Lock()


def install() -> None:
    """Replace the walk through an execution, and answer RedriveExecution."""
    answer, describe = stepfunctions.handle_request, stepfunctions._describe_execution

    async def handle_request(method: str, path: str, headers: Any, body: Any, query: Any) -> Any:
        if headers.get("x-amz-target", "").endswith(".RedriveExecution"):
            return redrive(json.loads(body))
        return await answer(method, path, headers, body, query)

    def describe_execution(data: dict[str, Any]) -> Any:
        status, response_headers, body = describe(data)
        execution = stepfunctions._executions.get(data.get("executionArn"))
        if execution is None or status != 200:
            return status, response_headers, body
        return json_response(json.loads(body) | redrive_fields(execution))

    stepfunctions.handle_request = handle_request
    stepfunctions._describe_execution = describe_execution
    stepfunctions._run_execution = run


def redrive(data: dict[str, Any]) -> Any:
    """Start an execution that did not succeed again, in the state in which it ended, with that state's input."""
    execution = stepfunctions._executions.get(data.get("executionArn"))
    if execution is None:
        return error_response_json("ExecutionDoesNotExist", f"Execution {data.get('executionArn')} not found", 400)
    with _redriving:
        if execution["status"] not in _REDRIVABLE:
            message = f"Execution is {execution['status']} and cannot be redriven"
            return error_response_json("ExecutionNotRedrivable", message, 400)
        redriven_at = now_iso()
        execution.update(
            status="RUNNING", stopDate=None, error=None, cause=None, output=None,
            redriveCount=execution.get("redriveCount", 0) + 1, redriveDate=redriven_at,
        )  # fmt: skip
    details = {"executionRedrivenEventDetails": {"redriveCount": execution["redriveCount"]}}
    stepfunctions._add_event(execution, "ExecutionRedriven", details)
    stepfunctions._emit_execution_status_event(execution)
    life = contextvars.copy_context()  # the account and region of the caller
    threading.Thread(target=life.run, args=(run, execution["executionArn"]), daemon=True).start()
    return json_response({"redriveDate": redriven_at})


def redrive_fields(execution: Execution) -> dict[str, Any]:
    """What DescribeExecution says of redrives."""
    is_redrivable = execution["status"] in _REDRIVABLE
    fields = {
        "redriveCount": execution.get("redriveCount", 0),
        "redriveStatus": "REDRIVABLE" if is_redrivable else "NOT_REDRIVABLE",
    }
    if not is_redrivable:
        fields["redriveStatusReason"] = f"Execution is {execution['status']} and cannot be redriven"
    return fields | ({"redriveDate": execution["redriveDate"]} if execution.get("redriveDate") else {})


def run(execution_arn: str) -> None:
    """Live one life of an execution: from its start, or after a redrive from the state in which it ended."""
    execution = stepfunctions._executions.get(execution_arn)
    machine = stepfunctions._state_machines.get(execution["stateMachineArn"]) if execution else None
    if execution is None or machine is None:
        return
    # An execution keeps the definition that it began with, whatever is deployed meanwhile.
    definition = json.loads(execution.setdefault("_definition", machine["definition"]))
    life = execution.get("redriveCount", 0)
    given = json.loads(execution["input"])
    at = execution.get("_at") or (definition["StartAt"], given)
    context = {
        "QueryLanguage": definition.get("QueryLanguage", "JSONPath"),
        "Execution": {
            "Id": execution_arn,
            "Input": given,
            "Name": execution["name"],
            "StartTime": execution["startDate"],
            "RedriveCount": life,
        },
        "StateMachine": {"Id": execution["stateMachineArn"], "Name": machine["name"]},
        "variables": {},
    }
    timer = _limit(execution, definition.get("TimeoutSeconds"), life)
    try:
        output = _walk(definition["States"], at, execution, context)
        if _lives(execution, life):
            _end(execution, "SUCCEEDED", output=json.dumps(output))
    except stepfunctions._ExecutionError as error:
        if _lives(execution, life):
            stepfunctions._fail_execution(execution, error.error, error.cause)
    except Exception as error:  # noqa: BLE001 - a fault of the stand-in itself must not leave the execution running for ever
        stepfunctions.logger.exception("execution %s", execution_arn)
        if _lives(execution, life):
            stepfunctions._fail_execution(execution, "States.Runtime", str(error))
    finally:
        timer.cancel()


def _walk(states: dict[str, Any], at: tuple[str, Any], execution: Execution, context: dict[str, Any]) -> Any:
    life = context["Execution"]["RedriveCount"]
    name: str | None
    name, value = at
    while name is not None and _lives(execution, life):
        if name not in states:
            raise stepfunctions._ExecutionError("States.Runtime", f"there is no state {name!r}")
        state = states[name]
        kind = state["Type"]
        execution["_at"] = (name, value)
        context["State"] = {"Name": name, "EnteredTime": now_iso(), "RetryCount": 0}
        _note(execution, f"{kind}StateEntered", "stateEnteredEventDetails", name=name, input=json.dumps(value))
        if kind == "Fail":
            raise stepfunctions._ExecutionError(*stepfunctions._fail_state_error(state, value, context))
        if kind == "Succeed":
            value = stepfunctions._apply_output_path(state, value, context)
            following = None
        else:
            value, following = _execute(kind, state, value, execution, context)
        if not _lives(execution, life):
            break
        _note(execution, f"{kind}StateExited", "stateExitedEventDetails", name=name, output=json.dumps(value))
        name = following
    return value


def _execute(kind: str, state: dict[str, Any], value: Any, execution: Execution, context: dict[str, Any]) -> Any:
    # Looked up late: other gaps wrap some of these.
    execute = getattr(stepfunctions, f"_execute_{kind.lower()}")
    return execute(state, value, execution, context) if kind in _WITH_EVENTS else execute(state, value, context)


def _lives(execution: Execution, life: int) -> bool:
    return bool(execution["status"] == "RUNNING" and execution.get("redriveCount", 0) == life)


def _limit(execution: Execution, limit_s: float | None, life: int) -> threading.Timer:
    """End the execution as timed out after its machine's TimeoutSeconds. Not scaled: it is a limit, not a wait."""

    def time_out() -> None:
        if _lives(execution, life):
            stepfunctions._add_event(execution, "ExecutionTimedOut", {"executionTimedOutEventDetails": {}})
            _end(execution, "TIMED_OUT", error="States.Timeout")

    scope = contextvars.copy_context()
    timer = threading.Timer(limit_s if limit_s is not None else threading.TIMEOUT_MAX, scope.run, args=(time_out,))
    timer.daemon = True
    if limit_s is not None:
        timer.start()
    return timer


def _end(execution: Execution, status: str, *, output: str | None = None, error: str | None = None) -> None:
    execution.update(status=status, output=output, stopDate=now_iso())
    if error is not None:
        execution["error"] = error
    if status == "SUCCEEDED":
        _note(execution, "ExecutionSucceeded", "executionSucceededEventDetails", output=output)
    stepfunctions._emit_execution_status_event(execution)


def _note(execution: Execution, event: str, details: str, **fields: Any) -> None:
    stepfunctions._add_event(execution, event, {details: fields})
