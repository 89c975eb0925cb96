"""Executions of the state machine."""

import json
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.exceptions import ClientError

from tidegate.adapters.clients import CONFIG, code_of, throttling_named


class StepFunctionsMachine:
    """Keeps to `tidegate.ports.Machine`."""

    def __init__(self, state_machine_arn: str) -> None:
        self._client: Any = boto3.client("stepfunctions", config=CONFIG)
        self._arn = state_machine_arn

    def start(self, name: str, run_input: Mapping[str, Any]) -> bool:
        try:
            with throttling_named("states:StartExecution"):
                self._client.start_execution(stateMachineArn=self._arn, name=name, input=json.dumps(run_input))
        except ClientError as error:
            # The name of an execution that has ended can't be used again: somebody started this very run before.
            if code_of(error) == "ExecutionAlreadyExists":
                return False
            raise
        return True

    def is_running(self, execution_arn: str) -> bool:
        try:
            with throttling_named("states:DescribeExecution"):
                status = self._client.describe_execution(executionArn=execution_arn)["status"]
        except ClientError as error:
            # Step Functions forgets executions 90 days after they have ended.
            if code_of(error) == "ExecutionDoesNotExist":
                return False
            raise
        return status in {"RUNNING", "PENDING_REDRIVE"}
