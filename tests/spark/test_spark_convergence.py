""" "Any order, repetition and batching of the same arrivals give the same table." (the design)

Every key is a case of its own, so a few merges try thousands of histories. Another seed, or more keys a strategy:
`make converge SEED=7 KEYS=50000 STRATEGY=cdc`.
"""

from __future__ import annotations

import math
import os
from typing import Any

import pytest
from convergence.campaign import batches_not_merged_once, carry_out, differing_keys
from convergence.cases import append, bitemporal, cdc, partial, scd2, upsert
from convergence.histories import KeyedCase
from convergence.scatter import scatter
from readers import readers_that_differ

SEED = int(os.environ.get("CONVERGENCE_SEED", "1"))
KEYS = int(os.environ.get("CONVERGENCE_KEYS", "20000"))
"""Histories of each strategy: its variants share them."""
CASES = (
    *(append.CASE, upsert.CASE, cdc.CASE, cdc.CASE.marked, cdc.BY_ARRIVAL, partial.CASE, partial.IGNORE_NULLS),
    *(scd2.CASE, scd2.CASE.marked, bitemporal.CASE),
)
_SHOWN_DIFFERENCES = 3


def _strategy(case: KeyedCase) -> str:
    return str(case.contract["merge"]["strategy"])


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_any_order_repetition_and_batching_give_the_same_table(
    case: KeyedCase, lake: Any, monkeypatch: pytest.MonkeyPatch, summary: list[str]
) -> None:
    # GIVEN the changes of many keys, scattered over versions of files, which land in any order, some of them again
    keys = math.ceil(KEYS / sum(_strategy(other) == _strategy(case) for other in CASES))
    plan = scatter(case, SEED, keys)
    # WHEN batches die between two of their commits or after the last, and come again
    crashes = carry_out(lake, case, plan, monkeypatch, seed=SEED)
    # THEN every key is what plain Python says
    differences = differing_keys(lake, case, plan)
    assert not differences, f"seed {SEED}: {len(differences)} of {keys} keys differ:\n" + "\n".join(
        differences[:_SHOWN_DIFFERENCES]
    )
    # AND engines that are not ours read the same
    assert not (others := readers_that_differ(lake, case.name)), "\n".join(others)
    # AND every batch is one commit
    assert not (wrong := batches_not_merged_once(lake, case, plan)), "\n".join(wrong)
    summary.append(f"{case.name}: {keys} histories in {len(plan.batches)} batches, {crashes}")
