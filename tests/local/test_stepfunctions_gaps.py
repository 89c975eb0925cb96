"""The gaps of ministack's Step Functions that the local cloud fills, on small machines in this process."""

import json
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import machines
import pytest
from machines import behave, broken, end_of, entered, run, start, task
from ministack.services import eventbridge, stepfunctions
from tidegate_local import stepfunctions_retry, stepfunctions_yaml


@pytest.fixture(scope="module", autouse=True)
def _filled() -> Iterator[None]:
    with machines.filled():
        yield


def test_a_stopped_execution_stays_stopped_and_enters_its_state_again_when_redriven() -> None:
    # GIVEN an execution in the middle of a task
    calls: list[float] = []

    def slow(_data: Any) -> dict[str, int]:
        calls.append(time.monotonic())
        time.sleep(0.5)
        return {"call": len(calls)}

    behave(slow)
    arn = start({"Work": task(Next="After"), "After": {"Type": "Succeed"}})
    while not calls:
        time.sleep(0.02)
    # WHEN it is stopped
    machines.stop(arn)
    time.sleep(0.6)
    # THEN what was under way changes nothing
    assert end_of(arn)["status"] == "ABORTED"
    assert entered(arn) == ["Work"]
    # WHEN it is redriven THEN it goes on there
    assert machines.redrive(arn)["status"] == "SUCCEEDED"
    assert entered(arn) == ["Work", "Work", "After"]


def test_a_stopped_execution_makes_no_further_call() -> None:
    # GIVEN a Task that fails and is tried again and again, and iterations that wait for their turn
    calls: list[int] = []

    def fail(_data: Any) -> None:
        calls.append(1)
        raise broken()

    behave(fail)
    retry = [{"ErrorEquals": ["Broken"], "IntervalSeconds": 1, "BackoffRate": 1, "MaxAttempts": 99}]
    each = {"StartAt": "Try", "States": {"Try": task(Retry=retry)}}
    again = [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]
    arn = start({
        "All": {
            "Type": "Map", "Items": [1, 2, 3], "MaxConcurrency": 1, "ItemProcessor": each, "Catch": again, "End": True
        },
        "Caught": {"Type": "Pass", "End": True},
    })  # fmt: skip
    while not calls:
        time.sleep(0.01)
    # WHEN it is stopped THEN all of that ends
    machines.stop(arn)
    time.sleep(0.1)
    before = len(calls)
    time.sleep(1.2 * stepfunctions._SFN_WAIT_SCALE + 0.1)
    assert len(calls) == before
    assert entered(arn) == ["All", "Try"]


def test_a_machines_time_limit_ends_its_execution() -> None:
    behave(lambda _data: time.sleep(3))
    ended = run({"Work": task()}, TimeoutSeconds=1)
    assert (ended["status"], ended["error"]) == ("TIMED_OUT", "States.Timeout")
    assert ended["redriveStatus"] == "REDRIVABLE"


def test_a_tasks_timeout_may_be_an_expression_and_can_be_caught() -> None:
    behave(lambda _data: time.sleep(3))
    caught = [{"ErrorEquals": ["States.Timeout"], "Next": "Late"}]
    done = run({"Work": task(TimeoutSeconds="{% 1 %}", Catch=caught), "Late": {"Type": "Pass", "End": True}})
    assert json.loads(done["output"])["Error"] == "States.Timeout"


def test_a_callback_without_heartbeat_is_given_up() -> None:
    behave(lambda _data: None)
    work = task(Resource=f"{machines.TASK}.waitForTaskToken", HeartbeatSeconds=1, TimeoutSeconds=60)
    assert run({"Work": work})["error"] == "States.HeartbeatTimeout"


