"""Failures: when a batch is tried again, when its table is blocked, and the words that the operator reads."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tidegate.receipts import NotMerged

MAXIMUM_ATTEMPTS = 5
FIRST_PAUSE_S = 60
LONGEST_PAUSE_S = 3600

MAXIMUM_CAUSE_CHARACTERS = 8_000
"""Step Functions keeps 32,768 characters of a cause; nobody reads as many."""


@dataclass(frozen=True)
class RetryDecision:
    """When dispatch may try a failed batch again; `blocked_reason` is set when only a person can."""

    retry_after: datetime
    attempts: int
    failures: int
    blocked_reason: str | None


def decide_retry(failure: NotMerged, attempts: int, failures: int, now: datetime) -> RetryDecision:
    """Decide what follows a failed attempt.

    `attempts` counts the earlier failures that the data, the table or the code caused, `failures` all of them.
    Each failure doubles the pause, because each new try costs a cluster; a failure of infrastructure never blocks.
    """
    failures += 1
    attempts += failure.counts_as_attempt
    pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (failures - 1))
    blocked = None
    if attempts >= MAXIMUM_ATTEMPTS:
        blocked = (
            f"{attempts} attempts failed, the last with: {failure.message}. "
            "Mend it, then start an execution with this table's name in its input"
        )
    return RetryDecision(now + timedelta(seconds=pause_s), attempts, failures, blocked)


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
