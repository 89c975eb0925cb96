"""`make demo`: starts a local cloud, shows the product on real data, checks the result, and tidies up."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from types import FrameType
from typing import Any

from rich.console import Console
from tidegate_local import launcher, settings

from tidegate_cli import wording
from tidegate_cli.adapters.lake import Lake
from tidegate_cli.connection import Connection, read_local, state_file
from tidegate_cli.demo import plan, source, verdict
from tidegate_cli.demo.carry_out import Demo
from tidegate_cli.exit_codes import ExitCode
from tidegate_cli.output import CliError, complain


def main() -> int:
    """Run the demo; 0 only if every table is what pandas says it must be."""
    signal.signal(signal.SIGTERM, _stop)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    began = time.monotonic()
    try:
        agrees = _play(console)
    except (CliError, launcher.LocalCloudError, FileNotFoundError, settings.InvalidSetting) as error:
        complain(f"Error: {error}")
        return ExitCode.FAILED
    except KeyboardInterrupt:
        complain("Stopped; nothing is left running.")
        return ExitCode.INTERRUPTED
    console.print(
        f"\n{'Everything agrees' if agrees else 'NOT everything agrees'},"
        f" after {wording.duration(time.monotonic() - began)}. Nothing is left running."
    )
    return ExitCode.OK if agrees else ExitCode.FAILED


def _play(console: Console) -> bool:
    """The whole play. The local cloud goes down however it ends."""
    if state_file().exists():
        raise CliError("A local cloud runs already, and the demo begins with an empty one: tidegate local down")
    console.print("Reading the flights that left New York in 2013, and working out what must come of them ...")
    data = source.load()
    waves = plan.waves(data)
    wanted = plan.expected(waves)
    try:
        console.print("Starting the local cloud: sam build and sam deploy of the very template that AWS gets ...")
        launcher.up(detach=True, port=_free_port())
        demo = Demo(_connection(), console)
        for number, wave in enumerate(waves, start=1):
            demo.play(wave, number, len(waves))
        return _end(demo, wanted)
    finally:
        launcher.down()


def _end(demo: Demo, wanted: dict[str, Any]) -> bool:
    lake = Lake.of(_connection())
    demo.show_tables()
    demo.show_history(sorted(wanted))
    demo.show_story(demo.runs[-1])
    verdicts = verdict.judge(plan.checks(), wanted, lambda sql: lake.query(sql).rows)
    demo.show_verdicts(verdicts)
    problems = demo.problems()
    for problem in problems:
        demo.tell(problem)
    return all(each.agrees for each in verdicts) and not problems


def _connection() -> Connection:
    connection = read_local(state_file())
    if connection is None:
        raise CliError(f"The local cloud is up, but {state_file()} is not there.")
    return connection


def _free_port() -> int:
    """The usual port, or any that is free if it is taken."""
    usual = settings.read(os.environ).port
    for port in (usual, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise CliError("No port is free on 127.0.0.1.")


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
