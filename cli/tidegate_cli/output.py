"""What goes to the terminal: results to stdout, remarks and errors to stderr."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any

from rich.console import Console

from tidegate_cli.exit_codes import ExitCode


class CliError(Exception):
    """Ends the command with a message that says what happened and what to do. Never shown as a traceback."""

    def __init__(self, message: str, code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.code = code


def out() -> Console:
    """The console for results. Made anew, so that it follows a redirected stdout."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=not sys.stdout.isatty())


def err() -> Console:
    """The console for everything that is not the result."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Print plain text: brackets in it are no markup."""
    out().print(text, markup=False)


def complain(text: str) -> None:
    """Print plain text to stderr."""
    err().print(text, markup=False)


def print_json(value: Any) -> None:
    """Print a value as JSON; times in ISO 8601."""
    sys.stdout.write(json.dumps(value, indent=2, default=_plain, ensure_ascii=False) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)
