"""IAM for the tests' account: a function may do what template.yaml grants to it, and nothing else."""

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from botocore.exceptions import ClientError

from fakes import template

Context = Mapping[str, str]
"""The condition keys of a call: `elasticmapreduce:ResourceTag/tidegate:stack` and the like."""

_OPERATORS = {
    "StringEquals": lambda found, wanted: found == wanted,
    "StringLike": fnmatch.fnmatchcase,
    "ArnEquals": fnmatch.fnmatchcase,
    "ArnLike": fnmatch.fnmatchcase,
    "Bool": lambda found, wanted: found.lower() == wanted.lower(),
}


@dataclass(frozen=True)
class Grant:
    """A statement that allows something."""

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    """(operator, key, values): each must hold, for any of its values."""

    def allows(self, action: str, resource: str, context: Context) -> bool:
        return bool(self.used_by(action, resource)) and all(
            key in context and any(_OPERATORS[operator](context[key], value) for value in values)
            for operator, key, values in self.conditions
        )

    def used_by(self, action: str, resource: str) -> list[tuple[str, str]]:
        """The (action, resource) pairs of the statement that speak of this call, its conditions apart."""
        if action not in self.actions:
            return []
        return [(action, each) for each in self.resources if fnmatch.fnmatchcase(resource, each)]

    def pairs(self) -> set[tuple[str, str]]:
        """All that it speaks of."""
        return {(action, resource) for action in self.actions for resource in self.resources}


@cache
def grants(**parameters: str) -> dict[str, list[Grant]]:
    """What each function is granted by its own policy, by the function's folder."""
    return {
        _folder_of(resource): statements_of(name, **parameters)
        for name, resource in template.resolved(**parameters).items()
        if resource["Type"] == "AWS::Serverless::Function"
    }


@cache
def statements_of(logical_id: str, **parameters: str) -> list[Grant]:
    """What a function, a machine or a role is granted by policies of its own."""
    properties = template.resolved(**parameters)[logical_id]["Properties"]
    documents = [policy.get("PolicyDocument", policy) for policy in properties["Policies"]]
    return [_grant(each) for document in documents for each in document["Statement"]]


def documents_of(logical_id: str, **parameters: str) -> list[dict[str, Any]]:
    """The same as policy documents."""
    properties = template.resolved(**parameters)[logical_id]["Properties"]
    return [
        {"Version": "2012-10-17", "Statement": policy.get("PolicyDocument", policy)["Statement"]}
        for policy in properties["Policies"]
    ]


def _folder_of(function: Mapping[str, Any]) -> str:
    return str(function["Properties"]["CodeUri"]).strip("/").rsplit("/", 1)[-1]


def _grant(statement: Mapping[str, Any]) -> Grant:
    assert statement["Effect"] == "Allow", statement
    conditions = tuple(
        (operator, key, _many(values))
        for operator, keys in statement.get("Condition", {}).items()
        for key, values in keys.items()
    )
    return Grant(statement.get("Sid", ""), _many(statement["Action"]), _many(statement["Resource"]), conditions)


def _many(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def cluster_context(tags: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The condition keys that a cluster's tags give to calls about it."""
    return {f"elasticmapreduce:ResourceTag/{each['Key']}": each["Value"] for each in tags}


def context_of(service: str, request: Mapping[str, Any]) -> list[dict[str, str]]:
    """The condition keys that a request brings by itself; one set for each thing that IAM is asked about."""
    if service == "eventbridge":
        found = [
            {"events:source": each["Source"], "events:detail-type": each["DetailType"]} for each in request["Entries"]
        ]
        return [dict(each) for each in {tuple(sorted(each.items())) for each in found}]
    return [{}]


def rights_for(service: str, operation: str, request: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The (action, resource) pairs that AWS checks for one call.

    Source: Service Authorization Reference. S3's actions are not called like its operations.
    """
    if service == "dynamodb":
        names = list(request["RequestItems"]) if operation == "BatchGetItem" else [request["TableName"]]
        for name in names:
            arn = f"arn:aws:dynamodb:us-east-1:123456789012:table/{name}"
            yield f"dynamodb:{operation}", arn + (f"/index/{request['IndexName']}" if "IndexName" in request else "")
    elif service == "eventbridge":
        yield f"events:{operation}", "arn:aws:events:us-east-1:123456789012:event-bus/default"
    elif service == "glue":
        # Whoever is asked about a table is asked about its database and the catalog, too.
        table = request.get("Name") or request["TableInput"]["Name"]
        for resource in ("catalog", f"database/{request['DatabaseName']}", f"table/{request['DatabaseName']}/{table}"):
            yield f"glue:{operation}", f"arn:aws:glue:us-east-1:123456789012:{resource}"
    elif service == "s3":
        yield from _rights_on_s3(operation, request)
    elif service == "sfn":
        yield f"states:{operation}", str(request.get("stateMachineArn") or request["executionArn"])
    elif service == "cloudwatch":
        yield f"cloudwatch:{operation}", "*"
    elif service == "emr" and operation == "ListClusters":
        yield "elasticmapreduce:ListClusters", "*"
    elif service == "emr":
        arn = "arn:aws:elasticmapreduce:us-east-1:123456789012:cluster/"
        for cluster_id in request.get("JobFlowIds") or [request["ClusterId"]]:
            yield f"elasticmapreduce:{operation}", arn + cluster_id
    else:
        raise NotImplementedError(f"say here which right {service} {operation} needs")


def _rights_on_s3(operation: str, request: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    bucket = f"arn:aws:s3:::{request['Bucket']}"
    if operation == "ListObjectsV2":
        yield "s3:ListBucket", bucket
        return
    if operation == "ListObjectVersions":
        yield "s3:ListBucketVersions", bucket
        return
    thing = f"{bucket}/{request['Key']}"
    if operation in {"GetObject", "HeadObject"}:
        yield "s3:GetObjectVersion" if request.get("VersionId") else "s3:GetObject", thing
        return
    copied = {"CopyObject", "UploadPartCopy"}
    if operation not in {"PutObject", "CreateMultipartUpload", "CompleteMultipartUpload", *copied}:
        raise NotImplementedError(f"say here which right S3's {operation} needs")
    yield "s3:PutObject", thing
    if operation in copied:
        source = request["CopySource"]
        named = f"arn:aws:s3:::{source['Bucket']}/{source['Key']}"
        yield "s3:GetObjectVersion" if source.get("VersionId") else "s3:GetObject", named
        if operation == "CopyObject" and request.get("TaggingDirective") != "REPLACE":
            # An object without tags needs neither, but nobody knows what lands.
            yield "s3:GetObjectVersionTagging" if source.get("VersionId") else "s3:GetObjectTagging", named
            yield "s3:PutObjectTagging", thing


def check(
    granted: Sequence[Grant],
    function: str,
    service: str,
    operation: str,
    request: Mapping[str, Any],
    *,
    context: Context | None = None,
) -> list[tuple[str, str]]:
    """Refuse a call as IAM does; the rights that it used."""
    rights = list(rights_for(service, operation, request))
    for action, resource in rights:
        if not any(grant.allows(action, resource, context or {}) for grant in granted):
            message = f"template.yaml does not grant {action} on {resource} to {function}: {request}"
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": message}}, operation)
    return rights
