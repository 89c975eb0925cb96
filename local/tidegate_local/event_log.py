"""Gap: nobody can see which events came to ministack's EventBridge; on AWS a rule to a log group shows them.

Those of AWS's own services are left out. The file has a line of JSON an event, as rules see it; it goes with the cloud.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tidegate_local import settings

Json = dict[str, Any]


def install() -> None:
    """Write down each event before it is delivered to the rules that match it."""
    from ministack.services import eventbridge  # noqa: PLC0415 - after its environment is set

    eventbridge._dispatch_event = recorded(settings.current().events_file, eventbridge._dispatch_event)


def recorded(file: Path, dispatch: Callable[..., None]) -> Callable[..., None]:
    """`dispatch` that keeps each event in `file` first."""
    lock = threading.Lock()

    def dispatch_recorded(event: Json, *args: Any, **kwargs: Any) -> None:
        if not str(event.get("Source", "")).startswith("aws."):
            line = json.dumps(as_rules_see_it(event), ensure_ascii=False)
            with lock, file.open("a", encoding="utf-8") as log:
                log.write(f"{line}\n")
        dispatch(event, *args, **kwargs)

    return dispatch_recorded


def as_rules_see_it(event: Json) -> Json:
    """An event in EventBridge's own form."""
    return {
        "version": "0",
        "id": event["EventId"],
        "detail-type": event["DetailType"],
        "source": event["Source"],
        "account": event["Account"],
        "time": datetime.fromtimestamp(event["Time"], UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "region": event["Region"],
        "resources": list(event.get("Resources") or []),
        "detail": json.loads(event["Detail"]),
    }


def read_events(file: Path) -> list[Json]:
    """The events so far, the oldest first; none before the first."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
