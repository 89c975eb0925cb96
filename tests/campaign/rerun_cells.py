"""The rerun matrix: in which state an execution failed, of what, what happened meanwhile, and how it was run again."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from campaign.one_process_cloud import OneProcessCloud, Task, definition_with, execution_error
from campaign.scenarios import World, what_is_wrong

Json = dict[str, Any]

FAIL, ABORT, TIME_OUT, TASK_TIME_OUT, CLUSTER_LOST = "fail", "abort", "time-out", "task time-out", "cluster lost"
KINDS = (FAIL, ABORT, TIME_OUT, TASK_TIME_OUT, CLUSTER_LOST)
NOTHING, REAPER, DEPLOYMENT = "", "after the reaper", "after a deployment"
MEANWHILE = (NOTHING, REAPER, DEPLOYMENT)
REDRIVE, NEW_EXECUTION = "redrive", "new execution"
RERUNS = (REDRIVE, NEW_EXECUTION)

MERGED_ONCE, WENT_THROUGH, DOES_NOT_HAPPEN = "merged once", "went through by itself", "does not happen"
NEW_STATE = "Here begins the new version"
LOST_ANSWER_BEFORE = {"Assess failure", "Terminate failed cluster", "Fail run"}
"""States of the failure path: the way there is a cluster whose creation got no answer, each time."""

RUN_INPUT = {"run": "night", "tables": ["airlines", "clicks"], "reason": "the matrix"}


@dataclass(frozen=True)
class Cell:
    """One cell of the matrix."""

    state: str
    kind: str
    meanwhile: str
    rerun: str

    def as_json(self) -> Json:
        return asdict(self)


def task_states() -> list[str]:
    """Every Task of the machine's definition, in its order, those inside of a Map too."""
    return _tasks_of(json.loads(definition_with({}))["States"])


def _tasks_of(states: Mapping[str, Json]) -> list[str]:
    found = []
    for name, state in states.items():
        if state["Type"] == "Task":
            found.append(name)
        found += _tasks_of(state.get("ItemProcessor", {}).get("States", {}))
    return found


def cells() -> list[Cell]:
    """All of them."""
    return [Cell(*each) for each in itertools.product(task_states(), KINDS, MEANWHILE, RERUNS)]


class Trouble:
    """What goes wrong in a state, until somebody runs the execution again."""

    def __init__(self, world: World, cell: Cell) -> None:
        self._world, self._cell = world, cell
        self.is_on = True
        self.has_come = False

    def intercept_task(self, task: Task) -> Any:
        if self.is_on and task.state == "Create cluster" and self._cell.state in LOST_ANSWER_BEFORE:
            task.begin()
            raise execution_error("EMR.InternalServerErrorException", "The answer was lost")
        is_here = task.state == self._cell.state and (not self.has_come or self._cell.kind == FAIL)
        if not self.is_on or not is_here:
            return task.call()
        return self._strike(task)

    def _strike(self, task: Task) -> Any:
        kind, cloud = self._cell.kind, self._world.cloud
        if kind == CLUSTER_LOST:
            if not cloud.live_clusters() and not task.resource.endswith("createCluster"):
                return task.call()
            answer = task.call() if task.resource.endswith("createCluster") else None
            self.has_come = True
            cloud.lose_clusters()
            return answer or task.call()
        self.has_come = True
        if kind == FAIL:
            raise execution_error("Broken" if task.resource == "lambda" else "EMR.InternalServerErrorException", "{}")
        if kind == TASK_TIME_OUT:
            task.begin()
            raise execution_error("States.Timeout", "The task ran longer than its TimeoutSeconds")
        if kind == ABORT:
            cloud.steps.stop_execution(executionArn=task.execution_arn)
        else:
            cloud.time_out(task.execution_arn)
        # The request is on its way: it takes effect although nobody waits for its answer.
        return task.call()


def play_cell(cloud: OneProcessCloud, cell: Cell) -> Json:
    """Let the execution fail, run it again, and look. `outcome` is for the matrix, `wrong` must be empty."""
    cloud.reset()
    world = World(cloud)
    trouble = Trouble(world, cell)
    cloud.step, cloud.intercept_task = world.step, trouble.intercept_task
    world.land("airlines/a.csv")
    world.land("clicks/a.csv")
    cloud.deliver()
    arn = world.start(RUN_INPUT, "night-1")
    cloud.wait_executions()
    cloud.wait_late_calls()
    if not trouble.has_come:
        return {"outcome": DOES_NOT_HAPPEN, "wrong": []}
    went_through = cloud.execution(arn)["status"] == "SUCCEEDED"
    trouble.is_on = False
    old = cloud.functions.version
    if cell.meanwhile == REAPER:
        cloud.wait_clusters_to_end()
        cloud.tick()
    if cell.meanwhile == DEPLOYMENT:
        cloud.deploy_again(_with_new_state)
    entered_before = len(cloud.entered(arn))
    if cell.rerun == NEW_EXECUTION:
        arn, entered_before = world.start(RUN_INPUT, "night-2"), 0
    elif not went_through:
        cloud.steps.redrive_execution(executionArn=arn)
    cloud.wait_executions()
    cloud.wait_clusters_to_end()
    wrong = what_is_wrong(world)
    execution = cloud.execution(arn)
    if execution["status"] != "SUCCEEDED":
        wrong.append(f"the execution is {execution['status']}: {execution.get('error')} {execution.get('cause')}"[:800])
    wrong += _wrong_version(cloud, cell, old, cloud.entered(arn)[entered_before:])
    # It stays so, whatever the schedules find.
    world.settle()
    wrong += [f"later: {each}" for each in what_is_wrong(world) if each not in wrong]
    return {"outcome": WENT_THROUGH if went_through else MERGED_ONCE, "wrong": wrong}


def _with_new_state(definition: str) -> str:
    """A new version of the machine, which can be told from the old one."""
    document = json.loads(definition)
    document["States"][NEW_STATE] = {"Type": "Pass", "Next": document["StartAt"]}
    document["StartAt"] = NEW_STATE
    return json.dumps(document)


def _wrong_version(cloud: OneProcessCloud, cell: Cell, old: int, entered: list[str]) -> list[str]:
    """A redriven execution goes on with its own definition and functions, a new one takes the new ones."""
    if cell.meanwhile != DEPLOYMENT:
        return []
    is_new = cell.rerun == NEW_EXECUTION
    wrong = [] if (NEW_STATE in entered) == is_new else [f"the {cell.rerun} went {entered}"]
    called = {version for name, version in cloud.functions.called if name in {"plan_run", "settle_run"}}
    expected = {cloud.functions.version if is_new else old}
    return wrong + ([] if called <= expected else [f"the {cell.rerun} called the functions' versions {called}"])
