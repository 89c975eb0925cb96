"""Gap: what ministack's JSONata states miss.

TimeoutSeconds, HeartbeatSeconds and MaxConcurrency are taken as numbers alone; the Output of a Succeed state and of
a Choice state's Default is ignored; the expressions of one Assign see each other's values, where AWS evaluates them
all before it assigns any.
"""

from __future__ import annotations

from typing import Any

from ministack.services import stepfunctions

_NUMBERS = ("TimeoutSeconds", "HeartbeatSeconds", "MaxConcurrency")

State = dict[str, Any]


def install() -> None:
    """Wrap the states that have these fields."""
    task, map_, choice, apply_output_path = (
        stepfunctions._execute_task,
        stepfunctions._execute_map,
        stepfunctions._execute_choice,
        stepfunctions._apply_output_path,
    )

    def execute_task(state: State, given: Any, execution: Any, ctx: dict[str, Any]) -> Any:
        return task(evaluated(state, given, ctx), given, execution, ctx)

    def execute_map(state: State, given: Any, execution: Any, ctx: dict[str, Any]) -> Any:
        return map_(evaluated(state, given, ctx), given, execution, ctx)

    def execute_choice(state: State, given: Any, ctx: Any = None) -> Any:
        if stepfunctions._state_query_language(state, ctx) != "JSONata" or "Default" not in state:
            return choice(state, given, ctx)
        # The Default is the choice that always holds.
        default = {name: state[name] for name in ("Output", "Assign") if name in state}
        last = default | {"Condition": True, "Next": state["Default"], "QueryLanguage": "JSONata"}
        return choice({**state, "Choices": [*state.get("Choices", []), last]}, given, ctx)

    def output_path(state: State, output: Any, ctx: Any = None) -> Any:
        if state.get("Type") == "Succeed" and "Output" in state:
            return stepfunctions._apply_jsonata_output(state, output, ctx, default=output)
        return apply_output_path(state, output, ctx)

    stepfunctions._execute_task = execute_task
    stepfunctions._execute_map = execute_map
    stepfunctions._execute_choice = execute_choice
    stepfunctions._apply_output_path = output_path
    stepfunctions._apply_state_assign = assign


def evaluated(state: State, given: Any, ctx: dict[str, Any]) -> State:
    """The state with its expressions for numbers evaluated."""
    found = {
        name: int(stepfunctions._evaluate_jsonata(state[name][2:-2].strip(), given, ctx))
        for name in _NUMBERS
        if isinstance(state.get(name), str) and state[name].startswith("{%")
    }
    return state | found


def assign(state: State, given: Any, ctx: Any, result: Any = None, error_output: Any = None) -> None:
    """Evaluate all of a state's Assign, then assign."""
    if ctx is None or "Assign" not in state or stepfunctions._state_query_language(state, ctx) != "JSONata":
        return
    values = stepfunctions._apply_jsonata_template(
        state["Assign"], given, ctx, result=result, error_output=error_output
    )
    ctx.setdefault("variables", {}).update(values)
