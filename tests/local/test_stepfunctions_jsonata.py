"""JSONata as a machine uses it: what ministack's engine gives is what AWS gives."""

import json
from collections.abc import Iterator
from typing import Any

import machines
import pytest
from machines import behave, evaluate, output_of, run, task

INPUT = {
    "name": "flights",
    "count": 3,
    "none": None,
    "empty": [],
    "groups": [{"id": "g0", "files": 2}, {"id": "g1", "files": 5}],
    "one": [{"id": "g0", "files": 2}],
}


@pytest.fixture(scope="module", autouse=True)
def _filled() -> Iterator[None]:
    with machines.filled():
        yield


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("'tidegate ' & $states.input.name & ' ' & $states.input.count", "tidegate flights 3"),
        ("$merge([$states.input.one[0], {'files': 7, 'more': true}])", {"id": "g0", "files": 7, "more": True}),
        ("$exists($states.input.name) and $not($exists($states.input.missing))", True),
        ("$exists($states.input.missing) ? $states.input.missing : 'default'", "default"),
        ("$states.input.groups.id", ["g0", "g1"]),
        ("$map($states.input.groups, function($g) { $g.id & '!' })", ["g0!", "g1!"]),
        ("[$map($states.input.one, function($g) { $g.id })]", ["g0"]),
        ("[$states.input.one.id]", ["g0"]),
        ("[$states.input.empty.id]", []),
        ("$sum($states.input.groups.files)", 7),
        ("$max($states.input.groups.files) / 2", 2.5),
        ("$states.input.count * 2 = 6 ? 'yes' : 'no'", "yes"),
        ("$max($states.input.groups.files) / 5", 1),
        ("$states.input.count & ' of ' & 6 / 2", "3 of 3"),
        ("$floor(7 / 2)", 3),
        ("$round(2.5)", 2),
        ("$count($states.input.groups)", 2),
        ("$filter($states.input.groups, function($g) { $g.files > 3 }).id", "g1"),
        ("{'a': $states.input.count, 'b': [1, 2]}", {"a": 3, "b": [1, 2]}),
        ("$states.input.groups{id: files}", {"g0": 2, "g1": 5}),
        ("$split('a,b,c', ',')", ["a", "b", "c"]),
        ("$join($states.input.groups.id, ' and ')", "g0 and g1"),
        ("$string({'a': 1})", '{"a":1}'),
        ("$parse('{\"a\": 1}').a", 1),
        ("$number('42') + 1", 43),
        ("$states.input.none", None),
        ("$substringAfter('s3://bucket/key', 's3://')", "bucket/key"),
        ("$contains('arn:aws:lambda', 'lambda')", True),
        ("($a := 1; $b := 2; $a + $b)", 3),
        ("$lookup($states.input, 'name')", "flights"),
        ("$append($states.input.empty, $states.input.count)", [3]),
        ("$keys({'x': 1, 'y': 2})", ["x", "y"]),
        ("$partition([1, 2, 3], 2)", [[1, 2], [3]]),
        ("$range(0, 4, 2)", [0, 2, 4]),
        ("$length($uuid())", 36),
        ("$states.context.Execution.Input.name", "flights"),
        ("$states.context.State.Name", "Say"),
    ],
)
def test_an_expression_gives(expression: str, value: Any) -> None:
    # As text: 6.0 and 6 are one number to Python, and two to whoever reads the output.
    assert json.dumps(evaluate(expression, INPUT)) == json.dumps(value)


def test_what_is_undefined_fails_and_can_be_caught() -> None:
    behave(lambda data: data)
    failed = run({"Say": {"Type": "Pass", "Output": "{% $states.input.missing.deeper %}", "End": True}})
    assert failed["error"] == "States.QueryEvaluationError"
    caught = [{"ErrorEquals": ["States.QueryEvaluationError"], "Output": "caught", "Next": "Done"}]
    states = {"Say": task(Arguments={"a": "{% $states.input.missing %}"}, Catch=caught), "Done": {"Type": "Succeed"}}
    assert output_of(states) == "caught"


