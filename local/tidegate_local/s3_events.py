"""Gap: ministack's S3 events for EventBridge leave out the version id of an object in a versioned bucket."""

from __future__ import annotations

import json
from contextvars import ContextVar
from typing import Any

from ministack.services import eventbridge, s3

_version_id: ContextVar[str | None] = ContextVar("version_id", default=None)


def install() -> None:
    """Wrap the making of an event and its dispatch, which lie inside one another."""
    fire, dispatch = s3._fire_s3_event, eventbridge._dispatch_event

    def fire_s3_event(*args: Any, version_id: str | None = None, **kwargs: Any) -> None:
        token = _version_id.set(version_id)
        try:
            fire(*args, version_id=version_id, **kwargs)
        finally:
            _version_id.reset(token)

    def dispatch_event(event: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        return dispatch(with_version(event, _version_id.get()), *args, **kwargs)

    s3._fire_s3_event = fire_s3_event
    eventbridge._dispatch_event = dispatch_event


def with_version(event: dict[str, Any], version_id: str | None) -> dict[str, Any]:
    """An object event with its version id where AWS has it; any other event as it is."""
    if version_id is None or event.get("Source") != "aws.s3":
        return event
    detail = json.loads(event["Detail"])
    detail["object"]["version-id"] = version_id
    return event | {"Detail": json.dumps(detail)}
