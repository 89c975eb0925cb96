"""The use cases on fakes: files land, runs are planned, a stand-in for the job writes receipts, runs are settled."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from tidegate.arrivals import Arrival
from tidegate.errors import TidegateError
from tidegate.prices import PriceSheet, load_prices
from tidegate.runs import Execution, check_pass, run_id_of
from tidegate.usecases import settle_run as settle
from tidegate.usecases.account_run import CostPorts
from tidegate.usecases.claim_more import MoreRequest, claim_more
from tidegate.usecases.plan_batches import PlanPorts
from tidegate.usecases.plan_run import plan_run
from tidegate.usecases.publish_tables import Publishing
from tidegate.usecases.record_arrivals import record_event
from tidegate.usecases.settle_batches import Settled, SettlePorts, settle_batches_of

from fakes.aws import FakeBus, FakeCatalog, FakeClusters, FakeMachine
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
        self.catalog, self.bus, self.reported = FakeCatalog(), FakeBus(), list[TidegateError]()
        self.contracts = contracts(**contract_changes)
        self.delta: dict[str, list[tuple[int, str]]] = {}
        self.landed = 0
        self.measured: dict[str, Any] = {}
        """When receipts say that their batch began, and how long their application took until then."""
        self.no_prices: TidegateError | None = None
        self.columns = [{"name": "id", "type": "string"}, {"name": "_tidegate", "type": "struct<batch:bigint>"}]
        """What tables have, as receipts say it."""

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

    def load_prices(self) -> PriceSheet:
        if self.no_prices is not None:
            raise self.no_prices
        return load_prices("us-east-1")

    def cost_ports(self, crash: CrashPoint | None = None) -> CostPorts:
        point = crash or CrashPoint()
        return CostPorts(point.wrap(self.ledger), point.wrap(self.clusters), "tidegate", self.load_prices)

    def plan(
        self, run_input: Any, by: Execution, *, crash: CrashPoint | None = None, now: datetime = NOW
    ) -> dict[str, Any]:
        return plan_run(run_input, by, ports=self._plan_ports(crash), contracts=self.contracts, now=now)

    def more(
        self,
        run_input: Any,
        by: Execution,
        plan: dict[str, Any],
        *,
        unclear: tuple[str, ...] = (),
        unsettled: tuple[str, ...] = (),
        crash: CrashPoint | None = None,
        now: datetime = NOW,
    ) -> dict[str, Any]:
        request = MoreRequest(by, run_input, plan["pass"], "j-1", unclear, unsettled)
        return claim_more(request, ports=self._plan_ports(crash), contracts=self.contracts, now=now)

    def _plan_ports(self, crash: CrashPoint | None) -> PlanPorts:
        point = crash or CrashPoint()
        return PlanPorts(
            ledger=point.wrap(self.ledger),
            objects=point.wrap(self.objects),
            machine=self.machine,
            clusters=self.clusters,
            stack="tidegate",
            lake_bucket="lake",
            control_bucket="control",
            load_prices=self.load_prices,
        )

    def publishing(self, crash: CrashPoint | None = None) -> Publishing:
        point = crash or CrashPoint()
        return Publishing(
            point.wrap(self.catalog),
            point.wrap(self.bus),
            self.contracts,
            "tidegate",
            "lake",
            "tidegate",
            self.reported.append,
        )

    def settle_batches(
        self, run_input: Any, by: Execution, *, crash: CrashPoint | None = None, now: datetime = NOW
    ) -> Settled:
        """What the Settle group states of a round do, all in one."""
        point = crash or CrashPoint()
        ledger = point.wrap(self.ledger)
        run = ledger.run(run_id_of(run_input, by.name))
        check_pass(run, by)
        publishing = self.publishing(point)
        ports = SettlePorts(
            ledger, point.wrap(self.objects), self.clusters, "tidegate", "control", publishing, self.load_prices
        )
        return settle_batches_of(run, ports, now)

    def settle(self, action: str, run_input: Any, by: Execution, **fields: Any) -> dict[str, Any]:
        crash = fields.pop("crash", None) or CrashPoint()
        ports = SettlePorts(
            crash.wrap(self.ledger), crash.wrap(self.objects), self.clusters, "tidegate", "control",
            self.publishing(crash), self.load_prices,
        )  # fmt: skip
        now = fields.pop("now", NOW)
        request = settle.SettleRequest(by, run_input, **fields)
        answer: dict[str, Any] = getattr(settle, action)(request, ports=ports, now=now)
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
        """What the job does: one receipt a batch. `failing` has a cause by table, or by a key that fails its batch."""
        for work in self.work_of(plan):
            manifest = self.manifest(work["manifest_uri"])
            keys = [entry["key"] for entry in manifest["files"]]
            causes = [cause for name, cause in (failing or {}).items() if name == work["table"] or name in keys]
            self._receipt(work, causes[0] if causes and work["action"] == "merge" else None, rejected)

    def _receipt(self, work: dict[str, Any], cause: str | None, rejected: tuple[int, ...]) -> None:
        manifest = self.manifest(work["manifest_uri"])
        log = self.delta.setdefault(work["table"], [])
        if cause is None and manifest["batch"] not in [batch for batch, _ in log]:
            # As the job does: batch N goes on top of its predecessor or not at all.
            assert (log[-1][0] if log else None) == manifest["predecessor"]
            log.append((manifest["batch"], work["action"]))
        done = {"merge": "merged", "void": "voided"}
        outcome = "failed" if cause else done[dict(log)[manifest["batch"]]]
        receipt = {
            "schema": 1,
            "table": work["table"],
            "batch": work["batch"],
            "run_id": work["run_id"],
            "pass": work["pass"],
            "outcome": outcome,
            "manifest_sha256": work["manifest_sha256"],
            "delta_version": None if cause else [batch for batch, _ in log].index(manifest["batch"]) + 1,
            "table_rows": 7,
            "rows": {"read": 7, "inserted": 7, "updated": 0, "deleted": 0, "unchanged": 0, "rejected": 0},
            "files": {
                "read": len(manifest["files"]) - len(rejected),
                "rejected": [
                    {"index": index, "key": manifest["files"][index]["key"], "reason": "row 3: no number"}
                    for index in rejected
                ],
            },
            "columns": self.columns,
            "seconds": {
                "read": 0.5,
                "merge": 1.5,
                "total": 2.0,
                "application_start": self.measured.get("application_start_s"),
            },
            "started_at": self.measured.get("started_at", f"2026-03-01T12:00:{work['pass']:02d}+00:00"),
            "error": {"type": "Broken", "message": "it broke", "cause": cause} if cause else None,
        }
        self.objects.create(work["receipt_uri"], json.dumps(receipt).encode())

    def merged_keys(self, table: str) -> list[str]:
        """The keys of all files that are merged, in the order of their batches."""
        merged = {batch for batch, action in self.delta.get(table, []) if action == "merge"}
        manifests = [each for each in self.manifests() if each["table"] == table and each["batch"] in merged]
        return [entry["key"] for each in sorted(manifests, key=lambda each: each["batch"]) for entry in each["files"]]

    def manifest(self, uri: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.objects.by_uri[uri])
        return found

    def manifests(self) -> list[dict[str, Any]]:
        return [
            self.manifest(uri) for uri in self.objects.names("s3://control/batches/") if uri.endswith("manifest.json")
        ]

    def whole_run(self, run_input: Any, by: Execution, **merging: Any) -> dict[str, Any]:
        """Plan, then merge and claim more until nothing is due, then settle."""
        plan = self.plan(run_input, by)
        while plan["work"] == "merge":
            self.merge(plan, **merging)
            for group in plan["groups"]:
                self.settle("settle_group", run_input, by, work_uri=group["work_uri"])
            more = self.more(run_input, by, plan)
            if more["work"] == "none":
                return self.settle("settle_run", run_input, by)
            plan = more
        return plan
