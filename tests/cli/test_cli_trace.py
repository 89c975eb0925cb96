"""`tidegate trace export`: what has landed, once each, as the lab reads it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from tidegate_cli.connection import Connection
from tidegate_cli.exit_codes import ExitCode
from tidegate_cli.main import run
from tidegate_cli.verbs import trace
from tidegate_lab.traces import read_trace

from tests.cli.conftest import arrival, put
from tests.cli.test_cli_ledger import BATCH, TABLE

NOW = datetime.now(UTC).replace(microsecond=0)


def file(key: str, hours_ago: float, size_bytes: int) -> dict[str, Any]:
    at = (NOW - timedelta(hours=hours_ago)).isoformat().replace("+00:00", "Z")
    return {"bucket": "landing", "key": key, "sequencer": "0" * 39 + "1", "event_time": at, "size_bytes": size_bytes}


def batch(dynamodb: Any, number: int, *files: dict[str, Any]) -> None:
    boto3.client("s3", "us-east-1").put_object(
        Bucket="control", Key=f"manifests/{number}.json", Body=json.dumps({"files": files}).encode()
    )
    uri = f"s3://control/manifests/{number}.json"
    put(dynamodb, **BATCH | {"sk": f"batch#{number:012}", "batch": number, "manifest_uri": uri})


@pytest.fixture
def ours(aws: Any, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(trace, "find", lambda *_: connection)
    boto3.client("s3", "us-east-1").put_object(Bucket="lake", Key="flights/_delta_log/0.json", Body=b"")
    return aws


def test_what_landed_is_written_once_and_without_names(
    ours: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # GIVEN a batch that was opened up into another, one after the last that is merged, one that is pending, an old one
    put(ours, **TABLE | {"last_merged_batch": 2})
    batch(ours, 1, file("flights/a.csv", 5, 10), file("flights/old.csv", 900, 1))
    batch(ours, 2, file("flights/a.csv", 5, 10))
    batch(ours, 3, file("flights/b.csv", 2, 20))
    put(ours, **arrival("flights/c.csv", event_time=(NOW - timedelta(hours=1)).isoformat(), size_bytes=30))
    # WHEN the trace is exported
    path = tmp_path / "mine.jsonl"
    assert run(["trace", "export", str(path), "--days", "7"]) == ExitCode.OK, capsys.readouterr().err
    # THEN the lab reads three arrivals, and no file's name is in it
    assert "3 arrivals written" in capsys.readouterr().out
    assert [arrival_.size_bytes for arrival_ in read_trace(path).arrivals] == [10, 20, 30]
    assert ".csv" not in path.read_text()


def test_nothing_landed_is_said(ours: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["trace", "export", str(tmp_path / "mine.jsonl")]) == ExitCode.USAGE
    assert "Nothing has landed" in capsys.readouterr().err
