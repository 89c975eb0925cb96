"""Every process that the local cloud starts, so that none outlives it.

Each child gets a process group of its own and a file `<role>-<pid>.json` in the `pids/` folder with
its pid **and** its start time: a pid alone may by now belong to somebody else. `down`, and the next
start after a cloud that was killed, end what the folder names.

A second net catches what has no file (started in the instant of a crash, or by ministack itself, such
as its Lambda workers): all children inherit the variable :data:`MARKER`, which names the folder.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import psutil

MARKER = "TIDEGATE_LOCAL_PIDS"
"""Environment variable of every child: the resolved path of the folder that it is recorded in."""

_SAME_START_S = 2.0
"""Two readings of one process's start may differ by clock corrections; a reused pid differs by more."""


@dataclass(frozen=True)
class Recorded:
    """One process that the local cloud has started."""

    pid: int
    started_s: float
    """Seconds since the epoch, as psutil reports them."""
    role: str
    command: str


def start(
    folder: Path,
    role: str,
    command: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    stdout: IO[bytes] | int = subprocess.DEVNULL,
    stderr: IO[bytes] | int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start `command` in a process group of its own and record it in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        list(command),
        cwd=cwd,
        env={**environment, **marker(folder)},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )
    record(folder, role, process.pid, command=" ".join(command))
    return process


def marker(folder: Path) -> dict[str, str]:
    """The variable that a process started elsewhere must carry to be found by :func:`stop_all`."""
    return {MARKER: str(folder.resolve())}


def record(folder: Path, role: str, pid: int, *, command: str = "") -> Recorded | None:
    """Record a running process. None if it has ended already."""
    try:
        started_s = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return None
    recorded = Recorded(pid, started_s, role, command)
    folder.mkdir(parents=True, exist_ok=True)
    path = _path(folder, recorded)
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(asdict(recorded)))
    draft.replace(path)
    return recorded


def forget(folder: Path, pid: int) -> None:
    """Remove the record of a process that has ended."""
    for path in folder.glob(f"*-{pid}.json"):
        path.unlink(missing_ok=True)


def recorded(folder: Path) -> list[Recorded]:
    """All records, of running processes and of ended ones. Unreadable files are skipped."""
    found = []
    for path in sorted(folder.glob("*.json")):
        with suppress(OSError, ValueError, TypeError):
            found.append(Recorded(**json.loads(path.read_text())))
    return found


def alive(process: Recorded) -> bool:
    """Does this very process, and not another one with its pid, still run?"""
    try:
        found = psutil.Process(process.pid)
        return abs(found.create_time() - process.started_s) < _SAME_START_S and found.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def running(folder: Path) -> list[Recorded]:
    """The recorded processes that still run."""
    return [process for process in recorded(folder) if alive(process)]


def stop_group(pid: int, *, grace_s: float = 5.0) -> None:
    """End the process group that `pid` leads: TERM, after `grace_s` KILL. Returns once it is gone."""
    _end(lambda: _group_members(pid), lambda number: _signal_group(pid, number), grace_s)


def kill_marked(variable: str, value: str) -> None:
    """End at once all processes that have the environment variable with that value. Returns once they are gone."""
    _end(
        lambda: _with_variable(variable, value, set()), lambda _number: _kill(_with_variable(variable, value, set())), 5
    )


def _kill(found: Iterable[psutil.Process]) -> None:
    for process in found:
        with suppress(psutil.Error):
            process.kill()


def stop_all(folder: Path, *, grace_s: float = 5.0, keep: Iterable[int] = ()) -> list[Recorded]:
    """End every process of `folder` that still runs, and forget it. Returns what was ended.

    Neither this process, nor its parents, nor the pids in `keep` are touched.
    """
    spared = {os.getpid(), *keep, *(parent.pid for parent in psutil.Process().parents())}
    ended = [process for process in running(folder) if process.pid not in spared]
    groups = {process.pid for process in ended if _leads_group(process.pid)}
    marked = {process.pid: process for process in _marked(folder, spared)}

    def members() -> list[psutil.Process]:
        found = {member.pid: member for leader in groups for member in _group_members(leader)}
        found |= {process.pid: psutil.Process(process.pid) for process in ended if alive(process)}
        found |= {pid: process for pid, process in marked.items() if _is_running(process)}
        return [process for pid, process in found.items() if pid not in spared]

    def signal_all(number: signal.Signals) -> None:
        for process in members():
            with suppress(psutil.Error):
                process.send_signal(number)

    _end(members, signal_all, grace_s)
    known = {process.pid for process in ended}
    for process in recorded(folder):
        if process.pid in known or not alive(process):
            _path(folder, process).unlink(missing_ok=True)
    return ended


def _end(members: Callable[[], list[psutil.Process]], send: Callable[[signal.Signals], None], grace_s: float) -> None:
    for number, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)):
        send(number)
        deadline = time.monotonic() + patience_s
        while members():
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        else:
            return


def _group_members(leader: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(OSError, psutil.Error):
            if os.getpgid(process.pid) == leader and _is_running(process):
                found.append(process)
    return found


def _signal_group(leader: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def _leads_group(pid: int) -> bool:
    try:
        return os.getpgid(pid) == pid
    except OSError:
        return False


def _marked(folder: Path, spared: set[int]) -> list[psutil.Process]:
    """Processes that carry this folder's :data:`MARKER`."""
    return _with_variable(MARKER, str(folder.resolve()), spared)


def _with_variable(variable: str, value: str, spared: set[int]) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        # Other users' environments can't be read, and those processes aren't ours.
        with suppress(OSError, psutil.Error):
            if process.pid not in spared and process.environ().get(variable) == value:
                found.append(process)
    return found


def _is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _path(folder: Path, process: Recorded) -> Path:
    return folder / f"{re.sub(r'[^A-Za-z0-9._-]', '_', process.role)}-{process.pid}.json"
