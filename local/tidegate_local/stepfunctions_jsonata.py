"""Gap: ministack takes TimeoutSeconds and MaxConcurrency as numbers alone, and ignores a Succeed state's Output.

In JSONata states AWS evaluates all three.
"""

from __future__ import annotations

from typing import Any

from ministack.services import stepfunctions

_NUMBERS = ("TimeoutSeconds", "HeartbeatSeconds", "MaxConcurrency")


def install() -> None:
    """Wrap the states that have these fields."""
    task, map_, apply_output_path = (
        stepfunctions._execute_task,
        stepfunctions._execute_map,
        stepfunctions._apply_output_path,
    )

    def execute_task(state: dict[str, Any], given: Any, execution: Any, ctx: dict[str, Any]) -> Any:
        return task(evaluated(state, given, ctx), given, execution, ctx)

    def execute_map(state: dict[str, Any], given: Any, execution: Any, ctx: dict[str, Any]) -> Any:
        return map_(evaluated(state, given, ctx), given, execution, ctx)

    def output_path(state: dict[str, Any], output: Any, ctx: Any = None) -> Any:
        if state.get("Type") == "Succeed" and "Output" in state:
            return stepfunctions._apply_jsonata_output(state, output, ctx, default=output)
        return apply_output_path(state, output, ctx)

    stepfunctions._execute_task = execute_task
    stepfunctions._execute_map = execute_map
    stepfunctions._apply_output_path = output_path


def evaluated(state: dict[str, Any], given: Any, ctx: dict[str, Any]) -> dict[str, Any]:
    """The state with its expressions for numbers evaluated."""
    found = {
        name: int(stepfunctions._evaluate_jsonata(state[name][2:-2].strip(), given, ctx))
        for name in _NUMBERS
        if isinstance(state.get(name), str) and state[name].startswith("{%")
    }
    return state | found
