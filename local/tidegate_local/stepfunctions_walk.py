"""Gap: ministack walks a Map's iterations and a Parallel's branches out of sight, and each only from its start.

Here one walk serves them all: it writes the history, keeps its place for a redrive (in which what succeeded is not
run again), ends the siblings of what fails, and holds the 256 KiB of a payload. A Parallel state in JSONata has its
Arguments, Output and Assign.
"""

from __future__ import annotations

import contextvars
import copy
import json
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ministack.core.responses import now_iso
from ministack.services import stepfunctions

from tidegate_local import stepfunctions_scope
from tidegate_local.stepfunctions_scope import Scope, ScopeOver

Json = dict[str, Any]

MAX_PAYLOAD_BYTES = 262_144
MAX_AT_ONCE = 40
"""Iterations of an inline Map that AWS runs side by side."""

_WITH_EVENTS = {"Task", "Map", "Parallel"}


@dataclass
class Place:
    """Where a walk is, which is all that a redrive needs: the state to enter and its input."""

    state: str | None
    """None: it is through, and `value` is its result."""
    value: Any
    parts: list[Place] = field(default_factory=list)
    """Of the Map or Parallel state in progress: one an iteration or branch."""


@dataclass
class _Track:
    """The walk that this thread is in."""

    place: Place
    last_event_id: int


_track: contextvars.ContextVar[_Track | None] = contextvars.ContextVar("tidegate_local_track", default=None)
_writing_history = threading.Lock()


def install() -> None:
    """Replace how Map and Parallel run their parts, and how the history is written."""
    run_distributed = stepfunctions._run_map_items

    def run_map(state: Json, given: Any, execution: Json, context: Json) -> Any:
        if ((state.get("ItemProcessor") or {}).get("ProcessorConfig") or {}).get("Mode") == "DISTRIBUTED":
            return run_distributed(state, given, execution, context)
        return _run_map(state, given, execution, context)

    stepfunctions._run_map_items = run_map
    stepfunctions._run_parallel_branches = _run_parallel
    stepfunctions._add_event = add_event


def add_event(execution: Json, kind: str, details: Json | None = None) -> Json:
    """Append to the history. Each event names the one before it in its own iteration or branch."""
    track = _track.get()
    with _writing_history:
        number = len(execution["events"]) + 1
        previous = track.last_event_id if track else number - 1
        event = {"id": number, "previousEventId": previous, "type": kind, "timestamp": now_iso(), **(details or {})}
        execution["events"].append(event)
    if track:
        track.last_event_id = number
    return event


def walk(states: Json, place: Place, execution: Json, context: Json) -> Any:
    """Walk from `place`, which moves along, to the end; the result. Raises what no state caught, or ScopeOver."""
    outer = _track.get()
    token = _track.set(_Track(place, outer.last_event_id if outer else len(execution["events"])))
    try:
        while place.state is not None:
            _one_state(states, place, execution, context)
        return place.value
    finally:
        _track.reset(token)


def _one_state(states: Json, place: Place, execution: Json, context: Json) -> None:
    name = place.state
    stepfunctions_scope.current().check()
    if name not in states:
        raise stepfunctions._ExecutionError("States.Runtime", f"there is no state {name!r}")
    state, value = states[name], place.value
    kind = state["Type"]
    context["State"] = {"Name": name, "EnteredTime": now_iso(), "RetryCount": 0}
    _note(execution, f"{kind}StateEntered", "stateEnteredEventDetails", name=name, input=json.dumps(value))
    if kind == "Fail":
        raise stepfunctions._ExecutionError(*stepfunctions._fail_state_error(state, value, context))
    if kind == "Succeed":
        value = stepfunctions._apply_input_path(state, value, context)
        value, following = stepfunctions._apply_output_path(state, value, context), None
    else:
        # Looked up late: other gaps wrap some of these.
        execute = getattr(stepfunctions, f"_execute_{kind.lower()}")
        value, following = (
            execute(state, value, execution, context) if kind in _WITH_EVENTS else execute(state, value, context)
        )
    output = json.dumps(value, ensure_ascii=False)
    if len(output.encode()) > MAX_PAYLOAD_BYTES:
        message = (
            f"The state '{name}' returned a result with a size exceeding the maximum number of bytes service limit."
        )
        raise stepfunctions._ExecutionError("States.DataLimitExceeded", message)
    stepfunctions_scope.current().check()
    _note(execution, f"{kind}StateExited", "stateExitedEventDetails", name=name, output=json.dumps(value))
    place.state, place.value, place.parts = following, value, []


