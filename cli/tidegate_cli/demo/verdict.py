"""Whether the tables are what pandas says they must be. Pure but for the query that is handed in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from tidegate_cli.demo.plan import Check

Rows = Sequence[tuple[object, ...]]


@dataclass(frozen=True)
class Verdict:
    """What came of one check."""

    check: Check
    rows: int
    differences: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        return not self.differences


def judge(checks: Sequence[Check], tables: dict[str, pd.DataFrame], query: Callable[[str], Rows]) -> list[Verdict]:
    """Run every check."""
    return [_verdict(check, check.answer(tables), query(check.sql)) for check in checks]


def _verdict(check: Check, wanted: Rows, found: Rows) -> Verdict:
    differences = [
        f"the table has {theirs}, pandas has {ours}"
        for ours, theirs in zip(wanted, found, strict=False)
        if tuple(ours) != tuple(theirs)
    ]
    if len(wanted) != len(found):
        differences.append(f"the table has {len(found)} lines, pandas has {len(wanted)}")
    return Verdict(check, len(found), tuple(differences))
