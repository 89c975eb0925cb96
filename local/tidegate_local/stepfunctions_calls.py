"""Gap: a Task of ministack goes on after its execution was stopped, and ignores HeartbeatSeconds.

Here each call belongs to a scope: what is over makes no further call, a Task or Wait that is over is left at once,
and a `.sync` task that waits learns of it. TimeoutSeconds and HeartbeatSeconds are limits, so they are never scaled.
"""

from __future__ import annotations

import contextvars
import threading
from datetime import UTC, datetime
from typing import Any

from ministack.services import stepfunctions

from tidegate_local import stepfunctions_scope
from tidegate_local.stepfunctions_scope import Scope, ScopeOver

DEFAULT_TIMEOUT_S = 99_999_999
"""What AWS takes for a Task without TimeoutSeconds."""

_LOOK_S = 0.05


def install() -> None:
    """Wrap the calls of Tasks."""
    invoke, invoke_with_callback, execute_task = (
        stepfunctions._invoke_resource,
        stepfunctions._invoke_with_callback,
        stepfunctions._execute_task,
    )

    def invoke_while_it_matters(resource: str, data: Any) -> Any:
        stepfunctions_scope.current().check()
        return invoke(resource, data)

    def invoke_with_heartbeat(resource: str, data: Any, token: str, state: dict[str, Any]) -> Any:
        stepfunctions_scope.current().check()
        with stepfunctions_scope.entered(Scope(stepfunctions_scope.current())) as scope:
            watch = threading.Thread(
                target=contextvars.copy_context().run,
                args=(_watch_callback, token, state.get("HeartbeatSeconds"), scope),
                daemon=True,
            )
            watch.start()
            return invoke_with_callback(resource, data, token, state)

    def execute_with_limit(state: dict[str, Any], given: Any, execution: Any, context: Any) -> Any:
        return execute_task({"TimeoutSeconds": DEFAULT_TIMEOUT_S} | state, given, execution, context)

    stepfunctions._invoke_resource = invoke_while_it_matters
    stepfunctions._invoke_resource_with_timeout = invoke_with_timeout
    stepfunctions._invoke_with_callback = invoke_with_heartbeat
    stepfunctions._execute_task = execute_with_limit
    stepfunctions._scaled_sleep = sleep_scaled


def sleep_scaled(seconds: float) -> None:
    """What a Wait state does. It wakes when its execution is over."""
    stepfunctions_scope.current().wait(seconds * stepfunctions._SFN_WAIT_SCALE)


def invoke_with_timeout(resource: str, data: Any, timeout_s: float) -> Any:
    """Make a call, and leave it after its time or when its scope is over. It may go on unheeded, as on AWS."""
    answers: list[tuple[Any, Exception | None]] = []
    is_time_to_go_on = threading.Event()

    def call() -> None:
        try:
            answers.append((stepfunctions._invoke_resource(resource, data), None))
        except Exception as error:  # noqa: BLE001 - raised below, in the thread that waits for it
            answers.append((None, error))
        is_time_to_go_on.set()

    with stepfunctions_scope.entered(Scope(stepfunctions_scope.current())) as scope:
        scope.on_end(is_time_to_go_on.set)
        threading.Thread(target=contextvars.copy_context().run, args=(call,), daemon=True).start()
        if not is_time_to_go_on.wait(timeout_s):
            raise stepfunctions._ExecutionError("States.Timeout", f"The task ran longer than {timeout_s} seconds")
        scope.check()
    answer, error = answers[0]
    if error is not None:
        raise error
    return answer


def _watch_callback(token: str, heartbeat_s: float | None, scope: Scope) -> None:
    """End the wait for a task token when its execution is over or its heartbeat fails to come."""
    began = datetime.now(UTC)
    try:
        while True:
            scope.wait(_LOOK_S)
            waiting = stepfunctions._task_tokens.get(token)
            beat = datetime.fromisoformat(waiting["heartbeat"]) if waiting and waiting.get("heartbeat") else began
            if waiting and heartbeat_s is not None and (datetime.now(UTC) - beat).total_seconds() > heartbeat_s:
                _give_up(token, "States.HeartbeatTimeout", f"No heartbeat for {heartbeat_s} seconds")
                return
    except ScopeOver:
        _give_up(token, "States.Runtime", "The execution is over")


def _give_up(token: str, error: str, cause: str) -> None:
    waiting = stepfunctions._task_tokens.get(token)
    if waiting and not waiting["event"].is_set():
        waiting["error"] = {"Error": error, "Cause": cause}
        waiting["event"].set()
