"""Gap: ministack's execution status events know no redrive, and keep the error of an aborted or timed out execution.

AWS: "Step Functions Execution Status Change" tells of every status, with redriveCount, redriveStatus, error and cause.
"""

from __future__ import annotations

import json
import logging
from datetime import datetime
from typing import Any

from ministack.services import eventbridge, stepfunctions

from tidegate_local.stepfunctions_execution import redrive_fields

logger = logging.getLogger("tidegate.local.stepfunctions")

DETAIL_TYPE = "Step Functions Execution Status Change"
_MOST_BYTES = 248 * 1024
"""Longer inputs and outputs are left out of the event."""


def install() -> None:
    """Replace the sending of the event."""
    stepfunctions._emit_execution_status_event = emit


def emit(execution: dict[str, Any]) -> None:
    """Tell EventBridge of an execution's new status. Best effort, as on AWS."""
    if execution.get("sync"):
        return
    entry = {
        "Source": "aws.states",
        "DetailType": DETAIL_TYPE,
        "Detail": json.dumps(detail_of(execution)),
        "Resources": [execution["executionArn"]],
    }
    try:
        eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)
    except Exception:
        logger.exception("no event was sent for %s", execution["executionArn"])


def detail_of(execution: dict[str, Any]) -> dict[str, Any]:
    """The event's detail."""
    status = execution["status"]
    fields = redrive_fields(execution)
    output = execution.get("output") if status == "SUCCEEDED" else None
    return {
        **{name: execution[name] for name in ("executionArn", "stateMachineArn", "name")},
        "status": status,
        "startDate": _millis(execution["startDate"]),
        "stopDate": _millis(execution.get("stopDate")),
        **_payload("input", execution["input"]),
        **_payload("output", output),
        "stateMachineVersionArn": None,
        "stateMachineAliasArn": None,
        "redriveCount": fields["redriveCount"],
        "redriveDate": _millis(fields.get("redriveDate")),
        "redriveStatus": fields["redriveStatus"],
        "redriveStatusReason": fields.get("redriveStatusReason"),
        "error": execution.get("error") or None,
        "cause": execution.get("cause") or None,
    }


def _payload(name: str, text: str | None) -> dict[str, Any]:
    if text is None:
        return {name: None, f"{name}Details": None}
    fits = len(text.encode()) <= _MOST_BYTES
    return {name: text if fits else None, f"{name}Details": {"included": fits}}


def _millis(moment: str | None) -> int | None:
    return int(datetime.fromisoformat(moment).timestamp() * 1000) if moment else None
