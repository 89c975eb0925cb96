"""Cost against freshness, as a picture: a page that needs no network, and a PNG."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair as alt

from tidegate_lab.compare import Row

COLOURS = {
    "tidegate": "#d62728", "tidegate_late_claim": "#ff9896", "tidegate_lingers": "#e377c2",
    "tidegate_unlearned": "#bcbd22", "hourly_cron": "#1f77b4", "thrifty_cron": "#17becf",
    "cluster_a_file": "#9467bd", "always_on": "#7f7f7f", "serverless": "#2ca02c", "clairvoyant": "#000000",
}  # fmt: skip


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write cost_against_freshness.html and .png; a panel for each trace. Returns their paths."""
    panels = [
        _panel(trace, [row for row in rows if row.trace == trace]) for trace in dict.fromkeys(row.trace for row in rows)
    ]
    chart = alt.concat(*panels, columns=min(3, len(panels))).resolve_scale(x="independent", y="independent")
    folder.mkdir(parents=True, exist_ok=True)
    page, picture = folder / "cost_against_freshness.html", folder / "cost_against_freshness.png"
    chart.save(page, inline=True)
    chart.save(picture, scale_factor=1)
    return [page, picture]


def _panel(trace: str, rows: Sequence[Row]) -> Any:
    points = [_point(row.policy, row.freshness_s, row, "cost_usd") for row in rows]
    points += [_point("clairvoyant", row.freshness_s, row, "bound_usd") for row in rows if row.policy == "tidegate"]
    drawn = {point["policy"] for point in points}
    colours = {policy: colour for policy, colour in COLOURS.items() if policy in drawn}
    colour = alt.Color(
        "policy:N", scale=alt.Scale(domain=list(colours), range=list(colours.values())), legend=alt.Legend(title=None)
    )
    base = alt.Chart(alt.InlineData(values=points), title=trace, width=300, height=220)
    x = alt.X("p95_min:Q", title="p95 of freshness, minutes")
    y = alt.Y("usd:Q", title="$ a month", scale=alt.Scale(type="log"))
    tips = ["policy:N", "promised_min:Q", "p95_min:Q", "usd:Q", "low:Q", "high:Q"]
    return (
        base.mark_line(opacity=0.6).encode(x=x, y=y, color=colour)
        + base.mark_rule().encode(x=x, y=alt.Y("low:Q", title="$ a month"), y2="high:Q", color=colour)
        + base.mark_point(filled=True, size=60).encode(x=x, y=y, color=colour, tooltip=tips)
    )


def _point(policy: str, freshness_s: int, row: Row, figure: str) -> dict[str, Any]:
    cost = row.of[figure]
    return {
        "policy": policy,
        "promised_min": freshness_s / 60,
        "p95_min": round(row.of["p95_s"].mean / 60, 2),
        "usd": round(cost.mean, 2),
        "low": round(cost.low, 2),
        "high": round(cost.high, 2),
    }
