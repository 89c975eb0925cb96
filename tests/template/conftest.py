"""The template and the machine as data, read once."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


class TemplateLoader(yaml.SafeLoader):
    """YAML with CloudFormation's short intrinsic functions as one-key mappings."""


def _intrinsic(loader: TemplateLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    return {name: value}


TemplateLoader.add_multi_constructor("!", _intrinsic)


@pytest.fixture(scope="session")
def template_text() -> str:
    return (ROOT / "template.yaml").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def template(template_text: str) -> dict[str, Any]:
    return yaml.load(template_text, TemplateLoader)  # a SafeLoader with more tags


@pytest.fixture(scope="session")
def resources(template: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return template["Resources"]


@pytest.fixture(scope="session")
def machine_text() -> str:
    return (ROOT / "statemachine" / "run.asl.yaml").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def machine(machine_text: str) -> dict[str, Any]:
    """The definition with recorded values in place of its substitutions."""
    return yaml.safe_load(re.sub(r"\$\{(\w+)\}", lambda match: SUBSTITUTIONS[match[1]], machine_text))


# What a deployment puts into the definition;
# tests/template/test_machine.py holds that the template gives the same names.
SUBSTITUTIONS = {
    "Partition": "aws",
    "Region": "us-east-1",
    "PlanRunFunction": "arn:aws:lambda:us-east-1:123456789012:function:plan_run:7",
    "SettleRunFunction": "arn:aws:lambda:us-east-1:123456789012:function:settle_run:7",
    "ControlBucket": "tidegate-control",
    "EmrReleaseLabel": "emr-7.14.0",
    "EmrServiceRole": "tidegate-cluster-service",
    "EmrInstanceProfile": "tidegate-cluster-instance",
    "EmrSecurityConfiguration": "tidegate-clusters",
    "SubnetIds": "subnet-0a1b,subnet-2c3d",
    "SecurityGroupIds": "sg-0a1b,sg-2c3d,sg-4e5f",
    "StepTimeoutSeconds": "14400",
    "MainUri": "s3://tidegate-control/artifacts/abc/main.py",
    "PyFilesUri": "s3://tidegate-control/artifacts/abc/tidegate_spark.zip",
    "PythonDepsPrefix": "s3://tidegate-control/artifacts/abc/python-deps-",
    "InstallScriptUri": "s3://tidegate-control/artifacts/abc/install_python_deps.sh",
}
