"""Launches: why a cluster did not come or did not stay, and which launch option is tried next."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

LaunchCause = Literal[
    "no_capacity", "quota", "bad_configuration", "bootstrap", "internal", "lost_nodes", "ended_by_hand", "idle",
    "step", "unknown",
]  # fmt: skip

MAXIMUM_LAUNCHES = 6
"""New clusters that one pass of an execution asks for after its first. Dispatch tries again later, with pauses."""

MAXIMUM_BOOTSTRAPS = 2
"""A bootstrap action that fails twice would fail a third time."""

# Weights are units of 4 vCPU. One CPU architecture a cluster: its Python packages are compiled for it.
GRAVITON_TYPES: Mapping[str, int] = {
    "m7g.xlarge": 1, "m6g.xlarge": 1, "m7g.2xlarge": 2, "m6g.2xlarge": 2, "r7g.xlarge": 1, "r6g.xlarge": 1,
}  # fmt: skip
X86_TYPES: Mapping[str, int] = {
    "m7i.xlarge": 1, "m6i.xlarge": 1, "m7i.2xlarge": 2, "m6i.2xlarge": 2, "m6a.xlarge": 1, "r6i.xlarge": 1,
}  # fmt: skip


@dataclass(frozen=True)
class LaunchOption:
    """What a cluster is made of. `types` are instance types of one CPU architecture, with their weights in units."""

    name: str
    types: Mapping[str, int]
    uses_spot: bool


LAUNCH_OPTIONS: Sequence[LaunchOption] = (
    LaunchOption("Graviton, Spot", GRAVITON_TYPES, uses_spot=True),
    LaunchOption("x86, Spot", X86_TYPES, uses_spot=True),
    LaunchOption("Graviton, On-Demand", GRAVITON_TYPES, uses_spot=False),
    LaunchOption("x86, On-Demand", X86_TYPES, uses_spot=False),
)
"""The cheapest first. The capacity of each is a pool of its own in EC2."""

# EMR names few codes (ClusterStateChangeReason in its API reference); the rest is in the words, which are EC2's own
# error codes or sentences. Quotas first: their sentences may speak of capacity too.
_QUOTA = re.compile(
    r"quota|vcpu ?limit|limit ?exceeded|spotinstancecountexceeded|(instance|vcpu|cluster)s? limit", re.I
)
_CAPACITY = re.compile(
    r"insufficient[^.]* capacity|insufficient\w*capacity"
    r"|not (have )?(enough|sufficient)[^.]* capacity|unfulfillablecapacity|no spot capacity"
    r"|spot[^.]* tim(ed|e) ?out|not supported in[^.]* availability zone|unsupported[^.]* availability zone",
    re.I,
)
_ADDRESSES = re.compile(r"free (ip )?address|insufficientfreeaddresses", re.I)
_IDLE = re.compile(r"idle|auto-?terminat", re.I)

_OF_CODE: Mapping[str, LaunchCause] = {
    "VALIDATION_ERROR": "bad_configuration",
    "BOOTSTRAP_FAILURE": "bootstrap",
    "INTERNAL_ERROR": "internal",
    "INSTANCE_FAILURE": "lost_nodes",
    "INSTANCE_FLEET_TIMEOUT": "no_capacity",
    "USER_REQUEST": "ended_by_hand",
    "STEP_FAILURE": "step",
    "ALL_STEPS_COMPLETED": "idle",
}


@dataclass(frozen=True)
class NextLaunch:
    """Whether the run is planned again, with launch option `launch`, and why or why not."""

    go_on: bool
    launch: int
    reason: str


def cause_of_end(code: str, message: str, *, was_ready: bool) -> LaunchCause:
    """Why a cluster ended, from EMR's StateChangeReason. One that had been up did not end for want of capacity.

    Source: Amazon EMR API Reference, ClusterStateChangeReason; Amazon EC2, "Error codes for the Amazon EC2 API".
    """
    if _IDLE.search(message) and code in {"USER_REQUEST", "ALL_STEPS_COMPLETED", ""}:
        return "idle"
    if not was_ready and code != "USER_REQUEST":
        from_words = _cause_of_words(message)
        if from_words is not None:
            return from_words
    return _OF_CODE.get(code, "unknown")


def cause_of_refusal(name: str, words: str) -> LaunchCause:
    """Why EMR refused to make a cluster: `name` is the error that Step Functions caught, `words` its cause."""
    if re.search(r"throttl|rate exceeded|too many requests|internal", f"{name} {words}", re.I):
        return "internal"
    return _cause_of_words(words) or "bad_configuration"


def _cause_of_words(words: str) -> LaunchCause | None:
    if _ADDRESSES.search(words):
        return "bad_configuration"
    if _QUOTA.search(words):
        return "quota"
    if _CAPACITY.search(words):
        return "no_capacity"
    return None


def decide_next_launch(cause: LaunchCause, launch: int, launches: int) -> NextLaunch:
    """Decide whether a new cluster may help, and of what launch option.

    `launch` is the option that was tried, `launches` how many new clusters this pass has asked for so far. Only another
    option helps against missing capacity; against what was an accident the same one is as good; nothing helps against
    what a person has decided or has to mend.
    """
    why_not = _why_no_other(cause, launches)
    if why_not is not None:
        return NextLaunch(go_on=False, launch=launch, reason=why_not)
    later = range(launch + 1, len(LAUNCH_OPTIONS))
    if cause == "no_capacity":
        return _next_option(later, launch, "no launch option had capacity: try later")
    if cause == "quota":
        # Spot and On-Demand have quotas of their own; Graviton and x86 share them.
        uses_spot = LAUNCH_OPTIONS[launch].uses_spot
        others = [number for number in later if LAUNCH_OPTIONS[number].uses_spot != uses_spot]
        return _next_option(others, launch, "ask for higher EC2 vCPU quotas in Service Quotas, then redrive")
    return NextLaunch(go_on=True, launch=launch, reason=f"it is tried once more: {LAUNCH_OPTIONS[launch].name}")


def _why_no_other(cause: LaunchCause, launches: int) -> str | None:
    """Why no other cluster is asked for, if it is known from the cause alone."""
    if launches >= MAXIMUM_LAUNCHES:
        return f"{launches} new clusters were asked for: that is enough"
    if cause == "bad_configuration":
        return "no other cluster mends that: correct it, then redrive"
    if cause == "ended_by_hand":
        return "somebody ended the cluster: redrive to go on"
    if cause == "bootstrap" and launches + 1 >= MAXIMUM_BOOTSTRAPS:
        return "the bootstrap action fails each time: its log is in logs/emr/ of the control bucket"
    return None


def _next_option(options: Sequence[int], launch: int, otherwise: str) -> NextLaunch:
    if not options:
        return NextLaunch(go_on=False, launch=launch, reason=otherwise)
    return NextLaunch(go_on=True, launch=options[0], reason=f"it is tried next: {LAUNCH_OPTIONS[options[0]].name}")
