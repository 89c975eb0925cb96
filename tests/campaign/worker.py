"""A process that plays scenarios: `python -m campaign.worker <folder>`. Tasks and answers are lines of JSON.

Each of its kind has a cloud of its own, so that two of them use two cores.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from campaign.fault_points import Point, Watch
from campaign.loads import play_load
from campaign.one_process_cloud import OneProcessCloud
from campaign.rerun_cells import Cell, play_cell
from campaign.rights import RightsWatch
from campaign.scenarios import CONTRACTS, play, what_is_wrong

Json = dict[str, Any]


def find_points(cloud: OneProcessCloud, task: Json) -> Json:
    """Play a scenario with nothing going wrong; every call that it makes, and every right that it needs."""
    with RightsWatch(cloud, task["scenario"]) as watch:
        wrong = what_is_wrong(play(cloud, task["scenario"], watch))
    return {
        "points": [point.as_json() for point in watch.points],
        "rights": [right.as_json() for right in watch.rights],
        "wrong": wrong,
    }


def strike(cloud: OneProcessCloud, task: Json) -> Json:
    """Play a scenario with one fault at one point."""
    point = Point(**task["point"])
    watch = Watch(point.scenario, point, task["kind"])
    wrong = what_is_wrong(play(cloud, point.scenario, watch))
    return {"has_struck": watch.has_struck, "wrong": wrong, "failures": cloud.failures[-3:]}


def rerun(cloud: OneProcessCloud, task: Json) -> Json:
    """One cell of the rerun matrix."""
    return play_cell(cloud, Cell(**task["cell"]))


def count(cloud: OneProcessCloud, task: Json) -> Json:
    """What a load uses up."""
    done = play_load(cloud, task["arrivals"], task["tables"])
    return {
        "counts": [done.recorded, done.claimed, done.merged],
        "transitions": done.transitions,
        "write_units": [[*key, units] for key, units in done.meter.write_units.items()],
        "invocations": done.meter.invocations,
        "calls": [[*key, times] for key, times in done.meter.calls.items()],
    }


TASKS = {"count": count, "find points": find_points, "strike": strike, "rerun": rerun}


def main() -> None:
    """Answer tasks until there are no more."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    # Functions log and count to the standard output.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    cloud = OneProcessCloud(Path(sys.argv[1]), CONTRACTS)
    for line in sys.stdin:
        task = json.loads(line)
        try:
            answer = TASKS[task["task"]](cloud, task)
        except Exception:  # noqa: BLE001 - the campaign goes on, and shows it
            answer = {"wrong": [traceback.format_exc()[-1500:]], "has_struck": True, "points": []}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    os._exit(0)  # whatever still runs is a thread of a cloud that nobody needs


if __name__ == "__main__":
    main()
