"""Gap: ministack's SQS event source mappings ignore MaximumBatchingWindowInSeconds, and no batch exceeds ten messages.

AWS waits that long for company, unless BatchSize messages are there before; a single message is late by the window,
here as there. The window is a promise of the template, so it isn't scaled. (AWS also stops at 6 MB a batch.)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from ministack.services import lambda_svc, sqs

Message = dict[str, Any]

_MOST_A_RECEIVE = 10


def install() -> None:
    """Wrap the receiving of event source mappings."""
    sqs._receive_messages_for_esm = Batching(sqs._receive_messages_for_esm).receive


class Batching:
    """Holds a queue's messages back until their batch is due. Called by the one thread that polls."""

    def __init__(self, take: Callable[[str, int], list[Message]]) -> None:
        self._take = take
        self._first_seen_s: dict[str, float] = {}

    def receive(self, queue_url: str, batch_size: int) -> list[Message]:
        """The batch that is due, or none yet."""
        window_s = _window_s(queue_url)
        if not window_s:
            return self._take(queue_url, batch_size)
        waiting = _waiting(queue_url)
        if not waiting:
            self._first_seen_s.pop(queue_url, None)
            return []
        now_s = time.monotonic()
        if queue_url not in self._first_seen_s:
            self._first_seen_s[queue_url] = now_s
            wake = threading.Timer(window_s, lambda_svc._esm_wake.set)
            wake.daemon = True
            wake.start()
        if waiting < batch_size and now_s < self._first_seen_s[queue_url] + window_s:
            return []
        del self._first_seen_s[queue_url]
        batch: list[Message] = []
        while len(batch) < batch_size:
            more = self._take(queue_url, min(_MOST_A_RECEIVE, batch_size - len(batch)))
            if not more:
                break
            batch += more
        return batch


def _window_s(queue_url: str) -> float:
    arn = sqs._queues[queue_url]["attributes"]["QueueArn"]
    windows = [
        esm.get("MaximumBatchingWindowInSeconds") or 0
        for esm in lambda_svc._esms.values()
        if esm.get("EventSourceArn") == arn
    ]
    return float(max(windows, default=0))


def _waiting(queue_url: str) -> int:
    """How many messages could be received."""
    now_s = time.time()
    with sqs._queues_lock:
        return sum(1 for each in sqs._queues[queue_url]["messages"] if each.get("visible_at", 0) <= now_s)
