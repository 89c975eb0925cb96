"""The local EMR as boto3 sees it: a real server, real processes, one real Spark step."""

from __future__ import annotations

import gzip
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from botocore.exceptions import ClientError
from tidegate_local import jars, processes, settings

pytestmark = pytest.mark.local_cloud

_SERVER = """
import sys
import ministack.app as app
from tidegate_local import emr

if __name__ == "__main__":
    emr.install()
    sys.argv = ["ministack"]
    app.main()
"""
_DELTA = [
    {"Classification": "delta-defaults", "Properties": {"delta.enabled": "true"}},
    {
        "Classification": "spark-defaults",
        "Properties": {
            "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
            "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
            "spark.executor.memory": "18g",
            "spark.yarn.maxAppAttempts": "1",
        },
    },
]
_JOB = """
import sys
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
spark.range(10).write.format("delta").save(sys.argv[1])
print("rows:", spark.read.format("delta").load(sys.argv[1]).count())
"""


@dataclass
class Cloud:
    """A running ministack with the local EMR in it."""

    here: settings.Settings

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.here.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    @property
    def emr(self) -> Any:
        return self.client("emr")


@contextmanager
def serving(home: Path) -> Iterator[Cloud]:
    """A server with two buckets and EMR's roles; whatever it leaves is ended."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        "TIDEGATE_HOME": str(home),
        "TIDEGATE_CACHE_HOME": str(settings.read(dict(os.environ)).keep_dir),
        "TIDEGATE_LOCAL_PORT": str(port),
        "TIDEGATE_LOCAL_IDLE_FLOOR_S": "1",
    }
    here = settings.read(environment)
    script = home / "server.py"
    script.write_text(_SERVER)
    with (home / "server.log").open("wb") as log:
        server = processes.start(
            here.pids_dir,
            "server",
            [sys.executable, str(script)],
            cwd=home,
            environment={
                **os.environ,
                **environment,
                "GATEWAY_PORT": str(port),
                "BIND_HOST": "127.0.0.1",
                "IOT_MTLS_ENABLED": "0",
                "TMPDIR": str(home),
            },
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: listens(port), seconds=30)
        cloud = Cloud(here)
        prepare(cloud)
        yield cloud
    finally:
        processes.stop_all(here.pids_dir, grace_s=2)
        server.wait(timeout=10)


def prepare(cloud: Cloud) -> None:
    for bucket in ("control", "lake"):
        cloud.client("s3").create_bucket(Bucket=bucket)
    iam = cloud.client("iam")
    trust = {"Version": "2012-10-17", "Statement": []}
    iam.create_role(RoleName="service", AssumeRolePolicyDocument=json.dumps(trust))
    iam.attach_role_policy(
        RoleName="service", PolicyArn="arn:aws:iam::aws:policy/service-role/AmazonEMRServicePolicy_v2"
    )
    iam.create_instance_profile(InstanceProfileName="profile")


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with serving(tmp_path_factory.mktemp("emr")) as cloud:
        yield cloud


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(condition: Callable[[], Any], seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"did not happen within {seconds} seconds"
        time.sleep(0.05)
    return value


def fleets(*kinds: str) -> list[dict[str, Any]]:
    return [
        {
            "Name": kind.lower(),
            "InstanceFleetType": kind,
            "TargetOnDemandCapacity": 1,
            "InstanceTypeConfigs": [{"InstanceType": "m7g.xlarge"}],
        }
        for kind in kinds
    ]


def request(name: str = "tidegate-test", **changes: Any) -> dict[str, Any]:
    return {
        "Name": name,
        "ReleaseLabel": "emr-7.14.0",
        "ServiceRole": "service",
        "JobFlowRole": "profile",
        "LogUri": "s3://control/logs/emr/",
        "Instances": {"KeepJobFlowAliveWhenNoSteps": True, "InstanceFleets": fleets("MASTER", "CORE")},
        "StepConcurrencyLevel": 2,
        "Tags": [{"Key": "for-use-with-amazon-emr-managed-policies", "Value": "true"}],
        **changes,
    }


def step(*args: str, name: str = "a step", action: str = "CONTINUE") -> dict[str, Any]:
    return {
        "Name": name,
        "ActionOnFailure": action,
        "HadoopJarStep": {"Jar": "command-runner.jar", "Args": list(args)},
    }


def cluster_state(cloud: Cloud, cluster_id: str) -> str:
    return str(cloud.emr.describe_cluster(ClusterId=cluster_id)["Cluster"]["Status"]["State"])


def step_states(cloud: Cloud, cluster_id: str) -> dict[str, str]:
    steps = cloud.emr.list_steps(ClusterId=cluster_id)["Steps"]
    return {step["Name"]: step["Status"]["State"] for step in steps}


@pytest.fixture
def running(cloud: Cloud) -> Iterator[Callable[..., str]]:
    """Runs job flows and ends them after the test."""
    started: list[str] = []

    def run(**changes: Any) -> str:
        started.append(cloud.emr.run_job_flow(**request(**changes))["JobFlowId"])
        return started[-1]

    yield run
    cloud.emr.set_termination_protection(JobFlowIds=started, TerminationProtected=False)
    cloud.emr.terminate_job_flows(JobFlowIds=started)


def test_a_spark_step_writes_a_delta_table_and_leaves_its_logs(cloud: Cloud, running: Callable[..., str]) -> None:
    # GIVEN a job on the local S3
    jars.fetch(cloud.here.jars_dir, cloud.here.cache_dir)
    s3 = cloud.client("s3")
    s3.put_object(Bucket="control", Key="jobs/main.py", Body=_JOB.encode())
    cluster_id = running(Configurations=_DELTA)
    # WHEN it is a step, added while the cluster still starts
    submit = step("spark-submit", "--deploy-mode", "client", "s3://control/jobs/main.py", "s3://lake/numbers")
    step_id = cloud.emr.add_job_flow_steps(JobFlowId=cluster_id, Steps=[submit])["StepIds"][0]
    until(lambda: step_states(cloud, cluster_id)["a step"] not in ("PENDING", "RUNNING"), seconds=120)
    # THEN the table is there, and so is what the job said
    status = cloud.emr.describe_step(ClusterId=cluster_id, StepId=step_id)["Step"]["Status"]
    prefix = f"logs/emr/{cluster_id}/steps/{step_id}"

    def log(name: str) -> str:
        body = s3.get_object(Bucket="control", Key=f"{prefix}/{name}.gz")["Body"].read()
        return gzip.decompress(body).decode()

    until(lambda: s3.list_objects_v2(Bucket="control", Prefix=prefix)["KeyCount"] == 3)
    assert status["State"] == "COMPLETED", log("stderr")
    assert "rows: 10" in log("stdout")
    assert "spark-submit" in log("controller")
    assert s3.list_objects_v2(Bucket="lake", Prefix="numbers/_delta_log/")["KeyCount"] > 0
    # THEN nothing of the step's is left, and the event log is kept
    assert [each.role for each in processes.running(cloud.here.pids_dir)] == ["server"]
    assert len(list((cloud.here.logs_dir / "spark-events").iterdir())) == 1


def test_the_life_of_a_cluster_as_boto3_parses_it(cloud: Cloud, running: Callable[..., str]) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    cluster_id = running(
        ManagedScalingPolicy={
            "ComputeLimits": {
                "UnitType": "InstanceFleetUnits",
                "MinimumCapacityUnits": 1,
                "MaximumCapacityUnits": 4,
            }
        },
        AutoTerminationPolicy={"IdleTimeout": 600},
    )
    emr = cloud.emr
    assert cluster_state(cloud, cluster_id) == "STARTING"
    until(lambda: cluster_state(cloud, cluster_id) == "WAITING")
    described = emr.describe_cluster(ClusterId=cluster_id)["Cluster"]
    timeline = described["Status"]["Timeline"]
    assert before < timeline["CreationDateTime"] < timeline["ReadyDateTime"]
    assert described["InstanceCollectionType"] == "INSTANCE_FLEET"
    # THEN the fleets run, and a change takes effect
    listed = emr.list_instance_fleets(ClusterId=cluster_id)["InstanceFleets"]
    assert [fleet["Status"]["State"] for fleet in listed] == ["RUNNING", "RUNNING"]
    core = next(fleet["Id"] for fleet in listed if fleet["InstanceFleetType"] == "CORE")
    emr.modify_instance_fleet(
        ClusterId=cluster_id, InstanceFleet={"InstanceFleetId": core, "TargetOnDemandCapacity": 3}
    )
    until(lambda: len(emr.list_instances(ClusterId=cluster_id)["Instances"]) == 4)
    # THEN policies can be read, changed and removed
    limits = emr.get_managed_scaling_policy(ClusterId=cluster_id)["ManagedScalingPolicy"]["ComputeLimits"]
    assert limits["MaximumCapacityUnits"] == 4
    emr.remove_managed_scaling_policy(ClusterId=cluster_id)
    assert "ManagedScalingPolicy" not in emr.get_managed_scaling_policy(ClusterId=cluster_id)
    emr.put_auto_termination_policy(ClusterId=cluster_id, AutoTerminationPolicy={"IdleTimeout": 900})
    policy = emr.get_auto_termination_policy(ClusterId=cluster_id)["AutoTerminationPolicy"]
    assert policy == {"IdleTimeout": 900}
    # THEN it is listed by state and time, and found by no other
    listed = emr.list_clusters(CreatedAfter=before, ClusterStates=["WAITING"])["Clusters"]
    assert cluster_id in [each["Id"] for each in listed]
    assert emr.list_clusters(CreatedAfter=datetime.now(UTC) + timedelta(hours=1))["Clusters"] == []
    # THEN protection holds until it is lifted
    emr.set_termination_protection(JobFlowIds=[cluster_id], TerminationProtected=True)
    with pytest.raises(ClientError, match="termination protected"):
        emr.terminate_job_flows(JobFlowIds=[cluster_id])


def test_steps_run_side_by_side_and_ending_the_cluster_ends_their_processes(
    cloud: Cloud, running: Callable[..., str]
) -> None:
    # GIVEN three long steps where two may run at once
    cluster_id = running()
    names = ["first", "second", "third"]
    steps = [step("sleep", "300", name=name) for name in names]
    ids = cloud.emr.add_job_flow_steps(JobFlowId=cluster_id, Steps=steps)["StepIds"]
    until(lambda: list(step_states(cloud, cluster_id).values()).count("RUNNING") == 2)
    assert step_states(cloud, cluster_id) == {"first": "RUNNING", "second": "RUNNING", "third": "PENDING"}
    # WHEN one is cancelled THEN the next takes its place
    answer = cloud.emr.cancel_steps(ClusterId=cluster_id, StepIds=[ids[0]])["CancelStepsInfoList"]
    assert answer == [{"StepId": ids[0], "Status": "SUBMITTED"}]
    wanted = {"first": "CANCELLED", "second": "RUNNING", "third": "RUNNING"}
    until(lambda: step_states(cloud, cluster_id) == wanted)

    # WHEN the cluster is ended
    def sleepers() -> list[int]:
        return [each.pid for each in processes.running(cloud.here.pids_dir) if each.command == "sleep 300"]

    pids = until(lambda: found if len(found := sleepers()) == 2 else None)
    cloud.emr.terminate_job_flows(JobFlowIds=[cluster_id])
    until(lambda: cluster_state(cloud, cluster_id) == "TERMINATED")
    # THEN no process of it runs, and its steps say so
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert step_states(cloud, cluster_id) == {
        "first": "CANCELLED",
        "second": "INTERRUPTED",
        "third": "INTERRUPTED",
    }
    with pytest.raises(ClientError, match="may not be modified"):
        cloud.emr.add_job_flow_steps(JobFlowId=cluster_id, Steps=[step("true")])


def test_an_idle_cluster_ends_itself(cloud: Cloud, running: Callable[..., str]) -> None:
    cluster_id = running(AutoTerminationPolicy={"IdleTimeout": 60})
    until(lambda: cluster_state(cloud, cluster_id) == "TERMINATED")
    with pytest.raises(ClientError, match="cannot be modified"):
        cloud.emr.modify_cluster(ClusterId=cluster_id, StepConcurrencyLevel=3)


def test_what_cannot_be_run_fails_as_a_step_does(cloud: Cloud, running: Callable[..., str]) -> None:
    cluster_id = running()
    steps = [step("hive", name="no program"), step("bash", "-c", "exit 3", name="bad exit")]
    cloud.emr.add_job_flow_steps(JobFlowId=cluster_id, Steps=steps)
    until(lambda: set(step_states(cloud, cluster_id).values()) == {"FAILED"})


def test_planned_faults_strike(cloud: Cloud, running: Callable[..., str]) -> None:
    cloud.here.faults_file.write_text(
        json.dumps([
            {"fault": "no_capacity", "cluster": "no-room"},
            {"fault": "step_death", "step": "doomed", "after_s": 0.2},
        ])
    )  # fmt: skip
    try:
        starved, doomed = running(name="no-room"), running(name="room")
        for cluster_id in (starved, doomed):
            cloud.emr.add_job_flow_steps(JobFlowId=cluster_id, Steps=[step("sleep", "300", name="doomed")])
        until(lambda: cluster_state(cloud, starved) == "TERMINATED_WITH_ERRORS")
        assert step_states(cloud, starved) == {"doomed": "CANCELLED"}
        until(lambda: step_states(cloud, doomed) == {"doomed": "FAILED"})
        assert cluster_state(cloud, doomed) in ("RUNNING", "WAITING")
    finally:
        cloud.here.faults_file.unlink()


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"Tags": []}, "insufficient EC2 permissions"), ({"ServiceRole": "nobody"}, "nobody is invalid")],
)
def test_a_powerless_service_role_shows_while_the_cluster_starts(
    cloud: Cloud, running: Callable[..., str], changes: dict[str, Any], words: str
) -> None:
    cluster_id = running(**changes)
    until(lambda: cluster_state(cloud, cluster_id) == "TERMINATED_WITH_ERRORS")
    reason = cloud.emr.describe_cluster(ClusterId=cluster_id)["Cluster"]["Status"]["StateChangeReason"]
    assert reason["Code"] == "VALIDATION_ERROR"
    assert words in reason["Message"]


def test_events_reach_eventbridge(cloud: Cloud, running: Callable[..., str]) -> None:
    # GIVEN a queue that hears of steps and clusters
    sqs, bus = cloud.client("sqs"), cloud.client("events")
    url = sqs.create_queue(QueueName="emr-events")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = {"source": ["aws.emr"], "detail": {"state": ["WAITING", "COMPLETED", "TERMINATED"]}}
    bus.put_rule(Name="emr", EventPattern=json.dumps(pattern))
    bus.put_targets(Rule="emr", Targets=[{"Id": "queue", "Arn": arn}])
    # WHEN a step runs and the cluster ends
    cluster_id = running(name="events")
    cloud.emr.add_job_flow_steps(JobFlowId=cluster_id, Steps=[step("true")])
    until(lambda: step_states(cloud, cluster_id) == {"a step": "COMPLETED"})
    until(lambda: cluster_state(cloud, cluster_id) == "WAITING")
    cloud.emr.terminate_job_flows(JobFlowIds=[cluster_id])
    until(lambda: cluster_state(cloud, cluster_id) == "TERMINATED")
    # THEN it was told, in order
    heard: list[tuple[str, str]] = []

    def listen() -> bool:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            event = json.loads(message["Body"])
            if event["detail"]["clusterId"] == cluster_id:
                heard.append((event["detail-type"], event["detail"]["state"]))
        return len(heard) >= 3

    until(listen)
    assert heard == [
        ("EMR Step Status Change", "COMPLETED"),
        ("EMR Cluster State Change", "WAITING"),
        ("EMR Cluster State Change", "TERMINATED"),
    ]


SPOT_CORE = {
    "InstanceFleetType": "CORE",
    "TargetSpotCapacity": 2,
    "InstanceTypeConfigs": [{"InstanceType": "m7g.xlarge"}],
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"JobFlowRole": "service"}, "Invalid InstanceProfile"),
        ({"ReleaseLabel": "emr-latest"}, "release label is invalid"),
        ({"Instances": {"InstanceFleets": fleets("CORE")}}, "Exactly one MASTER"),
        ({"Instances": {"InstanceFleets": fleets("MASTER", "MASTER")}}, "Exactly one MASTER"),
        ({"Instances": {"InstanceFleets": [*fleets("MASTER"), SPOT_CORE]}}, "no Spot specification"),
        ({"StepConcurrencyLevel": 257}, "between 1 and 256"),
        ({"Steps": [step("true", action="TERMINATE_CLUSTER")]}, "TERMINATE_CLUSTER is not valid"),
        ({"AutoTerminationPolicy": {"IdleTimeout": 59}}, "from 60 to 604800"),
        (
            {
                "ManagedScalingPolicy": {
                    "ComputeLimits": {
                        "UnitType": "InstanceFleetUnits",
                        "MinimumCapacityUnits": 3,
                        "MaximumCapacityUnits": 2,
                    }
                }
            },
            "less than or equal",
        ),
        ({"Tags": [{"Key": "aws:mine", "Value": "x"}]}, "reserved"),
        ({"Steps": [step("x" * 10_300)]}, "exceeds 10,240"),
        ({"Steps": [step("true")] * 257}, "Maximum number of active steps"),
    ],
)
def test_what_emr_refuses_is_refused(cloud: Cloud, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ClientError, match=words) as refused:
        cloud.emr.run_job_flow(**request(**changes))
    assert refused.value.response["Error"]["Code"] == "ValidationException"


def test_ids_that_name_nothing(cloud: Cloud) -> None:
    with pytest.raises(ClientError, match="is not valid") as refused:
        cloud.emr.describe_cluster(ClusterId="j-NONE")
    assert refused.value.response["Error"]["Code"] == "InvalidRequestException"
    with pytest.raises(ClientError, match="does not exist"):
        cloud.emr.terminate_job_flows(JobFlowIds=["j-NONE"])


def test_what_a_killed_cloud_leaves_is_ended_by_the_next(tmp_path: Path) -> None:
    with serving(tmp_path) as cloud:
        # GIVEN a step with a child of its own
        cluster_id = cloud.emr.run_job_flow(**request())["JobFlowId"]
        script = step("bash", "-c", "sleep 301 & sleep 302")
        cloud.emr.add_job_flow_steps(JobFlowId=cluster_id, Steps=[script])
        until(lambda: step_states(cloud, cluster_id) == {"a step": "RUNNING"})
        until(lambda: len(sleeping(cloud)) == 2)
        # WHEN the cloud is killed, so that it can't clean up
        pids = {each.role.partition("-")[0]: each.pid for each in processes.running(cloud.here.pids_dir)}
        psutil.Process(pids["server"]).kill()
        assert len(sleeping(cloud)) == 2
        # THEN the next start ends what is left
        ended = processes.stop_all(cloud.here.pids_dir)
        assert pids["step"] in [each.pid for each in ended]
        assert sleeping(cloud) == []


def sleeping(cloud: Cloud) -> list[int]:
    """The sleeps that this cloud's steps started."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            mine = process.environ().get(processes.MARKER) == str(cloud.here.pids_dir.resolve())
            if mine and process.cmdline()[:1] == ["sleep"]:
                found.append(process.pid)
    return found
