"""How clusters and steps go from state to state. Pure: the time and the planned faults come in, the
model is changed in place, and what is to be done outside comes back as effects.

The engine (`engine.py`) calls :func:`advance` whenever something may have changed and carries the
effects out in order.
"""

from __future__ import annotations

from dataclasses import dataclass

from tidegate_local.emr import deaths, instances
from tidegate_local.emr.model import (
    ACTIVE_STEP,
    GOING_UP,
    OVER,
    UP,
    Cluster,
    ClusterState,
    Fleet,
    InstanceState,
    Reason,
    Step,
    StepState,
)
from tidegate_local.faults import kinds
from tidegate_local.faults.plan import Faults
from tidegate_local.settings import Settings

REAL_STARTING_S = 240.0
REAL_BOOTSTRAPPING_S = 60.0
REAL_TERMINATING_S = 60.0
REAL_RESIZING_S = 180.0


@dataclass(frozen=True)
class Waits:
    """EMR's waits as the local cloud's clock has them, in seconds."""

    starting_s: float
    bootstrapping_s: float
    terminating_s: float
    resizing_s: float
    scale: float
    idle_floor_s: float

    @classmethod
    def of(cls, settings: Settings) -> Waits:
        return cls(
            settings.wait_s(REAL_STARTING_S),
            settings.wait_s(REAL_BOOTSTRAPPING_S),
            settings.wait_s(REAL_TERMINATING_S),
            settings.wait_s(REAL_RESIZING_S),
            settings.wait_scale,
            settings.idle_floor_s,
        )

    def idle_s(self, idle_timeout_s: float) -> float:
        """Never below the floor: a laptop's Lambdas take real seconds between two steps."""
        return max(self.idle_floor_s, idle_timeout_s * self.scale)


@dataclass(frozen=True)
class StartStep:
    """Start the step's process; kill it `dies_after_s` seconds later, if given, or stop it (after s, for s)."""

    step_id: str
    dies_after_s: float | None = None
    hangs: tuple[float, float] | None = None


@dataclass(frozen=True)
class KillStep:
    """End the step's process group."""

    step_id: str


@dataclass(frozen=True)
class ClusterChanged:
    """Tell EventBridge. The state is copied: by the time of telling there may be a newer one."""

    state: ClusterState
    reason: Reason


@dataclass(frozen=True)
class StepChanged:
    """Tell EventBridge."""

    step_id: str
    state: StepState


Effect = StartStep | KillStep | ClusterChanged | StepChanged


def advance(cluster: Cluster, now_s: float, waits: Waits, faults: Faults, *, busy: bool) -> list[Effect]:
    """All transitions that are due. `busy`: a process of one of the cluster's steps still runs."""
    effects: list[Effect] = []
    while True:
        before = cluster.state
        _finish_resizes(cluster, now_s)
        effects += _strike_down(cluster, now_s, faults)
        _take_spot_back(cluster, now_s, waits, faults)
        if cluster.state is ClusterState.STARTING:
            effects += _from_starting(cluster, now_s, waits, faults)
        elif cluster.state is ClusterState.BOOTSTRAPPING:
            effects += _from_bootstrapping(cluster, now_s, waits, faults)
        elif cluster.state in UP:
            effects += _while_up(cluster, now_s, waits, faults)
        elif cluster.state is ClusterState.TERMINATING:
            effects += _from_terminating(cluster, now_s, waits, faults, busy=busy)
        if cluster.state is before:
            return effects


def next_wake_s(cluster: Cluster, waits: Waits, *, busy: bool) -> float | None:
    """When, in epoch seconds, time alone will change something; None if it never will."""
    due = [fleet.resized_s for fleet in cluster.fleets if fleet.resized_s is not None]
    duration = {
        ClusterState.STARTING: waits.starting_s,
        ClusterState.BOOTSTRAPPING: waits.bootstrapping_s,
        ClusterState.TERMINATING: waits.terminating_s,
    }.get(cluster.state)
    if duration is not None and not (busy and cluster.state is ClusterState.TERMINATING):
        due.append(max(cluster.state_since_s + duration, cluster.stuck_until_s))
    ends_idle_s = _ends_idle_s(cluster, waits)
    if ends_idle_s is not None:
        due.append(ends_idle_s)
    return min(due, default=None)


