"""A lost ledger, rebuilt from real Delta tables: nothing that is merged is merged again, and nothing is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from fakes.control_plane import LANDING, NOW, ControlPlane, created, execution
from fakes.ledger import FakeLedger
from fakes.repair import FakeRepair
from tidegate.usecases.rebuild_ledger import RebuildPorts, plan_rebuild, write_rebuild
from tidegate.usecases.record_arrivals import record_event

TABLE = "airlines"


def merge(plane: ControlPlane, lake: Any, plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Have the real job do what was planned, on files; its receipts go where Settle looks for them."""
    orders = []
    for work in plane.work_of(plan):
        raw = plane.objects.by_uri[work["manifest_uri"]]
        manifest = lake.folder / f"{work['batch']}.json"
        manifest.write_bytes(raw)
        locations = {}
        for entry in json.loads(raw)["files"]:
            copy = lake.folder / "copies" / entry["version_id"] / Path(entry["key"]).name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(dict(plane.objects.versions[LANDING, entry["key"]])[entry["version_id"]])
            locations[str(entry["index"])] = copy.as_uri()
        order = {**work, "manifest_uri": manifest.as_uri(), "locations": locations}
        del order["receipt_uri"]
        orders.append(order)
    _, receipts = lake.run(*orders, run_id=plan["run_id"])
    for work, receipt in zip(plane.work_of(plan), receipts, strict=True):
        plane.objects.create(work["receipt_uri"], json.dumps(receipt).encode())
    return list(receipts)


def whole_run(plane: ControlPlane, lake: Any, name: str) -> list[dict[str, Any]]:
    plan = plane.plan({}, execution(name))
    receipts = merge(plane, lake, plan)
    plane.settle("settle_run", {}, execution(name))
    return receipts


def test_a_lost_ledger_is_rebuilt_and_the_next_batch_follows_the_last(
    lake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tidegate_cli.adapters.lake import Lake
    from tidegate_spark import table as spark_table

    def on_disk(storage: Any, uri: str) -> str:
        return str(storage.path(lake.target(uri.rsplit("/", 1)[1])).toString())

    monkeypatch.setattr(spark_table, "path_of", on_disk)
    # GIVEN a batch in a table, with a file that was rejected, and a second that is in the table and not settled
    plane = ControlPlane()
    landed = [
        plane.land(f"{TABLE}/{name}.csv", f"{head}\n{name}\n".encode()) for name, head in (("a", "id"), ("b", "x"))
    ]
    whole_run(plane, lake, "first")
    landed += [plane.land(f"{TABLE}/c.csv", b"id\nc\n")]
    landed += [plane.land(f"{TABLE}/a.csv", b"id\na\nd\n")]
    merge(plane, lake, plane.plan({}, execution("dies")))
    # AND a table whose log has been cleaned up: a checkpoint has the transactions, and the first commits are gone
    folder = Path(lake.target(TABLE).removeprefix("file://"))
    DeltaTable(str(folder)).create_checkpoint()
    for version in (0, 1):
        (folder / "_delta_log" / f"{version:020d}.json").unlink()
    # AND a file that lands while there is no ledger
    landed += [plane.land(f"{TABLE}/e.csv", b"id\ne\n")]
    before = lake.rows(TABLE, "id")
    plane.ledger = FakeLedger()

    # WHEN the ledger is rebuilt, and reconciled with what the landing bucket has
    logs = Lake(str(folder.parent))
    ports = RebuildPorts(plane.ledger, FakeRepair(plane.ledger), plane.objects, logs, "control")
    for plan in plan_rebuild([TABLE], ports=ports, now=NOW):
        write_rebuild(plan, ports=ports, now=NOW)
    table = plane.ledger.table(TABLE)
    assert (table.last_merged_batch, table.next_batch, table.unsettled_batch) == (2, 3, None)
    assert [each.key for each in plane.ledger.kept("quarantined")] == [f"{TABLE}/b.csv"]
    for each in landed:
        if each.version_id not in {found.version_id for found in plane.ledger.versions(LANDING, each.key)}:
            thing = {"etag": each.etag, "version-id": each.version_id}
            event = created(each.key, size=each.size_bytes, sequencer=each.sequencer, second=9, **thing)
            record_event(event, ledger=plane.ledger, contracts=plane.contracts, landing_bucket=LANDING, now=NOW)
    assert [each.key for each in plane.ledger.pending()] == [f"{TABLE}/e.csv"]

    # THEN the next batch goes on top of the last one, with the new file alone
    (receipt,) = whole_run(plane, lake, "after")
    assert (receipt["outcome"], receipt["batch"], receipt["replayed"]) == ("merged", 3, False)
    assert receipt["rows"]["inserted"] == receipt["rows"]["read"] == 1
    assert lake.rows(TABLE, "id") == sorted([*before, ("e",)])
    assert [row[0] for row in before] == ["a", "c", "d"]
    # AND an input for all that is pending finds nothing more to do
    assert plane.plan({}, execution("idle"))["work"] == "none"
