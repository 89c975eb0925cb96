"""`tidegate ledger rebuild`: what it reads, says, writes and refuses."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from arro3.core import Array, DataType, Table
from deltalake import CommitProperties, Transaction, write_deltalake
from fakes.contracts import contract
from tidegate.adapters.ledger import DynamoLedger
from tidegate.arrivals import Arrival, pad_sequencer
from tidegate.batches import manifest_of, sha256_of
from tidegate_cli.adapters.lake import Lake
from tidegate_cli.connection import Connection
from tidegate_cli.exit_codes import ExitCode
from tidegate_cli.main import run
from tidegate_cli.verbs import ledger as verb
from tidegate_cli.verbs import pause, status

from tests.cli.conftest import LEDGER

AT = datetime.now(UTC).replace(microsecond=0)


def arrival(number: int) -> Arrival:
    key = f"airlines/{number}.csv"
    return Arrival("landing", key, pad_sequencer(f"{number}"), "Object Created", AT, 5, "e", f"v{number}", "airlines")


@pytest.fixture(autouse=True)
def at(aws: Any, connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two batches in a table and a sealed third, a control bucket that knows them, and a ledger that is empty."""
    s3 = boto3.client("s3", "us-east-1")
    for number in (1, 2, 3):
        files = [arrival(number), arrival(number + 10)]
        manifest = manifest_of(contract("airlines"), number, number - 1 or None, files, "lake")
        s3.put_object(Bucket="control", Key=f"batches/airlines/{number:012d}/manifest.json", Body=manifest)
        if number == 3:
            break
        told = {"batch": number, "manifest_sha256": sha256_of(manifest), "fence": 6, "rejected_indexes": [number - 1]}
        write_deltalake(
            str(tmp_path / "airlines"),
            Table.from_pydict({"id": Array([str(number)], DataType.utf8())}),
            mode="append",
            commit_properties=CommitProperties(
                custom_metadata={"userMetadata": json.dumps({"tidegate": told})},
                app_transactions=[Transaction("tidegate:airlines:1", number)],
            ),
        )
    for module in (verb, pause, status):
        monkeypatch.setattr(module, "find", lambda *_: connection)
    monkeypatch.setattr(status, "deployed_promises", lambda _: {"airlines": {"kind": "asap"}})
    monkeypatch.setattr(Lake, "of", classmethod(lambda cls, _: cls(str(tmp_path))))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


class Running:
    """Executions and clusters that live."""

    def __init__(self, connection: Connection) -> None:
        """Of the stack."""

    names: tuple[str, ...] = ()

    def running(self) -> list[str]:
        return list(self.names)

    def alive(self, stack: str) -> list[str]:
        assert stack == "tidegate"
        return list(self.names)


def lives(monkeypatch: pytest.MonkeyPatch, where: str, *names: str) -> None:
    monkeypatch.setattr(f"tidegate_cli.adapters.{where}", type("Lives", (Running,), {"names": names}))


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack that is paused, and of which nothing lives."""
    lives(monkeypatch, "stepfunctions.StateMachine")
    lives(monkeypatch, "emr.Clusters")
    run(["pause", "--all", "--reason", "rebuilding"])


def test_it_first_says_what_it_would_write(aws: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ledger", "rebuild"]) == ExitCode.OK
    shown = capsys.readouterr().out
    line = next(each for each in shown.splitlines() if each.startswith("airlines")).split(maxsplit=7)
    assert line == ["airlines", "2", "1", "3", "4", "3", "6", "4 claimed, 2 quarantined"]
    assert "Nothing was written" in shown
    assert aws.scan(TableName=LEDGER)["Items"] == []


@pytest.mark.usefixtures("quiet")
def test_with_yes_the_functions_find_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ledger", "rebuild", "--yes"]) == ExitCode.OK
    assert "Reconcile it with the landing bucket now" in capsys.readouterr().out
    found = DynamoLedger(LEDGER)
    table = found.table("airlines")
    assert (table.last_merged_batch, table.unsettled_batch, table.next_batch) == (2, 3, 4)
    assert [(each.number, each.state) for each in found.batches("airlines")] == [
        (3, "sealed"), (2, "merged"), (1, "merged"),
    ]  # fmt: skip
    assert sorted(each.key for each in found.kept("quarantined")) == ["airlines/1.csv", "airlines/2.csv"]
    head = found.head("landing", "airlines/11.csv")
    assert head is not None
    assert head.version_id == "v11"
    assert found.take_lease("airlines", "r", None).fence == 7
    assert found.paused_stack() == "rebuilding"
    # AND once more there is nothing to write
    capsys.readouterr()
    run(["ledger", "rebuild", "--json"])
    shown = json.loads(capsys.readouterr().out)
    assert shown["written"] is False
    assert (shown["tables"][0]["table"], shown["tables"][0]["arrivals"], shown["tables"][0]["notes"]) == (
        "airlines", {}, [],
    )  # fmt: skip


def test_while_dispatch_may_start_a_run_nothing_is_written(aws: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ledger", "rebuild", "--yes"]) == ExitCode.FAILED
    assert "The stack is not paused" in capsys.readouterr().err
    assert aws.scan(TableName=LEDGER)["Items"] == []


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("where", "said"),
    [("stepfunctions.StateMachine", "A run is under way: x."), ("emr.Clusters", "Cluster x still lives")],
)
def test_while_something_may_write_nothing_is_written(
    where: str, said: str, aws: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = aws.scan(TableName=LEDGER)["Items"]
    lives(monkeypatch, where, "x")
    assert run(["ledger", "rebuild", "--yes"]) == ExitCode.FAILED
    assert said in capsys.readouterr().err
    assert aws.scan(TableName=LEDGER)["Items"] == before


def test_executions_and_clusters_that_live_are_found_by_the_stack(
    aws: Any, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tidegate_cli.adapters.emr import Clusters
    from tidegate_cli.adapters.stepfunctions import StateMachine

    states = boto3.client("stepfunctions", "us-east-1")
    machine = states.create_state_machine(
        name="tidegate-run", roleArn="arn:aws:iam::123456789012:role/x", definition='{"StartAt": "A", "States": {}}'
    )["stateMachineArn"]
    assert machine == connection.state_machine_arn
    assert StateMachine(connection).running() == []
    started = states.start_execution(stateMachineArn=machine, name="r-1")["executionArn"]
    assert StateMachine(connection).running() == [started]
    emr = boto3.client("emr", "us-east-1")
    instances = {
        "MasterInstanceType": "m6g.xlarge", "SlaveInstanceType": "m6g.xlarge", "InstanceCount": 2,
        "KeepJobFlowAliveWhenNoSteps": True,
    }  # fmt: skip
    roles = {"JobFlowRole": "x", "ServiceRole": "x"}
    ours, _ = (
        emr.run_job_flow(Name=name, ReleaseLabel="emr-7.14.0", Instances=instances, **roles)["JobFlowId"]
        for name in ("tidegate-run-1-0-0", "another")
    )
    assert Clusters(connection).alive("tidegate") == [ours]
    emr.terminate_job_flows(JobFlowIds=[ours])
    assert Clusters(connection).alive("tidegate") == []
