"""A cluster whose units move while it works: managed scaling within limits that the product's `decide_scaling` moves.

Work is a fluid: each step group has its overhead, then unit-seconds, and groups at the same time share the units by
what they can use. Managed scaling asks for what is used, within its limits; a machine comes `scale_out_s` later and is
paid from the moment that it is asked for. Each minute the product looks, with the metrics and the progress that it
would see: `progress_of` reads documents as the job writes them.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from tidegate.group_progress import progress_of
from tidegate.launches import LAUNCH_OPTIONS
from tidegate.rates import Rates
from tidegate.readings import Metrics
from tidegate.run_size import CAPS, first_limit
from tidegate.scaling import ScalingState, decide_scaling
from tidegate.sizing import first_limits
from tidegate.spark_settings import CORES_A_UNIT, PARTITION_BYTES

from tidegate_lab.bills import Usage
from tidegate_lab.clusters import Cluster, Process
from tidegate_lab.outcome import Life, Record
from tidegate_lab.traces import Arrival

LOOK_S = 60.0
"""Of the product's schedule for scale_cluster."""

_UNIT_BYTES = CORES_A_UNIT * PARTITION_BYTES
"""What keeps one unit's cores at work."""

_LEAST_S = 1e-6


@dataclass
class Group:
    """One step: the batches of one Spark application. `left_s` is in unit-seconds."""

    name: str
    batches: Mapping[str, Sequence[Arrival]]
    deadlines: Mapping[str, datetime]
    work_s: float = 0.0
    left_s: float = 0.0
    works_from_s: float = math.inf
    began_s: float = 0.0
    is_through: bool = False

    @cached_property
    def size_bytes(self) -> int:
        return sum(arrival.size_bytes for batch in self.batches.values() for arrival in batch)

    @cached_property
    def files(self) -> int:
        return sum(len(batch) for batch in self.batches.values())

    @cached_property
    def most_units(self) -> float:
        """As many as have something to read; a batch of many files has at least a file a core."""
        return max(1.0, self.size_bytes / _UNIT_BYTES, min(self.files / 32, 4.0))


