"""Strikes at calls: requests of any client to any service, and what Step Functions calls from inside.

Every request to a service, whoever makes it, goes through ministack's table of handlers; so that is the place. Step
Functions' own integrations with EMR and Lambda call Python functions instead and are struck in :func:`strike_inside`.
A call is one request: an SDK that asks again makes another one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from tidegate_local import settings, stepfunctions_scope
from tidegate_local.faults import callers
from tidegate_local.faults.answers import NotAnswerable, Refusal, Response, as_response, refusal_of
from tidegate_local.faults.callers import Caller
from tidegate_local.faults.kinds import FAILS_AFTER, HANGS, KILLED, KILLED_AFTER, OF_CALLS, OF_PROCESSES, Fault
from tidegate_local.faults.plan import Faults, faults_of
from tidegate_local.faults.requests import Call, call_of

logger = logging.getLogger("tidegate.local.faults")

Handler = Callable[..., Awaitable[Response]]


def install() -> None:
    """Wrap every service's handler, and the calls of Lambda that Step Functions makes."""
    from ministack import app  # noqa: PLC0415 - after its environment is set
    from ministack.services import stepfunctions  # noqa: PLC0415

    faults = faults_of(settings.current().faults_file)
    for service, handler in list(app.SERVICE_HANDLERS.items()):
        app.SERVICE_HANDLERS[service] = struck_handler(service, handler, faults)

    call_lambda = stepfunctions._call_lambda

    def call_lambda_or_fail(function: str, event: Any) -> Any:
        return strike_inside(
            Call(("lambda:Invoke", "lambda:InvokeFunction"), (function, function.rpartition(":function:")[2])),
            lambda: call_lambda(function, event),
            _lambda_error,
            faults,
        )

    stepfunctions._call_lambda = call_lambda_or_fail


def struck_handler(service: str, handler: Handler, faults: Faults) -> Handler:
    """A handler of requests to a service that planned faults strike at."""

    async def handle(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Response:
        async def answer() -> Response:
            return await handler(method, path, headers, body, query)

        # Nearly always there is no plan, and a request is not looked at twice.
        if not faults.is_planned(*OF_CALLS, *OF_PROCESSES):
            return await answer()
        raw = body.encode() if isinstance(body, str) else body
        call = call_of(service, method, path, headers=headers, body=raw, query=query)
        if call is None:
            return await answer()
        caller = callers.caller_of(headers)
        death = _death(faults, call, caller)
        if death is not None:
            if death["fault"] == KILLED_AFTER:
                await answer()
            caller.kill()
            return 500, {}, b""  # nobody is there to read it
        fault = faults.strike(*OF_CALLS, call=call.names, caller=caller.names, resource=call.resources)
        if fault is None:
            return await answer()
        return await _answer_to(fault, call, headers, answer)

    return handle


async def _answer_to(
    fault: Fault, call: Call, headers: dict[str, str], answer: Callable[[], Awaitable[Response]]
) -> Response:
    if fault["fault"] == HANGS:
        await asyncio.sleep(fault["seconds"])
        return await answer()
    try:
        refused = as_response(refusal_of(fault, call.name), call.service, headers)
    except NotAnswerable as trouble:
        logger.warning("%s", trouble)
        return await answer()
    if fault["fault"] == FAILS_AFTER:
        await answer()
    return refused


def _death(faults: Faults, call: Call, caller: Caller) -> Fault | None:
    """The planned end of the process that makes this call."""
    return faults.strike(
        KILLED, KILLED_AFTER,
        only=lambda fault: "after_s" not in fault,
        call=call.names, caller=caller.names, resource=call.resources,
        function=caller.names if caller.kind == "function" else (),
        step=caller.names if caller.kind == "step" else (),
    )  # fmt: skip


def strike_inside(
    call: Call, make: Callable[[], Any], error_of: Callable[[Refusal], Exception], faults: Faults | None = None
) -> Any:
    """Make a call of Step Functions' own, or fail it with what `error_of` makes of the refusal.

    What hangs is left as soon as the execution's scope is over (its Task's TimeoutSeconds, say).
    """
    faults = faults or faults_of(settings.current().faults_file)
    names: Sequence[str] = (callers.MACHINE,)
    fault = faults.strike(*OF_CALLS, call=call.names, caller=names, resource=call.resources)
    if fault is None:
        return make()
    if fault["fault"] == HANGS:
        stepfunctions_scope.current().wait(fault["seconds"])
        return make()
    if fault["fault"] == FAILS_AFTER:
        make()
    raise error_of(refusal_of(fault, call.name))


def _lambda_error(refusal: Refusal) -> Exception:
    from ministack.services import stepfunctions  # noqa: PLC0415

    cause = f"{refusal.message} (Service: AWSLambda; Status Code: {refusal.status}; Error Code: {refusal.code})"
    error: Exception = stepfunctions._ExecutionError(f"Lambda.{refusal.code}", cause)
    return error
