"""No process outlives the local cloud, and no other process is ever hurt."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from tidegate_local import processes


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "pids"
    yield folder
    processes.stop_all(folder, grace_s=0.1)


def start(folder: Path, tmp_path: Path, script: str) -> subprocess.Popen[bytes]:
    return processes.start(folder, "test", [sys.executable, "-c", script], cwd=tmp_path, environment=dict(os.environ))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "did not happen within ten seconds"
        time.sleep(0.02)


def test_a_started_process_is_recorded_and_stopped(folder: Path, tmp_path: Path) -> None:
    # GIVEN a process that the local cloud started
    process = start(folder, tmp_path, "import time; time.sleep(60)")
    assert [each.pid for each in processes.running(folder)] == [process.pid]
    # WHEN everything is stopped
    ended = processes.stop_all(folder)
    # THEN it has ended and is forgotten
    assert [each.pid for each in ended] == [process.pid]
    assert process.wait(timeout=5) != 0
    assert list(folder.iterdir()) == []


def test_children_of_a_process_end_with_it(folder: Path, tmp_path: Path) -> None:
    # GIVEN a process with a child, as Spark's JVM has a Python
    told = tmp_path / "child.pid"
    script = (
        "import subprocess, sys, pathlib, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(told)!r}).write_text(str(child.pid))\n"
        "time.sleep(60)"
    )
    process = start(folder, tmp_path, script)
    until(lambda: told.is_file() and told.read_text() != "")
    child = psutil.Process(int(told.read_text()))
    # WHEN its group is stopped
    processes.stop_group(process.pid)
    # THEN both have ended
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    assert process.wait(timeout=5) != 0


def test_a_process_that_ignores_term_is_killed(folder: Path, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = (
        "import pathlib, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"pathlib.Path({str(ready)!r}).touch()\n"
        "time.sleep(60)"
    )
    process = start(folder, tmp_path, script)
    until(ready.exists)
    processes.stop_all(folder, grace_s=0.2)
    assert process.wait(timeout=5) == -9


def test_a_pid_that_belongs_to_somebody_else_by_now_is_spared(folder: Path, tmp_path: Path) -> None:
    # GIVEN a record whose pid was given to another process since: same pid, another start
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    try:
        record = processes.record(folder, "old", stranger.pid)
        assert record is not None
        path = next(folder.glob("*.json"))
        path.write_text(json.dumps(vars(replace(record, started_s=record.started_s - 60))))
        # WHEN everything is stopped
        ended = processes.stop_all(folder, grace_s=0.2)
        # THEN the stranger lives, and the stale record is gone
        assert ended == []
        assert stranger.poll() is None
        assert not path.exists()
    finally:
        stranger.kill()
        stranger.wait()


def test_an_unrecorded_child_is_found_by_the_variable_that_it_inherited(folder: Path, tmp_path: Path) -> None:
    # GIVEN a process without a record, as ministack starts its Lambda workers
    folder.mkdir()
    orphan = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"],
        env={**os.environ, **processes.marker(folder)},
        start_new_session=True,
    )
    # WHEN everything is stopped
    processes.stop_all(folder)
    # THEN it has ended
    assert orphan.wait(timeout=5) != 0


def test_a_broken_record_stops_nothing_and_nobody(folder: Path) -> None:
    folder.mkdir()
    (folder / "half-1.json").write_text('{"pid": 1')
    assert processes.stop_all(folder) == []
