"""Gap: ministack's EventBridge Scheduler leaves `<aws.scheduler.scheduled-time>` and the like in a target's Input."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ministack.services import eventbridge


def install() -> None:
    """Wrap the invocation of targets."""
    invoke = eventbridge._invoke_target

    def invoke_target(target: dict[str, Any], event: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        if event.get("Source") == "aws.scheduler" and "Input" in target:
            target = target | {"Input": filled(target["Input"], event)}
        return invoke(target, event, *args, **kwargs)

    eventbridge._invoke_target = invoke_target


def filled(text: str, event: dict[str, Any]) -> str:
    """An Input with its context attributes replaced. Each time is one attempt, as nothing is retried here."""
    scheduled = datetime.fromtimestamp(float(event["Time"]), UTC)
    attributes = {
        "scheduled-time": f"{scheduled:%Y-%m-%dT%H:%M:%SZ}",
        "schedule-arn": (event.get("Resources") or [""])[0],
        "execution-id": event["EventId"],
        "attempt-number": "1",
    }
    for name, value in attributes.items():
        text = text.replace(f"<aws.scheduler.{name}>", value)
    return text
