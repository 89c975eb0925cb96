"""Which Tidegate a command talks to, and what is said if there is none."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tidegate_cli import connection as connections
from tidegate_cli.exit_codes import ExitCode
from tidegate_cli.main import run
from tidegate_cli.output import CliError

LOCAL = {
    "endpoint_url": "http://127.0.0.1:4566",
    "region": "us-east-1",
    "landing_bucket": "landing",
    "lake_bucket": "lake",
    "control_bucket": "control",
    "ledger_table": "ledger",
    "state_machine_arn": "arn:aws:states:us-east-1:000000000000:stateMachine:tidegate-run",
    "dispatch_function": "dispatch",
    "stack_name": "tidegate",
    "something_new": 1,
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TIDEGATE_HOME", str(tmp_path))
    monkeypatch.delenv("TIDEGATE_STACK", raising=False)
    return tmp_path


def test_the_local_cloud_that_runs_is_found(home: Path) -> None:
    (home / "local.json").write_text(json.dumps({**LOCAL, "pid": os.getpid()}))
    found = connections.find(None, None, None)
    assert found.is_local
    assert found.lake_bucket == "lake"


@pytest.mark.parametrize(
    "words", [["status"], ["query", "select 1"], ["dispatch", "now"], ["reconcile"], ["timings"], ["timings", "run-1"]]
)
def test_without_one_each_verb_says_how_to_start_it(
    words: list[str], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == ExitCode.NOT_REACHABLE
    assert "tidegate local up --detach" in capsys.readouterr().err


def test_one_that_died_is_told_from_one_that_never_was(home: Path) -> None:
    # GIVEN the file of a local cloud whose process is gone
    (home / "local.json").write_text(json.dumps({**LOCAL, "pid": 2**22 + 1}))
    with pytest.raises(CliError, match="has stopped by itself") as caught:
        connections.find(None, None, None)
    assert caught.value.code == ExitCode.NOT_REACHABLE


def test_a_file_that_is_no_json_is_said(home: Path) -> None:
    (home / "local.json").write_text("{")
    with pytest.raises(CliError, match="cannot be read"):
        connections.find(None, None, None)


class FakeCloudFormation:
    """Knows one stack, `mine`, with some outputs."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.meta = SimpleNamespace(region_name="eu-central-1")

    def describe_stacks(self, StackName: str) -> Any:  # noqa: N803 - as boto3 names it
        if StackName != "mine":
            error = {"Code": "ValidationError", "Message": f"Stack with id {StackName} does not exist"}
            raise ClientError({"Error": error}, "DescribeStacks")
        return {"Stacks": [{"Outputs": [{"OutputKey": n, "OutputValue": f"value-{n}"} for n in self.names]}]}


def deploy(names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeCloudFormation(names)
    session = SimpleNamespace(client=lambda _: fake)
    monkeypatch.setattr("boto3.Session", lambda **_: session)


def test_a_stack_is_known_by_its_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    deploy(list(connections.OUTPUTS.values()), monkeypatch)
    found = connections.find("mine", "eu-central-1", None)
    assert (found.region, found.lake_bucket, found.is_local) == ("eu-central-1", "value-LakeBucket", False)


@pytest.mark.parametrize(
    ("names", "stack", "said"),
    [
        (["LakeBucket"], "mine", "has no output ControlBucket"),
        (["LakeBucket"], "other", "There is no stack other in eu-central-1"),
    ],
)
def test_a_stack_that_is_not_ours_is_said(
    names: list[str], stack: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(names, monkeypatch)
    with pytest.raises(CliError, match=said) as caught:
        connections.find(stack, "eu-central-1", None)
    assert caught.value.code == ExitCode.NOT_REACHABLE


def test_a_profile_that_is_not_there_is_said() -> None:
    with pytest.raises(CliError, match="profile"):
        connections.find("mine", "eu-central-1", "no-such-profile")
