"""What AWS answers when it fails or throttles a call: each service's own codes, in its own protocol. Pure.

Sources: "Common errors" and the errors of each operation in the API references of DynamoDB, S3 ("List of error codes"),
Amazon EMR, Step Functions, Lambda, EventBridge and SQS; the protocols are botocore's.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from xml.sax.saxutils import escape

from tidegate_local.faults.kinds import THROTTLED, Fault

Response = tuple[int, dict[str, str], bytes]


class NotAnswerable(ValueError):
    """A request in a protocol in which no error can be said here."""


@dataclass(frozen=True)
class Refusal:
    """An error of a service."""

    status: int
    code: str
    message: str


_INTERNAL: Mapping[str, Refusal] = {
    "s3": Refusal(500, "InternalError", "We encountered an internal error. Please try again."),
    "dynamodb": Refusal(500, "InternalServerError", "The server encountered an internal error trying to fulfill it"),
    "elasticmapreduce": Refusal(500, "InternalServerException", "An internal server error occurred"),
    "lambda": Refusal(500, "ServiceException", "Service encountered an internal error"),
    "events": Refusal(500, "InternalException", "An internal error occurred"),
    "scheduler": Refusal(500, "InternalServerException", "Unexpected error encountered while processing the request"),
}
_OTHERWISE_INTERNAL = Refusal(500, "InternalFailure", "The request failed because of an unknown error")

_THROTTLED: Mapping[str, Refusal] = {
    "s3": Refusal(503, "SlowDown", "Please reduce your request rate."),
    # What a table on demand says; `error` has ProvisionedThroughputExceededException for the others.
    "dynamodb": Refusal(
        400,
        "ThrottlingException",
        "Throughput exceeds the current capacity of your table or index. DynamoDB is automatically scaling it",
    ),
    "lambda": Refusal(429, "TooManyRequestsException", "Rate Exceeded."),
    "scheduler": Refusal(429, "ThrottlingException", "Rate exceeded"),
    "sqs": Refusal(403, "RequestThrottled", "Request is throttled."),
    "cloudformation": Refusal(400, "Throttling", "Rate exceeded"),
    "sts": Refusal(400, "Throttling", "Rate exceeded"),
    "iam": Refusal(400, "Throttling", "Rate exceeded"),
}
_OTHERWISE_THROTTLED = Refusal(400, "ThrottlingException", "Rate exceeded")

# EMR's operations that change something name their internal error otherwise than those that look.
_EMR_LOOKS = ("Describe", "List", "Get")


def refusal_of(fault: Fault, call: str) -> Refusal:
    """What `service:Operation` is answered by this fault. An `error` of the fault's own is refused as the caller's."""
    service, _, operation = call.partition(":")
    if "error" in fault:
        code = fault["error"]
        return Refusal(403 if code.startswith("AccessDenied") else 400, code, f"{code}, as planned")
    if fault["fault"] == THROTTLED:
        return _THROTTLED.get(service, _OTHERWISE_THROTTLED)
    refusal = _INTERNAL.get(service, _OTHERWISE_INTERNAL)
    if service == "elasticmapreduce" and not operation.startswith(_EMR_LOOKS):
        return Refusal(refusal.status, "InternalServerError", refusal.message)
    return refusal


def as_response(refusal: Refusal, service: str, headers: Mapping[str, str]) -> Response:
    """The refusal in the protocol of the request that has these headers (in lower case). Raises NotAnswerable."""
    content_type = headers.get("content-type", "")
    if "cbor" in content_type or "cbor" in headers.get("smithy-protocol", ""):
        raise NotAnswerable(f"{service} was asked in CBOR, in which no error can be said here")
    if service == "s3":
        return refusal.status, {"Content-Type": "application/xml"}, _s3_xml(refusal)
    if content_type.startswith("application/x-www-form-urlencoded"):
        return refusal.status, {"Content-Type": "text/xml"}, _query_xml(refusal)
    kind = content_type if content_type.startswith("application/x-amz-json") else "application/json"
    body = json.dumps({"__type": refusal.code, "message": refusal.message}).encode()
    return refusal.status, {"Content-Type": kind, "x-amzn-errortype": refusal.code}, body


def _s3_xml(refusal: Refusal) -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{escape(refusal.code)}</Code><Message>{escape(refusal.message)}</Message>"
        f"<RequestId>{uuid.uuid4().hex[:16].upper()}</RequestId></Error>"
    ).encode()


def _query_xml(refusal: Refusal) -> bytes:
    at_fault = "Receiver" if refusal.status >= 500 else "Sender"
    return (
        f"<ErrorResponse><Error><Type>{at_fault}</Type><Code>{escape(refusal.code)}</Code>"
        f"<Message>{escape(refusal.message)}</Message></Error><RequestId>{uuid.uuid4()}</RequestId></ErrorResponse>"
    ).encode()
