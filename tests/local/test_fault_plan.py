"""The plan of faults: what can be planned, whom a fault fits, when it strikes and how often."""

import json
from pathlib import Path
from typing import Any

import pytest
from tidegate_local.faults.kinds import KINDS, OF_CALLS, InvalidFault, check
from tidegate_local.faults.plan import Faults, add_faults, faults_of, plan_faults, strikes


def planned(*faults: dict[str, Any]) -> Faults:
    return Faults(planned=[check(fault) for fault in faults])


def a_call(faults: Faults, call: str = "dynamodb:UpdateItem", **names: Any) -> str | None:
    found = faults.strike(*OF_CALLS, call=call, **({"caller": "client", "resource": ()} | names))
    return found and found["fault"]


def test_a_fault_strikes_as_often_as_planned_and_only_whom_it_names() -> None:
    faults = planned({"fault": "no_capacity", "cluster": "tidegate-*", "times": 2})
    assert faults.strike("no_capacity", cluster="other") is None
    struck = [faults.strike("no_capacity", cluster="tidegate-1") is not None for _ in range(3)]
    assert struck == [True, True, False]


def test_it_lets_so_many_that_fit_go_by_first() -> None:
    faults = planned({"fault": "throttled", "call": "dynamodb:*", "after": 2, "times": 2})
    assert a_call(faults, "s3:PutObject") is None
    assert [a_call(faults) for _ in range(5)] == [None, None, "throttled", "throttled", None]


def test_of_several_the_first_strikes_and_the_others_count_on() -> None:
    faults = planned(
        {"fault": "fails", "call": "dynamodb:*"},
        {"fault": "throttled", "call": "dynamodb:*", "after": 1},
    )
    assert [a_call(faults) for _ in range(3)] == ["fails", "throttled", None]


def test_each_pattern_must_fit_any_of_the_names() -> None:
    faults = planned({"fault": "fails", "call": "s3:*", "caller": "plan_run", "resource": "*/flights/*", "times": 9})
    names = {"caller": ("stack-PlanRun-1", "plan_run"), "resource": ("bucket/flights/1.csv",)}
    assert a_call(faults, "s3:GetObject", **names) == "fails"
    assert a_call(faults, "s3:GetObject", **names | {"caller": "machine"}) is None
    assert a_call(faults, "s3:GetObject", **names | {"resource": ()}) is None


def test_whoever_is_no_step_is_not_any_step() -> None:
    faults = planned({"fault": "killed", "step": "*"})
    assert faults.strike("killed", call="s3:GetObject", caller="client", resource=()) is None
    assert faults.strike("killed", call="s3:GetObject", caller="client", resource=(), step=()) is None
    assert faults.strike("killed", call="s3:GetObject", caller="step", resource=(), step="merge flights")


def test_a_file_is_read_anew_whenever_it_has_changed(tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    faults = Faults(file=file)
    fault = {"fault": "fails", "call": "*"}
    assert a_call(faults) is None
    # WHEN the same fault is planned twice THEN it strikes twice
    for _ in range(2):
        plan_faults(file, [fault])
        assert [a_call(faults), a_call(faults)] == ["fails", None]
    # AND what is added leaves what is used up as it is
    add_faults(file, [{"fault": "throttled", "call": "*"}])
    assert [a_call(faults), a_call(faults)] == ["throttled", None]
    file.unlink()
    assert (a_call(faults), faults.planned) == (None, [])
    assert [each["fault"]["fault"] for each in strikes(file)] == ["fails", "fails", "throttled"]
    assert strikes(file)[0]["on"] == {"call": "dynamodb:UpdateItem", "caller": "client"}


def test_a_broken_faults_file_plans_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "faults.json"
    faults = Faults(file=file)
    for text, count in (("[", 0), ('[{"fault": "meteor"}]', 0), ('{"fault": "lost_nodes"}', 1)):
        # A new file each time: two writes may fall into one tick of the file system's clock.
        draft = tmp_path / f"draft-{count}-{len(text)}"
        draft.write_text(text)
        draft.replace(file)
        faults.read()
        assert len(faults.planned) == count
    assert "not readable" in caplog.text
    assert "no fault is called 'meteor'" in caplog.text


def test_one_process_has_one_plan_of_a_file(tmp_path: Path) -> None:
    assert faults_of(tmp_path / "a") is faults_of(tmp_path / "a")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("lost_nodes", "a fault is an object"),
        ({}, "no fault is called None; there are bad_configuration,"),
        ({"fault": "fails"}, "fails needs call"),
        ({"fault": "hangs", "call": "*"}, "hangs needs seconds"),
        ({"fault": "fails", "call": "*", "step": "x"}, "fails knows no step; it takes call, caller, resource, after"),
        ({"fault": "fails", "call": 3}, "call of fails must be a text, not 3"),
        ({"fault": "fails", "call": "*", "times": 0}, "times of fails must be a whole number from 1, not 0"),
        ({"fault": "fails", "call": "*", "after": 1.5}, "after of fails must be a whole number from 0, not 1.5"),
        ({"fault": "hangs", "call": "*", "seconds": "3"}, "seconds of hangs must be a number from 0, not '3'"),
        ({"fault": "lost_nodes", "state": "TERMINATED"}, "state of lost_nodes must be one of STARTING, BOOTSTRAPPING"),
        ({"fault": "killed"}, "killed needs function or step"),
        ({"fault": "killed", "step": "*", "function": "*"}, "only one of them"),
        ({"fault": "killed", "function": "*", "after": 1, "after_s": 1}, "killed goes by calls"),
    ],
)
def test_what_cannot_be_planned_is_refused_with_what_to_write(fault: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidFault) as refused:
        check(fault)
    assert words in str(refused.value)
    if isinstance(fault, dict):
        # AND a plan with such a fault is not half taken over
        file = tmp_path / "faults.json"
        with pytest.raises(InvalidFault):
            plan_faults(file, [{"fault": "lost_nodes"}, fault])
        assert list(tmp_path.iterdir()) == []


def test_every_kind_can_be_planned_with_what_it_needs() -> None:
    values: dict[str, Any] = {"seconds": 1, "state": "STARTING"}
    for name, kind in KINDS.items():
        fault = {"fault": name} | {field: values.get(field, "*") for field in (*kind.needs, *kind.needs_one_of[:1])}
        assert json.loads(json.dumps(check(fault))) == fault
