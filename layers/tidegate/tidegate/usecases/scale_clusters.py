"""Look at the clusters: move the limits of managed scaling, and wait no longer for instances than there is time."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from tidegate.clusters import Cluster
from tidegate.errors import ScalingRefused, Throttled
from tidegate.group_progress import progress_of
from tidegate.late_capacity import Capacity, Need, decide_on_capacity
from tidegate.launches import LAUNCH_OPTIONS
from tidegate.ports import Clusters, Ledger, Objects, Readings
from tidegate.rates import Rates
from tidegate.readings import Metrics, Progress, late_by_s, left_unit_s
from tidegate.run_size import CAPS, first_limit
from tidegate.runs import Run
from tidegate.scaling import ScalingDecision, ScalingState, decide_scaling
from tidegate.scaling_record import LookAction, ScalingLook
from tidegate.sizing import first_limits
from tidegate.usecases.take_rates import take_rates

UP = frozenset({"RUNNING", "WAITING"})
COMING = frozenset({"STARTING", "BOOTSTRAPPING"})

Json = dict[str, Any]


@dataclass(frozen=True)
class ScalePorts:
    """What scaling needs from outside."""

    ledger: Ledger
    objects: Objects
    clusters: Clusters
    readings: Readings
    stack: str
    control_bucket: str


@dataclass(frozen=True)
class Scaled:
    """What came of a look at all clusters. `late_by_s` is of the run that is latest; 0 if none is."""

    looks: Mapping[str, ScalingLook]
    """By run."""
    failed: Mapping[str, str]
    """Why a run's cluster could not be looked at or changed. The next look tries again."""
    late_by_s: float

    @property
    def changes(self) -> int:
        return sum(look.action != "hold" for look in self.looks.values())


def clusters_named(event: Any) -> frozenset[str] | None:
    """The clusters that an alarm's event is about; None if it names none, and then it may be about any.

    Of an alarm over many clusters by Metrics Insights a contributor says which it is; of any other, its metrics do.
    Source: Amazon CloudWatch User Guide, "Alarm events and EventBridge".
    """
    detail = event.get("detail") if isinstance(event, Mapping) else None
    if not isinstance(detail, Mapping):
        return None
    attributes = _at(detail, "alarmContributor", "attributes")
    dimensions = [attributes] if isinstance(attributes, Mapping) else []
    metrics = _at(detail, "configuration", "metrics")
    for each in metrics if isinstance(metrics, Sequence) else ():
        found = _at(each, "metricStat", "metric", "dimensions")
        dimensions += [found] if isinstance(found, Mapping) else []
    named = frozenset(str(each["JobFlowId"]) for each in dimensions if "JobFlowId" in each)
    return named or None


