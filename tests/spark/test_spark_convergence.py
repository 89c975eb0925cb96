""" "Any order, repetition and batching of the same arrivals give the same table." (the design)

Every key is a case of its own, so a few merges try thousands of histories. Another seed, or more keys:
`make converge SEED=7 KEYS=50000 STRATEGY=cdc`.
"""

from __future__ import annotations

import json
import os
import random
from typing import Any

import pytest
from convergence.cases import append, bitemporal, cdc, partial, scd2, upsert
from convergence.crashes import dies_before_commit
from convergence.histories import KeyedCase
from convergence.scatter import Plan, rows_by_key, scatter

SEED = int(os.environ.get("CONVERGENCE_SEED", "1"))
KEYS = int(os.environ.get("CONVERGENCE_KEYS", "5000"))
CASES = (
    *(append.CASE, upsert.CASE, cdc.CASE, cdc.BY_ARRIVAL, partial.CASE, partial.IGNORE_NULLS),
    *(scd2.CASE, bitemporal.CASE),
)
_SHOWN_DIFFERENCES = 3


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_any_order_repetition_and_batching_give_the_same_table(
    case: KeyedCase, lake: Any, monkeypatch: pytest.MonkeyPatch, summary: list[str]
) -> None:
    # GIVEN the changes of many keys, scattered over versions of files, which land in any order, some of them again
    plan = scatter(case, SEED, KEYS)
    # WHEN each batch dies before one of its commits, and comes again
    crashes = carry_out(lake, case, plan, monkeypatch)
    # THEN every key is what plain Python says
    differences = compare(lake, case, plan)
    assert not differences, f"seed {SEED}: {len(differences)} of {KEYS} keys differ:\n" + "\n".join(
        differences[:_SHOWN_DIFFERENCES]
    )
    summary.append(f"{case.name}: {KEYS} histories in {len(plan.batches)} batches, {crashes} crashes between commits")


def carry_out(lake: Any, case: KeyedCase, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> int:
    """Merge the plan's batches; how many attempts died between two commits of theirs."""
    rng = random.Random(f"crashes {case.name} {SEED}")
    lake.contract(case.name, **{"format": "json", **case.contract})
    entries = [
        lake.land(
            "".join(json.dumps(row) + "\n" for row in landing.rows),
            landing.name,
            sequencer=landing.sequencer,
            event_time=landing.event_time,
        )
        for landing in plan.landings
    ]
    crashes = 0
    for number, taken in enumerate(plan.batches, start=1):
        batch = lake.batch(case.name, number, [entries[position] for position in taken])
        with dies_before_commit(rng.choice((1, 2, 2, 3)), monkeypatch) as begun:
            code, receipts = lake.run(batch, run_id=f"run-{number}")
        if code:
            assert receipts[0]["error"]["type"] == "Died", receipts[0]["error"]
            crashes += len(begun) > 1
            code, receipts = lake.run(batch, run_id=f"run-{number}")
        assert code == 0, receipts[0]["error"]
    return crashes


def compare(lake: Any, case: KeyedCase, plan: Plan) -> list[str]:
    """What differs, by key, with all that led to it."""
    found = rows_by_key([tuple(row) for row in lake.read(case.name).selectExpr(*case.shown).collect()])
    changes = plan.changes(newest_versions_only=case.newest_versions_only)
    differences = []
    for key in sorted(changes.keys() | found.keys()):
        history = changes.get(key, [])
        random.Random(key).shuffle(history)
        wanted, got = sorted(case.table(history), key=repr), sorted(found.get(key, []), key=repr)
        if wanted != got:
            told = "\n".join(f"    {change}" for change in sorted(history, key=lambda each: each.place))
            differences.append(f"  key {key}\n   wanted {wanted}\n   found  {got}\n{told}")
    return differences
