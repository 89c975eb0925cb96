"""Each JSONata expression of the machine evaluates on recorded payloads, and makes what AWS's models want."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import jsonata
import pytest
from botocore.validate import ParamValidator
from jsonata.utils import Utils

ROOT = Path(__file__).resolve().parents[2]
EXECUTION = {
    "Id": "arn:aws:states:us-east-1:123456789012:execution:tidegate-run:run-20261123T1435Z-1",
    "Name": "run-20261123T1435Z-1",
    "Input": {"run": "run-20261123T1435Z", "tables": ["flights"], "reason": "due"},
    "RedriveCount": 0,
}
ERROR = {"Error": "States.TaskFailed", "Cause": "the step failed"}
PLAN = json.loads((ROOT / "events" / "plan_run.result.json").read_text(encoding="utf-8"))
WITH_CLUSTER = {"plan": PLAN, "cluster_id": "j-1ABCDEFGHIJKL"}
CAUGHT = {**WITH_CLUSTER, "failed_in": "Merge batches", "error": ERROR}
NEVER_PLANNED = {"plan": {"run_id": None, "pass": None}, "cluster_id": None, "failed_in": "Plan run", "error": ERROR}
ASSESSED = {**WITH_CLUSTER, "go_on": True, "error": ERROR}
ASSESSED_WITHOUT_CLUSTER = {"plan": NEVER_PLANNED["plan"], "cluster_id": None, "go_on": False, "error": ERROR}
FAILED = {**WITH_CLUSTER, "error": ERROR}
SUMMARY = {"run_id": PLAN["run_id"], "outcome": "succeeded", "merged": [], "unsettled": [], "message": "done"}
GROUP = {"group": PLAN["groups"][0], "is_clear": True}
MORE = {"run_id": PLAN["run_id"], "pass": 1, "work": "merge", "reason": "due", "groups": PLAN["groups"], "held": []}

# State -> the inputs that it meets, the result of its task.
RECORDED: dict[str, tuple[list[Any], Any]] = {
    "Plan run": ([EXECUTION["Input"], {}, ["not", "an", "object"]], {"Payload": PLAN}),
    "Is there work?": ([{"plan": PLAN}], None),
    "Nothing to merge": ([{"plan": PLAN | {"work": "none"}}], None),
    "Create cluster": ([{"plan": PLAN}], {"ClusterId": "j-1ABCDEFGHIJKL"}),
    "Merge batches": ([WITH_CLUSTER], [{"group": "g0", "is_clear": True, "is_settled": True}]),
    "Merge group": ([{"cluster_id": "j-1ABCDEFGHIJKL", "group": PLAN["groups"][0]}], {"Step": {}}),
    "Settle group": ([GROUP, GROUP | {"is_clear": False}], {"Payload": {"merged": 1}}),
    "Note the group": ([{"group": "g0", "is_clear": True, "is_settled": False}], None),
    "Claim more": (
        [
            WITH_CLUSTER | {"unclear": [], "unsettled": []},
            WITH_CLUSTER | {"unclear": [{"group": "g0"}], "unsettled": [{"group": "g1"}]},
        ],
        {"Payload": MORE},
    ),
    "Is there more?": ([WITH_CLUSTER | {"plan": PLAN | MORE}], None),
    "Terminate cluster": ([WITH_CLUSTER], {}),
    "Settle run": ([WITH_CLUSTER], {"Payload": SUMMARY}),
    "Is every batch merged?": ([WITH_CLUSTER | {"summary": SUMMARY, "error": None}], None),
    "Run succeeded": ([WITH_CLUSTER | {"summary": SUMMARY, "error": None}], None),
    "Assess failure": ([CAUGHT, NEVER_PLANNED], {"Payload": {"cluster_id": None, "go_on": False, "error": ERROR}}),
    "Is a cluster left?": ([ASSESSED, ASSESSED_WITHOUT_CLUSTER], None),
    "Terminate failed cluster": ([ASSESSED], {}),
    "Is there another try?": ([ASSESSED, ASSESSED_WITHOUT_CLUSTER], None),
    "Fail run": (
        [FAILED, ASSESSED, ASSESSED_WITHOUT_CLUSTER, WITH_CLUSTER | {"summary": SUMMARY, "error": None}],
        {"Payload": {}},
    ),
}


def expressions_in(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value.startswith("{%"):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from expressions_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from expressions_in(inner)


def with_nulls(value: Any) -> Any:
    """None as the JSONata library's own null: to it, Python's None is nothing at all."""
    if isinstance(value, dict):
        return {key: with_nulls(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [with_nulls(inner) for inner in value]
    return Utils.NULL_VALUE if value is None else value


def evaluate(expression: str, states: dict[str, Any]) -> Any:
    """The expression's value. One that yields nothing fails the execution on AWS, so it fails here."""
    source = expression.removeprefix("{%").removesuffix("%}").strip()
    bound = with_nulls(states)
    there = jsonata.Jsonata(f"$exists({source})")
    there.assign("states", bound)
    assert there.evaluate(None) is True, f"{expression} yields nothing on {states}"
    parsed = jsonata.Jsonata(source)
    parsed.assign("states", bound)
    return parsed.evaluate(None)


def filled(value: Any, states: dict[str, Any]) -> Any:
    """A field of a state with its expressions evaluated."""
    if isinstance(value, str) and value.startswith("{%"):
        return evaluate(value, states)
    if isinstance(value, dict):
        return {key: filled(inner, states) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, states) for inner in value]
    return value


