"""settle_run and reap_clusters tell the world: the catalog has the tables, EventBridge hears of them."""

import json
from collections.abc import Callable
from typing import Any

import plan_run
import pytest
import reap_clusters
import record_arrivals
import settle_run

Call = Callable[..., Any]
KEY = "flights/2013-01/part-0001.csv"


@pytest.fixture
def merged(run: Call, account: Any, golden: Call) -> None:
    """A batch that the job has merged, and of which nobody knows yet."""
    put = account.s3.put_object(Bucket="tidegate-landing", Key=KEY, Body=b"id\n1\n")
    event = golden("record_arrivals.created")
    body = json.loads(event["Records"][0]["body"])
    body["detail"]["object"] |= {"version-id": put["VersionId"], "etag": put["ETag"].strip('"')}
    event["Records"][0]["body"] = json.dumps(body)
    run(record_arrivals, event)
    (group,) = run(plan_run, golden("plan_run"))["groups"]
    work = account.read(group["work_uri"])
    (batch,) = work["batches"]
    account.write(batch["receipt_uri"], {
        "schema": 1, "table": "flights", "batch": 1, "manifest_sha256": batch["manifest_sha256"],
        "run_id": work["run_id"], "pass": work["pass"], "started_at": "2026-11-23T14:40:00Z",
        "outcome": "merged", "delta_version": 8, "table_rows": 1, "rows": {"read": 1, "inserted": 1},
        "files": {"read": 1, "rejected": []}, "error": None, "seconds": {"total": 1.25},
        "columns": [{"name": "id", "type": "string"}, {"name": "at", "type": "timestamp_ntz"}],
    })  # fmt: skip


def counted(text: str, metric: str) -> list[float]:
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [value for line in lines if "_aws" in line for value in line.get(metric, [])]


@pytest.mark.usefixtures("merged")
def test_a_merged_table_is_registered_and_announced_once(run: Call, account: Any, golden: Call) -> None:
    for name in ("settle_run.settle_group", "settle_run.settle_group", "settle_run.settle_run"):
        run(settle_run, golden(name))
    # THEN the event is as the golden one, and came once
    (event,) = account.beside.heard()
    wanted = golden("table_updated")
    assert (event["detail"], event["source"], event["detail-type"]) == (
        wanted["detail"],
        wanted["source"],
        wanted["detail-type"],
    )
    # AND Athena and Spark find the table
    entry = account.beside.glue.get_table(DatabaseName="tidegate", Name="flights")["Table"]
    assert entry["StorageDescriptor"]["Location"] == "s3://tidegate-lake/flights"
    assert entry["StorageDescriptor"]["Columns"] == [
        {"Name": "id", "Type": "string"},
        {"Name": "at", "Type": "timestamp"},
    ]
    assert entry["Parameters"]["spark.sql.sources.provider"] == "delta"
    # AND the ledger owes nobody anything
    (table,) = account.items("table")
    assert ("unannounced" in table, "unregistered_batch" in table) == (False, False)


@pytest.mark.usefixtures("merged")
def test_a_catalog_that_refuses_fails_no_run_and_is_written_later(
    run: Call,
    account: Any,
    golden: Call,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    # GIVEN a database that somebody has deleted
    account.beside.glue.delete_database(Name="tidegate")
    capsys.readouterr()
    # WHEN the batch is settled
    assert run(settle_run, golden("settle_run.settle_group"))["merged"] == 1
    # THEN an operator hears of it, and those downstream of the table
    assert counted(capsys.readouterr().out, "TablesNotRegistered") == [1.0]
    assert "flights is merged, but not registered: glue:CreateTable of tidegate.flights" in caplog.text
    assert [each["detail"]["table"] for each in account.beside.heard()] == ["flights"]
    # AND the end of the run registers it, if it can by then
    account.beside.glue.create_database(DatabaseInput={"Name": "tidegate"})
    assert run(settle_run, golden("settle_run.settle_run"))["outcome"] == "succeeded"
    assert account.beside.glue.get_table(DatabaseName="tidegate", Name="flights")
    assert account.beside.heard() == []


@pytest.mark.usefixtures("merged")
def test_the_reaper_tells_what_no_run_could(run: Call, account: Any, golden: Call) -> None:
    # GIVEN a run that has ended while neither the catalog nor the bus could be reached
    account.beside.glue.delete_database(Name="tidegate")
    run(settle_run, golden("settle_run.settle_run"))
    account.ledger.update_item(
        Key={"pk": "table#flights", "sk": "table"},
        UpdateExpression="ADD unannounced :batch",
        ExpressionAttributeValues={":batch": {1}},
    )
    account.beside.heard()
    account.beside.glue.create_database(DatabaseInput={"Name": "tidegate"})
    # WHEN the reaper comes by
    assert run(reap_clusters, golden("reap_clusters.scheduled"))["told"] == ["flights"]
    # THEN the event is the same again, and the table registered
    assert [each["detail"] for each in account.beside.heard()] == [golden("table_updated")["detail"]]
    assert account.beside.glue.get_table(DatabaseName="tidegate", Name="flights")
    assert run(reap_clusters, golden("reap_clusters.scheduled"))["told"] == []


@pytest.mark.usefixtures("merged")
def test_a_bus_that_refuses_fails_no_run_and_is_counted(
    run: Call, account: Any, golden: Call, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # GIVEN a bus that takes the call and refuses the entry
    from ministack.services import eventbridge

    with monkeypatch.context() as refusing:
        refused = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "NotAuthorizedForDetailType", "ErrorMessage": "m"}]}
        refusing.setattr(eventbridge, "_put_events", lambda _request: eventbridge.json_response(refused))
        capsys.readouterr()
        assert run(settle_run, golden("settle_run.settle_group"))["merged"] == 1
    # THEN it is counted, and the batch waits for its news
    assert counted(capsys.readouterr().out, "TablesNotAnnounced") == [1.0]
    (table,) = account.items("table")
    assert table["unannounced"] == {1}
    # AND the end of the run tells of it
    run(settle_run, golden("settle_run.settle_run"))
    assert [each["detail"]["id"] for each in account.beside.heard()] == ["flights:1"]
