"""Planned faults as boto3 and the state machine meet them: a real server, each kind of fault once."""

import io
import json
import re
import time
import zipfile
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ReadTimeoutError
from clouds import Cloud, assert_nothing_is_left, own_settings
from tidegate_local import launcher
from tidegate_local.faults.plan import plan_faults, strikes

pytestmark = pytest.mark.local_cloud
ROLE = "arn:aws:iam::000000000000:role/any"
OUTPUTS = dict.fromkeys(
    ["LandingBucket", "LakeBucket", "ControlBucket", "LedgerTable", "StateMachineArn", "DispatchFunction"], "x"
)
RUN_JOB_FLOW = {
    "Name": "c",
    "ReleaseLabel": "emr-7.14.0",
    "ServiceRole": "role",
    "JobFlowRole": "profile",
    "Instances": {
        "KeepJobFlowAliveWhenNoSteps": True,
        "InstanceFleets": [
            {
                "InstanceFleetType": "MASTER",
                "TargetOnDemandCapacity": 1,
                "InstanceTypeConfigs": [{"InstanceType": "m7g.xlarge"}],
            }
        ],
    },
}
FUNCTION = """
import boto3

def handler(event, context):
    s3 = boto3.client("s3")
    for key in event["keys"]:
        s3.put_object(Bucket=event["bucket"], Key=key, Body=b"x")
    return "done"
"""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A server on which nothing is deployed."""
    here = own_settings(tmp_path_factory.mktemp("faults"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launcher, "deploy", lambda _here: OUTPUTS)
        try:
            yield Cloud(launcher.start(here), here)
        finally:
            launcher.down(here=here)
    assert_nothing_is_left(here)


Plan = Callable[..., None]


@pytest.fixture
def plan(cloud: Cloud) -> Iterator[Plan]:
    yield lambda *faults: plan_faults(cloud.here.faults_file, faults) and None
    cloud.here.faults_file.unlink(missing_ok=True)


def once(cloud: Cloud, service: str, **config: Any) -> Any:
    """A client that asks once: a fault strikes requests, and an SDK makes several of a call."""
    return boto3.client(
        service, endpoint_url=cloud.fields.endpoint_url, region_name="us-east-1",
        aws_access_key_id="test", aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}, **config),
    )  # fmt: skip


def until(look: Callable[[], Any], limit_s: float = 20) -> Any:
    end = time.monotonic() + limit_s
    while not (found := look()):
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.05)
    return found


def bucket_of(cloud: Cloud) -> str:
    name = f"bucket-{uuid4().hex[:12]}"
    cloud.client("s3").create_bucket(Bucket=name)
    return name


def table_of(cloud: Cloud) -> str:
    name = f"table-{uuid4().hex[:12]}"
    cloud.client("dynamodb").create_table(
        TableName=name, BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
    )  # fmt: skip
    return name


def machine_of(cloud: Cloud, **states: Any) -> str:
    """A machine that goes through these states; its ARN."""
    names = list(states)
    for name, after in zip(names, [*names[1:], None], strict=True):
        states[name] |= {"Type": "Task"} | ({"Next": after} if after else {"End": True})
    definition = {"QueryLanguage": "JSONata", "StartAt": names[0], "States": states}
    made = cloud.client("stepfunctions").create_state_machine(
        name=f"machine-{uuid4().hex[:12]}", roleArn=ROLE, definition=json.dumps(definition)
    )
    return str(made["stateMachineArn"])


def run_of(cloud: Cloud, machine: str, **given: Any) -> dict[str, Any]:
    steps = cloud.client("stepfunctions")
    arn = steps.start_execution(stateMachineArn=machine, input=json.dumps(given))["executionArn"]

    def ended() -> dict[str, Any] | None:
        execution: dict[str, Any] = steps.describe_execution(executionArn=arn)
        return execution if execution["status"] != "RUNNING" else None

    ended_execution: dict[str, Any] = until(ended)
    return ended_execution


def function_of(cloud: Cloud) -> str:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as into:
        into.writestr("put_keys.py", FUNCTION)
    name = f"Function-{uuid4().hex[:12]}"
    cloud.client("lambda").create_function(
        FunctionName=name, Runtime="python3.13", Handler="put_keys.handler", Role=ROLE, Timeout=10,
        Code={"ZipFile": archive.getvalue()},
    )  # fmt: skip
    return name


def invoke(cloud: Cloud, function: str, bucket: str, *keys: str) -> Any:
    answer = cloud.client("lambda").invoke(FunctionName=function, Payload=json.dumps({"bucket": bucket, "keys": keys}))
    said = json.loads(answer["Payload"].read())
    return said.get("errorType") if isinstance(said, dict) else said


def keys_of(cloud: Cloud, bucket: str) -> list[str]:
    return [each["Key"] for each in cloud.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])]


# Calls


@pytest.mark.parametrize(
    ("fault", "code", "status"),
    [
        ({"fault": "fails"}, "InternalServerError", 500),
        ({"fault": "throttled"}, "ThrottlingException", 400),
        (
            {"fault": "throttled", "error": "ProvisionedThroughputExceededException"},
            "ProvisionedThroughputExceededException",
            400,
        ),
        ({"fault": "fails", "error": "AccessDeniedException"}, "AccessDeniedException", 403),
    ],
)
def test_a_call_of_dynamodb_fails_as_dynamodb_says(
    cloud: Cloud, plan: Plan, fault: dict[str, Any], code: str, status: int
) -> None:
    table, client = table_of(cloud), once(cloud, "dynamodb")
    plan({**fault, "call": "dynamodb:PutItem", "resource": table, "after": 1})
    client.put_item(TableName=table, Item={"pk": {"S": "1"}})
    client.get_item(TableName=table, Key={"pk": {"S": "1"}})
    with pytest.raises(ClientError) as refused:
        client.put_item(TableName=table, Item={"pk": {"S": "2"}})
    assert refused.value.response["Error"]["Code"] == code
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    # THEN it took no effect, and the fault is used up
    assert client.scan(TableName=table)["Count"] == 1
    client.put_item(TableName=table, Item={"pk": {"S": "2"}})


def test_a_call_of_s3_takes_effect_and_fails_and_another_is_throttled(cloud: Cloud, plan: Plan) -> None:
    bucket, client = bucket_of(cloud), once(cloud, "s3")
    plan(
        {"fault": "fails_after", "call": "s3:PutObject", "resource": f"{bucket}/a b/*"},
        {"fault": "throttled", "call": "s3:ListObjectsV2"},
        {"fault": "throttled", "call": "s3:HeadObject"},
        {"fault": "fails", "call": "s3:CopyObject"},
    )
    codes = []
    for call in (
        lambda: client.put_object(Bucket=bucket, Key="a b/é.csv", Body=b"x"),
        lambda: client.list_objects_v2(Bucket=bucket),
        lambda: client.head_object(Bucket=bucket, Key="a b/é.csv"),
        lambda: client.copy_object(Bucket=bucket, Key="b", CopySource={"Bucket": bucket, "Key": "a b/é.csv"}),
    ):
        with pytest.raises(ClientError) as refused:
            call()
        codes.append(refused.value.response["Error"]["Code"])
    assert codes == ["InternalError", "SlowDown", "503", "InternalError"]
    assert keys_of(cloud, bucket) == ["a b/é.csv"]


@pytest.mark.parametrize(
    ("service", "call", "codes"),
    [
        ("emr", "elasticmapreduce:ListClusters", ("InternalServerException", "ThrottlingException")),
        (
            "stepfunctions",
            "states:ListStateMachines",
            ("InternalFailure", "ThrottlingException"),
        ),
        ("lambda", "lambda:ListFunctions", ("ServiceException", "TooManyRequestsException")),
        ("sqs", "sqs:ListQueues", ("InternalFailure", "RequestThrottled")),
        ("sns", "sns:ListTopics", ("InternalFailure", "ThrottlingException")),
        ("events", "events:ListRules", ("InternalException", "ThrottlingException")),
        ("scheduler", "scheduler:ListSchedules", ("InternalServerException", "ThrottlingException")),
        ("cloudformation", "cloudformation:DescribeStacks", ("InternalFailure", "Throttling")),
    ],
)
def test_every_service_says_it_in_its_own_words(
    cloud: Cloud, plan: Plan, service: str, call: str, codes: tuple[str, str]
) -> None:
    plan({"fault": "fails", "call": call}, {"fault": "throttled", "call": call})
    make = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", call.partition(":")[2]).lower()
    for code in codes:
        with pytest.raises(ClientError) as refused:
            getattr(once(cloud, service), make)()
        assert refused.value.response["Error"]["Code"] == code


def test_botocore_tries_again_what_it_would_on_aws(cloud: Cloud, plan: Plan) -> None:
    table = table_of(cloud)
    plan({"fault": "throttled", "call": "dynamodb:PutItem", "times": 2})
    answer = cloud.client("dynamodb").put_item(TableName=table, Item={"pk": {"S": "1"}})
    assert answer["ResponseMetadata"]["RetryAttempts"] == 2


def test_what_hangs_outlasts_the_client_and_takes_effect_late(cloud: Cloud, plan: Plan) -> None:
    bucket = bucket_of(cloud)
    plan({"fault": "hangs", "call": "s3:PutObject", "seconds": 1})
    with pytest.raises(ReadTimeoutError):
        once(cloud, "s3", read_timeout=0.3).put_object(Bucket=bucket, Key="late", Body=b"x")
    assert keys_of(cloud, bucket) == []
    assert until(lambda: keys_of(cloud, bucket)) == ["late"]


def test_starting_an_execution_takes_effect_and_fails(cloud: Cloud, plan: Plan) -> None:
    machine = machine_of(cloud, Look={"Resource": "arn:aws:states:::aws-sdk:emr:listClusters", "Arguments": {}})
    plan({"fault": "fails_after", "call": "states:StartExecution"})
    client = once(cloud, "stepfunctions")
    with pytest.raises(ClientError) as refused:
        client.start_execution(stateMachineArn=machine, name="once", input="{}")
    assert refused.value.response["Error"]["Code"] == "InternalFailure"
    assert [each["name"] for each in client.list_executions(stateMachineArn=machine)["executions"]] == ["once"]


# What Step Functions calls by itself

CREATE = {"Resource": "arn:aws:states:::elasticmapreduce:createCluster", "Arguments": RUN_JOB_FLOW}


@pytest.fixture
def emr_roles(cloud: Cloud) -> None:
    iam = cloud.client("iam")
    if not iam.list_instance_profiles()["InstanceProfiles"]:
        for role in ("role", "nodes"):
            iam.create_role(RoleName=role, AssumeRolePolicyDocument="{}")
        iam.create_instance_profile(InstanceProfileName="profile")
        iam.add_role_to_instance_profile(InstanceProfileName="profile", RoleName="nodes")


def names_of_clusters(cloud: Cloud) -> list[str]:
    return [each["Name"] for each in cloud.client("emr").list_clusters()["Clusters"]]


@pytest.mark.parametrize(
    ("fault", "error", "is_made"),
    [
        ("throttled", "EMR.AmazonElasticMapReduceException", False),
        ("fails", "EMR.InternalServerErrorException", False),
        ("fails_after", "EMR.InternalServerErrorException", True),
    ],
)
@pytest.mark.usefixtures("emr_roles")
def test_the_machines_own_call_of_emr_fails_before_or_after_it_took_effect(
    cloud: Cloud, plan: Plan, fault: str, error: str, is_made: bool
) -> None:
    name = f"of-the-machine-{fault}"
    machine = machine_of(cloud, Create={**CREATE, "Arguments": RUN_JOB_FLOW | {"Name": name}})
    plan({"fault": fault, "call": "elasticmapreduce:RunJobFlow", "caller": "machine", "resource": name})
    assert run_of(cloud, machine)["error"] == error
    assert (name in names_of_clusters(cloud)) == is_made
    # AND the next one is well
    assert run_of(cloud, machine)["status"] == "SUCCEEDED"


def test_the_machines_call_hangs_until_its_task_is_out_of_time(cloud: Cloud, plan: Plan, emr_roles: None) -> None:
    machine = machine_of(cloud, Create=CREATE | {"TimeoutSeconds": 1})
    plan({"fault": "hangs", "call": "elasticmapreduce:RunJobFlow", "seconds": 30})
    assert run_of(cloud, machine)["error"] == "States.Timeout"


def test_the_machines_call_of_a_function_fails_after_it_ran_and_of_the_sdk_before(cloud: Cloud, plan: Plan) -> None:
    bucket, function = bucket_of(cloud), function_of(cloud)
    call = {
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": function, "Payload": {"bucket": bucket, "keys": ["a"]}},
    }
    plan({"fault": "fails_after", "call": "lambda:Invoke", "resource": function})
    assert run_of(cloud, machine_of(cloud, Call=dict(call)))["error"] == "Lambda.ServiceException"
    assert keys_of(cloud, bucket) == ["a"]
    plan({"fault": "throttled", "call": "lambda:Invoke", "caller": "machine"})
    assert run_of(cloud, machine_of(cloud, Call=dict(call)))["error"] == "Lambda.TooManyRequestsException"
    plan({"fault": "throttled", "call": "elasticmapreduce:ListClusters", "caller": "machine"})
    look = {"Resource": "arn:aws:states:::aws-sdk:emr:listClusters", "Arguments": {}}
    assert run_of(cloud, machine_of(cloud, Look=look))["error"] == "Emr.EmrException"


# Functions


def test_a_function_is_killed_at_one_of_its_calls_or_after_it(cloud: Cloud, plan: Plan) -> None:
    bucket, function = bucket_of(cloud), function_of(cloud)
    plan({"fault": "killed", "function": "put_keys", "after": 1})
    assert invoke(cloud, function, bucket, "a", "b", "c") == "Runtime.ExitError"
    assert keys_of(cloud, bucket) == ["a"]
    plan({"fault": "killed_after", "function": function, "call": "s3:PutObject", "resource": "*/b"})
    assert invoke(cloud, function, bucket, "a", "b", "c") == "Runtime.ExitError"
    assert keys_of(cloud, bucket) == ["a", "b"]
    # THEN nobody else is killed, and it lives again
    assert invoke(cloud, function, bucket, "b", "c") == "done"
    assert keys_of(cloud, bucket) == ["a", "b", "c"]


def test_a_function_is_killed_after_a_time(cloud: Cloud, plan: Plan) -> None:
    bucket, function = bucket_of(cloud), function_of(cloud)
    plan(
        {"fault": "hangs", "call": "s3:PutObject", "caller": "put_keys", "seconds": 3},
        {"fault": "killed", "function": "put_keys", "after_s": 0.8},
    )
    began = time.monotonic()
    assert invoke(cloud, function, bucket, "a") == "Runtime.ExitError"
    assert time.monotonic() - began < 3


# Steps


def test_a_step_hangs_is_cancelled_or_dies_at_a_call(cloud: Cloud, plan: Plan, emr_roles: None) -> None:
    emr, bucket = cloud.client("emr"), bucket_of(cloud)
    code = f"import boto3; s3 = boto3.client('s3'); [s3.put_object(Bucket='{bucket}', Key=k, Body=b'') for k in 'abc']"
    plan(
        {"fault": "killed_after", "step": "dies", "call": "s3:PutObject", "resource": "*/b"},
        {"fault": "step_cancelled", "step": "waits"},
        {"fault": "step_hangs", "step": "hangs", "seconds": 1},
        {"fault": "stuck", "cluster": "struck", "state": "TERMINATING", "seconds": 1},
    )
    cluster_id = emr.run_job_flow(**RUN_JOB_FLOW | {"Name": "struck"})["JobFlowId"]
    commands = {
        "dies": ["python", "-c", code],
        "hangs": ["python", "-c", "import time; time.sleep(0.3)"],
        "waits": ["true"],
    }
    steps = [
        {"Name": name, "ActionOnFailure": "CONTINUE", "HadoopJarStep": {"Jar": "command-runner.jar", "Args": args}}
        for name, args in commands.items()
    ]
    emr.add_job_flow_steps(JobFlowId=cluster_id, Steps=steps)

    def ended() -> dict[str, Any] | None:
        found = {each["Name"]: each["Status"] for each in emr.list_steps(ClusterId=cluster_id)["Steps"]}
        return found if all("EndDateTime" in each["Timeline"] for each in found.values()) else None

    states: dict[str, Any] = until(ended)
    assert {name: status["State"] for name, status in states.items()} == {
        "dies": "FAILED", "hangs": "COMPLETED", "waits": "CANCELLED",
    }  # fmt: skip
    assert keys_of(cloud, bucket) == ["a", "b"]
    times = states["hangs"]["Timeline"]
    assert (times["EndDateTime"] - times["StartDateTime"]).total_seconds() >= 1
    # WHEN it is ended THEN it takes its time
    emr.terminate_job_flows(JobFlowIds=[cluster_id])
    time.sleep(0.6)
    assert emr.describe_cluster(ClusterId=cluster_id)["Cluster"]["Status"]["State"] == "TERMINATING"
    until(lambda: emr.describe_cluster(ClusterId=cluster_id)["Cluster"]["Status"]["State"] == "TERMINATED")


# Events


def test_events_are_repeated_lost_delayed_and_overtaken(cloud: Cloud, plan: Plan) -> None:
    s3, events, sqs, bucket = cloud.client("s3"), cloud.client("events"), cloud.client("sqs"), bucket_of(cloud)
    url = sqs.create_queue(QueueName=f"queue-{uuid4().hex[:12]}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}})
    pattern = {"source": ["aws.s3"], "detail": {"bucket": {"name": [bucket]}}}
    rule = f"rule-{uuid4().hex[:12]}"
    events.put_rule(Name=rule, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=rule, Targets=[{"Id": "queue", "Arn": arn}])
    told: list[str] = []

    def look(count: int) -> bool:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            told.append(json.loads(message["Body"])["detail"]["object"]["key"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return len(told) >= count

    plan(
        {"fault": "lost", "event": "Object Created", "resource": f"{bucket}/lost"},
        {"fault": "repeated", "event": "Object Created", "resource": f"{bucket}/twice"},
        {"fault": "delayed", "event": "Object *", "resource": f"{bucket}/late", "seconds": 1},
        {"fault": "reordered", "event": "Object Created", "resource": f"{bucket}/first"},
    )
    for number, key in enumerate(["late", "lost", "twice", "first", "second"]):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
        # Each event has a thread of its own: the next one must not overtake it by itself.
        until(lambda key=key, number=number: number == 4 or _has_struck(cloud, f"{bucket}/{key}"))
    until(lambda: look(5))
    assert told == ["twice", "twice", "second", "first", "late"]


def _has_struck(cloud: Cloud, resource: str) -> bool:
    return any(resource in each["on"].get("resource", ()) for each in strikes(cloud.here.faults_file))


# By hand


def test_faults_are_planned_and_looked_at_by_hand(cloud: Cloud, plan: Plan) -> None:
    assert launcher.fault(here=cloud.here) == "No fault is planned."
    said = launcher.fault(['{"fault": "throttled", "call": "s3:ListBuckets", "id": "a"}'], here=cloud.here)
    assert said == '{"fault": "throttled", "call": "s3:ListBuckets", "id": "a"}: struck 0 of 1'
    cloud.client("s3").list_buckets()
    assert launcher.fault(here=cloud.here).endswith("struck 1 of 1")
    for text, words in (("{", "is not JSON"), ("[]", "is not a JSON object"), ('{"fault": "fails"}', "needs call")):
        with pytest.raises(launcher.LocalCloudError, match=words):
            launcher.fault([text], here=cloud.here)
    assert launcher.fault(clear=True, here=cloud.here) == "No fault is planned."
