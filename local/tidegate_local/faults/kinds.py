"""Which faults there are, and which words each understands. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Fault = Mapping[str, Any]
"""A planned fault as the file has it, checked."""

# Calls.
FAILS, THROTTLED, HANGS, FAILS_AFTER = "fails", "throttled", "hangs", "fails_after"
# Processes of functions and of steps.
KILLED, KILLED_AFTER = "killed", "killed_after"
# Clusters.
NO_CAPACITY, QUOTA, BAD_CONFIGURATION = "no_capacity", "quota", "bad_configuration"
BOOTSTRAP_FAILURE, LOST_NODES = "bootstrap_failure", "lost_nodes"
LOST_SPOT, INTERNAL_ERROR, ENDED_BY_HAND, STUCK = "lost_spot", "internal_error", "ended_by_hand", "stuck"
# Steps.
STEP_DEATH, STEP_CANCELLED, STEP_HANGS = "step_death", "step_cancelled", "step_hangs"
# Events.
REPEATED, DELAYED, REORDERED, LOST = "repeated", "delayed", "reordered", "lost"

OF_CALLS = (FAILS, THROTTLED, HANGS, FAILS_AFTER)
OF_PROCESSES = (KILLED, KILLED_AFTER)
OF_EVENTS = (REPEATED, DELAYED, REORDERED, LOST)

LIFE = ("STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING")
"""States of a cluster in which it may die."""


class InvalidFault(ValueError):
    """A fault that can't be planned; the message says what to write instead."""


@dataclass(frozen=True)
class Kind:
    """What a kind of fault may and must say. Every fault may say `times`, `id` and `note` beside it."""

    patterns: tuple[str, ...]
    """Fields that are shell patterns over names."""
    numbers: tuple[str, ...] = ("after",)
    """Fields that are counts or seconds."""
    needs: tuple[str, ...] = ()
    needs_one_of: tuple[str, ...] = ()
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    texts: tuple[str, ...] = ()

    @property
    def fields(self) -> tuple[str, ...]:
        return (*self.patterns, *self.numbers, *self.choices, *self.texts, *_EVERYWHERE)


_EVERYWHERE = ("times", "id", "note")
_CALL = ("call", "caller", "resource")
_WHILE_IT_LIVES = Kind(("cluster",), ("after_s",), choices={"state": LIFE})
_PROCESS = Kind(("function", "step", *_CALL), ("after", "after_s"), needs_one_of=("function", "step"))

KINDS: Mapping[str, Kind] = {
    FAILS: Kind(_CALL, needs=("call",), texts=("error",)),
    THROTTLED: Kind(_CALL, needs=("call",), texts=("error",)),
    HANGS: Kind(_CALL, ("after", "seconds"), needs=("call", "seconds")),
    FAILS_AFTER: Kind(_CALL, needs=("call",), texts=("error",)),
    KILLED: _PROCESS,
    KILLED_AFTER: Kind(_PROCESS.patterns, needs=("call",), needs_one_of=_PROCESS.needs_one_of),
    NO_CAPACITY: Kind(("cluster",)),
    QUOTA: Kind(("cluster",)),
    BAD_CONFIGURATION: Kind(("cluster",)),
    BOOTSTRAP_FAILURE: Kind(("cluster",)),
    LOST_NODES: _WHILE_IT_LIVES,
    LOST_SPOT: Kind(("cluster",), ("after_s",)),
    INTERNAL_ERROR: _WHILE_IT_LIVES,
    ENDED_BY_HAND: _WHILE_IT_LIVES,
    STUCK: Kind(
        ("cluster",),
        ("after", "seconds"),
        needs=("state", "seconds"),
        choices={"state": ("STARTING", "BOOTSTRAPPING", "TERMINATING")},
    ),
    STEP_DEATH: Kind(("cluster", "step"), ("after", "after_s")),
    STEP_CANCELLED: Kind(("cluster", "step"), ()),
    STEP_HANGS: Kind(("cluster", "step"), ("after", "after_s", "seconds"), needs=("seconds",)),
    REPEATED: Kind(("event", "resource"), needs=("event",)),
    DELAYED: Kind(("event", "resource"), ("after", "seconds"), needs=("event", "seconds")),
    REORDERED: Kind(("event", "resource"), ("after", "seconds"), needs=("event",)),
    LOST: Kind(("event", "resource"), needs=("event",)),
}


def check(fault: object) -> Fault:
    """The fault, if it can be planned. Raises InvalidFault."""
    if not isinstance(fault, dict):
        raise InvalidFault(f"a fault is an object such as {{'fault': 'lost_nodes'}}, not {fault!r}")
    name = fault.get("fault")
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise InvalidFault(f"no fault is called {name!r}; there are {', '.join(sorted(KINDS))}")
    unknown = sorted(set(fault) - {"fault", *kind.fields})
    if unknown:
        raise InvalidFault(f"{name} knows no {', '.join(unknown)}; it takes {', '.join(kind.fields)}")
    missing = [field for field in kind.needs if field not in fault]
    if missing:
        raise InvalidFault(f"{name} needs {' and '.join(missing)}")
    if kind.needs_one_of and sum(field in fault for field in kind.needs_one_of) != 1:
        raise InvalidFault(f"{name} needs {' or '.join(kind.needs_one_of)}, and only one of them")
    _check_values(fault, kind)
    if name == KILLED and "after_s" in fault and {"step", "call", "resource", "after"} & set(fault):
        raise InvalidFault(
            "killed goes by calls (`call`, `after`) or by a function's seconds (`after_s`); for a step's "
            "seconds there is step_death"
        )
    return fault


def _check_values(fault: Fault, kind: Kind) -> None:
    name = fault["fault"]
    for each in (*kind.patterns, *kind.texts, "note", "id"):
        if each in fault and (not isinstance(fault[each], str) or not fault[each]):
            raise InvalidFault(f"{each} of {name} must be a text, not {fault[each]!r}")
    for each in (*kind.numbers, "times"):
        least = 1 if each == "times" else 0
        value = fault.get(each, least)
        whole = each in ("times", "after")
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or value < least:
            raise InvalidFault(
                f"{each} of {name} must be a {'whole ' if whole else ''}number from {least}, not {value!r}"
            )
    for each, choices in kind.choices.items():
        if each in fault and fault[each] not in choices:
            raise InvalidFault(f"{each} of {name} must be one of {', '.join(choices)}, not {fault[each]!r}")
