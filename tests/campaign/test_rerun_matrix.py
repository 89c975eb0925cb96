"""Whatever failed, in whatever state: Redrive and New execution merge it once, and leave nothing behind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from campaign.crew import carry_out
from campaign.rerun_cells import (
    DOES_NOT_HAPPEN,
    KINDS,
    MEANWHILE,
    MERGED_ONCE,
    RERUNS,
    WENT_THROUGH,
    Cell,
    cells,
    task_states,
)

MARKS = {MERGED_ONCE: "once", WENT_THROUGH: "through", DOES_NOT_HAPPEN: "-"}


@pytest.mark.timeout(1800)
def test_every_rerun_merges_once_and_leaves_nothing(summary: list[str], tmp_path: Path) -> None:
    # GIVEN every Task of the machine, and every way in which it can end there
    every = cells()
    # WHEN the execution is run again, in every way
    answers = carry_out([{"task": "rerun", "cell": cell.as_json()} for cell in every], tmp_path)
    # THEN all is merged once, no cluster is left and no lease is held
    wrong = {cell: answer["wrong"] for cell, answer in zip(every, answers, strict=True) if answer["wrong"]}
    outcomes = {cell: answer.get("outcome", "") for cell, answer in zip(every, answers, strict=True)}
    summary.append(f"rerun matrix: cells tried / merged once and clean: {len(every)} / {len(every) - len(wrong)}")
    summary.extend(_table(every, outcomes, wrong))
    summary.extend(
        f"  WRONG {' / '.join(filter(None, cell.as_json().values()))}: {str(why)[:600]}" for cell, why in wrong.items()
    )
    assert wrong == {}


def _table(every: Sequence[Cell], outcomes: dict[Cell, str], wrong: dict[Cell, Any]) -> list[str]:
    """A row for each state and kind, a column for each rerun and what happened before it."""
    columns = [(meanwhile, rerun) for rerun in RERUNS for meanwhile in MEANWHILE]
    heads = [rerun + (f", {meanwhile}" if meanwhile else "") for meanwhile, rerun in columns]
    lines = ["  " + f"{'state':25}{'kind':15}" + "".join(f"{head:36}" for head in heads).rstrip()]
    for state in task_states():
        for kind in KINDS:
            found = [Cell(state, kind, meanwhile, rerun) for meanwhile, rerun in columns]
            marks = ["WRONG" if cell in wrong else MARKS[outcomes[cell]] for cell in found]
            lines.append("  " + f"{state:25}{kind:15}" + "".join(f"{mark:36}" for mark in marks).rstrip())
    return lines
