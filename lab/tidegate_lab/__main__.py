"""The whole table: all traces under all policies, the goals and the picture. `python -m tidegate_lab --out FOLDER`."""

import argparse
import sys
import time
from pathlib import Path

from tidegate_lab.compare import DAYS, Case, rows_of, simulate_all
from tidegate_lab.draw import draw
from tidegate_lab.generate import GENERATORS
from tidegate_lab.goals import cron_cases, goals
from tidegate_lab.registry import POLICIES, WHAT_IF
from tidegate_lab.words import (
    HEADER,
    bound_cells,
    cells,
    goals_markdown,
    keeps_freshness,
    markdown_table,
    prices_of_freshness,
)

FRESHNESSES_S = (900, 3600)


def cases(repeats: int, days: float) -> list[Case]:
    """Every trace under every policy; one that doesn't look at freshness is held against the longest alone."""
    return [
        Case(trace, policy, freshness_s, seed, days)
        for trace in GENERATORS
        for policy in (*POLICIES, *WHAT_IF)
        for freshness_s in (FRESHNESSES_S if keeps_freshness(policy) else FRESHNESSES_S[-1:])
        # A cluster a file is many times dearer than the rest: its mean needs no repeats, which would take the longest.
        for seed in range(repeats if policy != "cluster_a_file" else 1)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tidegate_lab", description=__doc__)
    parser.add_argument("--repeats", type=int, default=4, help="seeds, each with a trace of its own (default: 4)")
    parser.add_argument("--days", type=float, default=DAYS, help="of each trace (default: 7)")
    parser.add_argument(
        "--out", type=Path, default=Path(".tidegate/lab"), help="folder for the page, table and picture"
    )
    options = parser.parse_args()
    began = time.monotonic()
    rows = rows_of(simulate_all(cases(options.repeats, options.days)))
    more = rows_of(simulate_all(cron_cases(min(2, options.repeats), options.days)))
    known = {(row.trace, row.policy, row.freshness_s) for row in rows}
    extra = [row for row in more if (row.trace, row.policy, row.freshness_s) not in known]
    met = goals([*rows, *extra], FRESHNESSES_S)
    lines = []
    for row in rows:
        lines.append(cells(row))
        if row.policy == "tidegate":
            lines.append(bound_cells(row))
    draw(rows, options.out)
    told = "\n".join(prices_of_freshness(rows))
    text = f"{markdown_table(HEADER, lines)}\n{goals_markdown(met)}\n{told}\n"
    (options.out / "table.md").write_text(text)
    sys.stdout.write(f"{text}\n{time.monotonic() - began:.0f} s; the picture is in {options.out}\n")


if __name__ == "__main__":
    main()
