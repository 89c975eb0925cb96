"""Failures: when a batch is tried again, when its table is blocked, and the words that the operator reads."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tidegate.clusters import EndReason
from tidegate.launches import (
    LAUNCH_OPTIONS,
    MAXIMUM_LAUNCHES,
    LaunchCause,
    cause_of_end,
    cause_of_refusal,
    decide_next_launch,
)
from tidegate.receipts import NotMerged

MAXIMUM_ATTEMPTS = 3
FIRST_PAUSE_S = 60
LONGEST_PAUSE_S = 3600

EMR_REFUSES = ("EMR.", "ElasticMapReduce.")
"""How the names begin of what EMR answered; anything else leaves open whether the call took effect."""

MAXIMUM_CAUSE_CHARACTERS = 8_000
"""Step Functions keeps 32,768 characters of a cause; nobody reads as many."""


@dataclass(frozen=True)
class RetryDecision:
    """When a failed batch may be tried again.

    `blocked_reason` is set when only a person can help, `void_reason` when the batch is to be opened up: voided, and
    its files merged in halves.
    """

    retry_after: datetime
    attempts: int
    failures: int
    blocked_reason: str | None = None
    void_reason: str | None = None


def decide_retry(
    failure: NotMerged, attempts: int, failures: int, now: datetime, *, units: int, is_half: bool = False
) -> RetryDecision:
    """Decide what follows a failed attempt at a batch.

    `attempts` counts the earlier failures that the data, the table or the code caused, `failures` all of them.
    Each failure doubles the pause, because each new try costs a cluster; a failure of infrastructure condemns nothing.
    Data that keeps failing is opened up until the bad file is alone. A half is opened up at its first failure, which
    condemns nothing yet; a file that is alone is given all its attempts. `units` are the files, those of one snapshot
    being one: it is not divided.
    """
    failures += 1
    attempts += failure.counts_as_attempt
    pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (failures - 1))
    later = now + timedelta(seconds=pause_s)
    if failure.cause == "data":
        enough = 1 if is_half and units > 1 else MAXIMUM_ATTEMPTS
        void_reason = failure.message if attempts >= enough else None
        # Its cluster is warm and the rest of its data has waited long enough.
        return RetryDecision(now if is_half or void_reason else later, attempts, failures, void_reason=void_reason)
    blocked = None
    if failure.counts_as_attempt and attempts >= MAXIMUM_ATTEMPTS:
        blocked = (
            f"{attempts} attempts failed, the last with: {failure.message}. "
            "Mend it, then start an execution with this table's name in its input"
        )
    return RetryDecision(later, attempts, failures, blocked_reason=blocked)


@dataclass(frozen=True)
class Assessment:
    """Whether planning the run again, on a cluster of launch option `launch`, may help, and what the cause was."""

    go_on: bool
    launch: int
    cause: str
    reason: str


def assess_failure(
    error: Mapping[str, Any],
    failed_in: str,
    end: EndReason | None,
    *,
    launch: int,
    launches: int,
    ordered: int | None = None,
) -> Assessment:
    """Decide what follows when a state failed and nothing in the machine caught up with it.

    `error` is what Step Functions caught in state `failed_in`; `end` is why the cluster ended, if it has; `ordered` is
    the launch option for which scaling has ended it, because its instances came late. Only what a new cluster can mend
    is tried again: one that did not come, was lost, or has to end before anything is tried.
    """
    name = str(error.get("Error", "unknown"))
    words = cause_of(error)
    if name == "ClusterLeft":
        return Assessment(launches < MAXIMUM_LAUNCHES, launch, name, words)
    if ordered is not None and end is not None and name == "ClusterLost" and launches < MAXIMUM_LAUNCHES:
        next_one = f"its instances came late, so it was ended; it is tried next: {LAUNCH_OPTIONS[ordered].name}"
        return Assessment(go_on=True, launch=ordered, cause="late_capacity", reason=f"{words}: {next_one}")
    if name == "StepUnclear" or (failed_in == "Create cluster" and not name.startswith(EMR_REFUSES)):
        cause: LaunchCause = "unknown"
    elif failed_in == "Create cluster":
        cause = cause_of_refusal(name, words)
    elif end is not None and name == "ClusterLost":
        cause = cause_of_end(end.code, end.message, was_ready=end.was_ready)
    else:
        return Assessment(go_on=False, launch=launch, cause=name, reason=words)
    following = decide_next_launch(cause, launch, launches)
    return Assessment(following.go_on, following.launch, cause, f"{words}. {following.reason}")


def words_for_failed_run(
    run_id: str,
    unsettled: Sequence[Mapping[str, Any]],
    error: Mapping[str, Any] | None,
    clusters_left: Sequence[str] = (),
) -> str:
    """What failed, why, and what to do: the cause of a failed execution.

    `unsettled` has table, batch and error; `error` is what Step Functions caught, if it caught something;
    `clusters_left` are the ids of clusters that could not be ended.
    """
    what = [f"{each['table']} batch {each['batch']}: {each['error']}" for each in unsettled]
    if error:
        what.append(f"{error.get('Error', 'unknown error')}: {cause_of(error)}")
    what = what or ["nobody recorded why"]
    left = (
        f"cluster {', '.join(clusters_left)} could not be ended: end it now" if clusters_left else "no cluster is left"
    )
    text = (
        f"Run {run_id} failed. " + " | ".join(what) + ". "
        f"What could be merged is merged, and {left}. Redrive this execution, or start a new one with the same "
        "input: both go on with the batches that are not merged. "
        f"More: tidegate status, and the receipts of run {run_id} in the control bucket."
    )
    return text if len(text) <= MAXIMUM_CAUSE_CHARACTERS else text[: MAXIMUM_CAUSE_CHARACTERS - 1] + "…"


def cause_of(error: Mapping[str, Any]) -> str:
    """The sentence in a cause that Step Functions caught: a Lambda's is JSON around its message."""
    cause = str(error.get("Cause") or "no cause given")
    try:
        document = json.loads(cause)
    except ValueError:
        return cause
    return str(document.get("errorMessage", cause)) if isinstance(document, dict) else cause
