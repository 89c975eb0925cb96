"""EventBridge: the events that tell others of a table's new version."""

import json
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from tidegate.adapters.clients import CONFIG_FOR_NEWS
from tidegate.announcements import DETAIL_TYPE, SOURCE

MAXIMUM_ENTRIES = 10
"""Of one PutEvents."""
TRIES = 4
FIRST_PAUSE_S = 0.1
_PASSING = frozenset({"ThrottlingException", "InternalFailure", "InternalException", "ServiceUnavailable"})
"""Entries that EventBridge failed by itself; others fail the same way again."""


class EventBus:
    """Keeps to `tidegate.ports.Bus`. The account's default bus: rules of others need to know no name of ours."""

    def __init__(self) -> None:
        self._client: Any = boto3.client("events", config=CONFIG_FOR_NEWS)

    def send(self, details: Sequence[Mapping[str, Any]]) -> list[str | None]:
        entries = [
            {"Source": SOURCE, "DetailType": DETAIL_TYPE, "Detail": json.dumps(detail, separators=(",", ":"))}
            for detail in details
        ]
        failed: list[str | None] = []
        for start in range(0, len(entries), MAXIMUM_ENTRIES):
            try:
                failed += self._send_together(entries[start : start + MAXIMUM_ENTRIES])
            except (ClientError, BotoCoreError) as error:
                # Who refuses ten refuses the next ten, and who does not answer would hold up the run.
                return failed + [f"events:PutEvents: {error}"] * (len(entries) - len(failed))
        return failed

    def _send_together(self, entries: Sequence[Mapping[str, str]]) -> list[str | None]:
        """PutEvents succeeds in parts: what it says of each entry counts, and only those that failed go again."""
        failed: list[str | None] = [None] * len(entries)
        waiting = list(range(len(entries)))
        for number in range(TRIES):
            answer = self._client.put_events(Entries=[entries[each] for each in waiting])
            said = dict(zip(waiting, answer["Entries"], strict=True))
            for each, result in said.items():
                code = result.get("ErrorCode")
                failed[each] = f"events:PutEvents: {code}: {result.get('ErrorMessage')}" if code else None
            waiting = [each for each, result in said.items() if result.get("ErrorCode") in _PASSING]
            if not waiting or number + 1 == TRIES:
                break
            time.sleep(random.uniform(0, FIRST_PAUSE_S * 2**number))  # noqa: S311 - a pause is no secret
        return failed
