"""What every machine does: Step Functions and the fake that the pure tests use."""

from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from tidegate.adapters.machine import StepFunctionsMachine
from tidegate.errors import Throttled
from tidegate.ports import Machine

ARN = "arn:aws:states:us-east-1:123456789012:stateMachine:tidegate-run"


def test_a_name_starts_one_execution(machine: Machine) -> None:
    assert machine.start("run-1-1", {"run": "run-1"}) is True
    assert machine.start("run-1-1", {"run": "run-1", "reason": "again"}) is False


def test_an_unknown_execution_does_not_run(machine: Machine) -> None:
    assert machine.is_running(ARN.replace(":stateMachine:", ":execution:") + ":none") is False


def test_an_execution_runs_until_it_is_stopped(aws: None) -> None:
    stepfunctions = boto3.client("stepfunctions")
    definition = '{"StartAt": "S", "States": {"S": {"Type": "Wait", "Seconds": 60, "End": true}}}'
    arn = stepfunctions.create_state_machine(
        name="tidegate-run", definition=definition, roleArn="arn:aws:iam::123456789012:role/r"
    )["stateMachineArn"]
    machine = StepFunctionsMachine(arn)
    machine.start("e", {})
    (execution,) = stepfunctions.list_executions(stateMachineArn=arn)["executions"]
    assert machine.is_running(execution["executionArn"]) is True
    stepfunctions.stop_execution(executionArn=execution["executionArn"])
    assert machine.is_running(execution["executionArn"]) is False


def test_one_that_waits_for_its_redrive_counts_as_running(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = StepFunctionsMachine(ARN)
    monkeypatch.setattr(machine._client, "describe_execution", lambda **_: {"status": "PENDING_REDRIVE"})
    assert machine.is_running("arn") is True


def test_throttling_has_one_name(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = StepFunctionsMachine(ARN)

    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, "StartExecution")

    monkeypatch.setattr(machine._client, "start_execution", refuse)
    monkeypatch.setattr(machine._client, "describe_execution", refuse)
    with pytest.raises(Throttled):
        machine.start("e", {})
    with pytest.raises(Throttled):
        machine.is_running("arn")
