"""Gap: ministack's StartExecution refuses a name that runs already, and takes any name and input.

AWS: the name and input of a running execution return that execution; another input, or a closed execution's name, is
ExecutionAlreadyExists.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ministack.core.responses import error_response_json, json_response
from ministack.services import stepfunctions

from tidegate_local.stepfunctions_walk import MAX_PAYLOAD_BYTES

_NAME = re.compile(r"[^\s<>{}\[\]?*\"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]{1,80}")


def install() -> None:
    """Wrap StartExecution."""
    start = stepfunctions._start_execution

    def start_execution(data: dict[str, Any]) -> Any:
        name, given = data.get("name"), data.get("input", "{}")
        if name is not None and not _NAME.fullmatch(name):
            return error_response_json("InvalidName", f"Invalid Name: '{name}'", 400)
        if len(given.encode()) > MAX_PAYLOAD_BYTES:
            return error_response_json("InvalidExecutionInput", "The input is longer than 262144 bytes", 400)
        try:
            json.loads(given)
        except ValueError as error:
            return error_response_json("InvalidExecutionInput", f"Invalid execution input: {error}", 400)
        running = _running(data.get("stateMachineArn", ""), name)
        if running and running["input"] == given:
            return json_response({"executionArn": running["executionArn"], "startDate": running["startDate"]})
        return start(data)

    stepfunctions._start_execution = start_execution


def _running(machine_arn: str, name: str | None) -> dict[str, Any] | None:
    machine = stepfunctions._state_machines.get(stepfunctions._resolve_state_machine_arn(machine_arn))
    if not machine or not name:
        return None
    arn = f"{machine['stateMachineArn'].replace(':stateMachine:', ':execution:')}:{name}"
    execution: dict[str, Any] | None = stepfunctions._executions.get(arn)
    return execution if execution and execution["status"] == "RUNNING" else None
