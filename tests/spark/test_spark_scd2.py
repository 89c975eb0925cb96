"""scd2: "intervals are rebuilt for the touched keys from `<table>__history`, which keeps every change" (the design)"""

from __future__ import annotations

import random
from typing import Any

from convergence.cases.scd2 import CASE
from convergence.few_ways import land, shown, tables, wanted


def test_any_order_repetition_and_batching_give_the_same_intervals(lake: Any) -> None:
    # GIVEN the changes of some hundred keys in five files
    entries, changes = land(lake, CASE, random.Random(5), keys=400)
    # WHEN they are merged at once, one by one, backwards and repeated
    merged = tables(lake, CASE, entries)
    # THEN every table is what plain Python says
    expected = wanted(CASE, changes)
    assert len(expected) > 400
    for table in merged:
        assert shown(lake, CASE, table) == expected, table
