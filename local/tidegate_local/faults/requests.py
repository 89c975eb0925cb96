"""What a request to the local cloud is called, and what it is about. Pure but for ministack's own table of names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

_FIELDS = (
    "TableName", "Name", "ClusterId", "JobFlowId", "name", "stateMachineArn", "executionArn", "QueueUrl", "QueueName",
    "FunctionName", "StackName", "TopicArn", "LogGroupName", "logGroupName", "SecretId",
)  # fmt: skip
"""Fields of a request that name what it is about."""


@dataclass(frozen=True)
class Call:
    """A call: the names that it has (`service:Operation`, the operation first) and what it is about."""

    names: tuple[str, ...]
    resources: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.names[0]

    @property
    def service(self) -> str:
        return self.name.partition(":")[0]


def call_of(
    service: str, method: str, path: str, *, headers: Mapping[str, str], body: bytes, query: Mapping[str, Any]
) -> Call | None:
    """The call that a request makes; None if it is none that has a name."""
    from ministack.core.iam_actions import extract_iam_action  # noqa: PLC0415 - the service's, when it runs

    action = extract_iam_action(service, method, path, headers, body, query)
    if action is None:
        return None
    if service == "s3":
        operation = s3_operation(method, action.partition(":")[2], headers, query)
        return Call(_unique(f"s3:{operation}", action), (unquote(path).lstrip("/"),))
    # IAM calls it by another name than the API.
    names = ("lambda:Invoke", action) if action == "lambda:InvokeFunction" else (action,)
    return Call(names, (*resources_of(_parsed(body)), *(part for part in path.split("/") if part)))


def s3_operation(method: str, action: str, headers: Mapping[str, str], query: Mapping[str, Any]) -> str:
    """The API's name of a request to S3, where IAM has another; `action` is IAM's."""
    if "uploads" in query and method == "POST":
        return "CreateMultipartUpload"
    if "uploadId" in query:
        part = "UploadPartCopy" if "x-amz-copy-source" in headers else "UploadPart"
        return {"PUT": part, "POST": "CompleteMultipartUpload", "DELETE": "AbortMultipartUpload"}.get(method, action)
    if method == "POST" and "delete" in query:
        return "DeleteObjects"
    if action == "ListBucket" and method == "GET":
        return "ListObjectsV2" if "list-type" in query else "ListObjects"
    action = _OTHER_NAMES.get(action, action)
    if action == "PutObject" and "x-amz-copy-source" in headers:
        return "CopyObject"
    return f"Head{action[3:]}" if method == "HEAD" and action.startswith("Get") else action


_OTHER_NAMES: Mapping[str, str] = {
    "GetObjectVersion": "GetObject",
    "DeleteObjectVersion": "DeleteObject",
    "ListBucketVersions": "ListObjectVersions",
    "ListBucket": "HeadBucket",
    "ListAllMyBuckets": "ListBuckets",
}


def resources_of(request: Any) -> tuple[str, ...]:
    """What a JSON request is about: the tables, clusters, machines, queues that it names."""
    if not isinstance(request, dict):
        return ()
    found = [request[field] for field in _FIELDS if isinstance(request.get(field), str)]
    found += [each for each in request.get("JobFlowIds") or [] if isinstance(each, str)]
    if isinstance(request.get("RequestItems"), dict):
        found += list(request["RequestItems"])
    for item in request.get("TransactItems") or []:
        found += [each["TableName"] for each in item.values() if isinstance(each, dict) and "TableName" in each]
    key = request.get("Key")
    if isinstance(key, dict) and isinstance(request.get("TableName"), str):
        values = [str(next(iter(value.values()))) for value in key.values() if isinstance(value, dict) and value]
        found.append("/".join([request["TableName"], *values]))
    return tuple(dict.fromkeys(found))


def _parsed(body: bytes) -> Any:
    with suppress(ValueError, UnicodeDecodeError):
        return json.loads(body)
    return None


def _unique(*names: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
