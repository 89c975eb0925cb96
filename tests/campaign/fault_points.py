"""The points at which a stack can be struck, found by watching it, and the strike itself.

A point is a call to AWS: who makes it (function and action, the step's job, or the machine itself), which one, on which
path through the code, and for the how-manieth time in its scenario. So a new call is a new point by itself.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from botocore.exceptions import ClientError
from campaign.one_process_cloud import Killed, Life, Send, Task, execution_error, lost_answer, path_of_call

DIES_BEFORE, DIES_AFTER = "dies before", "dies after"
THROTTLED, REFUSED, ASKED_AGAIN = "is throttled", "meets an internal error", "loses the answer and asks again"
KINDS = (DIES_BEFORE, DIES_AFTER, THROTTLED, REFUSED, ASKED_AGAIN)


Place = tuple[str, str, str]
"""Who calls what, and on which path through the code."""


@dataclass(frozen=True)
class Point:
    """One call to AWS in a scenario."""

    scenario: str
    caller: str
    operation: str
    path: str
    number: int

    @property
    def place(self) -> Place:
        """The same line of code reached the same way, whatever the scenario."""
        return (self.caller, self.operation, self.path)

    @property
    def only_reads(self) -> bool:
        """Whether the call changes nothing, so that dying before it and after it is the same."""
        return self.operation.rpartition(".")[2].startswith(("BatchGet", "Describe", "Get", "Head", "List", "Query"))

    def __str__(self) -> str:
        return f"{self.scenario}: {self.caller} {self.operation} [{self.path}] #{self.number}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Watch:
    """Counts the calls of a scenario; strikes at one of them, if it is given one."""

    def __init__(self, scenario: str, target: Point | None = None, kind: str | None = None) -> None:
        self._scenario, self._target, self._kind = scenario, target, kind
        self._counted: Counter[tuple[str, str, str]] = Counter()
        self._lock = threading.Lock()
        self.points: list[Point] = []
        self.has_struck = False

    def intercept(self, life: Life, operation: str, send: Send) -> Any:
        if not self._is_target(life.name, operation, path_of_call()):
            return send()
        return self._strike(life, operation, send)

    def _is_target(self, caller: str, operation: str, path: str) -> bool:
        with self._lock:
            self._counted[caller, operation, path] += 1
            point = Point(self._scenario, caller, operation, path, self._counted[caller, operation, path])
            self.points.append(point)
            is_it = point == self._target and not self.has_struck
            self.has_struck |= is_it
            return is_it

    def _strike(self, life: Life, operation: str, send: Send) -> Any:
        if self._kind == DIES_BEFORE:
            life.end()
            raise Killed
        if self._kind == DIES_AFTER:
            send()
            life.end()
            raise Killed
        if self._kind == ASKED_AGAIN:
            with lost_answer():
                return send()
        throttled = {"Code": "ThrottlingException", "Message": "Rate exceeded"}
        refused = {"Code": "InternalServerError", "Message": "We encountered an internal error"}
        error: Any = {"Error": throttled if self._kind == THROTTLED else refused}
        raise ClientError(error, operation.partition(".")[2])

    def intercept_task(self, task: Task) -> Any:
        """The machine's own calls to EMR fail before or after they took effect; its functions fail by themselves."""
        if task.resource == "lambda" or not self._is_target("machine", task.resource.rpartition(":")[2], task.state):
            return task.call()
        if self._kind == DIES_AFTER:
            task.begin()
        raise execution_error("EMR.InternalServerErrorException", "We encountered an internal error")


def kinds_for(point: Point) -> tuple[str, ...]:
    """What can happen at a point. A step's job only dies here: its own tests hold how it fails."""
    return (DIES_BEFORE, DIES_AFTER) if point.caller in {"machine", "step"} else KINDS
