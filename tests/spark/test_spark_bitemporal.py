"""bitemporal: "assertions and period deletes are never coalesced" in the history (the design)"""

from __future__ import annotations

import random
from typing import Any

from convergence.cases.bitemporal import CASE
from convergence.few_ways import land, shown, tables, wanted


def test_any_order_repetition_and_batching_give_the_same_rectangles(lake: Any) -> None:
    # GIVEN the changes of some hundred keys in four files
    entries, changes = land(lake, CASE, random.Random(5), keys=300)
    # WHEN they are merged at once, backwards and repeated
    merged = tables(lake, CASE, entries)
    # THEN every table is what plain Python says
    expected = wanted(CASE, changes)
    assert len(expected) > 300
    for table in merged:
        assert shown(lake, CASE, table) == expected, table