@pytest.mark.parametrize(
    ("fields", "retries", "shortest_s", "longest_s"),
    [
        ({"IntervalSeconds": 5, "BackoffRate": 2}, 0, 5, 5),
        ({"IntervalSeconds": 5, "BackoffRate": 2}, 3, 40, 40),
        ({"IntervalSeconds": 5, "BackoffRate": 2, "MaxDelaySeconds": 30}, 3, 30, 30),
        ({"IntervalSeconds": 5, "BackoffRate": 2, "MaxDelaySeconds": 300}, 6, 300, 300),
        ({"IntervalSeconds": 5, "BackoffRate": 2, "MaxDelaySeconds": 30, "JitterStrategy": "FULL"}, 3, 0, 30),
        ({}, 1, 2, 2),
    ],
)
def test_a_retry_waits_as_long_as_it_says(
    fields: dict[str, Any], retries: int, shortest_s: float, longest_s: float
) -> None:
    assert stepfunctions_retry.delay_range_s(fields, retries) == (shortest_s, longest_s)


def test_the_waits_between_retries_grow_and_are_scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stepfunctions, "_SFN_WAIT_SCALE", 0.02)
    at: list[float] = []

    def fail(_data: Any) -> None:
        at.append(time.monotonic())
        raise broken()

    behave(fail)
    retry = [{"ErrorEquals": ["Broken"], "IntervalSeconds": 1, "BackoffRate": 4, "MaxAttempts": 3}]
    assert run({"Work": task(Retry=retry)})["status"] == "FAILED"
    waits = [later - earlier for earlier, later in pairwise(at)]
    assert [wait >= least for wait, least in zip(waits, [0.02, 0.08, 0.32], strict=True)] == [True] * 3
    assert sum(waits) < 2


@pytest.mark.parametrize(
    ("names", "error", "is_matched"),
    [
        (["States.ALL"], "RunFailed", True),
        (["States.TaskFailed"], "RunFailed", True),
        (["States.TaskFailed"], "States.Timeout", False),
        (["States.ALL"], "States.Timeout", True),
        (["States.ALL"], "States.Runtime", False),
        (["States.ALL"], "States.DataLimitExceeded", False),
        (["States.DataLimitExceeded"], "States.DataLimitExceeded", True),
    ],
)
def test_wildcards_match_what_they_match_on_aws(names: list[str], error: str, is_matched: bool) -> None:
    assert stepfunctions._error_matches(names, error) is is_matched


def test_retry_and_catch_match_by_name() -> None:
    attempts: list[int] = []

    def fail(_data: Any) -> None:
        attempts.append(1)
        raise broken("Throttled" if len(attempts) < 3 else "LeaseHeld", "somebody has it")

    behave(fail)
    retry = [{"ErrorEquals": ["Throttled"], "IntervalSeconds": 1, "MaxAttempts": 5, "JitterStrategy": "FULL"}]
    caught = {"Output": "{% $states.errorOutput.Error & ': ' & $states.errorOutput.Cause %}", "Next": "Held"}
    states = {
        "Work": task(Retry=retry, Catch=[{"ErrorEquals": ["LeaseHeld"], **caught}]),
        "Held": {"Type": "Succeed"},
    }
    assert machines.output_of(states) == "LeaseHeld: somebody has it"
    assert len(attempts) == 3


def test_a_payload_that_is_too_large_ends_the_execution() -> None:
    behave(lambda _data: {"keys": ["k" * 1000] * 300})
    ended = run({"List": task(Catch=[{"ErrorEquals": ["States.ALL"], "Next": "No"}]), "No": {"Type": "Succeed"}})
    assert (ended["status"], ended["error"]) == ("FAILED", "States.DataLimitExceeded")


def test_the_history_shows_what_happens_in_a_map() -> None:
    behave(lambda data: data)
    each = {"StartAt": "One", "States": {"One": task(Arguments="{% $states.input %}")}}
    arn = start({"Each": {"Type": "Map", "Items": ["a", "b"], "ItemProcessor": each, "End": True}})
    assert json.loads(end_of(arn)["output"]) == ["a", "b"]
    assert sorted(entered(arn)) == ["Each", "One", "One"]
    assert machines.events(arn, "MapStateStarted")[0]["mapStateStartedEventDetails"] == {"length": 2}
    assert len(machines.events(arn, "MapIterationSucceeded")) == 2
    numbers = [event["id"] for event in stepfunctions._executions[arn]["events"]]
    assert numbers == list(range(1, len(numbers) + 1))
    # AND each event names the one before it in its own iteration
    chains = {event["id"]: event for event in stepfunctions._executions[arn]["events"]}
    for event in machines.events(arn, "TaskStateExited"):
        item = json.loads(event["stateExitedEventDetails"]["output"])
        succeeded = chains[event["previousEventId"]]
        assert json.loads(succeeded["taskSucceededEventDetails"]["output"]) == item


