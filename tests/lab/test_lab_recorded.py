"""A recorded run of the local cloud, and the lab's beside it."""

import json
from pathlib import Path
from typing import Any

import pytest
from tidegate.adapters.ledger_items import read_run
from tidegate.contracts import Contract, Contracts, Freshness
from tidegate_lab.bills import bills_of
from tidegate_lab.recorded import compare_with, read_recording

RECORDING = json.loads((Path(__file__).parent / "recorded" / "two_runs.json").read_text())
ASAP = Contracts({
    table: Contract(table, f"{table}/", f"^{table}/.*$", "upsert", Freshness("asap"), 5000, 50 * 1024**3, {})
    for table in ("flights", "weather")
})  # fmt: skip


def test_a_recording_says_what_was_measured() -> None:
    # GIVEN the ledger's items and the receipts of two runs, with a file that nothing has merged
    read = read_recording(RECORDING)
    # THEN its start is the minute of the first arrival, and each file has the end of its batch's merge
    assert [arrival.at_s for arrival in read.trace.arrivals] == [10.0, 14.0, 270.0]
    assert read.queryable_s == pytest.approx((73.0, 72.5, 312.1))
    assert (read.left_out, len(read.clusters)) == (1, 2)
    # and a start-up is from the plan to the application's first moment
    assert read.clusters[0].ready_s - read.clusters[0].asked_s == pytest.approx(2.6)
    assert read.rates.start_up_s.median == pytest.approx(2.5, abs=0.15)
    assert read.rates.step_overhead_s.median == pytest.approx(9.5, abs=0.5)
    assert read.rates.record_s == (1.5, 3.0)
    assert read.rates.termination_s == pytest.approx((5.9, 8.0))


def test_its_runs_are_as_the_ledger_has_them() -> None:
    runs = [read_run(item) for item in RECORDING["runs"]]
    assert [run.state for run in runs] == ["succeeded", "succeeded", "nothing_to_do"]
    assert runs[0].batches == (("flights", 1), ("weather", 1))


def test_the_lab_does_with_the_same_arrivals_what_the_local_cloud_did() -> None:
    both = compare_with(read_recording(RECORDING), ASAP, bills_of())
    # Runs start with the minute in both, so files differ by the milliseconds of a plan and by what is drawn.
    assert max(abs(each.difference_s) for each in both.files) < 3
    assert len(both.simulated_clusters) == len(both.real_clusters) == 2
    assert both.simulated_cluster_s == pytest.approx(both.real_cluster_s, rel=0.2)
    assert both.lines()[-1].startswith("3 files, 1 left out: half are less than ")


def test_the_lab_is_as_the_local_cloud_really_was() -> None:
    # GIVEN what bench/lab_check.py has recorded: 14 files of two tables, four clusters, real merges
    recording = read_recording(json.loads((Path(__file__).parent / "recorded" / "local_cloud.json").read_text()))
    contracts = Contracts({
        table: Contract(table, f"{table}/", f"^{table}/.*$", "upsert", Freshness("asap"), 5000, 50 * 1024**3, {})
        for table in ("orders", "returns")
    })  # fmt: skip
    both = compare_with(recording, contracts, bills_of())
    # THEN files are queryable when they really were, but for those of a run that ended some seconds sooner
    off_s = sorted(abs(each.difference_s) for each in both.files)
    assert off_s[11] < 6
    assert off_s[-1] < 60
    assert len(both.simulated_clusters) == len(both.real_clusters) == 4
    assert both.simulated_cluster_s == pytest.approx(both.real_cluster_s, rel=0.1)


def test_what_runs_otherwise_is_seen() -> None:
    # GIVEN a recording whose second run came four minutes later than the lab's would
    later: dict[str, Any] = json.loads(json.dumps(RECORDING).replace("T10:05:", "T10:09:"))
    both = compare_with(read_recording(later), ASAP, bills_of())
    assert min(each.difference_s for each in both.files) == pytest.approx(-240, abs=5)


def test_nothing_merged_is_said() -> None:
    with pytest.raises(ValueError, match="nothing in it was merged"):
        read_recording({**RECORDING, "receipts": []}, "mine.json")
