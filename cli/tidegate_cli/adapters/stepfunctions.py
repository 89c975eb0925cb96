"""Reads executions of the state machine."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from tidegate_cli.adapters.aws import client, translated
from tidegate_cli.connection import Connection

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


@dataclass(frozen=True)
class StateVisit:
    """One stay of an execution in a state."""

    name: str
    entered_at: datetime
    left_at: datetime | None


@dataclass(frozen=True)
class Execution:
    """What Step Functions says of a run."""

    arn: str
    status: str
    """RUNNING, SUCCEEDED, FAILED, TIMED_OUT or ABORTED."""
    started_at: datetime
    ended_at: datetime | None
    cause: str | None
    visits: tuple[StateVisit, ...]

    @property
    def states(self) -> tuple[str, ...]:
        """Where it is now."""
        return tuple(visit.name for visit in self.visits if visit.left_at is None)


class StateMachine:
    """The state machine of one stack."""

    def __init__(self, connection: Connection) -> None:
        self._states: SFNClient = client(connection, "stepfunctions")
        self._arn = connection.state_machine_arn

    def execution(self, arn: str) -> Execution | None:
        """An execution and the states that it went through; None if Step Functions has forgotten it."""
        with translated():
            try:
                described = self._states.describe_execution(executionArn=arn)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") == "ExecutionDoesNotExist":
                    return None
                raise
        return Execution(
            arn=arn,
            status=described["status"],
            started_at=described["startDate"],
            ended_at=described.get("stopDate"),
            cause=described.get("cause"),
            visits=tuple(self._visits(arn)),
        )

    def stop(self, arn: str, why: str) -> None:
        """Press Stop execution."""
        with translated():
            self._states.stop_execution(executionArn=arn, cause=why)

    def redrive(self, arn: str) -> None:
        """Press Redrive."""
        with translated():
            self._states.redrive_execution(executionArn=arn)

    def running(self) -> list[str]:
        """ARNs of the executions that have not ended."""
        with translated():
            pages = self._states.get_paginator("list_executions").paginate(
                stateMachineArn=self._arn, statusFilter="RUNNING"
            )
            return [execution["executionArn"] for page in pages for execution in page["executions"]]

    def deployed_artifacts(self) -> str | None:
        """The prefix in the control bucket with what runs are made of: `artifacts/<hash>/`."""
        with translated():
            definition = self._states.describe_state_machine(stateMachineArn=self._arn)["definition"]
        found = re.search(r"s3://[^/\"]+/(artifacts/[^/\"]+/)main\.py", definition)
        return found[1] if found else None

    def _visits(self, arn: str) -> list[StateVisit]:
        visits: list[StateVisit] = []
        open_at: dict[str, list[int]] = {}
        with translated():
            pages = self._states.get_paginator("get_execution_history").paginate(
                executionArn=arn, includeExecutionData=False
            )
            events = [event for page in pages for event in page["events"]]
        for event in events:
            entered = event.get("stateEnteredEventDetails", {}).get("name")
            left = event.get("stateExitedEventDetails", {}).get("name")
            if entered:
                open_at.setdefault(entered, []).append(len(visits))
                visits.append(StateVisit(entered, event["timestamp"], None))
            elif left and open_at.get(left):
                # Of several open stays in one state (a Map's iterations) the first to come goes first.
                at = open_at[left].pop(0)
                visits[at] = StateVisit(left, visits[at].entered_at, event["timestamp"])
        return visits
