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


@pytest.mark.skipif(not (ROOT / "functions" / "reap_clusters").exists(), reason="dead runs wait for reap_clusters")
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
    """What fits into minutes: in the first scenario, which is every day's, each single call dies, before and after.

    So does what only another scenario reaches, at its first or last call. The other ways to fail, and the other
    scenarios' turn at what the first one has too, go round.
    """
    everyday = next(iter(SCENARIOS))
    chosen = [(point, kind) for point in points if point.scenario == everyday for kind in (DIES_BEFORE, DIES_AFTER)]
    known = {point.place for point, _ in chosen}
    of_place: dict[tuple[str, Place], list[Point]] = defaultdict(list)
    for point in points:
        of_place[point.scenario, point.place].append(point)
    for turn, ((scenario, place), calls) in enumerate(of_place.items()):
        point = calls[0] if turn % 2 else calls[-1]
        kinds = kinds_for(point)
        if place not in known:
            chosen += [(point, DIES_BEFORE), (point, DIES_AFTER)]
            known.add(place)
        elif scenario != everyday:
            chosen.append((point, kinds[turn % len(kinds)]))
            continue
        others = [kind for kind in kinds if kind not in {DIES_BEFORE, DIES_AFTER}]
        if others:
            chosen.append((point, others[turn % len(others)]))
    return chosen
