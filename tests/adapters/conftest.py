"""Every adapter on moto, and its fake beside it: one contract suite for both."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from fakes import models
from fakes.aws import FakeCatalog, FakeMachine
from fakes.ledger import FakeLedger
from fakes.ministack import PASSED_BY_MOTO, Beside, beside_moto
from fakes.objects import FakeObjects
from moto import mock_aws
from tidegate.adapters.catalog import GlueCatalog
from tidegate.adapters.ledger import DynamoLedger
from tidegate.adapters.machine import StepFunctionsMachine
from tidegate.adapters.objects import S3Objects
from tidegate.ports import Catalog, Ledger, Machine, Objects

models.share()
LEDGER = "ledger"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty account: moto's, whatever the environment says."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    with mock_aws(config=PASSED_BY_MOTO):
        yield


@pytest.fixture
def beside(aws: None) -> Iterator[Beside]:
    """Glue and EventBridge."""
    with beside_moto("tidegate") as made:
        yield made


@pytest.fixture(params=["glue", "fake"])
def catalog(request: pytest.FixtureRequest) -> Catalog:
    if request.param == "fake":
        return FakeCatalog()
    request.getfixturevalue("beside")
    return GlueCatalog("tidegate")


@pytest.fixture
def dynamodb(aws: None) -> Any:
    """The ledger's table as the template makes it."""
    client = boto3.client("dynamodb")
    key_names = ("pk", "sk", "pending_pk", "pending_sk")
    client.create_table(
        TableName=LEDGER,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in key_names],
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
    return client


@pytest.fixture(params=["dynamodb", "fake"])
def ledger(request: pytest.FixtureRequest) -> Ledger:
    if request.param == "fake":
        return FakeLedger()
    request.getfixturevalue("dynamodb")
    return DynamoLedger(LEDGER)


class LandingOnS3:
    """What others do to the landing bucket."""

    def __init__(self) -> None:
        self._s3 = boto3.client("s3")
        for bucket in ("landing", "control"):
            self._s3.create_bucket(Bucket=bucket)
        self._s3.put_bucket_versioning(Bucket="landing", VersioningConfiguration={"Status": "Enabled"})

    def land(self, bucket: str, key: str, data: bytes) -> tuple[str, str]:
        answer = self._s3.put_object(Bucket=bucket, Key=key, Body=data)
        return answer["VersionId"], answer["ETag"].strip('"')

    def forget(self, bucket: str, key: str, version_id: str) -> None:
        self._s3.delete_object(Bucket=bucket, Key=key, VersionId=version_id)


@pytest.fixture(params=["s3", "fake"])
def objects_and_landing(request: pytest.FixtureRequest) -> tuple[Objects, Any]:
    if request.param == "fake":
        fake = FakeObjects()
        return fake, fake
    request.getfixturevalue("aws")
    landing = LandingOnS3()
    return S3Objects(), landing


@pytest.fixture(params=["stepfunctions", "fake"])
def machine(request: pytest.FixtureRequest) -> Machine:
    if request.param == "fake":
        return FakeMachine()
    request.getfixturevalue("aws")
    made = boto3.client("stepfunctions").create_state_machine(
        name="tidegate-run",
        definition='{"StartAt": "S", "States": {"S": {"Type": "Wait", "Seconds": 60, "End": true}}}',
        roleArn="arn:aws:iam::123456789012:role/r",
    )
    return StepFunctionsMachine(made["stateMachineArn"])
