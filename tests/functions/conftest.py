"""The functions as Lambda runs them: golden events in, moto's account behind, layers on sys.path."""

import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from fakes import models, policies
from fakes.contracts import document
from fakes.ministack import PASSED_BY_MOTO, Beside, beside_moto
from moto import mock_aws

models.share()
# Powertools reads these when a function is imported.
os.environ.setdefault("POWERTOOLS_SERVICE_NAME", "tidegate")
os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", "Tidegate")

EVENTS = Path(__file__).resolve().parents[2] / "events"
STATE_MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:tidegate-run"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "STACK_NAME": "tidegate",
    "LEDGER_TABLE": "ledger",
    "MAXIMUM_CLUSTERS": "4",
    "QUIET_HOURS": "",
    "DAILY_BUDGET": "1000",
    "MONTHLY_BUDGET": "1000",
    "STATE_MACHINE_ARN": STATE_MACHINE,
    "LANDING_BUCKET": "tidegate-landing",
    "LAKE_BUCKET": "tidegate-lake",
    "CONTROL_BUCKET": "tidegate-control",
    "CATALOG_DATABASE": "tidegate",
}


@dataclass
class Context:
    """What Lambda hands to a handler."""

    function_name: str = "function"
    memory_limit_in_mb: int = 256
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:function"
    aws_request_id: str = "5bf2b1e2"
    remaining_ms: int = 60_000

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms


@pytest.fixture
def make_context() -> type[Context]:
    return Context


@pytest.fixture
def golden() -> Callable[[str], Any]:
    """An event of events/, by its name."""
    return lambda name: json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))


@dataclass
class Account:
    """moto's account, with the stack's resources."""

    beside: Beside
    ledger: Any = field(default_factory=lambda: boto3.resource("dynamodb").Table("ledger"))
    s3: Any = field(default_factory=lambda: boto3.client("s3"))
    stepfunctions: Any = field(default_factory=lambda: boto3.client("stepfunctions"))

    def items(self, kind: str) -> list[dict[str, Any]]:
        return [item for item in self.ledger.scan()["Items"] if item.get("kind") == kind]

    def read(self, uri: str) -> Any:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return json.loads(self.s3.get_object(Bucket=bucket, Key=key)["Body"].read())

    def write(self, uri: str, document: Any) -> None:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        self.s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(document).encode())

    def executions(self) -> list[dict[str, Any]]:
        found = self.stepfunctions.list_executions(stateMachineArn=STATE_MACHINE)["executions"]
        return [self.stepfunctions.describe_execution(executionArn=each["executionArn"]) for each in found]


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    with mock_aws(config=PASSED_BY_MOTO), beside_moto("tidegate") as beside:
        made = Account(beside)
        make_ledger()
        for bucket in ("landing", "lake", "control"):
            made.s3.create_bucket(Bucket=f"tidegate-{bucket}")
        made.s3.put_bucket_versioning(Bucket="tidegate-landing", VersioningConfiguration={"Status": "Enabled"})
        made.stepfunctions.create_state_machine(
            name="tidegate-run",
            definition='{"StartAt": "S", "States": {"S": {"Type": "Wait", "Seconds": 60, "End": true}}}',
            roleArn="arn:aws:iam::123456789012:role/r",
        )
        yield made


def make_ledger() -> None:
    boto3.client("dynamodb").create_table(
        TableName="ledger",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk", "pending_pk", "pending_sk")
        ],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "pending",
                "KeySchema": [
                    {"AttributeName": "pending_pk", "KeyType": "HASH"},
                    {"AttributeName": "pending_sk", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    )


@pytest.fixture
def layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The packages of the contracts' and the artifacts' layer."""
    for name in ("tidegate_contracts", "tidegate_artifacts"):
        sys.modules.pop(name, None)
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    (tmp_path / "tidegate_contracts" / "contracts.json").write_text(document())
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.fixture
def run(account: Account, layers: Path) -> Callable[..., Any]:
    """Call a function as Lambda does: in a container that is fresh for each test, JSON in and out."""
    import tidegate.composition

    seen: set[str] = set()
    tidegate.composition.contracts.cache_clear()
    tidegate.composition.prices.cache_clear()

    def call(module: ModuleType, event: Any, context: Context | None = None) -> Any:
        for name in ("ports", "ledger", "objects"):
            if module.__name__ not in seen and hasattr(module, name):
                getattr(module, name).cache_clear()
        seen.add(module.__name__)
        # As tidegate.composition does; pytest sets the filters anew for each test.
        warnings.filterwarnings("ignore", "No application metrics to publish")
        with as_function(module.__name__):
            return json.loads(json.dumps(module.handler(json.loads(json.dumps(event)), context or Context())))

    return call


@contextmanager
def as_function(name: str) -> Iterator[None]:
    """Refuse whatever template.yaml does not grant to the function: moto itself allows everything."""
    granted = policies.grants()[name]
    send = BaseClient._make_api_call

    def send_if_allowed(client: Any, operation: str, request: dict[str, Any]) -> Any:
        service = client.meta.service_model.service_id.hyphenize()
        contexts = policies.context_of(service, request)
        if service == "emr":
            contexts = [_tags_of(client, send, request)]
        for context in contexts:
            policies.check(granted, name, service, operation, request, context=context)
        try:
            return send(client, operation, request)
        except ClientError as error:
            if service == "s3" and error.response["Error"]["Code"] in {"404", "NoSuchKey", "NoSuchVersion"}:
                # Without it, S3 says Forbidden of a key that isn't there.
                policies.check(granted, name, service, "ListObjectsV2", {"Bucket": request["Bucket"]})
            raise

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", send_if_allowed)
        yield


def _tags_of(client: Any, send: Callable[..., Any], request: dict[str, Any]) -> dict[str, str]:
    """What IAM knows of the cluster that a call is about."""
    for cluster_id in request.get("JobFlowIds") or [request.get("ClusterId")]:
        if cluster_id is not None:
            found = send(client, "DescribeCluster", {"ClusterId": cluster_id})["Cluster"]
            return policies.cluster_context(found.get("Tags", []))
    return {}
