"""The way into the dead-letter queue, and back: real queues, the template's numbers, the real function behind.

Neither moto nor the local cloud knows StartMessageMoveTask. `move` does what it does: it takes each message and sends
its body on. What AWS asks of the queues for it is held by tests/template.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
import record_arrivals
import yaml

Call = Callable[..., Any]
KEY = "flights/2013-01/part-0001.csv"


class _Loader(yaml.SafeLoader):
    """What CloudFormation's functions give is of no interest here."""


_Loader.add_multi_constructor("!", lambda loader, suffix, node: None)


class Queues:
    """The queue of the arrivals, with its dead-letter queue."""

    def __init__(self, run: Call) -> None:
        self.sqs, self.run = boto3.client("sqs"), run
        template = (Path(__file__).resolve().parents[2] / "template.yaml").read_text(encoding="utf-8")
        redrive = yaml.load(template, _Loader)["Resources"]["ArrivalsQueue"]["Properties"]["RedrivePolicy"]
        self.most_receives = int(redrive["maxReceiveCount"])
        self.dead_letters = self.sqs.create_queue(QueueName="dead-letters")["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=self.dead_letters, AttributeNames=["QueueArn"])["Attributes"]
        policy = {"deadLetterTargetArn": arn["QueueArn"], "maxReceiveCount": self.most_receives}
        # What fails is visible again at once: the test has no six minutes.
        attributes = {"RedrivePolicy": json.dumps(policy), "VisibilityTimeout": "0"}
        self.arrivals = self.sqs.create_queue(QueueName="arrivals", Attributes=attributes)["QueueUrl"]

    def tell(self, event: Any, queue: str | None = None) -> None:
        self.sqs.send_message(QueueUrl=queue or self.arrivals, MessageBody=json.dumps(event))

    def deliver(self) -> int:
        """What Lambda does once: take a batch, call the function, delete what it took. How many messages it got."""
        answer = self.sqs.receive_message(QueueUrl=self.arrivals, MaxNumberOfMessages=10)
        messages = answer.get("Messages", [])
        records = [
            {
                "messageId": each["MessageId"],
                "receiptHandle": each["ReceiptHandle"],
                "body": each["Body"],
                "attributes": {},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:arrivals",
                "awsRegion": "us-east-1",
            }
            for each in messages
        ]
        if records:
            failures = self.run(record_arrivals, {"Records": records})["batchItemFailures"]
            kept = {each["itemIdentifier"] for each in failures}
            for each in messages:
                if each["MessageId"] not in kept:
                    self.sqs.delete_message(QueueUrl=self.arrivals, ReceiptHandle=each["ReceiptHandle"])
        return len(records)

    def move(self) -> int:
        """Dead letters go back to the arrivals."""
        messages = self.sqs.receive_message(QueueUrl=self.dead_letters, MaxNumberOfMessages=10).get("Messages", [])
        for each in messages:
            self.sqs.send_message(QueueUrl=self.arrivals, MessageBody=each["Body"])
            self.sqs.delete_message(QueueUrl=self.dead_letters, ReceiptHandle=each["ReceiptHandle"])
        return len(messages)


@pytest.fixture
def queues(account: Any, run: Call) -> Queues:
    return Queues(run)


def event_of(golden: Call, key: str = KEY, bucket: str = "tidegate-landing") -> Any:
    event = json.loads(golden("record_arrivals.created")["Records"][0]["body"])
    event["detail"]["object"]["key"] = key
    event["detail"]["bucket"]["name"] = bucket
    return event


def recorded(account: Any) -> list[str]:
    return sorted(item["key"] for item in account.items("arrival"))


def test_what_fails_five_times_waits_until_it_is_moved_back_and_the_others_do_not(
    queues: Queues, account: Any, golden: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    # GIVEN a deployment with a wrong bucket's name among the settings, so that one event can't be recorded
    others = [f"flights/2013-01/{number}.csv" for number in range(3)]
    queues.tell(event_of(golden, bucket="renamed-landing"))
    for key in others:
        queues.tell(event_of(golden, key))
    # THEN the others are recorded at once, and it has its five chances
    calls = 0
    while queues.deliver():
        calls += 1
        assert recorded(account) == others
    assert calls == queues.most_receives
    # WHEN the mistake is mended and the dead letter is moved back
    monkeypatch.setenv("LANDING_BUCKET", "renamed-landing")
    assert queues.move() == 1
    queues.deliver()
    # THEN it is recorded, and no queue has anything left
    assert recorded(account) == [*others, KEY]
    assert queues.deliver() == queues.move() == 0


def test_what_eventbridge_could_not_deliver_is_the_event_itself(queues: Queues, account: Any, golden: Call) -> None:
    # GIVEN an event in the dead-letter queue that never was in the queue before: EventBridge puts it there as it is
    queues.tell(event_of(golden), queues.dead_letters)
    assert queues.move() == 1
    queues.deliver()
    assert recorded(account) == [KEY]


def test_moving_back_what_was_recorded_changes_nothing(queues: Queues, account: Any, golden: Call) -> None:
    queues.tell(event_of(golden))
    queues.deliver()
    queues.tell(event_of(golden), queues.dead_letters)
    queues.move()
    queues.deliver()
    assert recorded(account) == [KEY]
    assert queues.deliver() == 0
