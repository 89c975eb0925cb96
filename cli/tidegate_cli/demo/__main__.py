"""`make demo`: starts a local cloud, shows the product on real data, checks the result, and tidies up."""

from __future__ import annotations

import shutil
import signal
import socket
import sys
import time
from dataclasses import replace
from types import FrameType
from typing import Any

from rich.console import Console
from tidegate_local import launcher, settings

from tidegate_cli import wording
from tidegate_cli.adapters.lake import Lake
from tidegate_cli.connection import read_local
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
    here = _own_place()
    console.print("Reading the flights that left New York in 2013, and working out what must come of them ...")
    data = source.load()
    waves = plan.waves(data)
    wanted = plan.expected(waves)
    launcher.down(here=here)  # what a demo that was killed has left
    try:
        console.print("Starting a local cloud, and deploying the very template that an AWS account gets ...")
        launcher.up(detach=True, here=here, say=lambda line: console.print(f"  {line}", markup=False))
        connection = read_local(here.state_dir / "local.json")
        if connection is None:
            raise CliError(f"The local cloud is up, but has left no {here.state_dir / 'local.json'}.")
        demo = Demo(connection, console)
        for number, wave in enumerate(waves, start=1):
            demo.play(wave, number, len(waves))
        return _end(demo, Lake.of(connection), wanted)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second ^C must not leave half of it running
        launcher.down(here=here)
        shutil.rmtree(here.state_dir, ignore_errors=True)


def _end(demo: Demo, lake: Lake, wanted: dict[str, Any]) -> bool:
    demo.show_tables()
    demo.show_history(sorted(wanted))
    demo.show_story()
    verdicts = verdict.judge(plan.checks(), wanted, lambda sql: lake.query(sql).rows)
    demo.show_verdicts(verdicts)
    problems = demo.problems()
    for problem in problems:
        demo.tell(problem)
    return all(each.agrees for each in verdicts) and not problems


def _own_place() -> settings.Settings:
    """A folder and a port of the demo's own, so that a local cloud that runs is left alone."""
    usual = settings.current()
    return replace(usual, state_dir=usual.state_dir / "demo", port=_free_port(usual.port))


def _free_port(usual: int) -> int:
    """The usual port, or any that is free if it is taken."""
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
