"""Gap: ministack's Retry knows neither MaxDelaySeconds nor JitterStrategy, and its wildcards match everything.

The waits between attempts are scaled like every other wait (SFN_WAIT_SCALE). On AWS, States.ALL and
States.TaskFailed match neither States.Runtime nor States.DataLimitExceeded.
"""

from __future__ import annotations

import random
from typing import Any

from ministack.services import stepfunctions

from tidegate_local import stepfunctions_scope

_BY_NAME_ALONE = {"States.Runtime", "States.DataLimitExceeded"}


def install() -> None:
    """Wrap how errors are matched and how long a retry waits."""
    matches, find_retrier = stepfunctions._error_matches, stepfunctions._find_matching_retrier

    def error_matches(names: list[str], error: str) -> bool:
        return error in names if error in _BY_NAME_ALONE else bool(matches(names, error))

    def find_retrier_and_wait(retriers: list[dict[str, Any]], error: str, counts: dict[int, int]) -> Any:
        retrier, index = find_retrier(retriers, error, counts)
        if retrier is None:
            return None, index
        delay_s = random.uniform(*delay_range_s(retrier, counts.get(index, 0)))  # noqa: S311 - jitter
        stepfunctions_scope.current().wait(delay_s * stepfunctions._SFN_WAIT_SCALE)
        # ministack would sleep again, and not past a minute.
        return {**retrier, "IntervalSeconds": 0}, index

    stepfunctions._error_matches = error_matches
    stepfunctions._find_matching_retrier = find_retrier_and_wait


def delay_range_s(retrier: dict[str, Any], retries_before: int) -> tuple[float, float]:
    """The shortest and the longest time before the next attempt, unscaled."""
    longest = retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** retries_before
    longest = min(longest, retrier.get("MaxDelaySeconds", longest))
    return (0.0 if retrier.get("JitterStrategy") == "FULL" else longest), longest
