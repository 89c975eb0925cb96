"""reap_clusters on golden events."""

from collections.abc import Callable
from typing import Any

import boto3
import pytest
import reap_clusters
from fakes.emr import start_cluster

Call = Callable[..., Any]


def start(name: str, stack: str = "tidegate") -> str:
    made: str = start_cluster(name, [{"Key": "tidegate:stack", "Value": stack}])
    return made


@pytest.mark.parametrize("name", ["scheduled", "execution_aborted", "cluster_terminated"])
def test_each_trigger_looks_at_everything(run: Call, account: Any, golden: Call, name: str) -> None:
    answer = run(reap_clusters, golden(f"reap_clusters.{name}"))
    assert (answer["fenced"], answer["ended"], answer["finished"], answer["freed"]) == ([], [], [], [])


def test_a_dead_run_is_fenced_and_finished(run: Call, account: Any, golden: Call) -> None:
    # GIVEN a run in the ledger whose execution Step Functions does not know any more
    account.ledger.put_item(
        Item={
            "pk": "run", "sk": "r", "kind": "run", "state": "running", "pass": 0, "attempt": 0,
            "execution_arn": "arn:aws:states:us-east-1:123456789012:execution:tidegate-run:gone",
            "started_at": "2026-11-23T14:35:00.000Z", "pending_pk": "running", "pending_sk": "r", "tables": ["flights"],
        }
    )  # fmt: skip
    answer = run(reap_clusters, golden("reap_clusters.execution_aborted"))
    # THEN it is fenced, and closed as one that may be started again: it had merged nothing yet
    assert (answer["fenced"], answer["finished"]) == (["r"], [{"run_id": "r", "outcome": "failed"}])
    again = run(reap_clusters, golden("reap_clusters.scheduled"))
    assert (again["fenced"], again["finished"]) == ([], [])


def test_clusters_of_others_are_left_alone(run: Call, account: Any, golden: Call) -> None:
    others = [start("tidegate-r-0-1", stack="tidegate-dev"), start("somebody's notebook")]
    answer = run(reap_clusters, golden("reap_clusters.scheduled"))
    assert answer["oldest_age_s"] == 0
    states = [boto3.client("emr").describe_cluster(ClusterId=each)["Cluster"]["Status"]["State"] for each in others]
    assert not [state for state in states if state.startswith("TERMINAT")]


def test_an_event_of_a_foreign_cluster_costs_nothing(run: Call, account: Any, golden: Call) -> None:
    assert "ignored" in run(reap_clusters, golden("reap_clusters.foreign_cluster"))
