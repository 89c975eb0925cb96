"""Runs: what an execution's input asks for, whether it may go on, and how it ends."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from tidegate.errors import InvalidRunInput, StalePass, UnknownTable
from tidegate.replays import Replay, read_replay

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}")
EXAMPLE = '{"tables": ["flights"], "reason": "by hand"}, or {} for all that is pending'
FIELDS = {"run": str, "tables": list, "reason": str, "replay": dict}
_KIND_OF = {str: "a text", list: "a list", dict: "an object"}

MAXIMUM_ROUNDS = 50
MAXIMUM_BATCHES = 1000
LONGEST_RUN = timedelta(hours=12)
"""What a run takes on before it hands over to the next one. A round is at most 32 step groups, so an execution stays
below Step Functions' 25,000 events, and the run's own item below DynamoDB's 400 KB."""

RunState = Literal["running", "fenced", "succeeded", "failed", "nothing_to_do"]
"""A fenced run's execution is dead: whatever it still calls is refused. One that had nothing to do may be planned
again; one that succeeded is settled for good."""


@dataclass(frozen=True)
class Execution:
    """The Step Functions execution that calls. `redrive_count` is how often somebody has redriven it."""

    arn: str
    name: str
    redrive_count: int


@dataclass(frozen=True)
class RunRequest:
    """What the input asks for. `tables` is None for all that have something pending."""

    run_id: str
    tables: tuple[str, ...] | None
    reason: str
    replay: Replay | None = None


@dataclass(frozen=True)
class Run:
    """A run as the ledger has it.

    `pass_` is the redrive count of its execution when it was last planned. `attempt` numbers its plans: it goes on
    counting with each round and launch, and in another execution of the same run, so names made of it never meet
    those of an earlier attempt.
    """

    run_id: str
    state: RunState
    pass_: int
    execution_arn: str
    reason: str
    started_at: datetime
    attempt: int = 0
    launch: int = 0
    """The launch option of its cluster: an index into `launches.LAUNCH_OPTIONS`."""
    launches: int = 0
    """How often its execution has planned again, in this pass, for want of a cluster."""
    rounds: int = 0
    """How often it has claimed more while its cluster was warm."""
    batches: tuple[tuple[str, int], ...] = ()
    tables: tuple[str, ...] = ()
    """Tables whose leases it may hold: those that its last plan looked at."""
    cluster_name: str | None = None
    units: int = 1
    """Of 4 vCPU, as its cluster was planned."""
    planned_at: datetime | None = None
    """When its newest cluster was planned."""
    round_bytes: int = 0
    """Of the batches of the round that it is at; 0: unknown."""
    round_ends_at: datetime | None = None
    """When it is expected to look for more, as it was estimated when the round was planned."""
    ordered_launch: tuple[str, int] | None = None
    """The launch option that is to follow a cluster, named here, which had no instances in time."""
    ended_at: datetime | None = None
    summary: Mapping[str, Any] | None = None
    error: str | None = None


def run_id_of(execution_input: Any, execution_name: str) -> str:
    """The run that an execution is about: the one that its input names, else the one named like itself.

    Never raises: a failure of an execution whose input is wrong must be recorded somewhere too.
    """
    named = execution_input.get("run") if isinstance(execution_input, Mapping) else None
    return named if isinstance(named, str) and RUN_ID.fullmatch(named) else execution_name


def read_request(execution_input: Any, execution_name: str, tables: Collection[str]) -> RunRequest:
    """Check the input of an execution.

    Raises InvalidRunInput for a wrong shape, UnknownTable for a table that no contract has.
    """
    if not isinstance(execution_input, Mapping):
        raise InvalidRunInput(f"the input is a {_kind(execution_input)}, but must be an object: {EXAMPLE}")
    for name, value in execution_input.items():
        if name not in FIELDS:
            raise InvalidRunInput(f"unknown field {name!r}; there are {', '.join(FIELDS)}: {EXAMPLE}")
        if not isinstance(value, FIELDS[name]):
            raise InvalidRunInput(f"{name} is a {_kind(value)}, but must be {_KIND_OF[FIELDS[name]]}: {EXAMPLE}")
    run_id = execution_input.get("run", execution_name)
    if not RUN_ID.fullmatch(run_id):
        raise InvalidRunInput(f"run {run_id!r} is no run id: 1 to 80 letters, digits, - and _, no - or _ first")
    named = _tables(execution_input.get("tables"), tables)
    replay = read_replay(execution_input["replay"], tables) if "replay" in execution_input else None
    if replay is not None and named is not None:
        raise InvalidRunInput("tables and replay don't go together: name the table inside replay")
    return RunRequest(run_id, named, execution_input.get("reason", ""), replay)