def terminate(
    cluster: Cluster,
    now_s: float,
    reason: Reason,
    *,
    with_errors: bool = False,
    error: dict[str, object] | None = None,
) -> list[Effect]:
    """Begin the end: pending steps are cancelled, running ones killed. Nothing if it is over anyway."""
    if cluster.state in OVER or cluster.state is ClusterState.TERMINATING:
        return []
    cluster.ends_with_errors = with_errors
    if error:
        cluster.errors.append(dict(error))
    effects = _enter(cluster, ClusterState.TERMINATING, now_s, reason)
    for fleet in cluster.fleets:
        fleet.state, fleet.resized_s = "TERMINATING", None
    for step in cluster.steps:
        if step.state is StepState.PENDING:
            step.reason = Reason("NONE", "Job terminated")
            effects += _end_step(step, StepState.CANCELLED, now_s)
        elif step.state in ACTIVE_STEP:
            effects.append(KillStep(step.id))
    return effects


def step_ended(cluster: Cluster, step: Step, exit_code: int, now_s: float) -> list[Effect]:
    """A step's process has ended."""
    if step.state not in ACTIVE_STEP:
        return []
    if step.state is StepState.CANCEL_PENDING:
        return _end_step(step, StepState.CANCELLED, now_s)
    if cluster.state is ClusterState.TERMINATING or cluster.state in OVER:
        step.reason = Reason("NONE", "Job terminated")
        return _end_step(step, StepState.INTERRUPTED, now_s)
    if exit_code == 0:
        return _end_step(step, StepState.COMPLETED, now_s)
    step.failure = _failure_details(cluster, step, exit_code)
    effects = _end_step(step, StepState.FAILED, now_s)
    if step.action_on_failure in ("TERMINATE_CLUSTER", "TERMINATE_JOB_FLOW"):
        effects += terminate(cluster, now_s, Reason("STEP_FAILURE", "Shut down as step failed"), with_errors=True)
    elif step.action_on_failure == "CANCEL_AND_WAIT":
        for waiting in cluster.steps:
            if waiting.state is StepState.PENDING:
                waiting.reason = Reason("NONE", "Job terminated")
                effects += _end_step(waiting, StepState.CANCELLED, now_s)
    return effects


def cancel_step(step: Step, now_s: float) -> tuple[str, str, list[Effect]]:
    """CancelSteps for one step: the API's status, its reason, and what follows."""
    if step.state is StepState.PENDING:
        return "SUBMITTED", "", _end_step(step, StepState.CANCELLED, now_s)
    if step.state is StepState.RUNNING:
        step.state = StepState.CANCEL_PENDING
        return "SUBMITTED", "", [StepChanged(step.id, step.state), KillStep(step.id)]
    if step.state is StepState.CANCEL_PENDING:
        return "SUBMITTED", "", []
    return "FAILED", f"Cannot cancel step {step.id}: it is in state {step.state.value}.", []


def _from_starting(cluster: Cluster, now_s: float, waits: Waits, faults: Faults) -> list[Effect]:
    if now_s < cluster.state_since_s + waits.starting_s or _is_stuck(cluster, now_s, faults):
        return []
    if cluster.flaw is not None:
        return terminate(cluster, now_s, cluster.flaw, with_errors=True)
    fault = faults.strike(kinds.NO_CAPACITY, kinds.QUOTA, kinds.BAD_CONFIGURATION, cluster=cluster.name)
    if fault is not None:
        death = deaths.while_starting(fault["fault"], cluster)
        return terminate(cluster, now_s, death.reason, with_errors=True, error=death.error)
    for fleet in cluster.fleets:
        fleet.state = "BOOTSTRAPPING"
    instances.provide(cluster, now_s)
    return _enter(
        cluster,
        ClusterState.BOOTSTRAPPING,
        cluster.state_since_s + waits.starting_s,
        Reason(message="Running bootstrap actions"),
    )


