"""Launches: why a cluster did not come or did not stay, and which launch option is tried next."""

from dataclasses import dataclass
from typing import Literal

LaunchCause = Literal[
    "no_capacity", "quota", "bad_configuration", "bootstrap", "internal", "lost_nodes", "ended_by_hand", "idle",
    "step", "unknown",
]  # fmt: skip

MAXIMUM_LAUNCHES = 6


@dataclass(frozen=True)
class NextLaunch:
    go_on: bool
    launch: int
    reason: str


def cause_of_end(code: str, message: str, *, was_ready: bool) -> LaunchCause:
    return "unknown"


def cause_of_refusal(name: str, words: str) -> LaunchCause:
    return "unknown"


def decide_next_launch(cause: LaunchCause, launch: int, launches: int) -> NextLaunch:
    return NextLaunch(launches < MAXIMUM_LAUNCHES, launch, "it is tried once more")
