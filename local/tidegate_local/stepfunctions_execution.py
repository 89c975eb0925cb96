"""Gap: ministack's executions know no redrive, no time limit of their own, and go on after they were stopped.

Here an execution is walked in lives: the first, and one more for each redrive, which goes on at the place where the
last one ended. A life is a scope: when the execution is stopped, out of time or failed, whatever still goes on in it
changes nothing any more. Variables do not outlive a life: AWS does not say whether they do, so nothing may rely on it.
"""

from __future__ import annotations

import contextvars
import json
import threading
from typing import Any

from ministack.core.responses import error_response_json, json_response, now_iso
from ministack.services import stepfunctions

from tidegate_local import stepfunctions_scope
from tidegate_local.stepfunctions_scope import Scope, ScopeOver
from tidegate_local.stepfunctions_walk import Place, walk

Execution = dict[str, Any]

_REDRIVABLE = {"FAILED", "TIMED_OUT", "ABORTED"}
_changing_status = threading.RLock()
_scopes: dict[str, Scope] = {}
"""The life of each running execution, by ARN."""


def install() -> None:
    """Replace the walk through an execution, and answer RedriveExecution."""
    answer, describe, list_all, stop = (
        stepfunctions.handle_request,
        stepfunctions._describe_execution,
        stepfunctions._list_executions,
        stepfunctions._stop_execution,
    )

    async def handle_request(method: str, path: str, headers: Any, body: Any, query: Any) -> Any:
        if headers.get("x-amz-target", "").endswith(".RedriveExecution"):
            return stepfunctions._finalize_response(redrive(json.loads(body)))
        return await answer(method, path, headers, body, query)

    def describe_execution(data: dict[str, Any]) -> Any:
        status, response_headers, body = describe(data)
        execution = stepfunctions._executions.get(data.get("executionArn"))
        if execution is None or status != 200:
            return status, response_headers, body
        return json_response(json.loads(body) | redrive_fields(execution))

    def list_executions(data: dict[str, Any]) -> Any:
        status, response_headers, body = list_all(data)
        if status != 200:
            return status, response_headers, body
        found = json.loads(body)
        for item in found["executions"]:
            item.update(_counted(stepfunctions._executions[item["executionArn"]]))
        return json_response(found)

    def stop_execution(data: dict[str, Any]) -> Any:
        with _changing_status:
            response = stop(data)
            execution = stepfunctions._executions.get(data.get("executionArn"))
            if execution and execution["status"] == "ABORTED":
                _end_life(execution, aborted=True)
        return response

    stepfunctions.handle_request = handle_request
    stepfunctions._describe_execution = describe_execution
    stepfunctions._list_executions = list_executions
    stepfunctions._stop_execution = stop_execution
    stepfunctions._run_execution = run


def redrive(data: dict[str, Any]) -> Any:
    """Have an execution that did not succeed go on in the state in which it ended, with that state's input."""
    execution = stepfunctions._executions.get(data.get("executionArn"))
    if execution is None:
        return error_response_json("ExecutionDoesNotExist", f"Execution {data.get('executionArn')} not found", 400)
    with _changing_status:
        token = data.get("clientToken")
        if token and token == execution.get("_redriveToken"):
            return json_response({"redriveDate": execution["redriveDate"]})
        if execution["status"] not in _REDRIVABLE:
            return error_response_json("ExecutionNotRedrivable", _why_not(execution), 400)
        execution.update(
            status="RUNNING", stopDate=None, error=None, cause=None, output=None,
            redriveCount=execution.get("redriveCount", 0) + 1, redriveDate=now_iso(), _redriveToken=token,
        )  # fmt: skip
        details = {"executionRedrivenEventDetails": {"redriveCount": execution["redriveCount"]}}
        stepfunctions._add_event(execution, "ExecutionRedriven", details)
        stepfunctions._emit_execution_status_event(execution)
    life = contextvars.copy_context()  # the account and region of the caller
    threading.Thread(target=life.run, args=(run, execution["executionArn"]), daemon=True).start()
    return json_response({"redriveDate": execution["redriveDate"]})


def redrive_fields(execution: Execution) -> dict[str, Any]:
    """What DescribeExecution and the status events say of redrives."""
    if execution["status"] in _REDRIVABLE:
        return _counted(execution) | {"redriveStatus": "REDRIVABLE"}
    return _counted(execution) | {"redriveStatus": "NOT_REDRIVABLE", "redriveStatusReason": _why_not(execution)}