def _from_bootstrapping(cluster: Cluster, now_s: float, waits: Waits, faults: Faults) -> list[Effect]:
    if now_s < cluster.state_since_s + waits.bootstrapping_s or _is_stuck(cluster, now_s, faults):
        return []
    if cluster.flaw is not None:
        return terminate(cluster, now_s, cluster.flaw, with_errors=True)
    if not instances.has_core(cluster):
        return []
    if faults.strike(kinds.BOOTSTRAP_FAILURE, cluster=cluster.name):
        return terminate(cluster, now_s, deaths.BOOTSTRAP_FAILED, with_errors=True)
    cluster.ready_s = now_s
    for fleet in cluster.fleets:
        fleet.state, fleet.ready_s = "RUNNING", now_s
    if any(step.state is StepState.PENDING for step in cluster.steps):
        return _enter(cluster, ClusterState.RUNNING, now_s, Reason(message="Running step"))
    return _wait(cluster, now_s, Reason(message="Cluster ready to run steps."))


def _while_up(cluster: Cluster, now_s: float, waits: Waits, faults: Faults) -> list[Effect]:
    effects: list[Effect] = []
    in_work = sum(1 for step in cluster.steps if step.state in (StepState.RUNNING, StepState.CANCEL_PENDING))
    for step in cluster.steps:
        if step.state is StepState.PENDING and in_work < cluster.concurrency:
            in_work += 1
            step.state, step.started_s = StepState.RUNNING, now_s
            effects += [StepChanged(step.id, step.state), _start(cluster, step, faults)]
    if in_work:
        if cluster.state is ClusterState.WAITING:
            effects = _enter(cluster, ClusterState.RUNNING, now_s, Reason(message="Running step")) + effects
        return effects
    if not cluster.keep_alive:
        return effects + terminate(cluster, now_s, Reason("ALL_STEPS_COMPLETED", "Steps completed"))
    if cluster.state is ClusterState.RUNNING:
        return effects + _wait(cluster, now_s, Reason(message="Cluster ready after last step completed."))
    return effects + _end_if_idle(cluster, now_s, waits)


def _end_if_idle(cluster: Cluster, now_s: float, waits: Waits) -> list[Effect]:
    ends_idle_s = _ends_idle_s(cluster, waits)
    if ends_idle_s is None or now_s < ends_idle_s:
        return []
    return terminate(cluster, now_s, Reason("ALL_STEPS_COMPLETED", "Terminated by the auto-termination policy"))


def _ends_idle_s(cluster: Cluster, waits: Waits) -> float | None:
    if cluster.state is not ClusterState.WAITING or cluster.idle_since_s is None:
        return None
    if cluster.auto_termination is None or cluster.termination_protected:
        return None
    return cluster.idle_since_s + waits.idle_s(cluster.auto_termination["IdleTimeout"])


def _from_terminating(cluster: Cluster, now_s: float, waits: Waits, faults: Faults, *, busy: bool) -> list[Effect]:
    # TERMINATED is Tidegate's proof that no driver is left, so it waits for the last process.
    if busy or now_s < cluster.state_since_s + waits.terminating_s or _is_stuck(cluster, now_s, faults):
        return []
    effects: list[Effect] = []
    for step in cluster.steps:
        if step.state in ACTIVE_STEP:
            effects += _end_step(step, StepState.INTERRUPTED, now_s)
    for fleet in cluster.fleets:
        fleet.state, fleet.ended_s = "TERMINATED", now_s
        fleet.reason = Reason("CLUSTER_TERMINATED", "Cluster was terminated")
        for each in fleet.instances:
            each.end(now_s, fleet.reason)
    cluster.ended_s = now_s
    end = ClusterState.TERMINATED_WITH_ERRORS if cluster.ends_with_errors else ClusterState.TERMINATED
    return effects + _enter(cluster, end, now_s, cluster.reason)


