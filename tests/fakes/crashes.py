"""Ends the process, so to speak, before or after the n-th call to a port."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class Crashed(BaseException):
    """Not an Exception: nothing may catch and survive it."""


@dataclass
class CrashPoint:
    """Counts the calls through all ports that it wraps; `at` None never crashes."""

    at: int | None = None
    after: bool = False
    calls: int = 0
    name: str = ""

    def wrap(self, port: Any) -> Any:
        return _Wrapped(port, self)

    def call(self, name: str, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        number, self.calls = self.calls, self.calls + 1
        if number == self.at and not self.after:
            self.name = name
            raise Crashed(f"before {name}")
        answer = method(*args, **kwargs)
        if number == self.at:
            self.name = name
            raise Crashed(f"after {name}")
        return answer


class _Wrapped:
    def __init__(self, port: Any, point: CrashPoint) -> None:
        self._port, self._point = port, point

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._point.call(name, method, *args, **kwargs)

        return call