@dataclass
class ScaledCluster(Cluster):
    """`start` of the moment from which seconds are counted, and whom to tell when a group is through."""

    start_at: datetime = field(kw_only=True)
    steps_at_once: int = field(kw_only=True, default=1)
    now_units: int = field(init=False)
    coming: list[tuple[float, int]] = field(init=False, default_factory=list)
    peak_units: int = field(init=False)
    task_s: float = field(init=False, default=0.0)
    unit_s: float = field(init=False, default=0.0)
    _counted_s: float = field(init=False)
    _is_spare_since: float | None = field(init=False, default=None)
    _state: ScalingState = field(init=False)
    looks: int = field(init=False, default=0)
    raises: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.now_units = self.peak_units = self.units
        self._counted_s = self.env.now
        limits = first_limits(first_limit(self.units, CAPS), LAUNCH_OPTIONS[0])
        self._state = ScalingState("lab", limits, CAPS)

    def work(self, groups: Sequence[Group], known: Rates, record: Record, learn: Any) -> Process:
        """Merge a round's groups. `learn(group)` is called when one is through."""
        waiting, active = deque(groups), list[Group]()
        while waiting or active:
            while waiting and len(active) < self.steps_at_once:
                active.append(self._begun(waiting.popleft()))
            working = [group for group in active if group.works_from_s <= self.env.now]
            speed = self._speed(working)
            until_s = min(
                [group.works_from_s for group in active if group.works_from_s > self.env.now]
                + [self.env.now + group.left_s / self._share(group, speed) for group in working]
                + [at_s for at_s, _ in self.coming]
                + [(self.env.now // LOOK_S + 1) * LOOK_S]
            )
            took_s = max(0.0, until_s - self.env.now)
            yield self.env.timeout(took_s)
            self._count()
            used = sum(self._share(group, speed) for group in working)
            is_in_overhead = len(working) < len(active) and not working
            self.busy_unit_s += took_s * (used or (1.0 if is_in_overhead else 0.0))
            for group in working:
                group.left_s -= took_s * self._share(group, speed)
                if group.left_s <= _LEAST_S:
                    self._end_group(group, record)
                    active.remove(group)
                    learn(group)
            self._take_what_has_come()
            if self.env.now % LOOK_S == 0 and active:
                self._look(groups, known)
                self._follow(active)

    def _begun(self, group: Group) -> Group:
        group.began_s = self.env.now
        group.works_from_s = self.env.now + self.rates.step_overhead_s.draw(self.stream)
        rate = self.rates.merge_bytes_per_s.draw(self.stream)
        work_s = self.rates.work_s(group.files, group.size_bytes, rate)
        group.work_s = group.left_s = max(_LEAST_S, self.with_losses_s(work_s))
        return group

    def _end_group(self, group: Group, record: Record) -> None:
        group.is_through = True
        group.left_s = 0.0
        for batch in group.batches.values():
            record.merged += [(arrival, self.env.now) for arrival in batch]

    def _speed(self, working: Sequence[Group]) -> float:
        """Of a unit that a group could use, the part that it gets."""
        wanted = sum(group.most_units for group in working)
        return min(1.0, self.now_units / wanted) if wanted else 0.0

    @staticmethod
    def _share(group: Group, speed: float) -> float:
        return speed * group.most_units

    def _take_what_has_come(self) -> None:
        for at_s, units in [each for each in self.coming if each[0] <= self.env.now]:
            self.coming.remove((at_s, units))
            self.now_units += units
            self.peak_units = max(self.peak_units, self.now_units)

    def _follow(self, active: Sequence[Group]) -> None:
        """Managed scaling: up to what the work can use, down when that has been less for two looks."""
        working = [group for group in active if group.works_from_s <= self.env.now]
        wanted = math.ceil(sum(group.most_units for group in working))
        target = max(self._state.limits.minimum_units, min(wanted, self._state.limits.maximum_units))
        asked = self.now_units + sum(units for _, units in self.coming)
        if target > asked and working:
            self.coming.append((self.env.now + self.rates.scale_out_s, target - asked))
            self._is_spare_since = None
        elif target < self.now_units:
            if self._is_spare_since is None:
                self._is_spare_since = self.env.now
            elif self.env.now - self._is_spare_since >= LOOK_S:
                self.now_units = max(1, target)
                self._is_spare_since = None
        else:
            self._is_spare_since = None

    def _look(self, groups: Sequence[Group], known: Rates) -> None:
        """As `scale_clusters` looks at a running cluster."""
        now = self.start_at + timedelta(seconds=self.env.now)
        active = [group for group in groups if not group.is_through and group.works_from_s < math.inf]
        working = [group for group in active if group.works_from_s <= self.env.now]
        wanted = sum(group.most_units for group in working)
        used = min(1.0, wanted / self.now_units)
        metrics = Metrics(
            "lab",
            now,
            memory_available_percent=100 * (1 - used),
            pending_ratio=max(0.0, wanted - self.now_units) / self.now_units,
            apps_pending=0.0,
            units_requested=self.now_units + sum(units for _, units in self.coming),
            units_running=self.now_units,
        )
        told = {group.name: self._told(group, now) for group in groups if group.works_from_s <= self.env.now}
        progress = progress_of([_work_file(group) for group in groups], told, known, now)
        decision = decide_scaling(self._state, metrics, progress, now)
        self._state = decision.state
        self.looks += 1
        self.raises += decision.action == "raise"

    def _told(self, group: Group, now: datetime) -> dict[str, Any]:
        """As the job tells its progress: what is read comes first, then the shuffle."""
        done = 1 - group.left_s / group.work_s
        return {
            "at": now.isoformat(),
            "done": [[table, 1] for table in group.batches] if group.is_through else [],
            "input_bytes": int(min(1.0, 2 * done) * group.size_bytes),
            "core_s": (group.work_s - group.left_s) * CORES_A_UNIT,
            "busy_cores": 0 if group.is_through else int(min(group.most_units, self.now_units) * CORES_A_UNIT),
            "shuffles": not group.is_through,
        }

    def _count(self) -> None:
        """Add up the units that are paid for: those there are, and those that were asked for."""
        took_s = self.env.now - self._counted_s
        coming = sum(units for _, units in self.coming)
        self.unit_s += took_s * (self.now_units + coming)
        self.task_s += took_s * (self.now_units - 1 + coming)
        self._counted_s = self.env.now

    def end(self, record: Record) -> None:
        self._count()
        wall_s = self.env.now - self.requested_s
        usage = [Usage(name, "on_demand", wall_s) for name in self.machines.base]
        if self.task_s:
            usage.append(Usage(self.machines.task_type, self._market, self.task_s))
        record.lives.append(
            Life(tuple(usage), wall_s, self.unit_s, min(self.busy_unit_s, self.unit_s), self.requested_s)
        )


def _work_file(group: Group) -> dict[str, Any]:
    """As Plan run and Claim more write it, as far as progress is about it."""
    return {
        "group": group.name,
        "batches": [
            {
                "table": table,
                "batch": 1,
                "action": "merge",
                "size_bytes": sum(arrival.size_bytes for arrival in batch),
                "files": len(batch),
                "deadline": group.deadlines[table].isoformat(),
            }
            for table, batch in group.batches.items()
        ],
    }
