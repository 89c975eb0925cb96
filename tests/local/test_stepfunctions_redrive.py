"""RedriveExecution: what succeeded is kept, what did not goes on where it was."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import machines
import pytest
from machines import behave, broken, end_of, entered, redrive, start, task
from ministack.services import stepfunctions
from tidegate_local import stepfunctions_execution

REDRIVE_COUNT = "{% $states.context.Execution.RedriveCount %}"


@pytest.fixture(scope="module", autouse=True)
def _filled() -> Iterator[None]:
    with machines.filled():
        yield


def fail_until_redriven(data: Any) -> Any:
    if data["redrive_count"] == 0:
        raise broken()
    return {"done": data["value"]}


def test_a_redriven_task_runs_again_with_its_own_input_and_what_succeeded_does_not() -> None:
    # GIVEN an execution that failed in its second state
    behave(fail_until_redriven)
    arguments = {"value": "{% $states.input.value %}", "redrive_count": REDRIVE_COUNT}
    arn = start({
        "First": {"Type": "Pass", "Output": {"value": 7}, "Next": "Second"},
        "Second": task(Arguments=arguments),
    })  # fmt: skip
    failed = end_of(arn)
    assert (failed["status"], failed["error"], failed["redriveStatus"]) == ("FAILED", "Broken", "REDRIVABLE")
    # WHEN it is redriven
    done = redrive(arn)
    # THEN only the second state ran again, with the input that it had
    assert json.loads(done["output"]) == {"done": 7}
    assert (done["redriveCount"], done["redriveStatus"]) == (1, "NOT_REDRIVABLE")
    assert entered(arn) == ["First", "Second", "Second"]
    assert machines.events(arn, "ExecutionRedriven")[0]["executionRedrivenEventDetails"] == {"redriveCount": 1}
    listed = machines.answer(stepfunctions._list_executions({"stateMachineArn": done["stateMachineArn"]}))
    assert listed["executions"][0]["redriveCount"] == 1


def test_retries_count_from_the_start_again() -> None:
    attempts: list[int] = []

    def fail(_data: Any) -> None:
        attempts.append(1)
        raise broken()

    behave(fail)
    arn = start({"Work": task(Retry=[{"ErrorEquals": ["Broken"], "MaxAttempts": 2}])})
    end_of(arn)
    redrive(arn)
    assert len(attempts) == 6


def test_a_fail_state_fails_again() -> None:
    arn = start({"No": {"Type": "Fail", "Error": "Nope", "Cause": "always"}})
    assert end_of(arn)["error"] == "Nope"
    assert redrive(arn)["error"] == "Nope"
    assert entered(arn) == ["No", "No"]


def test_a_choice_is_made_again() -> None:
    condition = f"{{% {REDRIVE_COUNT[2:-2]} = 1 %}}"
    arn = start({
        "Which?": {"Type": "Choice", "Choices": [{"Condition": condition, "Next": "Done"}]},
        "Done": {"Type": "Succeed"},
    })  # fmt: skip
    assert end_of(arn)["error"] == "States.NoChoiceMatched"
    assert redrive(arn)["status"] == "SUCCEEDED"


def test_a_task_that_raises_unless_it_is_redriven_can_lead_back() -> None:
    # GIVEN the way in which a run ends: a Task without Catch that fails, unless the redrive count has grown
    behave(fail_until_redriven)
    arn = start({
        "Plan": {"Type": "Pass", "Output": {"planned": REDRIVE_COUNT}, "Next": "Is it through?"},
        "Is it through?": {
            "Type": "Choice",
            "Choices": [{"Condition": "{% $states.input.planned = 1 %}", "Next": "Done"}],
            "Default": "Fail run",
        },
        "Fail run": task(Arguments={"value": 1, "redrive_count": REDRIVE_COUNT}, Next="Plan"),
        "Done": {"Type": "Succeed"},
    })  # fmt: skip
    assert end_of(arn)["status"] == "FAILED"
    assert redrive(arn)["status"] == "SUCCEEDED"
    assert entered(arn)[-4:] == ["Fail run", "Plan", "Is it through?", "Done"]


def each(**fields: Any) -> dict[str, Any]:
    """Two states: the second fails for odd items until the execution is redriven."""
    work = {"item": "{% $states.input %}", "redrive_count": REDRIVE_COUNT}
    states = {"First": task(Arguments={"first": "{% $states.input %}"}, Next="Second"), "Second": task(Arguments=work)}
    return {"StartAt": "First", "States": states, **fields}


def odd_ones_fail(calls: Counter[str]) -> Any:
    def work(data: Any) -> Any:
        if "first" in data:
            calls[f"first {data['first']}"] += 1
            return data["first"]
        calls[f"second {data['item']}"] += 1
        if data["item"] % 2 and data["redrive_count"] == 0:
            raise broken()
        return data["item"] * 10

    return work


def test_a_map_runs_only_the_iterations_again_that_did_not_succeed_and_only_from_where_they_failed() -> None:
    # GIVEN a Map, one item after the other: the first succeeds, the second fails, the third has not begun
    calls: Counter[str] = Counter()
    behave(odd_ones_fail(calls))
    arn = start({
        "Each": {"Type": "Map", "Items": [0, 1, 2], "MaxConcurrency": 1, "ItemProcessor": each(), "Next": "After"},
        "After": {"Type": "Pass", "Output": {"got": "{% $states.input %}"}, "End": True},
    })  # fmt: skip
    assert end_of(arn)["error"] == "Broken"
    assert calls == {"first 0": 1, "second 0": 1, "first 1": 1, "second 1": 1}
    # WHEN it is redriven
    done = redrive(arn)
    # THEN
    assert json.loads(done["output"]) == {"got": [0, 10, 20]}
    assert calls == {"first 0": 1, "second 0": 1, "first 1": 1, "second 1": 2, "first 2": 1, "second 2": 1}
    begun = [event["mapIterationStartedEventDetails"]["index"] for event in machines.events(arn, "MapIterationStarted")]
    assert begun == [0, 1, 1, 2]


def test_a_map_that_was_stopped_goes_on_with_what_had_not_succeeded() -> None:
    # GIVEN a Map that is stopped in its second iteration
    calls: Counter[int] = Counter()

    def work(data: Any) -> Any:
        calls[data["item"]] += 1
        if data["item"] == 1 and calls[1] == 1:
            time.sleep(0.5)
        return data["item"]

    behave(work)
    states = {"One": task(Arguments={"item": "{% $states.input %}"})}
    processor = {"StartAt": "One", "States": states}
    arn = start(
        {"Each": {"Type": "Map", "Items": [0, 1, 2], "MaxConcurrency": 1, "ItemProcessor": processor, "End": True}}
    )
    while not calls[1]:
        time.sleep(0.01)
    machines.stop(arn)
    assert end_of(arn)["redriveStatus"] == "REDRIVABLE"
    # WHEN it is redriven THEN the first is kept, and what the stopped call says later is not heard
    assert json.loads(redrive(arn)["output"]) == [0, 1, 2]
    assert calls == {0: 1, 1: 2, 2: 1}


def test_a_redrive_has_the_machines_whole_time_limit_again() -> None:
    durations_s = [3.0, 0.7, 0.0]

    def work(_data: Any) -> None:
        time.sleep(durations_s.pop(0))

    behave(work)
    arn = start({"First": task(Next="Second"), "Second": task()}, TimeoutSeconds=1)
    assert end_of(arn)["status"] == "TIMED_OUT"
    assert redrive(arn)["status"] == "SUCCEEDED"
    assert entered(arn) == ["First", "First", "Second"]


def test_a_retry_of_a_map_runs_all_of_it_again() -> None:
    calls: Counter[str] = Counter()
    behave(odd_ones_fail(calls))
    retry = [{"ErrorEquals": ["Broken"], "MaxAttempts": 1}]
    state = {"Type": "Map", "Items": [0, 1], "MaxConcurrency": 1, "ItemProcessor": each(), "Retry": retry, "End": True}
    assert end_of(start({"Each": state}))["status"] == "FAILED"
    assert calls["first 0"] == 2


def test_a_parallel_runs_only_the_branches_again_that_did_not_succeed() -> None:
    calls: Counter[str] = Counter()
    behave(odd_ones_fail(calls))
    ended = {"StartAt": "Quick", "States": {"Quick": task(Arguments={"first": "{% $states.input.a %}"})}}
    late = each()
    late["States"]["First"]["Arguments"] = {"first": "{% $states.input.b %}"}
    late["States"] = {"Before": {"Type": "Wait", "Seconds": "{% 20 %}", "Next": "First"}, **late["States"]}
    late["StartAt"] = "Before"
    arn = start(
        {
            "Both": {
                "Type": "Parallel",
                "Arguments": {"a": "{% $states.input.n %}", "b": "{% $states.input.n + 1 %}"},
                "Branches": [ended, late],
                "Output": {"both": "{% $states.result %}"},
                "End": True,
            }
        },
        {"n": 4},
    )
    assert end_of(arn)["error"] == "Broken"
    assert json.loads(redrive(arn)["output"]) == {"both": [4, 50]}
    assert calls == {"first 4": 1, "first 5": 1, "second 5": 2}


def test_what_succeeded_or_runs_can_not_be_redriven() -> None:
    arn = start({"Done": {"Type": "Succeed"}})
    end_of(arn)
    assert machines.refusal(stepfunctions_execution.redrive({"executionArn": arn})) == "ExecutionNotRedrivable"
    unknown = {"executionArn": f"{arn}x"}
    assert machines.refusal(stepfunctions_execution.redrive(unknown)) == "ExecutionDoesNotExist"


def test_a_redrive_that_is_sent_twice_is_one() -> None:
    behave(fail_until_redriven)
    arn = start({"Work": task(Arguments={"value": 1, "redrive_count": REDRIVE_COUNT})})
    end_of(arn)
    request = {"executionArn": arn, "clientToken": "once"}
    first = machines.answer(stepfunctions_execution.redrive(request))
    assert machines.answer(stepfunctions_execution.redrive(request)) == first
    assert end_of(arn)["redriveCount"] == 1


def test_a_redriven_execution_keeps_the_definition_that_it_began_with() -> None:
    behave(fail_until_redriven)
    arn = start({"Work": task(Arguments={"value": 1, "redrive_count": REDRIVE_COUNT})})
    machine = end_of(arn)["stateMachineArn"]
    changed = {"StartAt": "Other", "States": {"Other": {"Type": "Fail"}}}
    machines.answer(
        stepfunctions._update_state_machine({"stateMachineArn": machine, "definition": json.dumps(changed)})
    )
    assert json.loads(redrive(arn)["output"]) == {"done": 1}
