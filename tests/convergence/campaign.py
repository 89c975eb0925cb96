"""A case's plan is merged, batch by batch, by attempts that die; then the table is compared with plain Python."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from convergence.crashes import Death, dies
from convergence.histories import KeyedCase
from convergence.scatter import Plan, rows_by_key

_DEATHS: tuple[Death, ...] = ("after commits", "between commits")
"""By turns, over the batches of a plan in some order."""


@dataclass(frozen=True)
class Crashes:
    """Attempts that died, and came again."""

    between: int
    """Two commits."""
    after: int
    """All commits, before the receipt."""

    def __str__(self) -> str:
        return f"{self.between} crashes between commits and {self.after} after them"


def carry_out(lake: Any, case: KeyedCase, plan: Plan, monkeypatch: pytest.MonkeyPatch, *, seed: int) -> Crashes:
    """Merge the plan's batches, each of which may die and come again."""
    rng = random.Random(f"crashes {case.name} {seed}")
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
    died: Counter[Death] = Counter()
    count = len(plan.batches)
    deaths = rng.sample((_DEATHS * count)[:count], count)
    for number, (taken, death) in enumerate(zip(plan.batches, deaths, strict=True), start=1):
        batch = lake.batch(case.name, number, [entries[position] for position in taken])
        with dies(death, monkeypatch):
            code, receipts = lake.run(batch, run_id=f"run-{number}")
        if code:
            assert receipts[0]["error"]["type"] == "Died", receipts[0]["error"]
            died[death] += 1
            code, receipts = lake.run(batch, run_id=f"run-{number}")
        assert code == 0, receipts[0]["error"]
        if case.marks_rows:
            _check_marked(lake, case, number, receipts[0]["plan"])
    return Crashes(between=died["between commits"], after=died["after commits"])


def _check_marked(lake: Any, case: KeyedCase, number: int, plan: str) -> None:
    """The first batch makes the table; from then on it has deletion vectors, and every plan marks rows."""
    if number == 1:
        vectors = "('delta.enableDeletionVectors' = 'true')"
        lake.spark.sql(f"ALTER TABLE delta.`{lake.target(case.name)}` SET TBLPROPERTIES {vectors}")
    else:
        assert re.search(r"marks the rows that go|are marked in deletion vectors|no row that can be merged", plan), plan
        assert "could not be marked" not in plan


def differing_keys(lake: Any, case: KeyedCase, plan: Plan) -> list[str]:
    """What differs from plain Python, by key, with all that led to it."""
    found = rows_by_key([tuple(row) for row in lake.read(case.name).selectExpr(*case.shown).collect()])
    changes = plan.changes(newest_versions_only=case.newest_versions_only)
    differences = []
    rng = random.Random(len(changes))
    for key in sorted(changes.keys() | found.keys()):
        history = changes.get(key, [])
        rng.shuffle(history)
        wanted, got = sorted(case.table(history), key=repr), sorted(found.get(key, []), key=repr)
        if wanted != got:
            told = "\n".join(f"    {change}" for change in sorted(history, key=lambda each: each.place))
            differences.append(f"  key {key}\n   wanted {wanted}\n   found  {got}\n{told}")
    return differences


def batches_not_merged_once(lake: Any, case: KeyedCase, plan: Plan) -> list[str]:
    """The batches that don't have one commit of the table. Most merges done twice are not seen in its rows."""
    log = Path(lake.target(case.name).removeprefix("file://")) / "_delta_log"
    commits = Counter(
        told["batch"] for path in sorted(log.glob("*.json")) for told in _told(path.read_text().splitlines())
    )
    return [
        f"  batch {number} has {commits[number]} commits"
        for number in range(1, len(plan.batches) + 1)
        if commits[number] != 1
    ]


def _told(actions: Sequence[str]) -> list[Mapping[str, Any]]:
    """What a commit's userMetadata says, if it is a batch's."""
    infos = [json.loads(line)["commitInfo"] for line in actions if line.startswith('{"commitInfo"')]
    told = [json.loads(info.get("userMetadata") or "{}").get("tidegate", {}) for info in infos]
    return [each for each in told if "batch" in each]
