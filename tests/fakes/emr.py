"""A cluster in moto's EMR, as far as the functions look at one."""

from collections.abc import Sequence

import boto3


def start_cluster(name: str, tags: Sequence[dict[str, str]]) -> str:
    """Its id; it is WAITING."""
    cluster_id: str = boto3.client("emr").run_job_flow(
        Name=name,
        ReleaseLabel="emr-7.14.0",
        Instances={"KeepJobFlowAliveWhenNoSteps": True, "InstanceCount": 1, "MasterInstanceType": "m7g.xlarge"},
        JobFlowRole="r",
        ServiceRole="r",
        Tags=list(tags),
    )["JobFlowId"]
    return cluster_id
