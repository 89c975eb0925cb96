"""Glue's catalog and EventBridge for boto3 in a test: ministack's, since moto's need packages of their own."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

REGION = "us-east-1"
PASSED_BY_MOTO: Any = {"core": {"passthrough": {"services": ["glue", "events"]}}}
"""For `mock_aws`: moto asks nobody else about what it knows itself."""


@dataclass
class Beside:
    """What is beside moto's account."""

    glue: Any

    def heard(self) -> list[dict[str, Any]]:
        """The events that came to the bus since it was last asked."""
        from ministack.services import eventbridge

        log = eventbridge._events_log_list()
        found = [
            {"source": each["Source"], "detail-type": each["DetailType"], "detail": json.loads(each["Detail"])}
            for each in log
        ]
        log.clear()
        return found


class _Raw:
    """A body as urllib3 hands it over."""

    def __init__(self, data: bytes) -> None:
        self._parts = [data]

    def stream(self, *_arguments: Any, **_options: Any) -> Iterator[bytes]:
        yield from self._parts


@contextmanager
def beside_moto(*databases: str) -> Iterator[Beside]:
    """Clients of Glue and EventBridge that are made meanwhile talk to an account of ministack with these databases."""
    from ministack import app  # noqa: F401 - its services expect to be imported after it
    from ministack.services import eventbridge, glue

    with pytest.MonkeyPatch.context() as patch:
        session = boto3.Session(region_name=REGION)
        for name, service in (("glue", glue), ("eventbridge", eventbridge)):
            session.events.register(f"before-send.{name}", _answering(service))
            service.reset()
        patch.setattr(boto3, "DEFAULT_SESSION", session)
        client = session.client("glue")
        for name in databases:
            client.create_database(DatabaseInput={"Name": name})
        yield Beside(client)
        for service in (glue, eventbridge):
            service.reset()


def _answering(service: Any) -> Any:
    def answer(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        headers = {name.lower(): _text(value) for name, value in request.headers.items()}
        call = service.handle_request(request.method, "/", headers, request.body or b"", {})
        status, answer_headers, body = asyncio.run(call)
        raw: Any = _Raw(body if isinstance(body, bytes) else str(body).encode())
        return AWSResponse(request.url, status, answer_headers, raw)

    return answer


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
