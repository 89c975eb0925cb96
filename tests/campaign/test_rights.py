"""Every right that the stack needs is granted, and every right that is granted is needed, down to the resource.

All scenarios are played once, and each call is evaluated as IAM would: action, resource, conditions. What is granted
for a case that no scenario reaches is listed here with the case; an entry that a scenario reaches is a fault too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
from campaign.rights import Right, granted, read_right
from fakes import policies
from fakes.template import ACCOUNT, STACK

Unused = tuple[str, str, str, str]
"""Who, by which statement, which action, on which resource."""

ONLY_WHEN: dict[tuple[str, str], str] = {
    ("dispatch_runs IsTheOwnerOfALeaseAlive", "states:*"): "a table that is due is leased to a run that died",
    ("plan_run IsTheOwnerOfALeaseAlive", "states:*"): "two runs want one table, or one goes on from a dead one",
    ("plan_run AMissingKeyIsNotFoundRatherThanForbidden", "s3:*"): "an object is deleted before its batch is merged",
    ("plan_run Stage", "s3:AbortMultipartUpload"): "a copy in parts fails",
    ("record_arrivals RecordArrivals", "dynamodb:GetItem"): "an event is more than 45 days old",
    ("settle_run SettleBatchesAndRuns", "dynamodb:PutItem"): "a redriven execution is let back to Plan run",
    ("reap_clusters ReadManifestsAndReceipts", "s3:*"): "the dead run has merged something that was not settled",
    ("reap_clusters OpenBatchesUp", "s3:*"): "the dead run has voided a batch",
    ("settle_run RegisterTables", "glue:UpdateTable"): "a table has another schema than before",
    ("reap_clusters RegisterTables", "glue:UpdateTable"): "a dead run's table has another schema than before",
    ("machine Trace", "xray:*"): "Step Functions itself traces",
    ("machine DeliverLogs", "logs:*"): "Step Functions itself logs",
    ("step List", "s3:GetBucketLocation"): "EMR's own tools and S3A ask where a bucket is",
    ("step List", "s3:ListBucket"): "S3A looks for folders, and S3 calls a key that isn't there forbidden without it",
    ("step MergeTables", "s3:DeleteObject"): "Delta drops temporary files, and VACUUM what no version needs",
    ("step MergeTables", "s3:AbortMultipartUpload"): "a driver writes a large file in parts, and fails",
    ("step MergeTables", "s3:ListMultipartUploadParts"): "S3A goes on with an upload in parts",
    ("step ReadWork", "s3:GetObject artifacts"): "spark-submit and the bootstrap action fetch the job",
    ("step WriteReceiptsAndLogs", "s3:*"): "S3A asks whether a receipt is there; EMR copies its logs",
}
"""By who and statement, and action (with a `*`, or a word of the resource): the case for which it is granted."""


@pytest.fixture(scope="module")
def rights(watched: list[dict[str, Any]]) -> list[Right]:
    return sorted({read_right(each) for answer in watched for each in answer["rights"]}, key=str)


def test_every_call_is_granted(rights: Sequence[Right]) -> None:
    refused = [
        right
        for right in rights
        if not any(grant.allows(right.action, right.resource, dict(right.context)) for grant in granted()[right.caller])
    ]
    assert refused == []


def test_every_grant_is_used_or_says_when(rights: Sequence[Right], summary: list[str]) -> None:
    unused: set[Unused] = {
        (caller, grant.sid, action, resource)
        for caller, grants in granted().items()
        for grant in grants
        for action, resource in grant.pairs() - used(grant, caller, rights)
    }
    explained = {entry: {each for each in unused if is_case_of(entry, each)} for entry in ONLY_WHEN}
    assert unused - set().union(*explained.values()) == set(), "granted, and nothing uses it"
    assert [entry for entry, cases in explained.items() if not cases] == [], "a scenario uses it: take the entry out"
    pairs = sum(len(grant.pairs()) for grants in granted().values() for grant in grants)
    summary.append(
        f"rights: {len(rights)} questions to IAM in the scenarios, all granted; of {pairs} pairs of action and "
        f"resource that are granted, {pairs - len(unused)} are used and {len(unused)} are for cases that are listed"
    )


@pytest.mark.parametrize(
    ("caller", "action", "resource"),
    [
        # Whoever records can't write what runs are made of, nor touch a cluster.
        ("record_arrivals", "s3:PutObject", "arn:aws:s3:::tidegate-control/batches/a"),
        ("record_arrivals", "dynamodb:DeleteItem", f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/ledger"),
        ("dispatch_runs", "elasticmapreduce:TerminateJobFlows", f"arn:aws:elasticmapreduce:::cluster/{ACCOUNT}"),
        ("dispatch_runs", "dynamodb:PutItem", f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/ledger"),
        ("plan_run", "s3:PutObject", "arn:aws:s3:::tidegate-landing/a"),
        ("plan_run", "s3:PutObject", "arn:aws:s3:::tidegate-control/receipts/a"),
        ("settle_run", "s3:PutObject", "arn:aws:s3:::tidegate-control/receipts/a"),
        ("publish_artifacts", "s3:DeleteObject", "arn:aws:s3:::tidegate-control/artifacts/a"),
        # Whoever tells of tables speaks for Tidegate alone, and takes nothing out of the catalog.
        ("settle_run", "events:PutEvents", f"arn:aws:events:us-east-1:{ACCOUNT}:event-bus/default"),
        ("settle_run", "glue:DeleteTable", f"arn:aws:glue:us-east-1:{ACCOUNT}:table/tidegate/flights"),
        ("settle_run", "glue:UpdateTable", f"arn:aws:glue:us-east-1:{ACCOUNT}:table/others/flights"),
        ("step", "glue:UpdateTable", f"arn:aws:glue:us-east-1:{ACCOUNT}:table/tidegate/flights"),
        # The cluster reads what landed and what it is to do, and can change neither.
        ("step", "s3:PutObject", "arn:aws:s3:::tidegate-landing/a"),
        ("step", "s3:PutObject", "arn:aws:s3:::tidegate-control/batches/a"),
        ("step", "s3:PutObject", "arn:aws:s3:::tidegate-control/artifacts/main.py"),
        ("step", "s3:DeleteObject", "arn:aws:s3:::tidegate-control/receipts/a"),
        ("step", "dynamodb:PutItem", f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/ledger"),
    ],
)  # fmt: skip
def test_nobody_may_do_anothers_work(caller: str, action: str, resource: str) -> None:
    assert not any(grant.allows(action, resource, {}) for grant in granted()[caller])


@pytest.mark.parametrize("caller", ["machine", "reap_clusters", "plan_run", "settle_run"])
@pytest.mark.parametrize("tags", [{}, {"tidegate:stack": "tidegate-dev"}, {"tidegate:stack": "tidegate"}])
def test_clusters_are_ours_by_their_tag(caller: str, tags: dict[str, str]) -> None:
    # The stack's own tag, given by Create cluster and by nothing else, is what makes a cluster one of ours.
    context = {f"elasticmapreduce:ResourceTag/{key}": value for key, value in tags.items()}
    cluster = f"arn:aws:elasticmapreduce:us-east-1:{ACCOUNT}:cluster/j-1"
    wanted = {f"elasticmapreduce:{name}" for name in ("DescribeCluster", "TerminateJobFlows", "AddJobFlowSteps")}
    about_clusters = wanted & {action for grant in granted()[caller] for action in grant.actions}
    assert about_clusters
    for action in about_clusters:
        is_allowed = any(grant.allows(action, cluster, context) for grant in granted()[caller])
        assert is_allowed is (tags.get("tidegate:stack") == STACK), action


def used(grant: policies.Grant, caller: str, rights: Sequence[Right]) -> set[tuple[str, str]]:
    return {
        pair
        for right in rights
        if right.caller == caller and grant.allows(right.action, right.resource, dict(right.context))
        for pair in grant.used_by(right.action, right.resource)
    }


def is_case_of(entry: tuple[str, str], unused: Unused) -> bool:
    statement, wanted = entry
    caller, sid, action, resource = unused
    pattern, _, word = wanted.partition(" ")
    named = re.escape(pattern).replace(r"\*", ".*")
    return statement == f"{caller} {sid}" and re.fullmatch(named, action) is not None and word in resource
