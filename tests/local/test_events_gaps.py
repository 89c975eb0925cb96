"""The gaps of ministack's event source mappings and Lambda errors that the local cloud fills."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from ministack.services import lambda_svc, sqs
from tidegate_local import lambda_errors
from tidegate_local.sqs_batching import Batching


class Queue:
    """A queue with an event source mapping that has a batching window."""

    def __init__(self, window_s: float) -> None:
        self.messages: list[dict[str, Any]] = []
        self.taken: list[int] = []
        self.batching = Batching(self.take)
        sqs._queues["url"] = {"attributes": {"QueueArn": "arn:queue"}, "messages": self.messages}
        lambda_svc._esms["esm"] = {"EventSourceArn": "arn:queue", "MaximumBatchingWindowInSeconds": window_s}

    def send(self, count: int) -> None:
        self.messages += [{"visible_at": 0.0} for _ in range(count)]

    def take(self, _url: str, most: int) -> list[dict[str, Any]]:
        taken = self.messages[: min(most, 10)]
        del self.messages[: len(taken)]
        return taken

    def receive(self, batch_size: int = 25) -> int:
        return len(self.batching.receive("url", batch_size))


@pytest.fixture(autouse=True)
def _forget_queue() -> Iterator[None]:
    yield
    sqs._queues.pop("url", None)
    lambda_svc._esms.pop("esm", None)


def test_a_message_waits_for_company_and_no_longer_than_its_window() -> None:
    queue = Queue(window_s=0.3)
    lambda_svc._esm_wake.clear()
    queue.send(1)
    assert queue.receive() == 0
    queue.send(2)
    assert queue.receive() == 0
    # The poller is woken as soon as the batch is due.
    assert lambda_svc._esm_wake.wait(2)
    time.sleep(0.01)
    assert queue.receive() == 3
    # AND the next message begins a new window
    queue.send(1)
    assert queue.receive() == 0


def test_a_full_batch_waits_for_nothing_and_may_exceed_ten_messages() -> None:
    queue = Queue(window_s=60)
    queue.send(30)
    assert queue.receive() == 25
    assert queue.receive() == 0


def test_without_a_window_nothing_waits() -> None:
    queue = Queue(window_s=0)
    queue.send(3)
    assert queue.receive() == 3


def test_messages_that_are_in_flight_are_no_company() -> None:
    queue = Queue(window_s=60)
    queue.messages += [{"visible_at": time.time() + 60} for _ in range(25)]
    assert queue.receive() == 0
    assert threading.active_count() < 50


@pytest.mark.parametrize(
    ("trace", "name"),
    [
        ('\n  File "x.py", line 1, in handler\ntidegate.errors.RunFailed: no\nmore words: here\n', "RunFailed"),
        ('\n  File "x.py", line 1\n    1/0\n    ~^~\nZeroDivisionError: division by zero\n', "ZeroDivisionError"),
        ("\n  File \"x.py\", line 1\nKeyError\n", "KeyError"),
        ("", None),
    ],
)  # fmt: skip
def test_a_lambda_error_carries_the_name_of_its_exception(trace: str, name: str | None) -> None:
    assert lambda_errors.name_of(trace) == name


LOG = """START
Traceback (most recent call last):
  File "x.py", line 3, in handler
    1 / 0
ZeroDivisionError: division by zero

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "x.py", line 5, in handler
    raise LeaseHeld("flights: by run-1")
tidegate.errors.LeaseHeld: flights: by run-1
second line of its words
"""


def test_of_a_chain_of_exceptions_the_last_one_counts() -> None:
    body = {"errorType": "Runtime.HandlerError", "errorMessage": "flights: by run-1"}
    assert lambda_errors.renamed(body, LOG) == {
        "errorType": "LeaseHeld",
        "stackTrace": ['  File "x.py", line 5, in handler', '    raise LeaseHeld("flights: by run-1")'],
    }


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("Worker process died", "Runtime.ExitError"),
        ("Worker process exited immediately. stderr: ", "Runtime.ExitError"),
        ("Worker init failed: No module named 'nosuch'", "Runtime.ImportModuleError"),
    ],
)
def test_what_ends_the_process_has_its_name_on_aws(message: str, name: str) -> None:
    assert lambda_errors.renamed({"errorType": "RuntimeError", "errorMessage": message}, "")["errorType"] == name


def test_a_time_out_keeps_its_name() -> None:
    assert lambda_errors.renamed({"errorType": "Sandbox.Timedout", "errorMessage": "Task timed out"}, LOG) == {}
