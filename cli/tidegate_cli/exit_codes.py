"""What the command's exit codes mean. Scripts may rely on them; `tidegate --help` lists them."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """One number a kind of ending."""

    meaning: str

    OK = 0, "done as asked"
    FAILED = 1, "answered with no: a contract is wrong, a run failed, the local cloud did not start"
    USAGE = 2, "the command line or the SQL is wrong, or names something that isn't there"
    NOT_REACHABLE = 3, "no local cloud runs, there is no such stack, or AWS did not answer"
    DENIED = 4, "there are no AWS credentials, or they may not do this"
    TIMED_OUT = 5, "what was waited for has not ended in time; it goes on"
    INTERRUPTED = 130, "stopped by ^C"

    def __new__(cls, value: int, meaning: str) -> ExitCode:
        """Keep the meaning beside the number."""
        code = int.__new__(cls, value)
        code._value_ = value
        code.meaning = meaning
        return code


def listed() -> str:
    """All of them in one line."""
    return "; ".join(f"{code.value} {code.meaning}" for code in ExitCode)
