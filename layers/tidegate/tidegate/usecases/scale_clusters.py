"""Look at the clusters that are up, and move the limits of managed scaling."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from tidegate.clusters import Cluster
from tidegate.errors import ScalingRefused, Throttled
from tidegate.group_progress import progress_of
from tidegate.launches import LAUNCH_OPTIONS
from tidegate.ports import Clusters, Ledger, Objects, Readings
from tidegate.rates import Rates
from tidegate.readings import Metrics, Progress, late_by_s
from tidegate.run_size import CAPS, first_limit
from tidegate.runs import Run
from tidegate.scaling import ScalingDecision, ScalingState, decide_scaling
from tidegate.scaling_record import ScalingLook
from tidegate.sizing import first_limits
from tidegate.usecases.take_rates import take_rates

UP = frozenset({"RUNNING", "WAITING"})

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
    """Decide about each cluster that is up, `only` these of them, and carry it out. Doing it twice changes nothing.

    One run's trouble stops no other's look. Raises Throttled if not even the runs could be read.
    """
    runs = {run.cluster_name: run for run in ports.ledger.running_runs() if run.state == "running" and run.cluster_name}
    if not runs:
        return Scaled({}, {}, 0.0)
    found = [
        (runs[each.name], each)
        for each in ports.clusters.of_stack(ports.stack)
        if each.is_ours and each.name in runs and each.state in UP and (only is None or each.cluster_id in only)
    ]
    metrics = ports.readings.of([cluster.cluster_id for _, cluster in found], now) if found else {}
    looks: dict[str, ScalingLook] = {}
    failed: dict[str, str] = {}
    for run, cluster in found:
        try:
            looks[run.run_id] = _look(run, cluster, metrics.get(cluster.cluster_id), ports, now)
        except (ScalingRefused, Throttled) as trouble:
            failed[run.run_id] = str(trouble)
    return Scaled(looks, failed, max([0.0, *(look.late_by_s or 0.0 for look in looks.values())]))


def _look(run: Run, cluster: Cluster, metrics: Metrics | None, ports: ScalePorts, now: datetime) -> ScalingLook:
    known, seen = ports.ledger.scaling_state(run.run_id)
    if known is None or known.cluster_id != cluster.cluster_id:
        limits = first_limits(first_limit(run.units, CAPS), LAUNCH_OPTIONS[run.launch])
        known = ScalingState(cluster.cluster_id, limits, CAPS)
    progress = _progress(run, ports, now)
    decision = decide_scaling(replace(known, caps=CAPS), metrics, progress, now)
    if decision.action != "hold":
        # Before it is written: whoever dies here decides the same again, and to set the same limits does no harm.
        ports.clusters.scale(cluster.cluster_id, decision.limits)
    look = _seen(known, decision, metrics, progress, now)
    ports.ledger.record_scaling(run.run_id, look, decision.state, seen)
    return look


def _seen(
    before: ScalingState, decision: ScalingDecision, metrics: Metrics | None, progress: Progress | None, now: datetime
) -> ScalingLook:
    running = metrics.units_running if metrics is not None else None
    units = running if running is not None else before.limits.maximum_units
    return ScalingLook(
        at=now,
        cluster_id=before.cluster_id,
        action=decision.action,
        reason=decision.reason,
        maximum_units=decision.limits.maximum_units,
        units_requested=metrics.units_requested if metrics is not None else None,
        units_running=running,
        memory_available_percent=metrics.memory_available_percent if metrics is not None else None,
        pending_ratio=metrics.pending_ratio if metrics is not None else None,
        done_bytes=progress.done_bytes if progress is not None else None,
        total_bytes=progress.total_bytes if progress is not None else None,
        deadline=progress.deadline if progress is not None else None,
        late_by_s=late_by_s(progress, units, now) if progress is not None else None,
    )


def _progress(run: Run, ports: ScalePorts, now: datetime) -> Progress | None:
    """How far the round is that the run is at."""
    works = _documents(f"s3://{ports.control_bucket}/runs/{run.run_id}/{run.attempt}/", ports.objects)
    told = _documents(f"s3://{ports.control_bucket}/progress/{run.run_id}/{run.attempt}/", ports.objects)
    tables = sorted({str(batch["table"]) for work in works for batch in work["batches"]})
    rates: Rates = take_rates(ports.ledger, tables, now)
    return progress_of(works, {each["group"]: each for each in told}, rates, now)


def _documents(prefix: str, objects: Objects) -> list[Json]:
    """What is below a prefix. One that is just being written over may be gone for a moment: then it is left out."""
    found = [objects.read(uri) for uri in objects.names(prefix)]
    return [json.loads(text) for text in found if text is not None]