def run(execution_arn: str) -> None:
    """Live one life of an execution: from its start, or after a redrive from the place where it ended."""
    execution = stepfunctions._executions.get(execution_arn)
    machine = stepfunctions._state_machines.get(execution["stateMachineArn"]) if execution else None
    if execution is None or machine is None:
        return
    scope = Scope()
    with _changing_status:
        if execution["status"] != "RUNNING":
            return  # stopped before it began
        _scopes[execution_arn] = scope
    # An execution keeps the definition that it began with, whatever is deployed meanwhile.
    definition = json.loads(execution.setdefault("_definition", machine["definition"]))
    given = json.loads(execution["input"])
    place = execution.setdefault("_place", Place(definition["StartAt"], given))
    timer = _limit(execution, definition.get("TimeoutSeconds"), scope)
    with stepfunctions_scope.entered(scope):
        try:
            output = walk(definition["States"], place, execution, _context(execution, machine, definition, given))
            _end(execution, scope, "SUCCEEDED", output)
        except ScopeOver:
            pass  # whoever ended it has said how
        except stepfunctions._ExecutionError as error:
            _end(execution, scope, "FAILED", error=error.error, cause=error.cause)
        except Exception as error:  # noqa: BLE001 - a fault of the stand-in itself must not leave the execution running for ever
            stepfunctions.logger.exception("execution %s", execution_arn)
            _end(execution, scope, "FAILED", error="States.Runtime", cause=str(error))
        finally:
            timer.cancel()


def _context(execution: Execution, machine: Any, definition: Any, given: Any) -> dict[str, Any]:
    about = {
        "Id": execution["executionArn"],
        "Input": given,
        "Name": execution["name"],
        "RoleArn": machine["roleArn"],
        "StartTime": execution["startDate"],
        "RedriveCount": execution.get("redriveCount", 0),
    }
    if execution.get("redriveDate"):
        about["RedriveTime"] = execution["redriveDate"]
    return {
        "QueryLanguage": definition.get("QueryLanguage", "JSONPath"),
        "Execution": about,
        "StateMachine": {"Id": execution["stateMachineArn"], "Name": machine["name"]},
        "variables": {},
    }


def _limit(execution: Execution, limit_s: float | None, scope: Scope) -> threading.Timer:
    """End the execution as timed out after its machine's TimeoutSeconds. Not scaled: it is a limit, not a wait."""

    def time_out() -> None:
        _end(execution, scope, "TIMED_OUT", error="States.Timeout", cause="")

    account_and_region = contextvars.copy_context()
    timer = threading.Timer(limit_s or 0, account_and_region.run, args=(time_out,))
    timer.daemon = True
    if limit_s is not None:
        timer.start()
    return timer


def _end(
    execution: Execution, scope: Scope, status: str, output: Any = None, *, error: str = "", cause: str = ""
) -> None:
    """End this life, unless it has ended already."""
    with _changing_status:
        if scope.is_over:
            return
        if status == "SUCCEEDED":
            text = json.dumps(output)
            execution.update(status=status, output=text, stopDate=now_iso())
            details = {"executionSucceededEventDetails": {"output": text}}
            stepfunctions._add_event(execution, "ExecutionSucceeded", details)
        else:
            event = "ExecutionTimedOut" if status == "TIMED_OUT" else "ExecutionFailed"
            execution.update(status=status, error=error, cause=cause, stopDate=now_iso())
            details = {f"{event[0].lower()}{event[1:]}EventDetails": {"error": error, "cause": cause}}
            stepfunctions._add_event(execution, event, details)
        _end_life(execution)
        stepfunctions._emit_execution_status_event(execution)


def _end_life(execution: Execution, *, aborted: bool = False) -> None:
    scope = _scopes.pop(execution["executionArn"], None)
    if scope:
        scope.end(aborted=aborted)


def _counted(execution: Execution) -> dict[str, Any]:
    date = execution.get("redriveDate")
    return {"redriveCount": execution.get("redriveCount", 0), **({"redriveDate": date} if date else {})}


def _why_not(execution: Execution) -> str:
    return f"Execution is {execution['status']} and cannot be redriven"
