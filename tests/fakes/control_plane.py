"""The use cases on fakes: files land, runs are planned, a stand-in for the job writes receipts, runs are settled."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from tidegate.arrivals import Arrival
from tidegate.runs import Execution
from tidegate.usecases import settle_run as settle
from tidegate.usecases.plan_run import PlanPorts, plan_run
from tidegate.usecases.record_arrivals import record_event

from fakes.aws import FakeClusters, FakeMachine
from fakes.contracts import contracts
from fakes.crashes import CrashPoint
from fakes.ledger import FakeLedger
from fakes.objects import FakeObjects

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LANDING = "landing"


def execution(name: str, redrive_count: int = 0) -> Execution:
    return Execution(f"arn:aws:states:::execution:tidegate-run:{name}", name, redrive_count)


def created(key: str, *, size: int = 5, sequencer: str = "1", second: int = 0, **object_fields: Any) -> dict[str, Any]:
    """An `Object Created` event of EventBridge."""
    return {
        "source": "aws.s3",
        "detail-type": "Object Created",
        "time": (NOW - timedelta(hours=1) + timedelta(seconds=second)).isoformat().replace("+00:00", "Z"),
        "detail": {
            "bucket": {"name": LANDING},
            "object": {"key": key, "size": size, "sequencer": sequencer, "etag": "e", **object_fields},
        },
    }


class ControlPlane:
    """One stack in memory. `ledger` may be another one that keeps to the port."""

    def __init__(self, ledger: Any = None, **contract_changes: Any) -> None:
        self.ledger = ledger or FakeLedger()
        self.objects, self.machine, self.clusters = FakeObjects(), FakeMachine(), FakeClusters()
        self.contracts = contracts(**contract_changes)
        self.delta: dict[str, list[int]] = {}
        self.landed = 0

    def land(self, key: str, data: bytes = b"hello") -> Arrival:
        """A file lands and its event is recorded."""
        self.landed += 1
        version, etag = self.objects.land(LANDING, key, data)
        event = created(
            key,
            size=len(data),
            sequencer=f"{self.landed:x}",
            second=self.landed,
            etag=etag,
            **{"version-id": version},
        )
        arrival, _ = record_event(event, ledger=self.ledger, contracts=self.contracts, landing_bucket=LANDING, now=NOW)
        assert arrival is not None
        return arrival

    def plan(
        self, run_input: Any, by: Execution, *, crash: CrashPoint | None = None, now: datetime = NOW
    ) -> dict[str, Any]:
        point = crash or CrashPoint()
        ports = PlanPorts(
            ledger=point.wrap(self.ledger),
            objects=point.wrap(self.objects),
            machine=self.machine,
            clusters=self.clusters,
            stack="tidegate",
            lake_bucket="lake",
            control_bucket="control",
        )
        return plan_run(run_input, by, ports=ports, contracts=self.contracts, now=now)

    def settle(self, action: str, run_input: Any, by: Execution, **fields: Any) -> dict[str, Any]:
        crash = fields.pop("crash", None) or CrashPoint()
        ports = settle.SettlePorts(
            crash.wrap(self.ledger), crash.wrap(self.objects), self.clusters, "tidegate", "control"
        )
        request = settle.SettleRequest(by, run_input, **fields)
        answer: dict[str, Any] = getattr(settle, action)(request, ports=ports, now=NOW)
        return answer

    def work_of(self, plan: dict[str, Any]) -> list[dict[str, Any]]:
        """The batches of a plan's work files."""
        documents = [json.loads(self.objects.by_uri[group["work_uri"]]) for group in plan["groups"]]
        return [
            batch | {"run_id": document["run_id"], "pass": document["pass"]}
            for document in documents
            for batch in document["batches"]
        ]

    def merge(
        self, plan: dict[str, Any], *, failing: dict[str, str] | None = None, rejected: tuple[int, ...] = ()
    ) -> None:
        """What the job does: one receipt a batch; `failing` names a cause by table."""
        for work in self.work_of(plan):
            cause = (failing or {}).get(work["table"])
            self._receipt(work, cause, rejected)

    def _receipt(self, work: dict[str, Any], cause: str | None, rejected: tuple[int, ...]) -> None:
        manifest = self.manifest(work["manifest_uri"])
        log = self.delta.setdefault(work["table"], [])
        if cause is None and manifest["batch"] not in log:
            # As the job does: batch N goes on top of its predecessor or not at all.
            assert (log[-1] if log else None) == manifest["predecessor"]
            log.append(manifest["batch"])
        receipt = {
            "schema": 1,
            "table": work["table"],
            "batch": work["batch"],
            "run_id": work["run_id"],
            "pass": work["pass"],
            "outcome": "failed" if cause else "merged",
            "manifest_sha256": work["manifest_sha256"],
            "delta_version": None if cause else len(log),
            "table_rows": 7,
            "rows": {"read": 7, "inserted": 7, "updated": 0, "deleted": 0, "unchanged": 0, "rejected": 0},
            "files": {
                "read": len(manifest["files"]) - len(rejected),
                "rejected": [
                    {"index": index, "key": manifest["files"][index]["key"], "reason": "row 3: no number"}
                    for index in rejected
                ],
            },
            "seconds": {"read": 0.5, "merge": 1.5, "total": 2.0},
            "started_at": f"2026-03-01T12:00:0{work['pass']}+00:00",
            "error": {"type": "Broken", "message": "it broke", "cause": cause} if cause else None,
        }
        self.objects.create(work["receipt_uri"], json.dumps(receipt).encode())

    def manifest(self, uri: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.objects.by_uri[uri])
        return found

    def manifests(self) -> list[dict[str, Any]]:
        return [
            self.manifest(uri) for uri in self.objects.names("s3://control/batches/") if uri.endswith("manifest.json")
        ]

    def whole_run(self, run_input: Any, by: Execution, **merging: Any) -> dict[str, Any]:
        """Plan, merge, settle."""
        plan = self.plan(run_input, by)
        if plan["work"] == "none":
            return plan
        self.merge(plan, **merging)
        self.settle("settle_batches", run_input, by)
        return self.settle("settle_run", run_input, by)
