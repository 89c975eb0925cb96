"""Snapshots that are folders: their markers arrive, and "snapshots are not divided" (the design)."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from fakes.contracts import contracts
from fakes.control_plane import LANDING, NOW, ControlPlane, created, execution
from tidegate.arrivals import Arrival, read_event
from tidegate.batches import halves_of, manifest_of, units_of
from tidegate.contracts import Contract, Contracts

MARKER = r"flights/(?P<month>[^/]+)/_SUCCESS"


def _contract() -> Contract:
    flights = contracts(strategy="snapshot").by_table["flights"]
    return replace(flights, marker_regex=MARKER)


def _read(key: str, **more: Any) -> Arrival:
    deployed = contracts(strategy="snapshot")
    arrival = read_event(created(key, **more), replace(deployed, by_table={"flights": _contract()}), LANDING)
    assert arrival is not None
    return arrival


@pytest.mark.parametrize("size", [0, 12])
def test_a_marker_arrives_with_its_folders_captures_though_it_is_empty(size: int) -> None:
    # GIVEN a key that matches no landing pattern, but is a marker's
    arrival = _read("flights/2013-01/_SUCCESS", size=size)
    assert (arrival.state, arrival.table, arrival.captures) == ("pending", "flights", {"month": "2013-01"})
    # AND an empty file of data is ignored as ever, and so is a marker that lies elsewhere
    assert _read("flights/2013-01/a.csv", size=0).reason == "the file is empty"
    assert _read("flights/_SUCCESS", size=0).state == "ignored"


def test_without_a_marker_in_the_contract_there_is_none() -> None:
    contract = contracts().by_table["flights"]
    assert contract.marker_regex is None
    assert not contract.is_marker("flights/2013-01/_SUCCESS")


def test_a_manifest_says_which_files_are_one_snapshot_and_which_is_its_marker() -> None:
    files = [_read("flights/2013-01/a.csv"), _read("flights/2013-01/_SUCCESS", size=0), _read("flights/2013-02/a.csv")]
    entries = json.loads(manifest_of(_contract(), 1, None, files, "lake"))["files"]
    assert {(each["key"], each["snapshot"], each["marker"]) for each in entries} == {
        ("flights/2013-01/a.csv", f"{LANDING}/flights/2013-01", False),
        ("flights/2013-01/_SUCCESS", f"{LANDING}/flights/2013-01", True),
        ("flights/2013-02/a.csv", f"{LANDING}/flights/2013-02", False),
    }
    # AND of other tables it says nothing of the kind: their manifests stay as they are
    other = contracts().by_table["flights"]
    assert "marker" not in json.loads(manifest_of(other, 1, None, files, "lake"))["files"][0]


def test_a_snapshot_is_not_divided() -> None:
    # GIVEN files of three folders
    files = [{"index": n, "snapshot": f"folder-{n % 3}"} for n in range(7)]
    # THEN each half has whole folders
    first, second = halves_of(files)
    assert {each["snapshot"] for each in first}.isdisjoint(each["snapshot"] for each in second)
    assert sorted(each["index"] for each in [*first, *second]) == list(range(7))
    # AND one folder can't be parted; files that are each a snapshot can
    assert halves_of([each for each in files if each["snapshot"] == "folder-1"]) == []
    assert len(units_of([{"index": n} for n in range(7)])) == 7


def test_a_snapshot_that_keeps_failing_fails_as_a_whole_and_the_others_go_on() -> None:
    # GIVEN three folders, of which one has a file that breaks every merge
    plane = ControlPlane(strategy="snapshot", marker_regex=MARKER)
    plane.contracts = Contracts({"flights": plane.contracts.by_table["flights"]})
    keys = [f"flights/2013-0{month}/{name}" for month in (1, 2, 3) for name in ("a.csv", "b.csv", "_SUCCESS")]
    for key in keys:
        plane.land(key, b"" if key.endswith("_SUCCESS") else b"hello")
    # WHEN runs go on until nothing is left
    for number in range(12):
        if not list(plane.ledger.pending()) and not plane.ledger.table("flights").has_work:
            break
        by, run_input = execution(f"r{number}"), {"tables": ["flights"]}
        plan = plane.plan(run_input, by, now=NOW + timedelta(days=number))
        while plan["work"] == "merge":
            plane.merge(plan, failing={"flights/2013-02/b.csv": "data"})
            plane.settle_batches(run_input, by, now=NOW + timedelta(days=number))
            plan = plane.more(run_input, by, plan, now=NOW + timedelta(days=number))
        plane.settle("settle_run", run_input, by, now=NOW + timedelta(days=number))
    # THEN that folder has failed, marker and all, and the others are merged
    failed = {each.key for each in plane.ledger.arrivals.values() if each.state == "failed"}
    assert failed == {key for key in keys if "2013-02" in key}
    assert sorted(plane.merged_keys("flights")) == sorted(set(keys) - failed)
