"""Strikes at events on their way through EventBridge: those of S3's objects, of EMR, of Step Functions, of anyone.

AWS promises at least once, in no order, and in its own time; each of these is what that allows, `lost` apart, which is
what a rule that was switched off or a target that failed for a day looks like.
"""

from __future__ import annotations

import contextvars
import json
import logging
import threading
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from tidegate_local import settings
from tidegate_local.faults.kinds import DELAYED, LOST, OF_EVENTS, REORDERED, REPEATED, Fault
from tidegate_local.faults.plan import Faults, faults_of

logger = logging.getLogger("tidegate.local.faults")

_HELD_AT_MOST_S = 5.0
"""How long a reordered event waits for one that may overtake it."""

Deliver = Callable[[], None]


def install() -> None:
    """Wrap the delivery of an event to the rules that match it."""
    from ministack.services import eventbridge  # noqa: PLC0415 - after its environment is set

    road = Road(faults_of(settings.current().faults_file))
    dispatch = eventbridge._dispatch_event

    def dispatch_as_planned(event: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        # A thread of its own later has neither account nor region: they come with the context.
        context = contextvars.copy_context()
        road.send(event, lambda: context.copy().run(dispatch, event, *args, **kwargs))

    eventbridge._dispatch_event = dispatch_as_planned


class Road:
    """The way of events: delivers each once and at once, but for those that a fault strikes."""

    def __init__(self, faults: Faults, later: Callable[[float, Callable[[], None]], None] | None = None) -> None:
        self._faults = faults
        self._later = later or _later
        self._held: list[tuple[Fault, Deliver]] = []
        self._lock = threading.Lock()

    def send(self, event: dict[str, Any], deliver: Deliver) -> None:
        """Deliver an event, or do with it what is planned."""
        kind = str(event.get("DetailType", ""))
        fault = self._faults.strike(*OF_EVENTS, event=kind, resource=resources_of(event))
        if fault is None:
            deliver()
            self._release(kind)
        elif fault["fault"] == REPEATED:
            deliver()
            deliver()
            self._release(kind)
        elif fault["fault"] == DELAYED:
            self._later(fault["seconds"], deliver)
        elif fault["fault"] == REORDERED:
            self._hold(fault, deliver)
        elif fault["fault"] == LOST:
            logger.warning("Event %s is lost, as planned", kind)

    def _hold(self, fault: Fault, deliver: Deliver) -> None:
        held = (fault, deliver)
        with self._lock:
            self._held.append(held)
        self._later(fault.get("seconds", _HELD_AT_MOST_S), lambda: self._let_go([held]))

    def _release(self, kind: str) -> None:
        """One has gone by: those that wait for it follow, the last held first."""
        with self._lock:
            waiting = [each for each in self._held if fnmatchcase(kind, each[0]["event"])]
        self._let_go(waiting[::-1])

    def _let_go(self, waiting: list[tuple[Fault, Deliver]]) -> None:
        for each in waiting:
            with self._lock:
                if each not in self._held:
                    continue
                self._held.remove(each)
            each[1]()


def resources_of(event: dict[str, Any]) -> tuple[str, ...]:
    """What an event is about: `bucket/key`, a cluster's name, an execution's; and the ARNs that it names."""
    detail = json.loads(event.get("Detail") or "{}")
    found = [str(each) for each in event.get("Resources") or []]
    if isinstance(detail, dict):
        bucket, key = detail.get("bucket"), detail.get("object")
        if isinstance(bucket, dict) and isinstance(key, dict):
            found.append(f"{bucket.get('name')}/{key.get('key')}")
        found += [detail[name] for name in ("name", "clusterId", "executionArn") if isinstance(detail.get(name), str)]
    return tuple(found)


def _later(seconds: float, do: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, do)
    timer.daemon = True
    timer.start()
