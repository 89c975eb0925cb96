"""Where the seconds between upload and rows went. Pure: what was recorded in, moments out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tidegate_cli import wording
from tidegate_cli.ledger import Arrival, Batch

if TYPE_CHECKING:
    from tidegate_cli.adapters.emr import Cluster, Step
    from tidegate_cli.adapters.stepfunctions import Execution

Receipt = Mapping[str, Any]


@dataclass(frozen=True)
class Moment:
    """Something that happened, and how long after what came before it."""

    what: str
    at: datetime
    seconds: float
    """Since the moment before."""
    total_seconds: float
    """Since the first moment."""


@dataclass(frozen=True)
class Recorded:
    """All that is known of a run."""

    execution: Execution | None
    cluster: Cluster | None
    batches: Sequence[Batch]
    receipts: Mapping[tuple[str, int], Receipt]
    """By table and batch."""


def of_file(arrival: Arrival, recorded: Recorded | None) -> list[Moment]:
    """A file's way from its upload to its rows, and to the end of the run that merged it."""
    story: list[tuple[str, datetime | None]] = [
        ("the file has landed", arrival.event_time),
        ("recorded in the ledger", arrival.recorded_at),
    ]
    if recorded is not None:
        receipt = recorded.receipts.get((arrival.table or "", arrival.batch or 0))
        story += _until_steps(recorded)
        story += _merge(recorded, receipt, "its batch")
        story += _after_steps(recorded)
    return in_order(story)


def of_run(recorded: Recorded) -> list[Moment]:
    """A run from the last of its files to its end."""
    landed = [batch.newest_event_time for batch in recorded.batches if batch.newest_event_time]
    story: list[tuple[str, datetime | None]] = [("the last of its files has landed", max(landed, default=None))]
    story += _until_steps(recorded)
    first = True
    for (table, number), receipt in sorted(recorded.receipts.items(), key=lambda item: str(item[1]["ended_at"])):
        parts = list(_merge(recorded, receipt, f"{table}, batch {number}"))
        story += parts if first else parts[1:]
        first = False
    story += _after_steps(recorded)
    return in_order(story)


def in_order(story: Sequence[tuple[str, datetime | None]]) -> list[Moment]:
    """What is known of a story, by time; equal times keep their order."""
    known = sorted(((at, position, what) for position, (what, at) in enumerate(story) if at is not None))
    moments: list[Moment] = []
    for at, _, what in known:
        before = moments[-1].at if moments else at
        first = moments[0].at if moments else at
        moments.append(Moment(what, at, (at - before).total_seconds(), (at - first).total_seconds()))
    return moments


def _until_steps(recorded: Recorded) -> Iterator[tuple[str, datetime | None]]:
    execution, cluster = recorded.execution, recorded.cluster
    if execution:
        yield "the run has started", execution.started_at
        yield "its batches are planned", left(execution, "Plan run")
        yield "the cluster is requested", left(execution, "Create cluster")
    if cluster:
        yield "the cluster is ready", cluster.ready_at


def _merge(recorded: Recorded, receipt: Receipt | None, name: str) -> Iterator[tuple[str, datetime | None]]:
    started, ended = _time(receipt, "started_at"), _time(receipt, "ended_at")
    step = _step_at(recorded.cluster, ended)
    yield "spark-submit has started", step.started_at if step else None
    yield f"Spark is up; the merge of {name} begins", started
    outcome = "merged and queryable" if receipt and receipt.get("outcome") == "merged" else "given up"
    yield f"{name} is {outcome}", ended


def _after_steps(recorded: Recorded) -> Iterator[tuple[str, datetime | None]]:
    execution, cluster = recorded.execution, recorded.cluster
    if cluster and cluster.steps:
        ends = [step.ended_at for step in cluster.steps]
        yield "spark-submit has ended", max((end for end in ends if end), default=None)
    if execution:
        yield "the batches are settled", left(execution, "Settle batches")
        yield "the cluster is gone", left(execution, "Terminate cluster")
        yield "the run has ended", execution.ended_at


def in_states(execution: Execution) -> list[str]:
    """How long an execution was in each of its states, in their order; choices and ends take no time."""
    stays = [(visit.name, visit.left_at - visit.entered_at) for visit in execution.visits if visit.left_at]
    return [f"{name} {wording.duration(stay.total_seconds())}" for name, stay in stays if not name.endswith("?")]


def left(execution: Execution, state: str) -> datetime | None:
    """When an execution last left a state: a redriven one goes through it again."""
    return max((visit.left_at for visit in execution.visits if visit.name == state and visit.left_at), default=None)


def _step_at(cluster: Cluster | None, moment: datetime | None) -> Step | None:
    """The step that ran at that moment."""
    if cluster is None or moment is None:
        return None
    for step in cluster.steps:
        if step.started_at and step.started_at <= moment and (step.ended_at is None or moment <= step.ended_at):
            return step
    return None


def _time(receipt: Receipt | None, name: str) -> datetime | None:
    text = (receipt or {}).get(name)
    return datetime.fromisoformat(str(text)) if text else None