def test_an_iteration_that_fails_ends_its_siblings() -> None:
    gate, all_begun = threading.Event(), threading.Barrier(3)

    def work(data: Any) -> None:
        all_begun.wait(5)
        if data["item"] == 1:
            raise broken()
        gate.wait(5)

    behave(work)
    each = {"StartAt": "One", "States": {"One": task(Arguments={"item": "{% $states.input %}"})}}
    began = time.monotonic()
    arn = start({"Each": {"Type": "Map", "Items": [0, 1, 2], "ItemProcessor": each, "End": True}})
    assert end_of(arn)["error"] == "Broken"
    gate.set()
    assert time.monotonic() - began < 3
    assert len(machines.events(arn, "MapIterationAborted")) == 2


def test_every_change_of_status_is_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, Any]] = []

    def put(request: dict[str, Any], *, allow_aws_source: bool) -> None:
        assert allow_aws_source
        told.append(request["Entries"][0])

    monkeypatch.setattr(eventbridge, "_put_events", put)
    behave(lambda _data: time.sleep(3))
    # GIVEN an execution that is stopped, one that runs out of time, and one that fails and is redriven
    stopped = start({"Work": task()})
    time.sleep(0.1)
    machines.stop(stopped)
    late = start({"Work": task()}, TimeoutSeconds=1)
    end_of(late)
    failed = start({"No": {"Type": "Fail", "Error": "Nope", "Cause": "always"}})
    end_of(failed)
    machines.redrive(failed)

    def of(arn: str) -> list[tuple[Any, ...]]:
        details = [json.loads(entry["Detail"]) for entry in told if entry["Resources"] == [arn]]
        return [(each["status"], each["redriveStatus"], each["redriveCount"], each["error"]) for each in details]

    # THEN each says so
    assert of(stopped)[1][:2] == ("ABORTED", "REDRIVABLE")
    assert of(late)[1] == ("TIMED_OUT", "REDRIVABLE", 0, "States.Timeout")
    assert of(failed) == [
        ("RUNNING", "NOT_REDRIVABLE", 0, None),
        ("FAILED", "REDRIVABLE", 0, "Nope"),
        ("RUNNING", "NOT_REDRIVABLE", 1, None),
        ("FAILED", "REDRIVABLE", 1, "Nope"),
    ]
    assert {entry["DetailType"] for entry in told} == {"Step Functions Execution Status Change"}


def test_starting_a_running_name_with_its_input_again_is_that_execution() -> None:
    behave(lambda _data: time.sleep(0.5))
    arn = machines.create({"Work": task()})
    request = {"stateMachineArn": arn, "name": "run-1", "input": '{"a": 1}'}
    first = machines.answer(stepfunctions._start_execution(request))
    assert machines.answer(stepfunctions._start_execution(request)) == first
    other = {**request, "input": '{"a": 2}'}
    assert machines.refusal(stepfunctions._start_execution(other)) == "ExecutionAlreadyExists"
    end_of(first["executionArn"])
    assert machines.refusal(stepfunctions._start_execution(request)) == "ExecutionAlreadyExists"


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"name": "a b"}, "InvalidName"),
        ({"name": "x" * 81}, "InvalidName"),
        ({"input": "{"}, "InvalidExecutionInput"),
        ({"input": '"' + "x" * 262_144 + '"'}, "InvalidExecutionInput"),
    ],
)
def test_a_start_that_aws_refuses_is_refused(request_: dict[str, Any], error: str) -> None:
    arn = machines.create({"Done": {"Type": "Succeed"}})
    assert machines.refusal(stepfunctions._start_execution({"stateMachineArn": arn, **request_})) == error


def test_a_definition_in_yaml_becomes_json() -> None:
    assert json.loads(stepfunctions_yaml.as_json("# why\nStartAt: A\nStates: {A: {Type: Succeed}}\n"))["StartAt"] == "A"
    assert stepfunctions_yaml.as_json('{"StartAt": "A"}') == '{"StartAt": "A"}'
