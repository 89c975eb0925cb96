"""Keeps a cluster's YARN as its fleets are, lets managed scaling decide, and tells CloudWatch what it sees."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from tidegate_local.emr import instances, lifecycle, managed_scaling
from tidegate_local.emr.lifecycle import Effect, Waits
from tidegate_local.emr.managed_scaling import Limits
from tidegate_local.emr.model import GOING_UP, UP, Cluster, Fleet, InstanceState, Json, Reason, new_id
from tidegate_local.settings import Settings
from tidegate_local.yarn import figures as rest
from tidegate_local.yarn.daemons import Daemons
from tidegate_local.yarn.figures import Figures

logger = logging.getLogger("tidegate.local.yarn")

LOOK_S = 1.0
TELL_S = 15.0
"""EMR tells CloudWatch each minute; an average of a minute is made of four of these."""

_START_LIMIT_S = 120
_NOT_STARTED = Reason("BOOTSTRAP_FAILURE", "YARN did not start within two minutes: see its out.log")
_MANAGER_GONE = Reason("INTERNAL_ERROR", "The ResourceManager has ended")


class Keeps(Protocol):
    """What a keeper needs of the engine."""

    def editing(self) -> AbstractContextManager[float]: ...
    def post(self, cluster: Cluster, effects: list[Effect]) -> None: ...
    def measured(self, cluster: Cluster, values: dict[str, float]) -> None:
        """Metrics of this moment."""

    def nodes_gone(self, cluster: Cluster) -> None:
        """No process is left."""


@dataclass
class Changes:
    """What is to be done to processes."""

    start: list[str] = field(default_factory=list)
    leave: list[str] = field(default_factory=list)
    kill: list[str] = field(default_factory=list)


class Keeper:
    """A thread for one cluster, from its bootstrapping to its end."""

    def __init__(self, cluster: Cluster, settings: Settings, keeps: Keeps) -> None:
        self._cluster = cluster
        self._waits = Waits.of(settings)
        self._keeps = keeps
        self._daemons = Daemons(settings, cluster.id)
        self._leaving: set[str] = set()
        self._enough_since_s: float | None = None
        self._told_s = 0.0
        self._is_stopped = False

    def start(self) -> None:
        threading.Thread(target=self._keep, name=f"yarn-{self._cluster.id}", daemon=True).start()

    def stop(self) -> None:
        """The cloud goes down: end the daemons now."""
        self._is_stopped = True
        self._daemons.stop()

    def _keep(self) -> None:
        try:
            self._daemons.start_manager()
            while not self._is_stopped and self._look():
                time.sleep(LOOK_S)
        except Exception:
            if self._is_stopped:
                return
            logger.exception("YARN of %s can't be kept", self._cluster.id)
            with self._keeps.editing() as now_s:
                self._keeps.post(
                    self._cluster, lifecycle.terminate(self._cluster, now_s, _MANAGER_GONE, with_errors=True)
                )
        finally:
            self._daemons.stop()
            self._keeps.nodes_gone(self._cluster)

    def _look(self) -> bool:
        """One look; False when the cluster ends."""
        found = rest.read(self._daemons.web_url)
        cluster = self._cluster
        with self._keeps.editing() as now_s:
            if cluster.state not in GOING_UP | UP:
                return False
            if not self._daemons.manager_is_alive:
                self._keeps.post(cluster, lifecycle.terminate(cluster, now_s, _MANAGER_GONE, with_errors=True))
                return False
            if cluster.state in GOING_UP and now_s > cluster.state_since_s + _START_LIMIT_S:
                cluster.flaw = _NOT_STARTED
            if found is not None:
                self._settle(found, now_s)
                if cluster.state in UP and cluster.managed_scaling is not None:
                    self._scale(found, now_s, Limits.of(cluster.managed_scaling))
            changes = self._changes()
        self._carry_out(changes)
        if found is not None and found.total_mb and time.monotonic() >= self._told_s + TELL_S:
            self._told_s = time.monotonic()
            self._keeps.measured(cluster, rest.emr_metrics(found, *units_of(cluster)))
        return True

    def _settle(self, found: Figures, now_s: float) -> None:
        """What YARN says of its nodes becomes the instances' state."""
        by_address = {address: each for each, address in self._daemons.addresses.items()}
        there = {by_address[address] for address in found.working if address in by_address}
        self._cluster.used = {
            by_address[address]: node.containers for address, node in found.nodes.items() if address in by_address
        }
        for fleet in self._cluster.fleets:
            if fleet.type != "MASTER":
                instances.settle(fleet, there, now_s)
                self._replace_the_dead(fleet, now_s)

    def _replace_the_dead(self, fleet: Fleet, now_s: float) -> None:
        """A NodeManager that ended by itself is an instance that failed; EMR asks for another one."""
        for each in fleet.living():
            if each.state is InstanceState.RUNNING and not self._daemons.is_alive(each.id):
                each.end(now_s, instances.FAILED)
                fleet.resized_s = now_s + self._waits.resizing_s

    def _scale(self, found: Figures, now_s: float, limits: Limits) -> None:
        cluster = self._cluster
        core, task = cluster.fleet("CORE"), cluster.fleet("TASK")
        if core is None or (task is not None and task.resized_s is not None):
            return
        core_units = core.on_demand + core.spot
        units = core_units + (task.on_demand + task.spot if task is not None else 0)
        needed = managed_scaling.needed_units(found)
        is_enough = min(limits.maximum, max(limits.minimum, needed)) < units
        self._enough_since_s = (self._enough_since_s or now_s) if is_enough else None
        enough_for_s = now_s - self._enough_since_s if self._enough_since_s is not None else 0.0
        wanted = managed_scaling.decide_units(limits, units, needed, enough_for_s)
        if wanted == units:
            return
        self._enough_since_s = None
        target = managed_scaling.task_target(limits, wanted, core_units, core.on_demand)
        if task is None:
            task = Fleet(new_id("if"), _task_config(core), now_s, state="RUNNING")
            cluster.fleets.append(task)
        logger.info("Managed scaling of %s: %s units to %s, YARN needs %s", cluster.id, units, wanted, needed)
        lifecycle.resize(cluster, task, target.on_demand, target.spot, now_s + self._waits.resizing_s)

    def _changes(self) -> Changes:
        changes, started = Changes(), self._daemons.addresses
        for each in self._cluster.workers:
            if each.state is InstanceState.PROVISIONING and each.id not in started:
                changes.start.append(each.id)
            elif each.state is InstanceState.LEAVING and each.id not in self._leaving:
                changes.leave.append(each.id)
            elif each.state is InstanceState.TERMINATED and each.id in started:
                changes.kill.append(each.id)
        return changes

    def _carry_out(self, changes: Changes) -> None:
        for each in changes.kill:
            self._daemons.kill_node(each)
        for each in changes.start:
            self._daemons.start_node(each)
        if changes.leave:
            self._daemons.decommission(changes.leave)
            self._leaving.update(changes.leave)


def units_of(cluster: Cluster) -> tuple[int, int]:
    """Units that are asked for, and that work; without the primary."""
    fleets = [fleet for fleet in cluster.fleets if fleet.type != "MASTER"]
    return sum(fleet.on_demand + fleet.spot for fleet in fleets), sum(fleet.running() for fleet in fleets)


def _task_config(core: Fleet) -> Json:
    """A task fleet of the core fleet's types, where a cluster was made without one."""
    return {
        "Name": "task",
        "InstanceFleetType": "TASK",
        "TargetOnDemandCapacity": 0,
        "TargetSpotCapacity": 0,
        "InstanceTypeConfigs": core.config.get("InstanceTypeConfigs", []),
    }
