"""The whole table: all traces under all policies, the goals and the picture. `python -m tidegate_lab --out FOLDER`."""

import argparse
import sys
import time
from pathlib import Path

from tidegate_lab.compare import DAYS, Case, rows_of, simulate_all
from tidegate_lab.draw import draw
from tidegate_lab.generate import GENERATORS
from tidegate_lab.goals import cron_cases, goals
from tidegate_lab.page import write_page
from tidegate_lab.registry import POLICIES, WHAT_IF
from tidegate_lab.words import (
    HEADER,
    bound_cells,
    cells,
    goals_markdown,
    keeps_freshness,
    markdown_table,
    prices_of_freshness,
    what_if_markdown,
)

FRESHNESSES_S = (900, 3600)
REPEATS = 8
WHAT_IF_REPEATS = 2


def cases(repeats: int, days: float) -> list[Case]:
    """Every trace under every policy; one that doesn't look at freshness is held against the longest alone."""
    return [
        Case(trace, policy, freshness_s, seed, days)
        for trace in GENERATORS
        for policy in (*POLICIES, *WHAT_IF)
        for freshness_s in (FRESHNESSES_S if keeps_freshness(policy) else FRESHNESSES_S[-1:])
        for seed in range(_repeats_of(policy, repeats))
    ]


def _repeats_of(policy: str, repeats: int) -> int:
    """A cluster a file is many times dearer than the rest: its mean needs no repeats, which would take the longest.
    What is no policy of the product is a hint, so a few do."""
    if policy == "cluster_a_file":
        return 1
    return min(repeats, WHAT_IF_REPEATS) if policy in WHAT_IF else repeats


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tidegate_lab", description=__doc__)
    parser.add_argument("--repeats", type=int, default=REPEATS, help="seeds, each with a trace of its own")
    parser.add_argument("--days", type=float, default=DAYS, help="of each trace (default: 7)")
    parser.add_argument(
        "--out", type=Path, default=Path(".tidegate/lab"), help="folder for the page, table and picture"
    )
    parser.add_argument("--docs", type=Path, help="folder of docs: its lab.md and picture are brought up to date")
    options = parser.parse_args()
    began = time.monotonic()
    results = simulate_all(cases(options.repeats, options.days))
    rows = rows_of([each for each in results if each.case.policy not in WHAT_IF])
    more = cron_cases(max(1, options.repeats // 2), options.days)
    extra = rows_of(simulate_all([each for each in more if each.freshness_s not in FRESHNESSES_S]))
    met = goals([*rows, *extra], FRESHNESSES_S)
    lines = []
    for row in rows:
        lines.append(cells(row))
        if row.policy == "tidegate":
            lines.append(bound_cells(row))
    draw(rows, options.out)
    told = "\n".join(prices_of_freshness(rows))
    parts = {"table": markdown_table(HEADER, lines), "goals": goals_markdown(met), "what if": what_if_markdown(results)}
    text = "\n".join((*parts.values(), told, ""))
    if options.docs is not None:
        write_page(options.docs, options.out, parts)
    (options.out / "table.md").write_text(text)
    sys.stdout.write(f"{text}\n{time.monotonic() - began:.0f} s; the picture is in {options.out}\n")


if __name__ == "__main__":
    main()