def _tables(named: list[Any] | None, known: Collection[str]) -> tuple[str, ...] | None:
    if named is None:
        return None
    if not named:
        raise InvalidRunInput(f"tables is empty: name some, or leave it out for all that is pending: {EXAMPLE}")
    for table in named:
        if not isinstance(table, str):
            raise InvalidRunInput(f"tables has a {_kind(table)} in it, but must be names: {EXAMPLE}")
        if table not in known:
            raise UnknownTable(f"no contract has table {table!r}; there are {', '.join(sorted(known)) or 'none'}")
    return tuple(dict.fromkeys(named))


def _kind(value: Any) -> str:
    return {dict: "object", list: "list", str: "text", bool: "boolean", type(None): "null"}.get(type(value), "number")


def check_pass(run: Run | None, execution: Execution) -> None:
    """Refuse a call that a redrive made before the run was planned again.

    Raises StalePass; the machine's failure path then leads through Fail run back to Plan run.
    """
    if run is None:
        raise StalePass(f"no run is recorded for execution {execution.name}: it has to be planned first")
    if run.execution_arn != execution.arn:
        raise StalePass(f"run {run.run_id} is now at execution {run.execution_arn}; this one has lost it")
    if run.state == "fenced":
        raise StalePass(f"run {run.run_id} was given up for dead, and its cluster is being ended: redrive it to go on")
    if run.pass_ != execution.redrive_count:
        raise StalePass(
            f"run {run.run_id} was planned in pass {run.pass_}, and this is pass {execution.redrive_count}: "
            "it is planned again first"
        )


def is_same_pass(known: Run | None, execution: Execution) -> bool:
    """Whether this execution has planned the run before, since it was started or last redriven."""
    return known is not None and (known.execution_arn, known.pass_) == (execution.arn, execution.redrive_count)


def attempt_of(known: Run | None, execution: Execution) -> int:
    """The number of the attempt that an execution begins, or goes on planning."""
    if known is None:
        return 0
    return known.attempt if is_same_pass(known, execution) else known.attempt + 1


def why_hand_over(run: Run, now: datetime) -> str | None:
    """Why a run claims no more although something may be due; None if it may go on."""
    if run.rounds >= MAXIMUM_ROUNDS:
        return f"handed over to the next run after {run.rounds} rounds"
    if len(run.batches) >= MAXIMUM_BATCHES:
        return f"handed over to the next run after {len(run.batches)} batches"
    if now - run.started_at >= LONGEST_RUN:
        return f"handed over to the next run after {LONGEST_RUN}"
    return None


def may_plan_again(run: Run | None, execution: Execution, admitted_pass: int) -> bool:
    """Whether Fail run lets the machine go back to Plan run instead of raising.

    `admitted_pass` is the last one of this execution that was let through. Only a person's redrive makes a redrive
    count that is recorded neither there nor on the run, so this can't loop.
    """
    planned_pass = run.pass_ if run is not None and run.execution_arn == execution.arn else 0
    return execution.redrive_count > max(planned_pass, admitted_pass)


def outcome_of(unsettled: Sequence[object]) -> RunState:
    """A run that could not merge a batch has failed, so that it is seen; the rest stays merged."""
    return "failed" if unsettled else "succeeded"


def sentence_for(
    merged: Sequence[Mapping[str, Any]],
    unsettled: Sequence[Mapping[str, Any]],
    voided: Sequence[Mapping[str, Any]] = (),
) -> str:
    """What a run did, in one sentence for the console."""
    newest = {each["table"]: each["delta_version"] for each in merged}
    done = ", ".join(f"{table} (version {version})" for table, version in list(newest.items())[:10])
    if len(newest) > 10:
        done += f" and {len(newest) - 10} more"
    failed_files = sum(each["failed_files"] for each in voided)
    failed = f"; {failed_files} files can't be merged and are set aside as failed" if failed_files else ""
    left = f"; {len(unsettled)} batches are not merged" if unsettled else ""
    return (f"merged {done}" if merged else "merged nothing") + failed + left


def dispatched_run_id(now: datetime, scheduled_time: str | None) -> str:
    """The id of a run that dispatch starts: from the scheduled minute, so that a tick that comes twice starts one run.

    Without a schedule, to the millisecond: whoever asks twice means it.
    """
    if scheduled_time is None:
        return f"run-{now:%Y%m%dT%H%M%S}-{now.microsecond // 1000:03d}Z"
    return f"run-{datetime.fromisoformat(scheduled_time):%Y%m%dT%H%M}Z"
