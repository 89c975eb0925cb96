"""Cells of the rerun matrix with real Spark: the processes that die are drivers, and the tables are Delta's.

The whole matrix runs with the job's stand-in (tests/campaign/test_rerun_matrix.py). These cells are those in which a
driver is in the middle of something: before its commit, right after it, with its cluster lost under it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from systems import System, wait_for

pytestmark = pytest.mark.local_cloud

REDRIVE, NEW_EXECUTION = "redrive", "new execution"
HEADER = "faa,name,lat,lon,alt,tz,dst,tzone"


@dataclass(frozen=True)
class Cell:
    """In which state what goes wrong, and how it is run again. `faults` are the local EMR's."""

    name: str
    rerun: str
    faults: tuple[dict[str, Any], ...] = ()
    stop_when: str | None = None
    """What has to be seen before a person stops the execution."""


CELLS = (
    Cell("Create cluster: no launch option has capacity", REDRIVE, faults=({"fault": "no_capacity", "times": 4},)),
    Cell("Merge group: the driver is killed", NEW_EXECUTION, faults=({"fault": "step_death", "after_s": 4},)),
    Cell("Merge group: stopped before the commit", REDRIVE, stop_when="step"),
    Cell("Merge group: stopped before the commit", NEW_EXECUTION, stop_when="step"),
    Cell("Merge group: stopped right after the commit", REDRIVE, stop_when="commit"),
    Cell("Merge group: the cluster is lost", NEW_EXECUTION, faults=({"fault": "lost_nodes", "times": 1},)),
)


@pytest.fixture(autouse=True)
def _no_faults_left(system: System) -> Iterator[None]:
    yield
    system.cloud.here.faults_file.unlink(missing_ok=True)


@pytest.mark.parametrize("number", range(len(CELLS)), ids=lambda number: f"{CELLS[number].name}, {CELLS[number].rerun}")
def test_it_ends_merged_once_with_no_cluster_left(system: System, number: int) -> None:
    cell, airport = CELLS[number], f"Q{number}"
    # GIVEN a run in which something goes wrong
    notes = [fault | {"note": f"cell {number}"} for fault in cell.faults]
    system.cloud.here.faults_file.write_text(json.dumps(notes))
    key = f"airports/cell-{number}.csv"
    system.land(key, HEADER, f"{airport},Newark,40.7,-74.2,18,-5,A,America/New_York")
    system.wait_recorded(key)
    batch = int(system.table_item("airports").get("next_batch", 1))
    arn = system.dispatch()
    if cell.stop_when == "step":
        wait_for("its driver is at work", system.running_steps)
    if cell.stop_when == "commit":
        wait_for("its batch is committed", lambda: batch in system.batches_of("airports"))
    if cell.stop_when is not None:
        system.steps.stop_execution(executionArn=arn, cause="somebody pressed Stop execution")
    ended = system.end_of(arn)
    went_through = ended["status"] == "SUCCEEDED"
    assert went_through is ("cluster is lost" in cell.name), ended

    # WHEN it is run again
    system.cloud.here.faults_file.unlink(missing_ok=True)
    if cell.rerun == REDRIVE:
        system.steps.redrive_execution(executionArn=arn)
    else:
        machine = system.cloud.fields.state_machine_arn
        arn = system.steps.start_execution(stateMachineArn=machine, input=ended["input"])["executionArn"]
    done = system.end_of(arn)

    # THEN it is merged, once, and nothing is left
    assert done["status"] == "SUCCEEDED", (done.get("error"), done.get("cause"))
    assert [row for row in system.rows("airports", "faa") if row == (airport,)] == [(airport,)]
    numbers = system.batches_of("airports")
    assert numbers == sorted(set(numbers)), "each batch is one commit"
    assert batch in numbers
    assert system.live_clusters() == []
    assert "lease" not in system.table_item("airports")
