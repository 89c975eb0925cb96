"""template.yaml as CloudFormation would make it of its parameters: no intrinsic function is left.

Resources are called in the tests' account as `NAMES` says, everything else after its logical id.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

TEMPLATE = Path(__file__).resolve().parents[2] / "template.yaml"
ACCOUNT, REGION, STACK = "123456789012", "us-east-1", "tidegate"
PSEUDO = {
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT,
    "AWS::StackName": STACK,
    "AWS::StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{STACK}/1",
    "AWS::URLSuffix": "amazonaws.com",
}
NAMES = {
    "Ledger": "ledger",
    "LandingBucket": "tidegate-landing",
    "LakeBucket": "tidegate-lake",
    "ControlBucket": "tidegate-control",
    "RunStateMachine": "tidegate-run",
    "CatalogDatabase": "tidegate",
}
_ARN_OF_TYPE = {
    "AWS::S3::Bucket": "arn:aws:s3:::{name}",
    "AWS::DynamoDB::Table": "arn:aws:dynamodb:us-east-1:123456789012:table/{name}",
    "AWS::IAM::Role": "arn:aws:iam::123456789012:role/{name}",
    "AWS::SQS::Queue": "arn:aws:sqs:us-east-1:123456789012:{name}",
    "AWS::SNS::Topic": "arn:aws:sns:us-east-1:123456789012:{name}",
    "AWS::Events::Rule": "arn:aws:events:us-east-1:123456789012:rule/{name}",
    "AWS::Logs::LogGroup": "arn:aws:logs:us-east-1:123456789012:log-group:{name}:*",
    "AWS::Serverless::Function": "arn:aws:lambda:us-east-1:123456789012:function:{name}",
    "AWS::Serverless::StateMachine": "arn:aws:states:us-east-1:123456789012:stateMachine:{name}",
}
_REF_IS_ARN = {"AWS::SNS::Topic", "AWS::Serverless::StateMachine"}
_NOTHING = object()
"""What `AWS::NoValue` leaves: the property is not there."""

Json = dict[str, Any]


class _Loader(yaml.SafeLoader):
    """CloudFormation's short intrinsic functions as one-key mappings."""


def _intrinsic(loader: _Loader, suffix: str, node: yaml.Node) -> Json:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _intrinsic)


@cache
def resolved(**parameters: str) -> dict[str, Json]:
    """The resources that these parameters make, by logical id; the others have their defaults. Not to be changed."""
    document = yaml.load(TEMPLATE.read_text(encoding="utf-8"), _Loader)
    return _Resolver(document, parameters).resources()


class _Resolver:
    def __init__(self, document: Json, parameters: Mapping[str, str]) -> None:
        unknown = set(parameters) - set(document["Parameters"])
        assert not unknown, f"the template has no parameter {unknown}"
        self._document = document
        self._values = {name: str(each["Default"]) for name, each in document["Parameters"].items()} | dict(parameters)

    def resources(self) -> dict[str, Json]:
        return {
            name: {key: found for key, value in each.items() if (found := self._of(value)) is not _NOTHING}
            for name, each in self._document["Resources"].items()
            if "Condition" not in each or self._holds(each["Condition"])
        }

    def _holds(self, name: str) -> bool:
        return bool(self._of(self._document["Conditions"][name]))

    def _of(self, value: Any) -> Any:
        if isinstance(value, list):
            return [found for each in value if (found := self._of(each)) is not _NOTHING]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name == "Ref":
                return self._ref(argument)
            if name == "Condition" and isinstance(argument, str):
                return self._holds(argument)
            if name.startswith("Fn::"):
                return self._function(name.removeprefix("Fn::"), argument)
        return {key: found for key, each in value.items() if (found := self._of(each)) is not _NOTHING}

    def _function(self, name: str, argument: Any) -> Any:  # noqa: PLR0911 - one a function
        if name == "If":
            return self._of(argument[1] if self._holds(argument[0]) else argument[2])
        if name == "GetAtt":
            return self._attribute(argument if isinstance(argument, str) else ".".join(argument))
        if name == "Sub":
            return self._sub(argument)
        given = self._of(argument)
        if name == "Equals":
            return given[0] == given[1]
        if name == "Not":
            return not given[0]
        if name in {"And", "Or"}:
            return (all if name == "And" else any)(given)
        if name == "Split":
            return given[1].split(given[0])
        if name == "Select":
            return given[1][int(given[0])]
        if name == "Join":
            return given[0].join(given[1])
        raise NotImplementedError(f"say here what Fn::{name} gives")

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return _NOTHING
        if name in PSEUDO:
            return PSEUDO[name]
        if name in self._values:
            return self._values[name]
        kind = self._document["Resources"].get(name.removesuffix(".Version"), {}).get("Type")
        return self._arn(name) if kind in _REF_IS_ARN else NAMES.get(name, name)

    def _attribute(self, path: str) -> str:
        name, _, attribute = path.partition(".")
        if attribute == "Arn":
            return self._arn(name)
        return NAMES.get(name, name) if attribute.endswith("Name") else path

    def _arn(self, name: str) -> str:
        kind = self._type_of(name)
        return _ARN_OF_TYPE.get(kind, "arn:aws:unknown:::{name}").format(name=NAMES.get(name, name))

    def _type_of(self, name: str) -> str:
        """A resource's type; of the rules that SAM makes of a function's events too, which are called after both."""
        resources: dict[str, Json] = self._document["Resources"]
        if name in resources:
            return str(resources[name]["Type"])
        (event,) = (
            event
            for function, each in resources.items()
            for own, event in each.get("Properties", {}).get("Events", {}).items()
            if name == function + own
        )
        assert event["Type"] == "EventBridgeRule", event
        return "AWS::Events::Rule"

    def _sub(self, argument: Any) -> str:
        text, own = (argument, {}) if isinstance(argument, str) else (argument[0], self._of(argument[1]))

        def fill(match: re.Match[str]) -> str:
            name = match[1]
            if name in own:
                return str(own[name])
            return str(self._attribute(name) if "." in name else self._ref(name))

        return re.sub(r"\$\{([\w:.]+)\}", fill, text)