def _at(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def scale_clusters(only: frozenset[str] | None, *, ports: ScalePorts, now: datetime) -> Scaled:
    """Decide about the cluster of each live run, `only` these of them, and carry it out. Doing it twice does no harm.

    One run's trouble stops no other's look. Raises Throttled if not even the runs could be read.
    """
    runs = {run.cluster_name: run for run in ports.ledger.running_runs() if run.state == "running" and run.cluster_name}
    if not runs:
        return Scaled({}, {}, 0.0)
    found = [
        (runs[each.name], each)
        for each in ports.clusters.of_stack(ports.stack)
        if each.is_ours and each.name in runs and (only is None or each.cluster_id in only)
    ]
    up = [cluster.cluster_id for _, cluster in found if cluster.state in UP]
    metrics = ports.readings.of(up, now) if up else {}
    looks: dict[str, ScalingLook] = {}
    failed: dict[str, str] = {}
    for run, cluster in found:
        try:
            if cluster.state in UP:
                looks[run.run_id] = _look_at_work(run, cluster, metrics.get(cluster.cluster_id), ports, now)
            elif cluster.state in COMING:
                looks[run.run_id] = _look_at_start(run, cluster, ports, now)
        except (ScalingRefused, Throttled) as trouble:
            failed[run.run_id] = str(trouble)
    return Scaled(looks, failed, max([0.0, *(look.late_by_s or 0.0 for look in looks.values())]))


def _look_at_work(run: Run, cluster: Cluster, metrics: Metrics | None, ports: ScalePorts, now: datetime) -> ScalingLook:
    known, seen = _state_of(run, cluster, ports)
    progress, _ = _progress(run, ports, now)
    decision = decide_scaling(replace(known, caps=CAPS, launch=run.launch), metrics, progress, now)
    if decision.action != "hold":
        # Before it is written: whoever dies here decides the same again, and to set the same limits does no harm.
        ports.clusters.scale(cluster.cluster_id, decision.limits)
    look = _seen(known, decision, metrics, progress, now)
    ports.ledger.record_scaling(run.run_id, look, decision.state, seen)
    return look


def _look_at_start(run: Run, cluster: Cluster, ports: ScalePorts, now: datetime) -> ScalingLook:
    """A cluster whose instances don't come in time is ended, for the launch option that is written down before."""
    known, seen = _state_of(run, cluster, ports)
    progress, rates = _progress(run, ports, now)
    left = progress or Progress(at=now)
    need = Need(left.deadline, rates.start_up_s, left_unit_s(left), left.overhead_s)
    capacity = Capacity(cluster.created_at, run.launch, run.launches, has_instances=cluster.state != "STARTING")
    decision = decide_on_capacity(capacity, need, run.units, now)
    action: LookAction = "hold"
    if decision.step == "next_option" and ports.ledger.order_launch(run, cluster.name, decision.launch):
        ports.clusters.end(cluster.cluster_id)
        action = "relaunch"
    look = ScalingLook(
        now,
        cluster.cluster_id,
        action,
        decision.reason,
        known.limits.maximum_units,
        total_bytes=progress.total_bytes if progress is not None else None,
        deadline=need.deadline,
    )
    ports.ledger.record_scaling(run.run_id, look, known, seen)
    return look


def _state_of(run: Run, cluster: Cluster, ports: ScalePorts) -> tuple[ScalingState, str]:
    """With which a look begins: where the last one left it, or with the limits that the cluster was made with."""
    known, seen = ports.ledger.scaling_state(run.run_id)
    if known is None or known.cluster_id != cluster.cluster_id:
        limits = first_limits(first_limit(run.units, CAPS), LAUNCH_OPTIONS[run.launch])
        known = ScalingState(cluster.cluster_id, limits, CAPS)
    return known, seen


def _seen(
    before: ScalingState, decision: ScalingDecision, metrics: Metrics | None, progress: Progress | None, now: datetime
) -> ScalingLook:
    measured = metrics or Metrics(before.cluster_id, now)
    units = measured.units_running if measured.units_running is not None else before.limits.maximum_units
    return ScalingLook(
        at=now,
        cluster_id=before.cluster_id,
        action=decision.action,
        reason=decision.reason,
        maximum_units=decision.limits.maximum_units,
        maximum_on_demand_units=decision.limits.maximum_on_demand_units,
        units_requested=measured.units_requested,
        units_running=measured.units_running,
        memory_available_percent=measured.memory_available_percent,
        pending_ratio=measured.pending_ratio,
        done_bytes=progress.done_bytes if progress is not None else None,
        total_bytes=progress.total_bytes if progress is not None else None,
        deadline=progress.deadline if progress is not None else None,
        late_by_s=late_by_s(progress, units, now) if progress is not None else None,
    )


def _progress(run: Run, ports: ScalePorts, now: datetime) -> tuple[Progress | None, Rates]:
    """How far the round is that the run is at, and the rates of its tables."""
    works = _documents(f"s3://{ports.control_bucket}/runs/{run.run_id}/{run.attempt}/", ports.objects)
    told = _documents(f"s3://{ports.control_bucket}/progress/{run.run_id}/{run.attempt}/", ports.objects)
    tables = sorted({str(batch["table"]) for work in works for batch in work["batches"]})
    rates: Rates = take_rates(ports.ledger, tables, now)
    return progress_of(works, {each["group"]: each for each in told}, rates, now), rates


def _documents(prefix: str, objects: Objects) -> list[Json]:
    """What is below a prefix. One that is just being written over may be gone for a moment: then it is left out."""
    found = [objects.read(uri) for uri in objects.names(prefix)]
    return [json.loads(text) for text in found if text is not None]
