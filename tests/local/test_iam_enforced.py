"""The template's policies, tried on a server that enforces them: each role may do its own work and no other's.

Roles are made with the very documents of the template, and their credentials taken by AssumeRole. Every right that the
stack needs is looked at in tests/campaign/test_rights.py; here a second judge, that of ministack, sees that the
documents mean what that test thinks they mean.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from clouds import Cloud, assert_nothing_is_left, own_settings
from fakes import policies, template
from tidegate.sizing import size_cluster
from tidegate_local import launcher

OUTPUTS = dict.fromkeys(
    ["LandingBucket", "LakeBucket", "ControlBucket", "LedgerTable", "StateMachineArn", "DispatchFunction"], "x"
)
ROLES = ("RecordArrivalsFunction", "DispatchRunsFunction", "PlanRunFunction", "SettleRunFunction",
         "ReapClustersFunction", "PublishArtifactsFunction", "ClusterInstanceRole")  # fmt: skip
INDEX = {"IndexName": "pending", "KeyConditionExpression": "pending_pk = :p",
         "ExpressionAttributeValues": {":p": {"S": "pending#0"}}}  # fmt: skip
ITEM = {"pk": {"S": "a"}, "sk": {"S": "b"}}
Clients = Callable[[str], Any]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    here = replace(own_settings(tmp_path_factory.mktemp("iam")), iam="enforced")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launcher, "deploy", lambda _here: OUTPUTS)
        try:
            made = Cloud(launcher.start(here), here)
            make_resources(made)
            yield made
        finally:
            launcher.down(here=here)
    assert_nothing_is_left(here)


def make_resources(cloud: Cloud) -> None:
    """What the policies speak of, under the names by which the resolved template has it."""
    s3, dynamodb, iam = (cloud.client(name) for name in ("s3", "dynamodb", "iam"))
    for name in ("tidegate-landing", "tidegate-lake", "tidegate-control"):
        s3.create_bucket(Bucket=name)
    for name in ("batches/m", "receipts/r", "artifacts/main.py"):
        s3.put_object(Bucket="tidegate-control", Key=name, Body=b"{}")
    s3.put_object(Bucket="tidegate-landing", Key="a.csv", Body=b"id\n1\n")
    schema = template.resolved()["Ledger"]["Properties"]
    wanted = ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "BillingMode")
    dynamodb.create_table(TableName="ledger", **{name: schema[name] for name in wanted})
    trust = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{cloud.here.account}:root"},
        "Action": "sts:AssumeRole",
    }
    for role in ROLES:
        iam.create_role(
            RoleName=role, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        )
        for number, document in enumerate(policies.documents_of(role)):
            # The resolved template's account is the tests' one.
            text = json.dumps(document).replace(template.ACCOUNT, cloud.here.account)
            iam.put_role_policy(RoleName=role, PolicyName=f"p{number}", PolicyDocument=text)
    iam.create_role(
        RoleName="emr-service", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": []})
    )
    iam.create_instance_profile(InstanceProfileName="emr-instance")
    iam.add_role_to_instance_profile(InstanceProfileName="emr-instance", RoleName="ClusterInstanceRole")


@pytest.fixture(scope="module")
def acting_as(cloud: Cloud) -> Callable[[str], Clients]:
    """Clients with the credentials of a role."""

    def clients(role: str) -> Clients:
        arn = f"arn:aws:iam::{cloud.here.account}:role/{role}"
        found = cloud.client("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
        return lambda service: boto3.client(
            service, endpoint_url=cloud.fields.endpoint_url, region_name=cloud.fields.region,
            aws_access_key_id=found["AccessKeyId"], aws_secret_access_key=found["SecretAccessKey"],
            aws_session_token=found["SessionToken"],
        )  # fmt: skip

    return clients


def start_cluster(cloud: Cloud, stack: str) -> str:
    plan = size_cluster(stack, "run-1", 0, 1, 1)
    answer = cloud.client("emr").run_job_flow(
        Name=plan.name, ReleaseLabel="emr-7.14.0", ServiceRole="emr-service", JobFlowRole="emr-instance",
        Instances={"KeepJobFlowAliveWhenNoSteps": True, "InstanceFleets": list(plan.fleets)}, Tags=list(plan.tags),
    )  # fmt: skip
    return str(answer["JobFlowId"])


# (role, service, call, is allowed)
S3 = "tidegate-control"
CALLS: list[tuple[str, str, Callable[[Any], Any], bool]] = [
    ("RecordArrivalsFunction", "dynamodb", lambda c: c.put_item(TableName="ledger", Item=ITEM), True),
    ("RecordArrivalsFunction", "dynamodb", lambda c: c.delete_item(TableName="ledger", Key=ITEM), False),
    ("RecordArrivalsFunction", "dynamodb", lambda c: c.query(TableName="ledger", **INDEX), False),
    ("RecordArrivalsFunction", "s3", lambda c: c.put_object(Bucket=S3, Key="batches/x"), False),
    ("RecordArrivalsFunction", "s3", lambda c: c.get_object(Bucket="tidegate-landing", Key="a.csv"), False),
    ("DispatchRunsFunction", "dynamodb", lambda c: c.query(TableName="ledger", **INDEX), True),
    ("DispatchRunsFunction", "dynamodb", lambda c: c.put_item(TableName="ledger", Item=ITEM), False),
    ("PlanRunFunction", "s3", lambda c: c.put_object(Bucket=S3, Key="batches/x"), True),
    ("PlanRunFunction", "s3", lambda c: c.get_object(Bucket="tidegate-landing", Key="a.csv"), True),
    ("PlanRunFunction", "s3", lambda c: c.put_object(Bucket=S3, Key="receipts/x"), False),
    ("PlanRunFunction", "s3", lambda c: c.put_object(Bucket="tidegate-landing", Key="x"), False),
    ("PlanRunFunction", "s3", lambda c: c.delete_object(Bucket=S3, Key="batches/m"), False),
    ("SettleRunFunction", "s3", lambda c: c.get_object(Bucket=S3, Key="receipts/r"), True),
    ("SettleRunFunction", "s3", lambda c: c.put_object(Bucket=S3, Key="receipts/x"), False),
    ("PublishArtifactsFunction", "s3", lambda c: c.put_object(Bucket=S3, Key="artifacts/x"), True),
    ("PublishArtifactsFunction", "s3", lambda c: c.put_object(Bucket=S3, Key="batches/x"), False),
    ("ClusterInstanceRole", "s3", lambda c: c.get_object(Bucket="tidegate-landing", Key="a.csv"), True),
    ("ClusterInstanceRole", "s3", lambda c: c.put_object(Bucket=S3, Key="receipts/x"), True),
    ("ClusterInstanceRole", "s3", lambda c: c.put_object(Bucket="tidegate-lake", Key="flights/x"), True),
    ("ClusterInstanceRole", "s3", lambda c: c.put_object(Bucket="tidegate-landing", Key="x"), False),
    ("ClusterInstanceRole", "s3", lambda c: c.put_object(Bucket=S3, Key="batches/m"), False),
    ("ClusterInstanceRole", "s3", lambda c: c.put_object(Bucket=S3, Key="artifacts/main.py"), False),
    ("ClusterInstanceRole", "dynamodb", lambda c: c.get_item(TableName="ledger", Key=ITEM), False),
    ("ReapClustersFunction", "emr", lambda c: c.list_clusters(), True),
    ("RecordArrivalsFunction", "emr", lambda c: c.list_clusters(), False),
]  # fmt: skip


def is_allowed(call: Callable[[], Any]) -> bool:
    try:
        call()
    except ClientError as error:
        assert "AccessDenied" in error.response["Error"]["Code"], error
        return False
    return True


def test_each_role_may_do_its_own_work_and_no_others(acting_as: Callable[[str], Clients]) -> None:
    clients = {role: acting_as(role) for role in ROLES}
    wrong = [
        (number, role, service, f"must {'' if wanted else 'not '}be allowed")
        for number, (role, service, call, wanted) in enumerate(CALLS)
        if is_allowed(lambda: call(clients[role](service))) is not wanted  # noqa: B023 - called at once
    ]
    assert wrong == []


def test_the_reaper_ends_clusters_of_its_own_stack_alone(cloud: Cloud, acting_as: Callable[[str], Clients]) -> None:
    # GIVEN a cluster of this stack, and one of a stack whose clusters' names begin like ours
    ours, other = start_cluster(cloud, "tidegate"), start_cluster(cloud, "tidegate-dev")
    reaper, dispatch = (acting_as(name)("emr") for name in ("ReapClustersFunction", "DispatchRunsFunction"))
    # THEN the tag decides who may end it, and who may even look at it
    assert not is_allowed(lambda: reaper.terminate_job_flows(JobFlowIds=[other]))
    assert not is_allowed(lambda: reaper.describe_cluster(ClusterId=other))
    assert not is_allowed(lambda: dispatch.terminate_job_flows(JobFlowIds=[ours]))
    assert is_allowed(lambda: reaper.describe_cluster(ClusterId=ours))
    assert is_allowed(lambda: reaper.terminate_job_flows(JobFlowIds=[ours]))
    state = cloud.client("emr").describe_cluster(ClusterId=other)["Cluster"]["Status"]["State"]
    assert not state.startswith("TERMINAT")
