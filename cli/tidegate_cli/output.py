"""What goes to the terminal: results to stdout, remarks and errors to stderr."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any, TextIO

from rich.console import Console

from tidegate_cli.exit_codes import ExitCode


class CliError(Exception):
    """Ends the command with a message that says what happened and what to do. Never shown as a traceback."""

    def __init__(self, message: str, code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.code = code


NO_TERMINAL_WIDTH = 200
"""Columns for tables that go into a file or a pipe: nothing is broken there."""


def out() -> Console:
    """The console for results. Made anew, so that it follows a redirected stdout."""
    return _console(sys.stdout)


def err() -> Console:
    """The console for everything that is not the result."""
    return _console(sys.stderr)


def _console(file: TextIO) -> Console:
    width = None if file.isatty() else NO_TERMINAL_WIDTH
    return Console(file=file, highlight=False, width=width)


def say(text: str) -> None:
    """Print plain text: brackets in it are no markup."""
    out().print(text, markup=False, soft_wrap=True)


def complain(text: str) -> None:
    """Print plain text to stderr."""
    err().print(text, markup=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print a value as JSON; times in ISO 8601."""
    sys.stdout.write(json.dumps(value, indent=2, default=_plain, ensure_ascii=False) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)
