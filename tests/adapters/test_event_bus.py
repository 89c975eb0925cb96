"""EventBridge's adapter: tens at a time, and what fails in parts goes again in parts."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from fakes.ministack import Beside
from tidegate.adapters import bus
from tidegate.adapters.bus import EventBus

Answers = list[Any]
"""What is said to each PutEvents: the error's code of each entry or None; or an exception."""


class Listening:
    """EventBridge as a test has it fail."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.answers: Answers = []

    def put_events(self, entries: list[Mapping[str, str]]) -> dict[str, Any]:
        self.calls.append([entry["Detail"] for entry in entries])
        answer = self.answers.pop(0) if self.answers else [None] * len(entries)
        if isinstance(answer, Exception):
            raise answer
        results = [{"ErrorCode": code, "ErrorMessage": "m"} if code else {"EventId": "e"} for code in answer]
        return {"FailedEntryCount": sum(code is not None for code in answer), "Entries": results}


@pytest.fixture
def listening(aws: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listening]:
    made = Listening()
    monkeypatch.setattr(
        BaseClient, "_make_api_call", lambda _client, _operation, request: made.put_events(request["Entries"])
    )
    monkeypatch.setattr(bus, "FIRST_PAUSE_S", 0)
    return made


def test_what_is_sent_is_on_the_bus(beside: Beside) -> None:
    assert EventBus().send([{"table": "flights", "batches": [1]}]) == [None]
    (event,) = beside.heard()
    assert event == {
        "source": "tidegate",
        "detail-type": "Table Updated",
        "detail": {"table": "flights", "batches": [1]},
    }


def test_nothing_is_no_call(listening: Listening) -> None:
    assert EventBus().send([]) == []
    assert listening.calls == []


def test_twenty_three_go_in_three_calls(listening: Listening) -> None:
    assert EventBus().send([{"n": n} for n in range(23)]) == [None] * 23
    assert [len(each) for each in listening.calls] == [10, 10, 3]


def test_only_those_that_failed_go_again(listening: Listening) -> None:
    listening.answers = [[None, "ThrottlingException", None], [None]]
    assert EventBus().send([{"n": n} for n in range(3)]) == [None] * 3
    assert listening.calls[1] == ['{"n":1}']


def test_what_fails_again_and_again_is_said_and_the_rest_is_through(listening: Listening) -> None:
    listening.answers = [[None, "InternalFailure"], *[["InternalFailure"]] * 9]
    assert EventBus().send([{"n": n} for n in range(2)]) == [None, "events:PutEvents: InternalFailure: m"]
    assert len(listening.calls) == bus.TRIES


def test_what_would_fail_the_same_way_is_not_tried_again(listening: Listening) -> None:
    listening.answers = [["MalformedDetail"]]
    assert EventBus().send([{"n": 1}]) == ["events:PutEvents: MalformedDetail: m"]
    assert len(listening.calls) == 1


def test_a_call_that_is_refused_leaves_the_rest_for_later(listening: Listening) -> None:
    refused = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "PutEvents")
    listening.answers = [[None] * 10, refused]
    told = EventBus().send([{"n": n} for n in range(32)])
    assert told[:10] == [None] * 10
    assert all(why is not None and "AccessDeniedException" in why for why in told[10:])
    assert (len(told), len(listening.calls)) == (32, 2)
