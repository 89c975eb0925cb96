""" "Break the engine once in each of five ways (ties, tombstone, late change, null compare, txn reset) and see it
found." (the design)

That nothing is found in the engine as it is, the campaign itself tests (`test_spark_convergence.py`): these are its
cases, with fewer keys and batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from convergence.breaks import BREAKS, Break
from convergence.campaign import batches_not_merged_once, carry_out, differing_keys
from convergence.scatter import scatter

SEED = 1
KEYS = 200
BATCHES = 2


@pytest.mark.timeout(600)
@pytest.mark.parametrize("broken", BREAKS, ids=[each.name for each in BREAKS])
def test_the_campaign_finds_what_is_broken(
    broken: Break, lake: Any, monkeypatch: pytest.MonkeyPatch, tried: dict[str, tuple[int, int]]
) -> None:
    # GIVEN a fault of the engine
    case, plan = broken.case, scatter(broken.case, SEED, KEYS, BATCHES)
    plan = replace(plan, batches=plan.batches[:BATCHES])
    with monkeypatch.context() as patched:
        broken.put_in(patched)
        # WHEN the campaign merges as ever
        carry_out(lake, case, plan, monkeypatch, seed=SEED)
    # THEN it sees it
    keys, batches = len(differing_keys(lake, case, plan)), len(batches_not_merged_once(lake, case, plan))
    tried[broken.name] = (keys, batches)
    assert keys or batches, f"broken by {broken.name}, yet all {KEYS} histories of {case.name} are right"


@pytest.fixture(scope="module")
def tried(summary: list[str]) -> Iterator[dict[str, tuple[int, int]]]:
    """By break: the keys that differ and the batches that were not merged once. One line tells them all."""
    found: dict[str, tuple[int, int]] = {}
    yield found
    count = sum(any(numbers) for numbers in found.values())
    each = [f"{name} ({_told(*numbers)})" for name, numbers in found.items()]
    summary.append(f"breaks of the engine: {len(found)} tried, {count} found: {', '.join(each)}")


def _told(keys: int, batches: int) -> str:
    told = [f"{keys} keys differ" if keys else "", f"batches merged twice: {batches}" if batches else ""]
    return ", ".join(filter(None, told)) or "NOT FOUND"
