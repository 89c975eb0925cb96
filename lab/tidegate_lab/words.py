"""The figures in words and lines: what a freshness costs, and tables for the terminal and for docs/."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean

from tidegate.rates import MERGE_OVERHEAD_S, START_UP_S

from tidegate_lab.compare import Estimate, Result, Row
from tidegate_lab.goals import Goal
from tidegate_lab.policies.situation import TICK_S
from tidegate_lab.registry import WHAT_IF

LEAST_FRESHNESS_S = int(START_UP_S + MERGE_OVERHEAD_S + TICK_S)
"""What a cluster that has to be started can keep: its start-up, a small merge and the schedule's minute."""

HEADER = ("trace", "policy", "freshness", "$ a month", "p50", "p95", "p99", "late files", "late periods",
          "cluster h", "start-ups", "wasted")  # fmt: skip


def cells(row: Row) -> tuple[str, ...]:
    """A row of the table, as HEADER has it."""
    of = row.of
    promised = short(row.freshness_s) if keeps_freshness(row.policy) else "-"
    return (
        row.trace,
        row.policy,
        promised,
        dollars(of["cost_usd"]),
        *(minutes(of[name].mean) for name in ("p50_s", "p95_s", "p99_s")),
        f"{of['missed_arrivals'].mean:.2%}" if promised != "-" else "-",
        f"{of['missed_periods'].mean:.2%}" if promised != "-" else "-",
        f"{of['cluster_hours'].mean:,.0f}",
        f"{of['start_ups'].mean:,.0f}",
        f"{of['wasted'].mean:.0%}",
    )


def bound_cells(row: Row) -> tuple[str, ...]:
    """The clairvoyant scheduler's row beside one of Tidegate's."""
    return (row.trace, "clairvoyant", short(row.freshness_s), dollars(row.of["bound_usd"]), *("-",) * 8)


def keeps_freshness(policy: str) -> bool:
    """Whether the policy looks at what is promised; the others do what they do."""
    return policy.startswith(("tidegate", "serverless"))


def dollars(cost: Estimate) -> str:
    """`46.40 ± 0.8`: half the 95 % interval."""
    return f"{cost.mean:,.2f} ± {(cost.high - cost.low) / 2:,.2f}"


def minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min"


def short(seconds: int) -> str:
    """`15 min`, `1 h`."""
    return f"{seconds // 3600} h" if seconds % 3600 == 0 else f"{seconds / 60:g} min"


def prices_of_freshness(rows: Sequence[Row]) -> list[str]:
    """`15 min instead of 1 h costs you $41 a month`, for each trace and each two neighbouring freshnesses."""
    told = []
    for trace in dict.fromkeys(row.trace for row in rows):
        mine = sorted(
            (row for row in rows if row.trace == trace and row.policy == "tidegate"), key=lambda row: -row.freshness_s
        )
        for longer, shorter in pairwise(mine):
            more = shorter.of["cost_usd"].mean - longer.of["cost_usd"].mean
            verb = f"costs you ${more:,.0f}" if more >= 0 else f"saves you ${-more:,.0f}"
            told.append(f"{trace}: {short(shorter.freshness_s)} instead of {short(longer.freshness_s)} {verb} a month.")
    return told


def warnings(freshnesses_s: Sequence[int]) -> list[str]:
    """Freshnesses that no cluster can keep which has to be started first."""
    return [
        f"{short(freshness_s)} can't be kept: a start-up, a small merge and the schedule's minute are"
        f" {short(LEAST_FRESHNESS_S)}."
        for freshness_s in sorted(freshnesses_s)
        if freshness_s < LEAST_FRESHNESS_S
    ]


def markdown_table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table as docs/ has it."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, ["---"] * len(header), *lines)) + "\n"


def what_if_markdown(results: Sequence[Result]) -> str:
    """What each change would cost, against the product on the same seeds, and the table-periods that were late then."""
    outcomes = {
        (each.case.trace, each.case.freshness_s, each.case.policy, each.case.seed): each.outcome for each in results
    }
    lines = []
    for trace, freshness_s in dict.fromkeys(
        (trace, freshness_s) for trace, freshness_s, policy, _ in outcomes if policy in WHAT_IF
    ):
        cells = []
        for name in WHAT_IF:
            seeds = [seed for *rest, seed in outcomes if tuple(rest) == (trace, freshness_s, name)]
            changed = [outcomes[trace, freshness_s, name, seed] for seed in seeds]
            product = [outcomes[trace, freshness_s, "tidegate", seed] for seed in seeds]
            more = fmean(each.cost_usd for each in changed) / fmean(each.cost_usd for each in product) - 1
            late = [fmean(each.missed_periods for each in of) for of in (product, changed)]
            cells.append(f"{more:+.0%}, late {late[0]:.2%} → {late[1]:.2%}")
        lines.append((trace, short(freshness_s), *cells))
    return markdown_table(("trace", "freshness", *WHAT_IF), lines)


def goals_markdown(goals: Sequence[Goal]) -> str:
    return markdown_table(
        ("against", "trace", "goal", "in the lab", "met"),
        [(goal.against, goal.trace, goal.goal, goal.figure, "yes" if goal.is_met else "**no**") for goal in goals],
    )
