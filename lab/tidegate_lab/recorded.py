"""What really ran beside what the lab makes of it: the same arrivals, with the times that were measured.

A recording is one JSON document, made of the ledger's items (their numbers as numbers) and the job's receipts:

    {"arrivals": [{"table", "event_time", "recorded_at", "size_bytes", "batch"}, ...],
     "runs": [{"sk", "started_at", "planned_at", "ended_at", "cluster_name", "batches": [["flights", 1]]}, ...],
     "receipts": [{"table", "batch", "started_at", "seconds": {"total", "application_start"}, "outcome"}, ...]}

More fields do no harm. What was never merged, and runs without a cluster, are left out and counted.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from statistics import median, stdev
from typing import Any

from tidegate.contracts import Contracts
from tidegate.receipts import merged_of

from tidegate_lab.bills import Bills
from tidegate_lab.policies.situation import Situation
from tidegate_lab.policies.tidegate_runs import tidegate_runs
from tidegate_lab.rates import RATES, Rates, Spread
from tidegate_lab.traces import DAY_S, Arrival, Trace, trace_of

Document = Mapping[str, Any]

_LEAST_S = 0.01


@dataclass(frozen=True)
class RecordedCluster:
    """Seconds from the recording's start: asked for, its first step, the end of its last merge, its run's end."""

    run_id: str
    asked_s: float
    ready_s: float
    merged_s: float
    ended_s: float


@dataclass(frozen=True)
class Recording:
    """`queryable_s` is beside the trace's arrivals, in their order."""

    trace: Trace
    queryable_s: tuple[float, ...]
    clusters: tuple[RecordedCluster, ...]
    rates: Rates
    left_out: int


@dataclass(frozen=True)
class FileTimes:
    """One file: when it landed, and after how many seconds it was queryable."""

    table: str
    landed_s: float
    really_s: float
    simulated_s: float

    @property
    def difference_s(self) -> float:
        return self.simulated_s - self.really_s


@dataclass(frozen=True)
class Comparison:
    """Both timelines. Clusters are (asked for, ended) in seconds from the recording's start."""

    files: tuple[FileTimes, ...]
    real_clusters: tuple[tuple[float, float], ...]
    simulated_clusters: tuple[tuple[float, float], ...]
    left_out: int

    @property
    def real_cluster_s(self) -> float:
        return sum(ended - asked for asked, ended in self.real_clusters)

    @property
    def simulated_cluster_s(self) -> float:
        return sum(ended - asked for asked, ended in self.simulated_clusters)

    def lines(self) -> list[str]:
        """Side by side, for people."""
        offs = sorted(abs(each.difference_s) for each in self.files)
        said = [
            f"{each.table}: landed at {each.landed_s:.1f} s, queryable after {each.really_s:.1f} s,"
            f" simulated {each.simulated_s:.1f} s ({each.difference_s:+.1f} s)"
            for each in self.files
        ]
        for name, clusters in (("really", self.real_clusters), ("simulated", self.simulated_clusters)):
            said += [f"cluster, {name}: {asked:.1f} to {ended:.1f} s" for asked, ended in clusters]
        return [
            *said,
            f"{len(self.files)} files, {self.left_out} left out: half are less than {median(offs):.1f} s off, the worst"
            f" {offs[-1]:.1f} s; {self.real_cluster_s:.0f} s of clusters, simulated {self.simulated_cluster_s:.0f} s",
        ]


def compare_with(recording: Recording, contracts: Contracts, bills: Bills, *, seed: int = 0) -> Comparison:
    """Simulate a recording's arrivals under Tidegate with the rates measured in it, and hold both side by side.

    The recording begins with one of the schedule's looks, so that the simulated ones fall on the same seconds.
    """
    record = tidegate_runs(Situation(recording.trace, contracts, recording.rates, bills, seed))
    simulated_s = {id(arrival): at_s for arrival, at_s in record.merged}
    files = tuple(
        FileTimes(arrival.table, arrival.at_s, queryable_s - arrival.at_s, simulated_s[id(arrival)] - arrival.at_s)
        for arrival, queryable_s in zip(recording.trace.arrivals, recording.queryable_s, strict=True)
    )
    ends_s = sum(recording.rates.termination_s) / 2
    return Comparison(
        files,
        tuple((cluster.asked_s, cluster.ended_s) for cluster in recording.clusters),
        tuple((life.requested_s, life.requested_s + life.wall_s + ends_s) for life in record.lives),
        recording.left_out,
    )


