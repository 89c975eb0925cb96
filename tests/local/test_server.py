"""The server, asked as the product asks it: what nothing here fills in has to be right in ministack itself."""

import importlib
import io
import json
import pkgutil
import time
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import tidegate_local
from botocore.exceptions import ClientError
from clouds import Cloud, assert_nothing_is_left, own_settings
from tidegate_local import launcher, server

Json = dict[str, Any]
ROLE = "arn:aws:iam::000000000000:role/any"
OUTPUTS = dict.fromkeys(
    ["LandingBucket", "LakeBucket", "ControlBucket", "LedgerTable", "StateMachineArn", "DispatchFunction"], "x"
)


def test_no_gap_is_forgotten() -> None:
    # A module that nobody installs would fill nothing, and say so to nobody.
    modules = [f"tidegate_local.{each.name}" for each in pkgutil.iter_modules(tidegate_local.__path__)]
    gaps = [name for name in modules if hasattr(importlib.import_module(name), "install")]
    assert sorted(gaps) == sorted(server.GAPS)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A server on which nothing is deployed."""
    here = own_settings(tmp_path_factory.mktemp("server"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launcher, "deploy", lambda _here: OUTPUTS)
        try:
            yield Cloud(launcher.start(here), here)
        finally:
            launcher.down(here=here)
    assert_nothing_is_left(here)


def named(what: str) -> str:
    return f"{what}-{uuid4().hex[:12]}"


def until(look: Callable[[], Any], limit_s: float = 20) -> Any:
    """What `look` finds, once it does."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError("nothing came")


def zipped(files: dict[str, str]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as into:
        for name, text in files.items():
            into.writestr(name, text)
    return archive.getvalue()


def function(cloud: Cloud, code: str, **fields: Any) -> str:
    """A function with this code; its name."""
    name = named("function")
    cloud.client("lambda").create_function(
        FunctionName=name, Runtime="python3.13", Handler="f.handler", Role=ROLE, Timeout=10,
        Code={"ZipFile": zipped({"f.py": code})}, **fields,
    )  # fmt: skip
    return name


def queue(cloud: Cloud, **attributes: str) -> tuple[str, str]:
    """A queue's URL and ARN."""
    sqs = cloud.client("sqs")
    url = sqs.create_queue(QueueName=named("queue"), Attributes=attributes)["QueueUrl"]
    return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def received(cloud: Cloud, url: str, count: int) -> list[str]:
    """So many messages of a queue."""
    bodies: list[str] = []

    def look() -> bool:
        found = cloud.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10)
        bodies.extend(each["Body"] for each in found.get("Messages", []))
        return len(bodies) >= count

    until(look)
    return bodies


def versioned_bucket(cloud: Cloud) -> str:
    bucket = named("bucket")
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


@pytest.mark.local_cloud
def test_an_object_that_may_only_be_created_is_not_written_twice(cloud: Cloud) -> None:
    s3, bucket = cloud.client("s3"), versioned_bucket(cloud)
    s3.put_object(Bucket=bucket, Key="receipt.json", Body=b"first", IfNoneMatch="*")
    with pytest.raises(ClientError) as refused:
        s3.put_object(Bucket=bucket, Key="receipt.json", Body=b"second", IfNoneMatch="*")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    assert refused.value.response["Error"]["Code"] == "PreconditionFailed"
    assert s3.get_object(Bucket=bucket, Key="receipt.json")["Body"].read() == b"first"


@pytest.mark.local_cloud
def test_a_copy_is_of_the_version_that_it_names(cloud: Cloud) -> None:
    s3, bucket = cloud.client("s3"), versioned_bucket(cloud)
    key = "a+b c%20/é.csv"
    old = s3.put_object(Bucket=bucket, Key=key, Body=b"old")["VersionId"]
    s3.put_object(Bucket=bucket, Key=key, Body=b"new")
    # WHEN even its key is deleted meanwhile
    s3.delete_object(Bucket=bucket, Key=key)
    source = {"Bucket": bucket, "Key": key, "VersionId": old}
    s3.copy_object(Bucket=bucket, Key="staged.csv", CopySource=source)
    assert s3.get_object(Bucket=bucket, Key="staged.csv")["Body"].read() == b"old"


