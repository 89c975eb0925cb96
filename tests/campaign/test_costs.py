"""What a load uses up, counted: no clock. `bench/control_plane_cost.py` prices the same counts."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from campaign.crew import carry_out
from campaign.loads import key_of
from campaign.metering import index_write_units, size_bytes, table_write_units

ARRIVALS, TABLES = 200, 52


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Some arrivals of more tables than one step takes, recorded, merged by one run and settled."""
    task = {"task": "count", "arrivals": ARRIVALS, "tables": TABLES}
    (answer,) = carry_out([task], Path(tmp_path_factory.mktemp("count")))
    assert answer.get("counts") == [ARRIVALS] * 3, answer
    return answer


def units_of(load: dict[str, Any]) -> Counter[str]:
    found: Counter[str] = Counter()
    for _, kind, units in load["write_units"]:
        found[kind] += units
    return found


def test_an_arrival_takes_at_most_six_write_units(load: dict[str, Any]) -> None:
    # Design: "at most 6 write units an arrival in all": put, index, claim, index, key head
    units = units_of(load)
    arrivals = units["arrival"] + units["arrival in the index"] + units["head"]
    assert arrivals / ARRIVALS <= 6
    # AND that is an everyday key, in items that are well below a second KB
    assert units["arrival"] == units["arrival in the index"] == 2 * ARRIVALS, f"of keys like {key_of(1, TABLES)}"
    # AND whatever else is written is written for a batch or a run
    rest = sum(units.values()) - arrivals
    assert rest <= 10 * TABLES + 20, units


def test_a_runs_cost_takes_two_writes_each_of_a_unit_and_one_of_its_tables_shares(load: dict[str, Any]) -> None:
    # docs/costs.md: opened as it is planned, closed as it is settled, each time in the index too
    units = units_of(load)
    assert (units["cost"], units["cost in the index"]) == (2, 2)
    # AND its tables stand beside it, so that sums don't read them: fifty in two KB
    assert units["shares"] == 2
    calls: Counter[str] = Counter()
    for _, operation, times in load["calls"]:
        calls[operation] += times
    # Once for the run's clusters, once for the instances of the one that it had
    assert calls["emr.ListInstances"] == 1


def test_a_hundred_arrivals_share_an_invocation(load: dict[str, Any]) -> None:
    assert load["invocations"]["record_arrivals"] == ARRIVALS / 100


def test_a_run_takes_fifteen_transitions_and_two_a_step_group_at_most(load: dict[str, Any]) -> None:
    ((states, groups),) = load["transitions"]
    assert groups == 2
    assert states <= 15 + 2 * groups


def test_calls_other_than_marks_follow_batches_and_not_files(load: dict[str, Any]) -> None:
    calls: Counter[tuple[str, str]] = Counter()
    for caller, operation, times in load["calls"]:
        calls[caller.partition(".")[0], operation] += times
    for operation in ("s3.GetObject", "s3.PutObject", "s3.ListObjectsV2", "dynamodb.GetItem", "dynamodb.PutItem"):
        assert calls["plan_run", operation] + calls["settle_run", operation] <= 8 * TABLES + 20, operation


def test_the_world_is_told_in_tens_and_the_catalog_asked_once_a_table(load: dict[str, Any]) -> None:
    calls: Counter[str] = Counter()
    for _, operation, times in load["calls"]:
        calls[operation] += times
    # Fifty tables of the one step group, two of the other
    assert calls["eventbridge.PutEvents"] == 5 + 1
    # All of them are new: looked for, then made. What is known is not asked for.
    assert (calls["glue.GetTable"], calls["glue.CreateTable"], calls["glue.UpdateTable"]) == (TABLES, TABLES, 0)


@pytest.mark.parametrize(
    ("before", "after", "table", "index"),
    [
        ({}, {"pk": "a", "v": "x" * 100}, 1, 0),
        ({}, {"pk": "a", "pending_pk": "p", "pending_sk": "1"}, 1, 1),
        ({"pk": "a", "pending_pk": "p", "pending_sk": "1"}, {"pk": "a"}, 1, 1),
        ({"pk": "a", "pending_pk": "p", "pending_sk": "1"}, {"pk": "a", "pending_pk": "q", "pending_sk": "1"}, 1, 2),
        ({"pk": "a", "pending_pk": "p", "pending_sk": "1"}, {"pk": "a", "pending_pk": "p", "pending_sk": "1"}, 1, 0),
        ({"pk": "a", "v": "x" * 1100}, {"pk": "a"}, 2, 0),
        ({}, {"pk": "a", "pending_pk": "p", "pending_sk": "1", "v": "x" * 1100}, 2, 2),
    ],
)
def test_units_are_counted_as_they_are_billed(
    before: dict[str, Any], after: dict[str, Any], table: int, index: int
) -> None:
    assert (table_write_units(before, after), index_write_units(before, after)) == (table, index)


def test_an_items_size_is_that_of_its_names_and_values() -> None:
    assert size_bytes({"pk": "é", "n": 1234, "ok": True, "l": ["ab"], "m": {"k": "v"}}) == 4 + 4 + 3 + 7 + 7
