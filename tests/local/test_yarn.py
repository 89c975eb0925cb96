"""A cluster of `--yarn`: real daemons as its instances, which managed scaling, Spot and the cluster's end move."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from clouds import own_settings
from tidegate_local import launcher, processes
from tidegate_local.emr import instances, metrics
from tidegate_local.emr.engine import Engine
from tidegate_local.emr.handlers import Handlers
from tidegate_local.emr.roles import Iam
from tidegate_local.settings import Settings
from tidegate_local.yarn import packages, site

JOB = """
import sys, time
from pyspark.sql import SparkSession

spark = SparkSession.builder.appName("counts").getOrCreate()

def slowly(number):
    time.sleep(0.5)
    return number

total = spark.sparkContext.parallelize(range(160), 160).map(slowly).sum()
print("TOTAL", total)
"""
POLICY = {"UnitType": "InstanceFleetUnits", "MinimumCapacityUnits": 1, "MaximumOnDemandCapacityUnits": 1}
TYPES = [{"InstanceType": "m7g.xlarge", "WeightedCapacity": 1}]


class Emr:
    """The operations of a local EMR with YARN, without a server around it."""

    def __init__(self, here: Settings) -> None:
        self.here = here
        self.engine = Engine(here, publish=lambda entry: None)
        self.engine.start()
        self.table = Handlers(
            self.engine,
            lambda name: name,
            lambda: Iam(
                ["p"], {"r": {"AttachedPolicies": ["arn:aws:iam::aws:policy/service-role/AmazonElasticMapReduceRole"]}}
            ),
        ).table()

    def call(self, operation: str, **request: Any) -> dict[str, Any]:
        return self.table[operation](request)

    def start(self, script: Path) -> str:
        return str(
            self.call(
                "RunJobFlow",
                Name="yarn",
                ReleaseLabel="emr-7.14.0",
                ServiceRole="r",
                JobFlowRole="p",
                Instances={
                    "KeepJobFlowAliveWhenNoSteps": True,
                    "InstanceFleets": [
                        {"InstanceFleetType": kind, "TargetOnDemandCapacity": 1, "InstanceTypeConfigs": TYPES}
                        for kind in ("MASTER", "CORE")
                    ],
                },
                Steps=[
                    {
                        "Name": "count",
                        "ActionOnFailure": "CONTINUE",
                        "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["spark-submit", str(script)]},
                    }
                ],
                ManagedScalingPolicy={"ComputeLimits": {**POLICY, "MaximumCapacityUnits": 1}},
            )["JobFlowId"]
        )

    def nodes(self, cluster_id: str, state: str = "RUNNING") -> list[dict[str, Any]]:
        """Instances but the primary."""
        found = self.call("ListInstances", ClusterId=cluster_id, InstanceStates=[state])["Instances"]
        fleets = self.call("ListInstanceFleets", ClusterId=cluster_id)["InstanceFleets"]
        primary = next(each["Id"] for each in fleets if each["InstanceFleetType"] == "MASTER")
        return [each for each in found if each["InstanceFleetId"] != primary]

    def state(self, cluster_id: str) -> str:
        return str(self.call("DescribeCluster", ClusterId=cluster_id)["Cluster"]["Status"]["State"])

    def step(self, cluster_id: str) -> str:
        return str(self.call("ListSteps", ClusterId=cluster_id)["Steps"][0]["Status"]["State"])


@pytest.fixture(scope="module")
def emr(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emr]:
    here = replace(own_settings(tmp_path_factory.mktemp("yarn")), master="yarn", spark_cores=2)
    packages.fetch(here)
    made = Emr(here)
    yield made
    made.engine.stop()
    launcher.down(here=here)
    assert daemons_of(here) == []


def daemons_of(here: Settings) -> list[int]:
    return [
        each.pid
        for each in psutil.process_iter(["cmdline"])
        if str(here.run_dir) in " ".join(each.info["cmdline"] or [])
    ]


def until(holds: Callable[[], Any], limit_s: float = 180) -> Any:
    for _ in range(int(limit_s * 5)):
        found = holds()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError("it did not come to hold")


def test_limits_move_nodes_and_a_lost_one_is_replaced_under_a_running_step(
    emr: Emr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, float]] = []
    monkeypatch.setattr(metrics, "publish", lambda cluster_id, values: told.append(dict(values)))
    monkeypatch.setattr("tidegate_local.emr.keeper.TELL_S", 2.0)
    monkeypatch.setattr("tidegate_local.emr.managed_scaling.SCALE_IN_AFTER_S", 5.0)
    script = tmp_path / "job.py"
    script.write_text(JOB, encoding="utf-8")
    # GIVEN a cluster that may have one node, and a step that asks for two executors
    cluster_id = emr.start(script)
    until(lambda: emr.state(cluster_id) == "RUNNING")
    assert len(emr.nodes(cluster_id)) == 1
    until(lambda: any(each["ContainerPendingRatio"] >= 0.5 for each in told))
    assert len(emr.nodes(cluster_id)) == 1
    # WHEN the limit is raised THEN a Spot node comes, and works
    emr.call(
        "PutManagedScalingPolicy",
        ClusterId=cluster_id,
        ManagedScalingPolicy={"ComputeLimits": {**POLICY, "MaximumCapacityUnits": 2}},
    )
    until(lambda: len(emr.nodes(cluster_id)) == 2)
    (spot,) = (each for each in emr.nodes(cluster_id) if each["Market"] == "SPOT")
    until(lambda: told[-1]["ContainerAllocated"] == 3 and told[-1]["ContainerPending"] == 0)
    # WHEN EC2 takes it back THEN it is gone with all that ran on it, and another one comes
    emr.here.faults_file.write_text('[{"fault": "lost_spot"}]', encoding="utf-8")
    (gone,) = until(lambda: emr.nodes(cluster_id, "TERMINATED"))
    assert gone["Id"] == spot["Id"]
    until(lambda: len(emr.nodes(cluster_id)) == 2)
    # WHEN a daemon ends by itself THEN its instance has failed
    (spot,) = (each for each in emr.nodes(cluster_id) if each["Market"] == "SPOT")
    processes.kill_marked(site.NODE, str(site.cluster_dir(emr.here, cluster_id) / spot["Id"]))
    until(lambda: len(emr.nodes(cluster_id, "TERMINATED")) == 2)
    reasons = {each["Id"]: each["Status"]["StateChangeReason"] for each in emr.nodes(cluster_id, "TERMINATED")}
    assert reasons[spot["Id"]] == instances.FAILED.as_json()
    # THEN the step ends well all the same
    until(lambda: emr.step(cluster_id) not in ("PENDING", "RUNNING"), 300)
    assert emr.step(cluster_id) == "COMPLETED"
    out = next((emr.here.logs_dir / cluster_id).rglob("stdout")).read_text(encoding="utf-8")
    assert "TOTAL 12720" in out
    # WHEN nothing needs them THEN all but the least are scaled in, one by one, with their work done
    until(lambda: len(emr.nodes(cluster_id)) == 1)
    # WHEN the cluster ends THEN no process of it is left
    emr.call("TerminateJobFlows", JobFlowIds=[cluster_id])
    until(lambda: emr.state(cluster_id) == "TERMINATED")
    assert daemons_of(emr.here) == []