def _run_map(state: Json, given: Any, execution: Json, context: Json) -> Any:
    effective = stepfunctions._apply_input_path(state, given, context)
    in_jsonata = stepfunctions._state_query_language(state, context) == "JSONata"
    if in_jsonata and "Items" in state:
        items = stepfunctions._jsonata_state_field(state, "Items", "array", given, context)
    else:
        items = stepfunctions._resolve_path_or_ctx(state.get("ItemsPath", "$"), effective, context)
    if not isinstance(items, list):
        raise stepfunctions._ExecutionError("States.Runtime", "A Map state's items must be an array")
    machine = state.get("ItemProcessor") or state.get("Iterator") or {}
    contexts = [copy.deepcopy(context) | {"Map": {"Item": {"Index": n, "Value": item}}} for n, item in enumerate(items)]

    def selected(number: int) -> Any:
        selector = state.get("ItemSelector") or state.get("Parameters")
        if not selector:
            return copy.deepcopy(items[number])
        if in_jsonata:
            return stepfunctions._apply_jsonata_template(selector, given, contexts[number])
        return stepfunctions._resolve_params_obj(selector, effective, contexts[number])

    places = _places(context, lambda: [Place(machine["StartAt"], selected(n)) for n in range(len(items))])
    name = context["State"]["Name"]

    def iterate(number: int) -> Any:
        which = {"name": name, "index": number}
        _note(execution, "MapIterationStarted", "mapIterationStartedEventDetails", **which)
        try:
            result = walk(machine["States"], places[number], execution, contexts[number])
        except ScopeOver:
            _note(execution, "MapIterationAborted", "mapIterationAbortedEventDetails", **which)
            raise
        except Exception:
            _note(execution, "MapIterationFailed", "mapIterationFailedEventDetails", **which)
            raise
        _note(execution, "MapIterationSucceeded", "mapIterationSucceededEventDetails", **which)
        return result

    at_once = int(state.get("MaxConcurrency") or 0) or MAX_AT_ONCE
    _note(execution, "MapStateStarted", "mapStateStartedEventDetails", length=len(items))
    _run_due("Map", execution, places, iterate, at_once)
    return _output(state, given, context, [place.value for place in places])


def _run_parallel(state: Json, given: Any, execution: Json, context: Json) -> Any:
    branches = state.get("Branches", [])
    if stepfunctions._state_query_language(state, context) == "JSONata":
        effective = stepfunctions._apply_jsonata_arguments(state, given, context)
    else:
        effective = stepfunctions._apply_input_path(state, given, context)
        effective = stepfunctions._apply_parameters(state, effective, context)
    places = _places(context, lambda: [Place(branch["StartAt"], copy.deepcopy(effective)) for branch in branches])

    def branch_off(number: int) -> Any:
        # A branch sees the variables from outside, and keeps its own.
        return walk(branches[number]["States"], places[number], execution, copy.deepcopy(context))

    add_event(execution, "ParallelStateStarted")
    _run_due("Parallel", execution, places, branch_off, len(branches))
    return _output(state, given, context, [place.value for place in places])


def _places(context: Json, begin: Callable[[], list[Place]]) -> list[Place]:
    """Where the parts are: at their beginnings, or after a redrive where they were."""
    track = _track.get()
    if track is None:
        return begin()
    is_retry = context["State"]["RetryCount"] > 0
    if is_retry or not track.place.parts:
        track.place.parts = begin()
    return track.place.parts


def _run_due(kind: str, execution: Json, places: list[Place], run: Callable[[int], Any], at_once: int) -> None:
    """Run those parts of a Map or Parallel state that are not through yet, and note how that ended."""
    try:
        _side_by_side([number for number, place in enumerate(places) if place.state is not None], run, at_once)
    except ScopeOver:
        add_event(execution, f"{kind}StateAborted")
        raise
    except Exception:
        add_event(execution, f"{kind}StateFailed")
        raise
    add_event(execution, f"{kind}StateSucceeded")


def _output(state: Json, given: Any, context: Json, results: list[Any]) -> tuple[Any, str | None]:
    """The output of a Map or Parallel state, and what follows."""
    if stepfunctions._state_query_language(state, context) == "JSONata":
        output = stepfunctions._apply_jsonata_output(state, given, context, result=results, default=results)
        stepfunctions._apply_state_assign(state, given, context, result=results)
    else:
        output = stepfunctions._apply_result_selector(state, results)
        output = stepfunctions._apply_result_path(state, given, output)
        output = stepfunctions._apply_output_path(state, output, context)
    return output, stepfunctions._next_or_end(state)


def _side_by_side(numbers: list[int], run: Callable[[int], Any], at_once: int) -> None:
    """Run the parts, at most so many at once. The first that fails ends the others, and is what is raised."""
    group = Scope(stepfunctions_scope.current())
    waiting = deque(numbers)
    failures: list[Exception] = []

    def work() -> None:
        while waiting:
            with suppress(IndexError):  # another took the last one
                number = waiting.popleft()
                try:
                    group.check()
                    with stepfunctions_scope.entered(Scope(group)):
                        run(number)
                except Exception as error:  # noqa: BLE001 - raised below, in the thread that waits for it
                    failures.append(error)
                    group.end(aborted=True)

    workers = [
        # Each needs a context of its own (account and region): one can't be entered twice at a time.
        threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True)
        for _ in range(min(at_once, len(numbers)))
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    group.end()
    # What fails because its sibling did is not the reason.
    reasons = [error for error in failures if not isinstance(error, ScopeOver)] or failures
    if reasons:
        raise reasons[0]


def _note(execution: Json, event: str, details: str, **fields: Any) -> None:
    add_event(execution, event, {details: fields})
