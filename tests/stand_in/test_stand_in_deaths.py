"""What the stand-in adds for tests: deaths between the steps of the protocol, races, and a place in the local EMR."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
from stand_in.ways import StandInWays, Steps
from tidegate_local import settings, stand_in
from tidegate_local.emr.step_process import StepOrder, command_of, prepare


class Killed(BaseException):
    """As by the kernel: nothing in the step catches it."""


@pytest.fixture
def steps(s3: Any) -> Steps:
    """Not the job's: these are about the stand-in alone."""
    return Steps(StandInWays(s3))


@pytest.mark.parametrize("action", ["merge", "void"])
@pytest.mark.parametrize("place", stand_in.CHECKPOINTS)
def test_a_death_anywhere_and_a_second_attempt_make_one_commit(steps: Any, place: str, action: str) -> None:
    # GIVEN a step that dies there
    def die(checkpoint: str) -> None:
        if checkpoint == place:
            raise Killed

    two = steps.batch(2, action=action)
    steps.run(steps.batch(1))
    work_uri, [receipt_uri] = steps.plan(two)
    if action == "void" and place.endswith("read"):
        assert stand_in.run(work_uri, steps.ways.s3, die) == 0  # a void reads no file, so it doesn't come by
    else:
        with pytest.raises(Killed):
            stand_in.run(work_uri, steps.ways.s3, die)
        assert (steps.ways.read(receipt_uri) is not None) == (place == "after receipt")
    # WHEN the batch is done again
    code, [receipt] = steps.run(two, run_id="run-2")
    # THEN
    done = "merged" if action == "merge" else "voided"
    is_in = place in {"after commit", "before receipt", "after receipt"} or (action == "void" and "read" in place)
    assert (code, receipt["outcome"], receipt["replayed"]) == (0, done, is_in)
    assert steps.committed() == [(1, "merged"), (2, done)]


def test_of_two_at_once_one_commits(steps: Any) -> None:
    # GIVEN one that has read its files when another merges the batch, and the next
    two, three = steps.batch(2), steps.batch(3)
    steps.run(steps.batch(1))

    def overtaken(checkpoint: str) -> None:
        if checkpoint == "before commit":
            assert steps.run(two, three, run_id="run-new")[0] == 0

    work_uri, [receipt_uri] = steps.plan(two, run_id="run-old")
    # WHEN
    assert stand_in.run(work_uri, steps.ways.s3, overtaken) == 0
    # THEN
    receipt = steps.receipt(receipt_uri)
    assert (receipt["outcome"], receipt["replayed"], receipt["delta_version"]) == ("merged", True, 2)
    assert [commit["run_id"] for commit in steps.ways.commits(steps.target)] == ["run-1", "run-new", "run-new"]


def test_a_commit_lists_what_it_merged(steps: Any) -> None:
    # GIVEN, WHEN
    files = [steps.land(), steps.land(steps.ways.broken), steps.land()]
    steps.run(steps.batch(1, *files))
    # THEN
    [commit] = stand_in.commits(steps.ways.s3, steps.target)
    assert [(file["bucket"], file["key"], file["version_id"]) for file in commit["files"]] == [
        ("landing", "0001.csv", "v1"),
        ("landing", "0003.csv", "v3"),
    ]
    assert commit["files"][0]["sequencer"] == "1".rjust(40, "0")
    facts = (commit["version"], commit["batch"], commit["run_id"], commit["pass"], commit["fence"], commit["void"])
    assert facts == (1, 1, "run-1", 1, 7, False)


@pytest.mark.parametrize("then", ["overwritten", "deleted"])
def test_a_file_read_in_place_that_is_another_now_is_left_to_the_next_attempt(steps: Any, then: str) -> None:
    # GIVEN a file read where it landed
    file = steps.land()
    content = steps.ways.read(file["location"])
    steps.ways.write("s3://landing/0001.csv", content)
    batch = {**steps.batch(1, file), "locations": {}}
    if then == "overwritten":
        steps.ways.write("s3://landing/0001.csv", b"another")
    else:
        steps.ways.delete("s3://landing/0001.csv")
    # WHEN
    code, [receipt] = steps.run(batch)
    # THEN
    assert (code, receipt["error"]["type"], receipt["error"]["cause"]) == (1, "SourceChanged", "source_changed")
    # AND as it landed, it merges
    steps.ways.write("s3://landing/0001.csv", content)
    assert steps.run(batch)[0] == 0


def order(*args: str) -> StepOrder:
    return StepOrder("j-1", "s-1", "a step", "command-runner.jar", args, (), None)


def test_the_local_emr_runs_it_in_place_of_spark_submit(
    steps: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # GIVEN the setting
    here = settings.read({"TIDEGATE_HOME": str(tmp_path), "TIDEGATE_LOCAL_STEPS": "stand-in"})
    work_uri, [receipt_uri] = steps.plan(steps.batch(1))
    step = order(
        "spark-submit", "--deploy-mode", "client", "--py-files", "s3://a/b.zip", "s3://a/m.py", "--work", work_uri
    )
    # WHEN
    command = command_of(step, here.steps)
    environment = prepare(step, here, tmp_path / "step")
    # THEN it is a process of its own that needs neither Java nor jars
    assert command[:3] == [sys.executable, "-m", "tidegate_local.stand_in"]
    assert environment["AWS_ENDPOINT_URL"] == here.endpoint_url
    assert not [name for name in environment if "SPARK" in name or "JAVA" in name]
    # AND does as it is told
    monkeypatch.setattr(boto3, "client", lambda name: steps.ways.s3)
    assert stand_in.main(command[3:]) == 0
    assert steps.receipt(receipt_uri)["outcome"] == "merged"


def test_without_the_setting_spark_runs(tmp_path: Path) -> None:
    here = settings.read({"TIDEGATE_HOME": str(tmp_path)})
    assert command_of(order("spark-submit", "m.py"), here.steps)[0].endswith("spark-submit")
    with pytest.raises(settings.InvalidSetting, match="spark, stand-in"):
        settings.read({"TIDEGATE_LOCAL_STEPS": "magic"})


def test_it_speaks_in_lines_of_json(steps: Any, capsys: pytest.CaptureFixture[str]) -> None:
    # GIVEN, WHEN
    steps.run(steps.batch(1, steps.land(steps.ways.bad)))
    # THEN
    [line] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (line["table"], line["batch"], line["cause"]) == ("sales", 1, "data")
