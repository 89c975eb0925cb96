"""IAM for moto's account: a function may do what template.yaml grants to it, and nothing else."""

import fnmatch
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from botocore.exceptions import ClientError

TEMPLATE = Path(__file__).resolve().parents[2] / "template.yaml"

# What the resources are called in the tests' account.
ARNS = {
    "Ledger": "arn:aws:dynamodb:us-east-1:123456789012:table/ledger",
    "LandingBucket": "arn:aws:s3:::tidegate-landing",
    "LakeBucket": "arn:aws:s3:::tidegate-lake",
    "ControlBucket": "arn:aws:s3:::tidegate-control",
    "RunStateMachine": "arn:aws:states:us-east-1:123456789012:stateMachine:tidegate-run",
}
PSEUDO = {
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::AccountId": "123456789012",
    "AWS::StackName": "tidegate",
}


@dataclass(frozen=True)
class Grant:
    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]

    def allows(self, action: str, resource: str) -> bool:
        return action in self.actions and any(fnmatch.fnmatchcase(resource, each) for each in self.resources)


class _Loader(yaml.SafeLoader):
    """`!Ref X` and `!GetAtt X.Arn` as their ARN, `!Sub` with its names filled in; other tags as nothing."""


def _ref(loader: _Loader, node: yaml.ScalarNode) -> str:
    name = str(loader.construct_scalar(node))
    return PSEUDO.get(name) or ARNS.get(name, name)


def _get_att(loader: _Loader, node: yaml.ScalarNode) -> str:
    name = str(loader.construct_scalar(node))
    return ARNS.get(name.removesuffix(".Arn"), name)


def _sub(loader: _Loader, node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        return ""
    return re.sub(
        r"\$\{([\w:.]+)\}",
        lambda match: PSEUDO.get(match[1]) or ARNS.get(match[1].removesuffix(".Arn"), match[1]),
        str(loader.construct_scalar(node)),
    )


_Loader.add_constructor("!Ref", _ref)
_Loader.add_constructor("!GetAtt", _get_att)
_Loader.add_constructor("!Sub", _sub)
_Loader.add_multi_constructor("!", lambda loader, suffix, node: None)


@cache
def grants() -> dict[str, list[Grant]]:
    """What each function is granted by its own policy, by the function's folder."""
    template = yaml.load(TEMPLATE.read_text(encoding="utf-8"), _Loader)
    found: dict[str, list[Grant]] = {}
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            name = resource["Properties"]["CodeUri"].strip("/").rsplit("/", 1)[-1]
            statements = [each for policy in resource["Properties"]["Policies"] for each in policy["Statement"]]
            found[name] = [Grant(each["Sid"], _many(each["Action"]), _many(each["Resource"])) for each in statements]
    return found


def _many(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def rights_for(service: str, operation: str, request: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The (action, resource) pairs that AWS checks for one call.

    Source: Service Authorization Reference. S3's actions are not called like its operations.
    """
    if service == "dynamodb":
        names = list(request["RequestItems"]) if operation == "BatchGetItem" else [request["TableName"]]
        for name in names:
            arn = f"arn:aws:dynamodb:us-east-1:123456789012:table/{name}"
            yield f"dynamodb:{operation}", arn + (f"/index/{request['IndexName']}" if "IndexName" in request else "")
    elif service == "s3":
        yield from _rights_on_s3(operation, request)
    elif service == "sfn":
        yield f"states:{operation}", str(request.get("stateMachineArn") or request["executionArn"])
    elif service == "emr" and operation == "ListClusters":
        yield "elasticmapreduce:ListClusters", "*"
    elif service == "emr":
        arn = "arn:aws:elasticmapreduce:us-east-1:123456789012:cluster/"
        yield f"elasticmapreduce:{operation}", arn + request["ClusterId"]
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
    granted: Sequence[Grant], function: str, service: str, operation: str, request: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """Refuse a call as IAM does; the rights that it used."""
    rights = list(rights_for(service, operation, request))
    for action, resource in rights:
        if not any(grant.allows(action, resource) for grant in granted):
            message = f"template.yaml does not grant {action} on {resource} to {function}: {request}"
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": message}}, operation)
    return rights
