"""Every call to AWS of every function fails once, before and after it took effect; then the stack settles by itself.

Tables equal what was landed, no arrival is lost, no cluster lives and no lease is held. The points are found by
watching the scenarios, so a new call is covered without anyone remembering. `CAMPAIGN=all` strikes at each of them in
every way.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from campaign.crew import carry_out
from campaign.fault_points import DIES_AFTER, DIES_BEFORE, Place, Point, kinds_for
from campaign.one_process_cloud import ROOT
from campaign.scenarios import SCENARIOS

Strike = tuple[Point, str]


@pytest.fixture(scope="module")
def points(watched: list[dict[str, Any]]) -> list[Point]:
    """Every call of every scenario, as a run without faults makes them."""
    return [Point(**point) for answer in watched for point in answer["points"]]


def test_the_scenarios_reach_every_function(points: Sequence[Point]) -> None:
    functions = {path.parent.name for path in ROOT.glob("functions/*/*.py") if path.stem == path.parent.name}
    callers = {point.caller.partition(".")[0] for point in points}
    assert callers == functions | {"machine", "step"}


@pytest.mark.timeout(1800)  # minutes of work on a quiet machine; a busy one is no failure
def test_whatever_call_fails_the_stack_ends_in_the_same_tables(
    points: Sequence[Point], summary: list[str], tmp_path: Path
) -> None:
    # GIVEN the points, each with its ways to fail
    strikes = everything(points) if os.environ.get("CAMPAIGN") == "all" else a_share_of(points)
    # WHEN each is struck in a scenario of its own, and the stack is left to itself
    tasks: list[dict[str, Any]] = [
        {"task": "strike", "point": point.as_json(), "kind": kind} for point, kind in strikes
    ]
    answers = carry_out(tasks, tmp_path)
    # THEN it survives
    lost = [
        (point, kind, answer["wrong"] or ["was not reached"])
        for (point, kind), answer in zip(strikes, answers, strict=True)
        if answer["wrong"] or not answer["has_struck"]
    ]
    tried = {point for point, _ in strikes}
    places = {point.place for point in points}
    summary.append(
        f"crash campaign: points tried / survived: {len(tried)} / {len(tried - {point for point, _, _ in lost})}; "
        f"faults: {len(strikes)} / {len(strikes) - len(lost)}; of {len(points)} calls at {len(places)} places in the "
        f"code, found in {len(SCENARIOS)} scenarios"
    )
    not_survived = [f"{point} {kind}: {wrong}" for point, kind, wrong in lost]
    summary.extend(f"  NOT SURVIVED {line[:600]}" for line in not_survived)
    assert not_survived == []


def everything(points: Sequence[Point]) -> list[Strike]:
    """Every call, every way: for a quiet hour."""
    return [(point, kind) for point in points for kind in kinds_for(point)]


def a_share_of(points: Sequence[Point]) -> list[Strike]:
    """What fits into minutes: each place in the code dies at its first and at its last call, before and after.

    That is in the first scenario that reaches it, beginning with every day's. Before and after are the same at a call
    that only reads. The other ways to fail take turns over the places, and an eighth of what later scenarios have in
    common with earlier ones takes turns over all ways.
    """
    calls: dict[tuple[str, Place], list[Point]] = defaultdict(list)
    for point in points:
        calls[point.scenario, point.place].append(point)
    chosen: list[Strike] = []
    known: set[Place] = set()
    for turn, ((_, place), of_place) in enumerate(calls.items()):
        kinds = kinds_for(of_place[0])
        if place not in known:
            known.add(place)
            ends = (of_place[-1],) if of_place[0].only_reads else dict.fromkeys((of_place[0], of_place[-1]))
            deaths = (DIES_AFTER,) if of_place[0].only_reads else (DIES_BEFORE, DIES_AFTER)
            chosen += [(point, kind) for point in ends for kind in deaths]
            others = [kind for kind in kinds if kind not in {DIES_BEFORE, DIES_AFTER}]
            chosen += [(of_place[0], others[turn % len(others)])] if others else []
        elif turn % 8 == 0:
            chosen.append((of_place[-1], kinds[turn // 8 % len(kinds)]))
    return chosen
