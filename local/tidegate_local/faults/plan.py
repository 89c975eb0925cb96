"""The plan: a file `faults.json` in the run folder says what is to go wrong next.

A list of objects; each holds `fault` (`kinds.py` has them all), whom it strikes (shell patterns over names), when and
how often::

    [{"fault": "no_capacity", "cluster": "tidegate-*", "times": 1},
     {"fault": "throttled", "call": "dynamodb:UpdateItem", "after": 3, "times": 2},
     {"fault": "killed", "function": "plan_run", "after": 5}]

`after`: so many that fit go by first. `times` (default 1): so many are struck, then the fault is used up. To have it
again, plan it anew: :func:`plan_faults` gives every fault an id of its own.

The file is read whenever it has changed; it may be written, changed and removed while the cloud runs. What is not JSON,
or can't be planned, is logged and ignored. Each strike is a line of `faults-struck.jsonl` beside it.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from tidegate_local.faults.kinds import KINDS, Fault, InvalidFault, check

logger = logging.getLogger("tidegate.local.faults")

Names = str | Sequence[str]
"""One name, or several for the same thing, any of which a pattern may fit."""


def plan_faults(file: Path, faults: Iterable[Fault]) -> list[Fault]:
    """Have exactly these faults from now on; what was planned before is forgotten. Returns them with their ids.

    Raises InvalidFault, and plans nothing then.
    """
    planned = [_with_id(check(dict(fault))) for fault in faults]
    draft = file.with_name(f"{file.name}.{uuid.uuid4().hex}")
    draft.write_text(json.dumps(planned, indent=2) + "\n", encoding="utf-8")
    draft.replace(file)
    return planned


def add_faults(file: Path, faults: Iterable[Fault]) -> list[Fault]:
    """Have these faults beside those that are planned. Returns all of them. Raises InvalidFault."""
    return plan_faults(file, [*_read(file)[0], *faults])


def strikes(file: Path) -> list[dict[str, Any]]:
    """What has struck so far, oldest first: `at` (epoch seconds), `fault`, and `on`, whom it struck."""
    try:
        lines = struck_file(file).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines]


def told(file: Path) -> str:
    """What is planned and how often it has struck, a line a fault."""
    planned, troubles = _read(file)
    struck = Counter(_key(each["fault"]) for each in strikes(file))
    lines = [f"{json.dumps(fault)}: struck {struck[_key(fault)]} of {fault.get('times', 1)}" for fault in planned]
    return "\n".join([*lines, *(f"Ignored: {trouble}" for trouble in troubles)]) or "No fault is planned."


def struck_file(file: Path) -> Path:
    """Where the strikes of a plan are noted."""
    return file.with_name("faults-struck.jsonl")


@dataclass
class Faults:
    """The planned faults, how many that fit have gone by, and how often each has struck. Safe to share by threads."""

    planned: Sequence[Fault] = ()
    file: Path | None = None
    """Where the plan is. Without it, what is planned stays."""
    _met: Counter[str] = field(default_factory=Counter)
    _struck: Counter[str] = field(default_factory=Counter)
    _seen: tuple[int, int, int] | None = None
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def strike(
        self,
        *kinds: str,
        age_s: float | None = None,
        only: Callable[[Fault], bool] = lambda _: True,
        **names: Names,
    ) -> Fault | None:
        """The first planned fault of these kinds that fits and is ready, used once more; None if there is none.

        `age_s` is how long a thing has been what it is, where the fault's `after_s` waits for that. `only` narrows
        down which faults are meant.
        """
        with self._lock:
            self.read()
            ready: Fault | None = None
            for fault in self.planned:
                if fault["fault"] not in kinds or not only(fault) or not _fits(fault, names):
                    continue
                if age_s is not None and age_s < fault.get("after_s", 0):
                    continue
                key = _key(fault)
                self._met[key] += 1
                has_come = self._met[key] > fault.get("after", 0)
                if ready is None and has_come and self._struck[key] < fault.get("times", 1):
                    self._struck[key] += 1
                    ready = fault
            if ready is not None:
                self._note(ready, names)
            return ready

    def is_planned(self, *kinds: str) -> bool:
        """Whether any fault of these kinds is in the plan, used up or not."""
        with self._lock:
            self.read()
            return any(fault["fault"] in kinds for fault in self.planned)

    def read(self) -> None:
        """Take over what the file plans now, if it has changed."""
        if self.file is None:
            return
        with self._lock:
            try:
                stat = self.file.stat()
                now = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
            except OSError:
                now = None
            if now == self._seen:
                return
            self._seen = now
            self.planned, troubles = _read(self.file) if now else ([], [])
            for trouble in troubles:
                logger.warning("%s: %s. It is ignored.", self.file, trouble)
            # What is planned again after it was taken back strikes again.
            keys = {_key(fault) for fault in self.planned}
            for counter in (self._met, self._struck):
                for gone in set(counter) - keys:
                    del counter[gone]

    def _note(self, fault: Fault, names: dict[str, Names]) -> None:
        on = {name: list(value) if not isinstance(value, str) else value for name, value in names.items() if value}
        logger.warning("Planned fault %s strikes %s", dict(fault), on)
        if self.file is not None:
            line = json.dumps({"at": round(time.time(), 3), "fault": dict(fault), "on": on})
            # The cloud may be going down, and its folder with it.
            with suppress(OSError), struck_file(self.file).open("a", encoding="utf-8") as notes:
                notes.write(line + "\n")


@cache
def faults_of(file: Path) -> Faults:
    """The faults of that file: one plan a process, whoever asks."""
    return Faults(file=file)


def _fits(fault: Fault, names: dict[str, Names]) -> bool:
    kind = KINDS[fault["fault"]]
    for pattern in (*kind.patterns, *kind.choices):
        if pattern in fault:
            # Whoever is no step has no step's name, and is not even `*`.
            given = names.get(pattern, ())
            if not any(fnmatchcase(name, fault[pattern]) for name in ([given] if isinstance(given, str) else given)):
                return False
    return True


def _read(file: Path) -> tuple[list[Fault], list[str]]:
    """What can be planned of a file, and what is wrong with the rest."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return [], []
    except (OSError, ValueError) as trouble:
        return [], [f"not readable ({trouble})"]
    planned: list[Fault] = []
    troubles = []
    for fault in found if isinstance(found, list) else [found]:
        try:
            planned.append(check(fault))
        except InvalidFault as trouble:
            troubles.append(str(trouble))
    return planned, troubles


def _with_id(fault: Fault) -> Fault:
    return fault if "id" in fault else {**fault, "id": uuid.uuid4().hex[:12]}


def _key(fault: Fault) -> str:
    return json.dumps(fault, sort_keys=True)
