"""Who makes a call, told from its request. Pure but for the register.

A process that the local cloud starts for a function or a step is given a token (`AWS_SDK_UA_APP_ID`), which AWS's SDKs
put into the user agent of every request. Step Functions, the scheduler and the like call from inside, without one.
"""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

VARIABLE = "AWS_SDK_UA_APP_ID"
MACHINE, CLIENT = "machine", "client"
_TOKEN = re.compile(r"\bapp/(tidegate-local-[0-9a-f]{12})\b")


@dataclass(frozen=True)
class Caller:
    """Whose call it is: `kind` is function, step, machine or client, `names` are what a plan may call it."""

    kind: str
    names: tuple[str, ...]
    kill: Callable[[], None] = lambda: None
    """End its process at once."""


_callers: dict[str, Caller] = {}
_lock = threading.Lock()


def register(caller: Caller) -> str:
    """The token that the caller's process has to be given as VARIABLE."""
    token = f"tidegate-local-{uuid.uuid4().hex[:12]}"
    with _lock:
        _callers[token] = caller
    return token


def forget(token: str) -> None:
    """Its process is over."""
    with _lock:
        _callers.pop(token, None)


def caller_of(headers: Mapping[str, str]) -> Caller:
    """Whose request has these headers (names in lower case)."""
    agent = headers.get("user-agent") or headers.get("x-amz-user-agent")
    if agent is None:
        return Caller(MACHINE, (MACHINE,))
    found = _TOKEN.search(agent)
    with _lock:
        known = _callers.get(found[1]) if found else None
    return known or Caller(CLIENT, (CLIENT,))