@pytest.mark.local_cloud
def test_an_objects_event_says_which_version_it_is_and_which_came_first(cloud: Cloud) -> None:
    # GIVEN a bucket that tells EventBridge, which tells a queue
    s3, events, bucket = cloud.client("s3"), cloud.client("events"), versioned_bucket(cloud)
    url, arn = queue(cloud)
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}})
    pattern = {"source": ["aws.s3"], "detail-type": ["Object Created"], "detail": {"bucket": {"name": [bucket]}}}
    rule = named("rule")
    events.put_rule(Name=rule, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=rule, Targets=[{"Id": "queue", "Arn": arn}])
    # WHEN a key is written twice
    versions = [s3.put_object(Bucket=bucket, Key="a b+c.csv", Body=body)["VersionId"] for body in (b"1", b"2")]
    told = [json.loads(body)["detail"]["object"] for body in received(cloud, url, 2)]
    # THEN
    told.sort(key=lambda each: each["sequencer"].zfill(40))
    assert [each["version-id"] for each in told] == versions
    assert [each["key"] for each in told] == ["a b+c.csv"] * 2
    assert told[0]["sequencer"] != told[1]["sequencer"]


@pytest.mark.local_cloud
def test_a_published_version_keeps_its_code_and_its_layer(cloud: Cloud) -> None:
    functions, layer = cloud.client("lambda"), named("layer")

    def publish_layer(words: str) -> str:
        content = {"ZipFile": zipped({"python/words.py": f"WORDS = {words!r}\n"})}
        published = functions.publish_layer_version(LayerName=layer, Content=content)
        return str(published["LayerVersionArn"])

    def say(version: str) -> Any:
        return json.loads(functions.invoke(FunctionName=name, Qualifier=version)["Payload"].read())

    code = "import words\n\ndef handler(event, context):\n    return ['{}', words.WORDS, context.function_version]\n"
    name = function(cloud, code.format("old code"), Layers=[publish_layer("old layer")])
    old = functions.publish_version(FunctionName=name)["Version"]
    assert say(old) == ["old code", "old layer", old]
    # WHEN both change
    functions.update_function_code(FunctionName=name, ZipFile=zipped({"f.py": code.format("new code")}))
    functions.update_function_configuration(FunctionName=name, Layers=[publish_layer("new layer")])
    new = functions.publish_version(FunctionName=name)["Version"]
    # THEN each version is what it was
    assert say(new) == ["new code", "new layer", new]
    assert say(old) == ["old code", "old layer", old]


@pytest.mark.local_cloud
def test_of_a_batch_only_the_messages_that_failed_come_back(cloud: Cloud) -> None:
    # GIVEN a function that reports one of its messages as failed, and tells what it saw
    sqs = cloud.client("sqs")
    dead_url, dead_arn = queue(cloud)
    redrive = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": "2"})
    url, arn = queue(cloud, VisibilityTimeout="1", RedrivePolicy=redrive)
    code = (
        "def handler(event, context):\n"
        "    bad = [r['messageId'] for r in event['Records'] if r['body'] == 'bad']\n"
        "    return {'batchItemFailures': [{'itemIdentifier': each} for each in bad]}\n"
    )
    sqs.send_message_batch(
        QueueUrl=url, Entries=[{"Id": each, "MessageBody": each} for each in ("good", "bad", "fine")]
    )
    cloud.client("lambda").create_event_source_mapping(
        EventSourceArn=arn, FunctionName=function(cloud, code), BatchSize=10,
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )  # fmt: skip
    # THEN it alone ends in the dead-letter queue
    assert received(cloud, dead_url, 1) == ["bad"]
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    left = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    assert list(left.values()) == ["0", "0"]


