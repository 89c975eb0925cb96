"""What belongs together in an execution, so that it ends together. Fills no gap by itself; the others stand on it.

An execution's life is a scope; so is each Map or Parallel state in progress, each of its parts, and each call of a
Task. What ends a scope ends all within it: a wait wakes up, and no call is made any more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class ScopeOver(Exception):
    """Raised in what goes on after its scope has ended. Neither Retry nor Catch sees it."""


class Scope:
    """Ends once, and everything within it with it."""

    def __init__(self, within: Scope | None = None) -> None:
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._parts: list[Scope] = []
        self._on_end: list[Callable[[], None]] = []
        self.is_aborted = False
        """Whether it was stopped, in contrast to being through or out of time."""
        if within is not None:
            within._take(self)

    @property
    def is_over(self) -> bool:
        return self._over.is_set()

    def end(self, *, aborted: bool = False) -> None:
        """End it and all within it. The first end counts."""
        with self._lock:
            if self._over.is_set():
                return
            self.is_aborted = aborted
            self._over.set()
            parts, self._parts = self._parts, []
            told, self._on_end = self._on_end, []
        for tell in told:
            tell()
        for part in parts:
            part.end(aborted=aborted)

    def on_end(self, tell: Callable[[], None]) -> None:
        """Have `tell` called when it ends, or now if it has ended."""
        with self._lock:
            if not self._over.is_set():
                self._on_end.append(tell)
                return
        tell()

    def check(self) -> None:
        """Raise ScopeOver if it has ended."""
        if self._over.is_set():
            raise ScopeOver

    def wait(self, seconds: float) -> None:
        """Sleep. Raises ScopeOver as soon as it ends."""
        if self._over.wait(seconds):
            raise ScopeOver

    def _take(self, part: Scope) -> None:
        with self._lock:
            if not self._over.is_set():
                self._parts = [each for each in self._parts if not each.is_over]
                self._parts.append(part)
                return
        part.end(aborted=self.is_aborted)


_current: ContextVar[Scope | None] = ContextVar("tidegate_local_scope", default=None)


def current() -> Scope:
    """The scope of this thread of work. Outside of any execution it is one that never ends."""
    return _current.get() or Scope()


@contextmanager
def entered(scope: Scope) -> Iterator[Scope]:
    """Work in this scope, which is over at the end."""
    token = _current.set(scope)
    try:
        yield scope
    finally:
        scope.end()
        _current.reset(token)
