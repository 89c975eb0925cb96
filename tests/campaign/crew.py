"""Worker processes, and how tasks are shared among them."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from campaign.one_process_cloud import ROOT

Json = dict[str, Any]
WORKERS = min(4, os.cpu_count() or 1)
LIMIT_S = 240
"""For one task. None takes a tenth of it; one that does hangs, and is reported as such."""


def carry_out(tasks: Sequence[Json], folder: Path) -> list[Json]:
    """Have the tasks done side by side; their answers in the same order."""
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(len(tasks)):
        waiting.put(number)
    answers: list[Json] = [{} for _ in tasks]

    def work(name: str) -> None:
        worker = Worker(folder / name)
        try:
            while True:
                try:
                    number = waiting.get_nowait()
                except queue.Empty:
                    return
                answers[number] = worker.ask(tasks[number])
        finally:
            worker.end()

    threads = [threading.Thread(target=work, args=(f"worker-{n}",)) for n in range(min(WORKERS, len(tasks)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


class Worker:
    """One process. One that hangs, or dies, is replaced."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process = self._start()

    def ask(self, task: Json) -> Json:
        timer = threading.Timer(LIMIT_S, self._process.kill)
        timer.start()
        try:
            assert self._process.stdin and self._process.stdout
            self._process.stdin.write(json.dumps(task) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            timer.cancel()
        if line:
            answer: Json = json.loads(line)
            return answer
        self.end()
        self._process = self._start()
        return {"wrong": [f"the worker died or took longer than {LIMIT_S} s"], "has_struck": True, "points": []}

    def end(self) -> None:
        with self._process as process:  # closes its pipes and waits
            process.kill()

    def _start(self) -> subprocess.Popen[str]:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = os.pathsep.join(str(ROOT / name) for name in ("tests", "layers/tidegate", "local"))
        return subprocess.Popen(
            [sys.executable, "-m", "campaign.worker", str(self._folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