def test_what_a_state_assigns_the_states_after_it_read() -> None:
    behave(lambda data: {"value": data["n"] + 1})
    states = {
        "First": task(
            Arguments={"n": "{% $states.input.n %}"},
            Assign={"result": "{% $states.result.value %}", "name": "first"},
            Output={"n": "{% $states.input.n * 10 %}"},
            Next="Second",
        ),
        "Second": {"Type": "Pass", "Output": "{% $name & ' ' & $result & ' ' & $states.input.n %}", "End": True},
    }
    assert output_of(states, {"n": 1}) == "first 2 10"


def test_all_expressions_of_an_assign_see_the_values_from_before_it() -> None:
    states = {
        "First": {"Type": "Pass", "Assign": {"a": 1, "b": 2}, "Next": "Swap"},
        "Swap": {"Type": "Pass", "Assign": {"a": "{% $b %}", "b": "{% $a %}"}, "Next": "Say"},
        "Say": {"Type": "Pass", "Output": ["{% $a %}", "{% $b %}"], "End": True},
    }
    assert output_of(states) == [2, 1]


def test_a_catch_assigns_and_gives() -> None:
    def fail(_data: Any) -> None:
        raise machines.broken("LeaseHeld", '{"owner": "run-1"}')

    behave(fail)
    caught = {
        "ErrorEquals": ["LeaseHeld"],
        "Assign": {"owner": "{% $parse($states.errorOutput.Cause).owner %}"},
        "Output": {"input": "{% $states.input %}", "error": "{% $states.errorOutput %}"},
        "Next": "Say",
    }
    states = {
        "Work": task(Catch=[caught]),
        "Say": {
            "Type": "Succeed",
            "Output": {
                "owner": "{% $owner %}",
                "n": "{% $states.input.input.n %}",
                "e": "{% $states.input.error.Error %}",
            },
        },
    }
    assert output_of(states, {"n": 1}) == {"owner": "run-1", "n": 1, "e": "LeaseHeld"}


def test_the_default_of_a_choice_has_its_output() -> None:
    states = {
        "Which?": {
            "Type": "Choice",
            "Choices": [{"Condition": "{% $states.input.n > 5 %}", "Output": "large", "Next": "Done"}],
            "Default": "Done",
            "Output": "small",
            "Assign": {"size": "small"},
        },
        "Done": {"Type": "Succeed"},
    }
    assert output_of(states, {"n": 9}) == "large"
    assert output_of(states, {"n": 1}) == "small"


def test_a_succeed_states_output_is_evaluated() -> None:
    assert output_of({"Done": {"Type": "Succeed", "Output": "{% $states.input.a + 1 %}"}}, {"a": 1}) == 2


def test_a_map_selects_counts_and_collects() -> None:
    each = {"StartAt": "One", "States": {"One": {"Type": "Pass", "End": True}}}
    states = {
        "Each": {
            "Type": "Map",
            "Items": "{% $states.input.groups %}",
            "MaxConcurrency": "{% $states.input.count %}",
            "ItemSelector": {
                "at": "{% $states.context.Map.Item.Index %}",
                "id": "{% $states.context.Map.Item.Value.id %}",
                "name": "{% $states.input.name %}",
            },
            "ItemProcessor": each,
            "Output": {"first": "{% $states.result[0] %}", "of": "{% $count($states.result) %}"},
            "End": True,
        }
    }
    assert output_of(states, INPUT) == {"first": {"at": 0, "id": "g0", "name": "flights"}, "of": 2}


def test_a_variable_of_an_iteration_stays_in_it() -> None:
    each = {
        "StartAt": "Keep",
        "States": {
            "Keep": {"Type": "Pass", "Assign": {"mine": "{% $states.input %}"}, "Next": "Say mine"},
            "Say mine": {"Type": "Pass", "Output": "{% $outer & $mine %}", "End": True},
        },
    }
    states = {
        "First": {"Type": "Pass", "Assign": {"outer": "o"}, "Next": "Each"},
        "Each": {"Type": "Map", "Items": ["a", "b"], "ItemProcessor": each, "Next": "Say"},
        "Say": {"Type": "Pass", "Output": ["{% $states.input %}", "{% $exists($mine) %}"], "End": True},
    }
    assert output_of(states) == [["oa", "ob"], False]


def test_an_empty_map_gives_an_empty_list() -> None:
    each = {"StartAt": "One", "States": {"One": {"Type": "Pass", "End": True}}}
    assert output_of({"Each": {"Type": "Map", "Items": [], "ItemProcessor": each, "End": True}}) == []
