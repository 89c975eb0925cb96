"""Strikes at the processes of functions: each is known by a token, so that one of its calls can be its last.

What is left of it is what AWS leaves: the invocation ends as `Runtime.ExitError` (lambda_errors.py), and the next one
gets a process of its own. Time runs from the invocation, the start of its process included.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

from tidegate_local import settings
from tidegate_local.faults import callers
from tidegate_local.faults.callers import Caller
from tidegate_local.faults.kinds import KILLED
from tidegate_local.faults.plan import faults_of

_spawned: ContextVar[Any] = ContextVar("tidegate_local_spawned_worker", default=None)
_WAITS_FOR_PROCESS_S = 10
_LOOK_S = 0.05


def install() -> None:
    """Wrap the start of a function's process, the credentials that it gets, and each invocation."""
    from ministack.core import lambda_runtime  # noqa: PLC0415 - after its environment is set

    faults = faults_of(settings.current().faults_file)
    worker_class = lambda_runtime.Worker
    spawn, invoke = worker_class._spawn, worker_class.invoke
    credentials = lambda_runtime.execution_credentials

    def spawn_known(worker: Any) -> None:
        marker = _spawned.set(worker)
        try:
            spawn(worker)
        finally:
            _spawned.reset(marker)

    def credentials_and_token(config: dict[str, Any]) -> dict[str, str]:
        worker = _spawned.get()
        given: dict[str, str] = credentials(config)
        if worker is None:
            return given
        callers.forget(getattr(worker, "tidegate_token", ""))
        worker.tidegate_token = callers.register(
            Caller("function", names_of(config), lambda: kill(worker)),
        )
        return given | {callers.VARIABLE: worker.tidegate_token}

    def invoke_until_killed(worker: Any, *args: Any, **kwargs: Any) -> Any:
        fault = faults.strike(KILLED, only=lambda each: "after_s" in each, function=names_of(worker.config))
        if fault is None:
            return invoke(worker, *args, **kwargs)
        is_over = threading.Event()
        threading.Thread(target=_kill_in_time, args=(worker, fault["after_s"], is_over), daemon=True).start()
        try:
            return invoke(worker, *args, **kwargs)
        finally:
            is_over.set()

    worker_class._spawn, worker_class.invoke = spawn_known, invoke_until_killed
    lambda_runtime.execution_credentials = credentials_and_token


def _kill_in_time(worker: Any, after_s: float, is_over: threading.Event) -> None:
    """Kill the process so long after the invocation began, or as soon as there is one, unless it is over by then."""
    time_s: float = after_s
    while not is_over.wait(time_s):
        if worker._proc is not None and worker._proc.poll() is None:
            kill(worker)
            return
        time_s = _LOOK_S


def names_of(config: dict[str, Any]) -> tuple[str, ...]:
    """What a plan may call a function: its name in AWS, or the module of its handler (`plan_run`)."""
    return str(config.get("FunctionName", "")), str(config.get("Handler", "")).partition(".")[0]


def kill(worker: Any) -> None:
    """End the process at once."""
    process = worker._proc
    if process is not None:
        with suppress(ProcessLookupError):
            process.kill()
        with suppress(Exception):
            process.wait(timeout=_WAITS_FOR_PROCESS_S)
