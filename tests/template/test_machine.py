"""The state machine's definition as data: every state, every way through it."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from tidegate_local import stepfunctions_emr

ENDS_A_CLUSTER = {"Terminate cluster", "Terminate failed cluster"}


def states_of(machine: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every state by its name, those inside a Map's processor too."""
    found: dict[str, dict[str, Any]] = {}
    for name, state in machine["States"].items():
        found[name] = state
        if "ItemProcessor" in state:
            found |= states_of(state["ItemProcessor"])
    return found


def tasks_of(machine: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: state for name, state in states_of(machine).items() if state["Type"] == "Task"}


def next_of(state: dict[str, Any]) -> Iterator[str]:
    """The states that may follow, by any of the ways out."""
    if "Next" in state:
        yield state["Next"]
    if "Default" in state:
        yield state["Default"]
    for branch in [*state.get("Choices", []), *state.get("Catch", [])]:
        yield branch["Next"]


def test_every_state_is_a_sentence_and_says_why_it_is_there(machine: dict[str, Any]) -> None:
    for name, state in states_of(machine).items():
        assert re.fullmatch(r"[A-Z][a-z]+( [a-z]+)*\??", name), name
        assert len(state.get("Comment", "")) > 30, f"{name}: what is it for?"


def test_every_way_out_leads_to_a_state_and_every_state_is_reached(machine: dict[str, Any]) -> None:
    def check(level: dict[str, Any]) -> None:
        states = level["States"]
        reached, ahead = set(), [level["StartAt"]]
        while ahead:
            name = ahead.pop()
            assert name in states, f"there is no state {name!r}"
            if name not in reached:
                reached.add(name)
                ahead += next_of(states[name])
        assert reached == set(states)
        for state in states.values():
            if "ItemProcessor" in state:
                check(state["ItemProcessor"])

    check(machine)


def test_every_task_has_a_timeout_a_narrow_retry_with_jitter_and_a_catch(machine: dict[str, Any]) -> None:
    for name, task in tasks_of(machine).items():
        assert "TimeoutSeconds" in task, f"{name}: the default is three years"
        if name == "Fail run":
            continue
        for retry in task["Retry"]:
            assert "States.ALL" not in retry["ErrorEquals"], f"{name}: retries what it does not know"
            assert retry["JitterStrategy"] == "FULL", name
            assert retry["MaxDelaySeconds"] <= 120, name
        assert task["Catch"][-1]["ErrorEquals"] == ["States.ALL"], name


def test_fail_run_raises_to_the_very_end(machine: dict[str, Any]) -> None:
    # A redrive reruns a failed Task; with a Catch it would have succeeded, and a Fail state fails again.
    fail_run = machine["States"]["Fail run"]
    assert fail_run["Type"] == "Task"
    assert "Retry" not in fail_run
    assert "Catch" not in fail_run
    assert fail_run["Next"] == "Plan run"
    assert not [name for name, state in states_of(machine).items() if state["Type"] == "Fail"]


def test_no_way_from_a_started_cluster_to_an_end_leads_past_its_termination(machine: dict[str, Any]) -> None:
    # Design: "From every state after Create cluster there is a way to Terminate cluster." Here: no other way.
    states = machine["States"]

    def ways(name: str, way: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
        way = (*way, name)
        if states[name]["Type"] == "Succeed" or name == "Fail run":
            yield way
            return
        for after in next_of(states[name]):
            # "Is a cluster left?" falls through to its default only when there is none.
            if after not in way and (name, after) != ("Is a cluster left?", states[name].get("Default")):
                yield from ways(after, way)

    found = list(ways(states["Create cluster"]["Next"]))
    assert len(found) >= 3
    for way in found:
        assert ENDS_A_CLUSTER & set(way), " -> ".join(way)


def test_a_run_is_planned_again_only_after_its_old_cluster_has_ended(machine: dict[str, Any]) -> None:
    # Design: a lease moves "when its owner is proven dead"; TERMINATED is the proof.
    states = machine["States"]
    again = [name for name, state in states.items() if "Plan run" in next_of(state)]
    assert sorted(again) == ["Fail run", "Is there another try?"]
    into = [name for name, state in states.items() if "Is there another try?" in next_of(state)]
    assert sorted(into) == ["Is a cluster left?", "Terminate failed cluster"]
    assert "Is there another try?" not in [catch["Next"] for catch in states["Terminate failed cluster"]["Catch"]]


def test_a_run_takes_few_transitions(machine: dict[str, Any]) -> None:
    # Issue: "per run at most 15 state transitions plus 2 a step group"
    states = machine["States"]
    way = ["Plan run"]
    while "Next" in states[way[-1]] or "Choices" in states[way[-1]]:
        state = states[way[-1]]
        done = {"Is there work?": "Create cluster", "Is there more?": "Terminate cluster"}
        way.append(state.get("Next") or done.get(way[-1]) or state["Choices"][0]["Next"])
    assert way[-1] == "Run succeeded"
    assert len(way) <= 15
    inner = states["Merge batches"]["ItemProcessor"]["States"]
    assert [name for name, state in inner.items() if state["Type"] == "Task"] == ["Merge group", "Settle group"]


def test_steps_are_added_in_client_mode_and_leave_the_cluster_to_the_machine(machine: dict[str, Any]) -> None:
    step = states_of(machine)["Merge group"]["Arguments"]["Step"]
    arguments = step["HadoopJarStep"]["Args"]
    # With several steps at a time EMR refuses any other action.
    assert step["ActionOnFailure"] == "CONTINUE"
    assert arguments[arguments.index("--deploy-mode") + 1] == "client"


def test_the_definition_is_plain_yaml_without_anchors_or_aliases(machine_text: str) -> None:
    # CloudFormation documents no support for them.
    import yaml

    tokens = list(yaml.scan(machine_text))
    assert not [token for token in tokens if isinstance(token, yaml.AnchorToken | yaml.AliasToken)]


def test_jsonata_is_the_only_language(machine: dict[str, Any], machine_text: str) -> None:
    assert machine["QueryLanguage"] == "JSONata"
    for word in ("InputPath", "ResultPath", "OutputPath", "Parameters:", "ResultSelector", ".$:"):
        assert word not in machine_text


@pytest.mark.parametrize("direction", ["used but not given", "given but not used"])
def test_substitutions_and_template_agree(
    direction: str, machine_text: str, resources: dict[str, dict[str, Any]]
) -> None:
    used = set(re.findall(r"\$\{(\w+)\}", machine_text))
    given = set(resources["RunStateMachine"]["Properties"]["DefinitionSubstitutions"])
    assert (used - given if direction == "used but not given" else given - used) == set()


def test_emr_calls_are_retried_on_the_very_error_that_the_integration_raises(machine: dict[str, Any]) -> None:
    # Otherwise throttling would fail a run at once. AWS documents no name; the local cloud has the reported one.
    for name in ("Create cluster", "Merge group"):
        retried = {error for retry in states_of(machine)[name]["Retry"] for error in retry["ErrorEquals"]}
        assert stepfunctions_emr.REFUSED in retried, name
        assert all("AmazonElasticMapReduceException" in error for error in retried), "an unclear answer is not retried"