def all_states(machine: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = dict(machine["States"])
    return found | found["Merge batches"]["ItemProcessor"]["States"]


def test_every_state_has_a_recorded_payload(machine: dict[str, Any]) -> None:
    assert set(RECORDED) == set(all_states(machine))


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_every_expression_evaluates_on_what_its_state_meets(name: str, machine: dict[str, Any]) -> None:
    state = all_states(machine)[name]
    inputs, result = RECORDED[name]
    context = {"Execution": EXECUTION, "Map": {"Item": {"Index": 0, "Value": PLAN["groups"][0]}}}
    for given in inputs:
        before = {"input": given, "context": context}
        for field in ("Arguments", "Items", "ItemSelector", "MaxConcurrency", "TimeoutSeconds", "Choices"):
            for expression in expressions_in(state.get(field)):
                evaluate(expression, before)
        for expression in expressions_in(state.get("Output")):
            evaluate(expression, before | {"result": result})
        for catch in state.get("Catch", []):
            for expression in expressions_in(catch):
                evaluate(expression, before | {"errorOutput": ERROR})


def test_each_states_output_is_what_the_next_one_was_recorded_to_meet(machine: dict[str, Any]) -> None:
    # The recorded inputs would prove nothing if no state made them.
    states = all_states(machine)
    context = {"Execution": EXECUTION}
    for name in (
        "Plan run",
        "Create cluster",
        "Merge group",
        "Settle group",
        "Merge batches",
        "Claim more",
        "Terminate cluster",
        "Settle run",
        "Assess failure",
        "Terminate failed cluster",
    ):
        inputs, result = RECORDED[name]
        state = states[name]
        made = [filled(state["Output"], {"input": given, "result": result, "context": context}) for given in inputs]
        if "Next" not in state:
            continue
        wanted = [set(given) for given in RECORDED[state["Next"]][0]]
        assert [set(output) for output in made if set(output) not in wanted] == [], name
        for catch in state.get("Catch", ()):
            caught = filled(catch["Output"], {"input": inputs[0], "errorOutput": ERROR, "context": context})
            assert set(caught) in [set(given) for given in RECORDED[catch["Next"]][0]], name


@pytest.mark.parametrize(
    ("name", "operation", "as_request"),
    [
        ("Create cluster", "RunJobFlow", lambda arguments: arguments),
        (
            "Merge group",
            "AddJobFlowSteps",
            lambda arguments: {"JobFlowId": arguments["ClusterId"], "Steps": [arguments["Step"]]},
        ),
        (
            "Terminate cluster",
            "TerminateJobFlows",
            lambda arguments: {"JobFlowIds": [arguments["ClusterId"]]},
        ),
    ],
)
def test_emr_calls_fit_the_service_model(name: str, operation: str, as_request: Any, machine: dict[str, Any]) -> None:
    state = all_states(machine)[name]
    states = {"input": RECORDED[name][0][0], "context": {"Execution": EXECUTION}}
    shape = botocore.session.get_session().get_service_model("emr").operation_model(operation).input_shape
    report = ParamValidator().validate(as_request(filled(state["Arguments"], states)), shape)
    assert not report.has_errors(), report.generate_report()


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("", {}),
        ("sg-1,sg-2", {"EmrManagedMasterSecurityGroup": "sg-1", "EmrManagedSlaveSecurityGroup": "sg-2"}),
        (
            "sg-1,sg-2,sg-3",
            {
                "EmrManagedMasterSecurityGroup": "sg-1",
                "EmrManagedSlaveSecurityGroup": "sg-2",
                "ServiceAccessSecurityGroup": "sg-3",
            },
        ),
    ],
)
def test_security_groups_are_emrs_own_unless_they_are_given(
    given: str, made: dict[str, str], machine: dict[str, Any]
) -> None:
    expression = all_states(machine)["Create cluster"]["Arguments"]["Instances"]
    found = evaluate(expression.replace("sg-0a1b,sg-2c3d,sg-4e5f", given), {"input": {"plan": PLAN}})
    assert {name: value for name, value in found.items() if "SecurityGroup" in name} == made


@pytest.mark.parametrize(
    ("results", "unclear"),
    [
        ([], []),
        ([{"group": "g0", "is_clear": True}], []),
        ([{"group": "g0", "is_clear": False}], [{"group": "g0"}]),
        (
            [{"group": "g0", "is_clear": False}, {"group": "g1", "is_clear": True}, {"group": "g2", "is_clear": False}],
            [{"group": "g0"}, {"group": "g2"}],
        ),
    ],
)
def test_claim_more_hears_of_the_groups_whose_steps_may_still_live(
    results: list[Any], unclear: list[Any], machine: dict[str, Any]
) -> None:
    # JSONata makes no array of nothing and unwraps one of one: the expression must not.
    output = all_states(machine)["Merge batches"]["Output"]
    assert filled(output["unclear"], {"input": WITH_CLUSTER, "result": results}) == unclear
    # AND, by the same expression, of those that could not be settled
    settled = [{"group": each["group"], "is_settled": each["is_clear"]} for each in results]
    assert filled(output["unsettled"], {"input": WITH_CLUSTER, "result": settled}) == unclear


@pytest.mark.parametrize(
    ("error", "is_clear"),
    [
        ("States.TaskFailed", True),
        ("EMR.AmazonElasticMapReduceException", True),
        ("States.Timeout", False),
        ("EMR.SdkClientException", False),
        ("States.HeartbeatTimeout", False),
    ],
)
def test_a_step_that_nobody_saw_end_is_not_taken_for_ended(error: str, is_clear: bool, machine: dict[str, Any]) -> None:
    # Design: "Anything less sure (a time-out, a lost answer to addStep) ends the cluster"
    caught = all_states(machine)["Merge group"]["Catch"][0]["Output"]["is_clear"]
    assert evaluate(caught, {"errorOutput": {"Error": error, "Cause": "c"}}) is is_clear
