"""What a step does in a campaign: the merge job's protocol without Spark, in this process."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.exceptions import ClientError

Json = dict[str, Any]
ROWS = {"read": 0, "inserted": 0, "updated": 0, "deleted": 0, "unchanged": 0, "rejected": 0}


def run_step(arguments: Sequence[str]) -> int:
    """Merge, or void, the batches of `--work`; the exit code."""
    store = Store(boto3.client("s3"))
    work = json.loads(store.read(arguments[arguments.index("--work") + 1]))
    receipts = [merge_batch(store, order, work) for order in work["batches"]]
    return 0 if all(receipt["outcome"] != "failed" for receipt in receipts) else 1


def commits_of(s3: Any, lake: str, table: str) -> list[Json]:
    """The table's commits, the oldest first."""
    return Store(s3).commits(f"s3://{lake}/{table}")


@dataclass
class Store:
    """Objects by their URIs."""

    s3: Any
    kept: Json = field(default_factory=dict)

    def read(self, uri: str) -> bytes:
        return bytes(self.s3.get_object(**_split(uri))["Body"].read())

    def create(self, uri: str, document: Json) -> bool:
        try:
            self.s3.put_object(**_split(uri), Body=json.dumps(document).encode(), IfNoneMatch="*")
        except ClientError as error:
            if error.response["Error"]["Code"] == "PreconditionFailed":
                return False
            raise
        return True

    def commits(self, target: str) -> list[Json]:
        place = _split(f"{target}/_stand_in_log/")
        listed = self.s3.list_objects_v2(Bucket=place["Bucket"], Prefix=place["Key"]).get("Contents", [])
        return [json.loads(self.read(f"s3://{place['Bucket']}/{each['Key']}")) for each in listed]


def merge_batch(store: Store, order: Mapping[str, Any], work: Mapping[str, Any]) -> Json:
    """One batch, from its order to its receipt."""
    manifest = json.loads(store.read(order["manifest_uri"]))
    commits = store.commits(manifest["target"])
    commit = next((each for each in commits if each["batch"] == order["batch"]), None)
    error = None
    if commit is None:
        commit, error = _decide(store, order, manifest, commits)
        uri = f"{manifest['target']}/_stand_in_log/{order['batch']:012d}.json"
        if commit is not None and not store.create(uri, commit):
            commit = json.loads(store.read(uri))  # whichever commit of that number is first decides
    receipt = {
        "schema": 1, "table": order["table"], "batch": order["batch"], "run_id": work["run_id"], "pass": work["pass"],
        "manifest_sha256": order["manifest_sha256"], "outcome": "failed", "error": error, "rows": ROWS,
        "files": {"read": 0, "rejected": []}, "table_rows": 1, "delta_version": None, "seconds": {"total": 1.0},
        "started_at": datetime.now(UTC).isoformat(), "replayed": False,
    }  # fmt: skip
    if commit is not None:
        receipt["outcome"] = "voided" if commit["void"] else "merged"
        receipt["delta_version"] = order["batch"]
        receipt["files"] = {"read": len(commit["files"]), "rejected": commit["rejected"]}
    store.create(order["receipt_uri"], receipt)
    return receipt


def _decide(
    store: Store, order: Mapping[str, Any], manifest: Mapping[str, Any], commits: Sequence[Json]
) -> tuple[Json | None, Json | None]:
    """The commit to make, or the error why there is none."""
    last = commits[-1]["batch"] if commits else None
    if last != manifest["predecessor"]:
        return None, {"type": "WrongPredecessor", "message": f"the table is at batch {last}", "cause": "table"}
    commit: Json = {"batch": order["batch"], "void": False, "files": [], "rejected": [], "predecessor": last}
    if order.get("action") == "void":
        return commit | {"void": True}, None
    for entry in manifest["files"]:
        staged = order["locations"].get(str(entry["index"]))
        body = store.read(staged or f"s3://{entry['bucket']}/{entry['key']}").decode()
        if "POISON" in body:
            return None, {"type": "BrokenData", "message": f"{entry['key']} is poison", "cause": "data"}
        if "BROKEN" in body:
            commit["rejected"].append({"index": entry["index"], "key": entry["key"], "reason": "it is broken"})
        else:
            commit["files"].append([entry["key"], entry["sequencer"], body])
    return commit, None


def _split(uri: str) -> dict[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return {"Bucket": bucket, "Key": key}
