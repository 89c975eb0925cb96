"""Gap: ministack reports every exception of a function as `Runtime.HandlerError`.

Retry and Catch by an exception's name could then never match. Here the name is the exception's class, as on AWS.
It is read from the traceback that ministack puts into the function's log. What ends the function's process or keeps
it from starting has AWS's names too.
"""

from __future__ import annotations

import re
from typing import Any

from ministack.services import lambda_svc

_HEAD = "Traceback (most recent call last):"
# The first line after the frames: `module.Name: message`, or the name alone.
_LAST_LINE = re.compile(r"^(?:[A-Za-z_]\w*\.)*([A-Za-z_]\w*)(?::|$)")
_NAMES_ON_AWS = (
    (re.compile(r"^Worker process (died|exited immediately)"), "Runtime.ExitError"),
    (re.compile(r"^Worker init failed: No module named"), "Runtime.ImportModuleError"),
)


def install() -> None:
    """Wrap the executor that runs Python functions in warm processes."""
    execute = lambda_svc._execute_function_warm

    def execute_and_name(func: dict[str, Any], event: Any, request_id: str) -> dict[str, Any]:
        result: dict[str, Any] = execute(func, event, request_id)
        body = result.get("body")
        if result.get("error") and isinstance(body, dict):
            body |= renamed(body, str(result.get("log", "")))
        return result

    lambda_svc._execute_function_warm = execute_and_name


def renamed(body: dict[str, Any], log: str) -> dict[str, Any]:
    """What changes in an error's payload: its errorType and stackTrace."""
    for message, name_on_aws in _NAMES_ON_AWS:
        if message.match(str(body.get("errorMessage"))):
            return {"errorType": name_on_aws, "stackTrace": []}
    if body.get("errorType") != "Runtime.HandlerError":
        return {}
    trace = log.rpartition(_HEAD)[2]
    name = name_of(trace)
    frames = [line for line in trace.splitlines() if line[:1].isspace()]
    return {"errorType": name, "stackTrace": frames} if name else {}


def name_of(trace: str) -> str | None:
    """The exception's class name from what follows the head of a traceback; None if there is none."""
    for line in trace.splitlines():
        if line and not line[0].isspace():
            found = _LAST_LINE.match(line)
            return found[1] if found else None
    return None