def read_recording(document: Document, name: str = "recorded") -> Recording:
    """A recording of a local cloud, or of an account. Raises ValueError if nothing in it was merged."""
    merged = {(each["table"], int(each["batch"])): each for each in document["receipts"] if each["outcome"] == "merged"}
    arrivals = [each for each in document["arrivals"] if (each["table"], int(each.get("batch") or 0)) in merged]
    runs = [(run, mine) for run in document["runs"] if (mine := _receipts_of(run, merged))]
    if not arrivals or not runs:
        raise ValueError(f"{name}: nothing in it was merged by a run that is in it")
    start = _last_look_before(min(_moment(each["event_time"]) for each in arrivals), [run for run, _ in runs])

    def seconds(at: datetime) -> float:
        return (at - start).total_seconds()

    pairs = sorted(
        (
            (
                Arrival(seconds(_moment(each["event_time"])), each["table"], int(each["size_bytes"])),
                seconds(_ended(merged[each["table"], int(each["batch"])])),
            )
            for each in arrivals
        ),
        key=lambda pair: (pair[0].at_s, pair[0].table, pair[0].size_bytes, pair[1]),
    )
    clusters = tuple(
        RecordedCluster(
            str(run["sk"]),
            seconds(_moment(run["planned_at"])),
            seconds(min(_began(receipt) for receipt in mine)),
            seconds(max(_ended(receipt) for receipt in mine)),
            seconds(_moment(run["ended_at"])),
        )
        for run, mine in runs
    )
    days = max(pair[0].at_s for pair in pairs) / DAY_S + 1 / 24
    trace = trace_of(name, [arrival for arrival, _ in pairs], days, start)
    left_out = len(document["arrivals"]) - len(arrivals)
    rates = _rates(clusters, list(merged.values()), arrivals)
    return Recording(trace, tuple(at_s for _, at_s in pairs), clusters, rates, left_out)


def _last_look_before(moment: datetime, runs: Sequence[Document]) -> datetime:
    """When the schedule has looked last before a moment: each minute, at the second at which runs were planned."""
    second = round(median(_moment(run["planned_at"]).timestamp() % 60 for run in runs))
    return moment - timedelta(seconds=(moment.timestamp() - second) % 60)


def _receipts_of(run: Document, merged: Mapping[tuple[str, int], Document]) -> list[Document]:
    """Those of a run that has had a cluster and has ended."""
    if not all(run.get(name) for name in ("cluster_name", "planned_at", "ended_at")):
        return []
    return [merged[key] for table, number in run["batches"] if (key := (table, int(number))) in merged]


def _rates(clusters: Sequence[RecordedCluster], receipts: Sequence[Document], arrivals: Sequence[Document]) -> Rates:
    """What was measured, in place of what is assumed. Bytes keep their rate: small files say nothing of it."""
    overheads = []
    for receipt in receipts:
        mine = [each for each in arrivals if (each["table"], each["batch"]) == (receipt["table"], receipt["batch"])]
        took_s = (_ended(receipt) - _began(receipt)).total_seconds()
        work_s = RATES.work_s(len(mine), sum(int(each["size_bytes"]) for each in mine))
        overheads.append(took_s - work_s)
    recorded = [
        (_moment(each["recorded_at"]) - _moment(each["event_time"])).total_seconds()
        for each in arrivals
        if each.get("recorded_at")
    ]
    ends = [cluster.ended_s - cluster.merged_s for cluster in clusters]
    return replace(
        RATES,
        start_up_s=_spread([cluster.ready_s - cluster.asked_s for cluster in clusters]),
        step_overhead_s=_spread(overheads),
        termination_s=(max(0.0, min(ends)), max(0.0, *ends)),
        record_s=(max(0.0, min(recorded)), max(0.0, *recorded)) if recorded else RATES.record_s,
        spot_losses_an_hour=0.0,
    )


def _spread(values: Sequence[float]) -> Spread:
    """A log-normal with the values' median and spread; of one value, that value."""
    logs = [math.log(max(_LEAST_S, value)) for value in values]
    return Spread(math.exp(median(logs)), stdev(logs) if len(logs) > 1 else 0.0)


def _began(receipt: Document) -> datetime:
    """When the step's application began: the product's own reading, or when the merge did, if that says nothing."""
    whole = {"delta_version": 0, "rows": {}, "files": {"rejected": []}, **receipt}
    return merged_of("", whole).step_began_at or _moment(receipt["started_at"])


def _ended(receipt: Document) -> datetime:
    return _moment(receipt["started_at"]) + timedelta(seconds=float(receipt["seconds"]["total"]))


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