@pytest.mark.local_cloud
def test_a_schedule_tells_its_target_the_time(cloud: Cloud) -> None:
    url, arn = queue(cloud)
    at = (datetime.now(UTC) + timedelta(seconds=2)).replace(microsecond=0)
    cloud.client("scheduler").create_schedule(
        Name=named("schedule"),
        ScheduleExpression=f"at({at:%Y-%m-%dT%H:%M:%S})",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": arn, "RoleArn": ROLE, "Input": '{"at": "<aws.scheduler.scheduled-time>"}'},
    )
    (body,) = received(cloud, url, 1)
    told = datetime.fromisoformat(json.loads(body)["at"])
    assert timedelta(0) <= told - at < timedelta(seconds=15)


RAISES = """
class LeaseHeld(Exception):
    pass


def handler(event, context):
    if event.get("redrive_count"):
        return "redriven"
    raise LeaseHeld("flights: held by run-1")
"""


@pytest.mark.local_cloud
def test_a_function_that_raises_answers_as_on_aws(cloud: Cloud) -> None:
    answer = cloud.client("lambda").invoke(FunctionName=function(cloud, RAISES), Payload=b"{}")
    payload = json.loads(answer["Payload"].read())
    assert answer["FunctionError"] == "Unhandled"
    assert (payload["errorType"], payload["errorMessage"]) == ("LeaseHeld", "flights: held by run-1")
    assert any("in handler" in frame for frame in payload["stackTrace"])


def machine(cloud: Cloud, task: Json) -> str:
    """A machine of one Task and the state that catches LeaseHeld; its ARN."""
    held = {"Type": "Succeed", "Output": "{% $states.input %}"}
    definition = {"QueryLanguage": "JSONata", "StartAt": "Work", "States": {"Work": task, "Held": held}}
    made = cloud.client("stepfunctions").create_state_machine(
        name=named("machine"), definition=json.dumps(definition), roleArn=ROLE
    )
    return str(made["stateMachineArn"])


def end_of(cloud: Cloud, arn: str) -> Json:
    def look() -> Json | None:
        execution: Json = cloud.client("stepfunctions").describe_execution(executionArn=arn)
        return execution if execution["status"] != "RUNNING" else None

    found: Json = until(look)
    return found


@pytest.mark.local_cloud
@pytest.mark.parametrize("is_direct", [False, True])
def test_a_catch_matches_the_name_of_a_functions_exception(cloud: Cloud, is_direct: bool) -> None:
    name = function(cloud, RAISES)
    arn = cloud.client("lambda").get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    call: Json = (
        {"Resource": arn, "Arguments": {}}
        if is_direct
        else {"Resource": "arn:aws:states:::lambda:invoke", "Arguments": {"FunctionName": name, "Payload": {}}}
    )
    caught = {"ErrorEquals": ["LeaseHeld"], "Output": "{% $states.errorOutput %}", "Next": "Held"}
    states = cloud.client("stepfunctions")
    started = states.start_execution(
        stateMachineArn=machine(cloud, {"Type": "Task", **call, "Catch": [caught], "End": True})
    )
    ended = end_of(cloud, started["executionArn"])
    assert ended["status"] == "SUCCEEDED", ended
    told = json.loads(ended["output"])
    assert told["Error"] == "LeaseHeld"
    assert json.loads(told["Cause"])["errorMessage"] == "flights: held by run-1"


@pytest.mark.local_cloud
def test_a_failed_execution_is_redriven_through_the_api(cloud: Cloud) -> None:
    states = cloud.client("stepfunctions")
    payload = {"redrive_count": "{% $states.context.Execution.RedriveCount %}"}
    arguments = {"FunctionName": function(cloud, RAISES), "Payload": payload}
    task = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Arguments": arguments, "End": True}
    arn = states.start_execution(stateMachineArn=machine(cloud, task))["executionArn"]
    failed = end_of(cloud, arn)
    assert (failed["status"], failed["error"], failed["redriveStatus"]) == ("FAILED", "LeaseHeld", "REDRIVABLE")
    redriven = states.redrive_execution(executionArn=arn)
    done = end_of(cloud, arn)
    assert (done["status"], done["redriveCount"]) == ("SUCCEEDED", 1)
    assert done["redriveDate"] == redriven["redriveDate"]
    assert json.loads(done["output"])["Payload"] == "redriven"
    with pytest.raises(states.exceptions.ExecutionNotRedrivable):
        states.redrive_execution(executionArn=arn)
