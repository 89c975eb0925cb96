"""What a run costs, on golden events: planned with an estimate, settled with an account, and watched by the reaper."""

import json
from collections.abc import Callable
from typing import Any

import boto3
import dispatch_runs
import plan_run
import pytest
import reap_clusters
import record_arrivals
import settle_run
import tidegate.composition
from fakes.emr import start_cluster
from tidegate.prices import load_prices, render_prices

Call = Callable[..., Any]
KEY = "flights/2013-01/part-0001.csv"


@pytest.fixture
def planned(run: Call, account: Any, golden: Call) -> dict[str, Any]:
    """A run with a cluster, whose batch is merged; its plan."""
    put = account.s3.put_object(Bucket="tidegate-landing", Key=KEY, Body=b"id\n1\n")
    event = golden("record_arrivals.created")
    body = json.loads(event["Records"][0]["body"])
    body["detail"]["object"] |= {"version-id": put["VersionId"], "etag": put["ETag"].strip('"')}
    event["Records"][0]["body"] = json.dumps(body)
    run(record_arrivals, event)
    plan: dict[str, Any] = run(plan_run, golden("plan_run"))
    (group,) = plan["groups"]
    work = account.read(group["work_uri"])
    (batch,) = work["batches"]
    account.write(
        batch["receipt_uri"],
        {name: batch[name] for name in ("table", "batch", "manifest_sha256")}
        | {"schema": 1, "run_id": work["run_id"], "pass": 0, "outcome": "merged", "delta_version": 8, "table_rows": 1}
        | {"rows": {"read": 1}, "files": {"read": 1, "rejected": []}, "seconds": {"total": 1.25}, "error": None},
    )
    plan["cluster_id"] = start_cluster(plan["cluster"]["name"], plan["cluster"]["tags"])
    return plan


def costs(account: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = account.items("cost")
    return found


def counted(text: str, metric: str) -> list[float]:
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [value for line in lines if "_aws" in line for value in line.get(metric, [])]


def test_a_plan_says_what_the_run_will_cost_and_opens_its_account(account: Any, planned: dict[str, Any]) -> None:
    assert planned["cost"].startswith("2 On-Demand and 0 Spot units for")
    (cost,) = costs(account)
    assert (cost["run_id"], cost["pending_pk"], cost["reason"]) == ("run-20261123T1435Z", "cost", planned["cost"])


def test_a_settled_run_says_what_it_has_cost(run: Call, account: Any, golden: Call, planned: dict[str, Any]) -> None:
    boto3.client("emr").terminate_job_flows(JobFlowIds=[planned["cluster_id"]])
    run(settle_run, golden("settle_run.settle_group"))
    summary = run(settle_run, golden("settle_run.settle_run"))
    assert summary["outcome"] == "succeeded"
    assert summary["cost_usd"] > 0
    (cost,) = costs(account)
    assert cost["is_final"]
    assert set(cost["clusters"]) == {planned["cluster_id"]}
    assert "pending_pk" not in cost
    (shares,) = account.items("shares")
    assert [float(usd) for usd, _ in shares["tables"].values()] == [summary["cost_usd"]]


def test_the_reaper_accounts_for_what_nobody_has_and_watches_the_month(
    run: Call, account: Any, planned: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    # GIVEN a run that was stopped, and a budget that a cent exceeds
    monkeypatch.setenv("MONTHLY_BUDGET", "0.01")
    boto3.client("emr").terminate_job_flows(JobFlowIds=[planned["cluster_id"]])
    answer = run(reap_clusters, {"reap": "scheduled"})
    assert answer["accounted"] == ["run-20261123T1435Z"]
    (cost,) = costs(account)
    assert cost["is_final"]
    # THEN alarms hear of the month, and the answer says why
    said = capsys.readouterr().out
    assert (counted(said, "BudgetState"), counted(said, "CostsUnknown")) == ([0.0], [0.0])
    assert answer["budget"].startswith("within: $0.00 of $0.01")
    # WHEN more is expected than the budget is
    account.ledger.update_item(
        Key={"pk": cost["pk"], "sk": cost["sk"]},
        UpdateExpression="SET control_plane_usd = :usd",
        ExpressionAttributeValues={":usd": 3},
    )
    answer = run(reap_clusters, {"reap": "scheduled"})
    assert answer["accounted"] == []
    assert answer["budget"].startswith("over: $3.00 of $0.01")
    assert counted(capsys.readouterr().out, "BudgetState") == [2.0]


def test_without_a_budget_nobody_reads_the_month(
    run: Call, account: Any, golden: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONTHLY_BUDGET", "0")
    assert "budget" not in run(reap_clusters, golden("reap_clusters.scheduled"))


def test_a_region_without_a_sheet_is_told_and_stops_nothing(
    run: Call, golden: Call, planned: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    tidegate.composition.prices.cache_clear()
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    run(settle_run, golden("settle_run.settle_group"))
    summary = run(settle_run, golden("settle_run.settle_run"))
    assert (summary["outcome"], summary["cost_usd"]) == ("succeeded", None)
    assert (
        "there is no price sheet of eu-central-1: run `tidegate prices refresh --region eu-central-1`"
        in (summary["cost"])
    )


def test_a_sheet_of_the_deployment_goes_before_the_packages(
    run: Call, account: Any, layers: Any, planned: dict[str, Any]
) -> None:
    sheet = layers / "tidegate_contracts" / "prices" / "us-east-1.json"
    sheet.parent.mkdir()
    sheet.write_text(render_prices(load_prices("us-east-1")).replace('"as_of": "2026-11-26"', '"as_of": "2027-01-02"'))
    tidegate.composition.prices.cache_clear()
    assert tidegate.composition.prices().as_of.isoformat() == "2027-01-02"


def test_beyond_the_day_s_ceiling_tables_are_held_and_counted(
    run: Call, golden: Call, planned: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    # GIVEN a run of today that has failed, and left its table to be merged again
    monkeypatch.setenv("DAILY_BUDGET", "0.01")
    run(reap_clusters, golden("reap_clusters.scheduled"))
    capsys.readouterr()
    answer = run(dispatch_runs, golden("dispatch_runs.now"))
    assert answer["run_id"] is None
    assert "of the day's $0.01 are spent" in answer["decisions"]["flights"]
    assert counted(capsys.readouterr().out, "TablesHeld") == [1.0]