def _strike_down(cluster: Cluster, now_s: float, faults: Faults) -> list[Effect]:
    """What planned faults do to a cluster that lives, and to the steps that wait in it."""
    if cluster.state not in GOING_UP | UP:
        return []
    fault = faults.strike(
        kinds.LOST_NODES, kinds.INTERNAL_ERROR, kinds.ENDED_BY_HAND,
        age_s=now_s - cluster.state_since_s,
        only=lambda each: "state" in each or cluster.state in UP,
        cluster=cluster.name, state=cluster.state.value,
    )  # fmt: skip
    if fault is not None:
        reason = deaths.OF_A_LIVE_CLUSTER[fault["fault"]]
        return terminate(cluster, now_s, reason, with_errors=fault["fault"] != kinds.ENDED_BY_HAND)
    effects: list[Effect] = []
    for step in cluster.steps:
        if step.state is StepState.PENDING and faults.strike(
            kinds.STEP_CANCELLED, cluster=cluster.name, step=step.name
        ):
            effects += cancel_step(step, now_s)[2]
    return effects


def _take_spot_back(cluster: Cluster, now_s: float, waits: Waits, faults: Faults) -> None:
    """A planned loss of one Spot Instance; EMR asks for another one."""
    if cluster.state not in UP:
        return
    for fleet in cluster.fleets:
        running = [each for each in fleet.living("SPOT") if each.state is InstanceState.RUNNING]
        age_s = now_s - cluster.state_since_s
        if running and faults.strike(kinds.LOST_SPOT, age_s=age_s, cluster=cluster.name):
            running[-1].end(now_s, instances.RECLAIMED)
            fleet.resized_s = now_s + waits.resizing_s


def _is_stuck(cluster: Cluster, now_s: float, faults: Faults) -> bool:
    """Whether a planned fault holds the cluster in a state that it would leave now."""
    if cluster.state not in cluster.was_stuck_in:
        cluster.was_stuck_in.add(cluster.state)
        fault = faults.strike(kinds.STUCK, cluster=cluster.name, state=cluster.state.value)
        if fault is not None:
            cluster.stuck_until_s = now_s + fault["seconds"]
    return now_s < cluster.stuck_until_s


def _start(cluster: Cluster, step: Step, faults: Faults) -> StartStep:
    death = faults.strike(kinds.STEP_DEATH, cluster=cluster.name, step=step.name)
    hang = faults.strike(kinds.STEP_HANGS, cluster=cluster.name, step=step.name)
    return StartStep(
        step.id,
        float(death.get("after_s", 0)) if death else None,
        (float(hang.get("after_s", 0)), float(hang["seconds"])) if hang else None,
    )


def _wait(cluster: Cluster, now_s: float, reason: Reason) -> list[Effect]:
    cluster.idle_since_s = now_s
    return _enter(cluster, ClusterState.WAITING, now_s, reason)


def _enter(cluster: Cluster, state: ClusterState, now_s: float, reason: Reason) -> list[Effect]:
    cluster.state, cluster.state_since_s, cluster.reason = state, now_s, reason
    return [ClusterChanged(state, reason)]


def _end_step(step: Step, state: StepState, now_s: float) -> list[Effect]:
    step.state, step.ended_s = state, now_s
    return [StepChanged(step.id, state)]


def _finish_resizes(cluster: Cluster, now_s: float) -> None:
    for fleet in cluster.fleets:
        if fleet.resized_s is not None and now_s >= fleet.resized_s:
            fleet.state, fleet.resized_s = "RUNNING", None
            instances.provide(cluster, now_s)


def resize(cluster: Cluster, fleet: Fleet, on_demand: int | None, spot: int | None, at_s: float) -> None:
    """ModifyInstanceFleet: new targets at once, new capacity when the resize is through at `at_s`."""
    if on_demand is not None:
        fleet.config["TargetOnDemandCapacity"] = on_demand
    if spot is not None:
        fleet.config["TargetSpotCapacity"] = spot
    if cluster.state not in GOING_UP:
        fleet.state, fleet.resized_s = "RESIZING", at_s


def _failure_details(cluster: Cluster, step: Step, exit_code: int) -> dict[str, object]:
    details: dict[str, object] = {
        "Reason": "Unknown Error.",
        "Message": f"Command exited with return code {exit_code}",
    }
    if cluster.log_uri:
        details["LogFile"] = f"{cluster.log_uri.rstrip('/')}/{cluster.id}/steps/{step.id}/stderr.gz"
    return details
