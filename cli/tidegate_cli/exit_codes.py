"""What the command's exit codes mean. Scripts may rely on them."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """One number a kind of ending."""

    OK = 0
    """Done as asked."""
    FAILED = 1
    """Asked and answered with no: a contract is wrong, a run failed, the local cloud did not start."""
    USAGE = 2
    """The command line or the SQL is wrong, or names something that isn't there."""
    NOT_REACHABLE = 3
    """No local cloud runs and no stack was found, or AWS did not answer."""
    DENIED = 4
    """AWS answered that these credentials may not do it, or there are none."""
    TIMED_OUT = 5
    """What was waited for had not ended in time; it goes on without us."""
    INTERRUPTED = 130
    """Stopped by ^C."""
