"""Reading the ledger: items as the functions write them become facts."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from tidegate_cli import ledger
from tidegate_cli.adapters.dynamodb import Ledger
from tidegate_cli.connection import Connection
from tidegate_cli.exit_codes import ExitCode
from tidegate_cli.main import run
from tidegate_cli.verbs import status as verb

from tests.cli.conftest import LEDGER, arrival, put

BATCH = {
    "pk": "table#flights",
    "sk": "batch#000000000007",
    "table": "flights",
    "batch": 7,
    "predecessor": 6,
    "manifest_uri": "s3://control/batches/flights/000000000007/manifest.json",
    "files": 3,
    "bytes": 4000,
    "oldest_event_time": "2026-03-01T11:00:00+00:00",
    "newest_event_time": "2026-03-01T11:30:00+00:00",
    "state": "merged",
    "run_id": "run-1",
    "receipt_uri": "s3://control/receipts/flights/000000000007/run-1-0.json",
    "delta_version": 9,
    "rows": {"read": 10, "inserted": 4},
    "settled_at": "2026-03-01T11:45:00+00:00",
}
RUN = {
    "pk": "run",
    "sk": "run-1",
    "state": "succeeded",
    "pass": 0,
    "execution_arn": "arn:aws:states:us-east-1:123456789012:execution:tidegate-run:run-1-1",
    "tables": ["flights"],
    "batches": [["flights", 7]],
    "cluster_name": "tidegate-run-1-0-0",
    "started_at": "2026-03-01T11:40:00+00:00",
    "ended_at": "2026-03-01T11:46:00+00:00",
}
TABLE = {
    "pk": "table#flights",
    "sk": "table",
    "next_batch": 8,
    "last_merged_batch": 7,
    "delta_version": 9,
    "row_count": 336776,
    "merged_at": "2026-03-01T11:45:00+00:00",
}


def test_pending_arrivals_come_from_every_shard(aws: Any, connection: Connection) -> None:
    # GIVEN pending arrivals in all shards, and some that are not pending
    keys = [f"flights/{'x' * number}.csv" for number in range(8)]
    for key in keys:
        put(aws, **arrival(key))
    put(aws, **arrival("flights/merged.csv", state="claimed", batch=7))
    # WHEN the pending ones are read THEN those are all
    assert sorted(found.key for found in Ledger(connection).pending()) == sorted(keys)


def test_set_aside_arrivals_are_counted_by_their_reason(aws: Any, connection: Connection) -> None:
    put(aws, **arrival("flights/a.csv", state="quarantined", reason="column 'x' missing"))
    put(aws, **arrival("hotels/b.csv", state="ignored", reason="no contract"))
    put(aws, **arrival("hotels/c.csv", state="ignored", reason="no contract"))
    put(aws, **arrival("flights/d.csv"))
    found, is_all = Ledger(connection).set_aside()
    assert is_all
    assert sorted(each.key for each in found) == ["flights/a.csv", "hotels/b.csv", "hotels/c.csv"]


def test_a_batch_a_run_and_a_table_as_they_are_written(aws: Any, connection: Connection) -> None:
    for item in (BATCH, RUN, TABLE):
        put(aws, **item)
    found = Ledger(connection)
    batch = found.batch("flights", 7)
    assert batch is not None
    assert (batch.state, batch.files, batch.rows, batch.rejected_files) == (
        "merged",
        3,
        {"read": 10, "inserted": 4},
        0,
    )
    one = found.run("run-1")
    assert one is not None
    assert (one.batches, one.seconds, one.tables) == ((("flights", 7),), 360.0, ("flights",))
    table = found.table("flights")
    assert table is not None
    assert (table.delta_version, table.row_count, table.run_id) == (9, 336776, None)
    assert found.table("nosuch") is None
    assert found.run("nosuch") is None


def test_runs_are_newest_first(aws: Any, connection: Connection) -> None:
    for minute in ("00", "02", "01"):
        put(aws, **{**RUN, "sk": f"run-20260301T12{minute}Z"})
    assert [one.run_id[-3:] for one in Ledger(connection).runs(2)] == ["02Z", "01Z"]


def test_a_run_of_which_little_is_known_yet_is_no_problem() -> None:
    run_ = ledger.parse_run({"pk": "run", "sk": "r", "state": "running"})
    assert run_.seconds is None
    assert run_.batches == ()


class TestStatusCommand:
    @pytest.fixture(autouse=True)
    def at(self, aws: Any, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(verb, "find", lambda *_: connection)
        now = datetime.now(UTC)
        put(aws, **TABLE)
        put(aws, **RUN)
        put(aws, **arrival("flights/late.csv", event_time=(now - timedelta(minutes=20)).isoformat()))
        put(aws, **arrival("hotels/b.csv", state="ignored", reason="no contract", table=None))
        s3 = boto3.client("s3", "us-east-1")
        contracts = {"tables": [{"table": "flights", "freshness": {"kind": "within", "seconds": 900}}]}
        s3.put_object(Bucket="control", Key="artifacts/abc/contracts.json", Body=json.dumps(contracts))
        s3.put_object(Bucket="lake", Key="weather/_delta_log/0.json", Body=b"{}")
        boto3.client("iam", "us-east-1")
        boto3.client("stepfunctions", "us-east-1").create_state_machine(
            name="tidegate-run",
            roleArn="arn:aws:iam::123456789012:role/x",
            definition=json.dumps({"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}}).replace(
                '"Pass"', '"Pass", "Comment": "s3://control/artifacts/abc/main.py"'
            ),
        )

    def test_it_shows_tables_promises_pending_set_aside_and_runs(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["status"]) == ExitCode.OK
        shown = capsys.readouterr().out
        flights = next(line for line in shown.splitlines() if line.startswith("flights"))
        assert "336,776" in flights
        assert "within 15 min" in flights
        assert "late by 5 min" in flights
        assert "weather" in shown
        assert "1 file pending, 1.0 KB" in shown
        assert "1 file ignored: no contract (such as hotels/b.csv)" in shown
        assert "run-1" in shown

    def test_of_a_running_run_it_shows_what_was_last_decided_about_its_cluster(
        self, aws: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        put(aws, **RUN | {"state": "running", "ended_at": None})
        look = {"pk": "run#run-1", "cluster_id": "j-1", "action": "hold", "maximum_units": 1, "units_running": 1}
        put(aws, **look | {"sk": "look#1", "at": "2026-03-01T11:41:00+00:00", "reason": "nothing to change"})
        late = {"sk": "look#2", "at": "2026-03-01T11:42:00+00:00", "action": "raise", "reason": "it is late"}
        put(aws, **look | late | {"maximum_units": 5})
        assert run(["status"]) == ExitCode.OK
        assert "up to 5 units: it is late" in " ".join(capsys.readouterr().out.split())
        assert run(["status", "--json"]) == ExitCode.OK
        shown = json.loads(capsys.readouterr().out)["looks"]["run-1"]
        assert (shown["action"], shown["maximum_units"], shown["units_running"]) == ("raise", 5, 1.0)

    def test_as_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["status", "--json", "--runs", "0"]) == ExitCode.OK
        shown = json.loads(capsys.readouterr().out)
        assert [table["table"] for table in shown["tables"]] == ["flights", "weather"]
        assert shown["tables"][0]["standing"] == "late"
        assert shown["runs"] == []

    def test_a_ledger_that_is_gone_is_said(self, aws: Any, capsys: pytest.CaptureFixture[str]) -> None:
        aws.delete_table(TableName=LEDGER)
        assert run(["status"]) == ExitCode.FAILED
        assert "AWS answered Query with ResourceNotFoundException" in capsys.readouterr().err
