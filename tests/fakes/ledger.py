"""The ledger in memory. It says no exactly where the conditions of the DynamoDB one do."""

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any

from tidegate.arrivals import Arrival, State
from tidegate.catalog import Catalogued
from tidegate.costs import TableCost
from tidegate.errors import ClaimMoved, LeaseHeld, RunIsLive, StalePass
from tidegate.failures import RetryDecision
from tidegate.history import (
    START_UPS_KEPT,
    MergeSample,
    StartUpSample,
    decode_merges,
    decode_start_ups,
    encode_history,
    learn,
)
from tidegate.ports import Batch, Head, Lease, OpenClaim, Table, Waiting
from tidegate.receipts import Merged, Voided
from tidegate.reconciling import Round
from tidegate.run_costs import RunCost
from tidegate.runs import Run, RunState
from tidegate.scaling import ScalingState
from tidegate.scaling_record import ScalingLook, decode_state, encode_state


class FakeLedger:
    """Keeps to `tidegate.ports.Ledger`; tests look into its dictionaries."""

    def __init__(self) -> None:
        self.arrivals: dict[tuple[str, str, str], Arrival] = {}
        self.head_items: dict[tuple[str, str], Head] = {}
        self.table_items: dict[str, Table] = {}
        self.fences: dict[str, int] = {}
        self.last_attempt: dict[str, str] = {}
        self.batch_items: dict[tuple[str, int], Batch] = {}
        self.runs: dict[str, Run] = {}
        self.admitted: dict[str, int] = {}
        self.start_up_samples: tuple[StartUpSample, ...] = ()
        self.merge_samples: dict[str, tuple[MergeSample, ...]] = {}
        self.scaling: dict[str, str] = {}
        self.looks: dict[str, list[ScalingLook]] = {}
        self.costs: dict[tuple[date, str], RunCost] = {}
        self.cost_tries: dict[tuple[date, str], datetime] = {}
        self.shares: dict[tuple[date, str], dict[str, TableCost]] = {}
        self.stack_pause: str | None = None
        self.round: Round | None = None
        self._lock = threading.RLock()

    def record_arrival(self, arrival: Arrival, now: datetime) -> bool:
        with self._lock:
            return self.arrivals.setdefault(_key(arrival), arrival) is arrival

    def pending(self, table: str | None = None) -> Iterator[Arrival]:
        with self._lock:
            found = [each for each in self.arrivals.values() if each.state == "pending" and table in (None, each.table)]
        yield from found if table is None else sorted(found, key=lambda each: each.event_time)

    def waiting(self) -> Iterator[Waiting]:
        yield from (Waiting(str(each.table), each.event_time, each.size_bytes) for each in self.pending())

    def kept(self, state: State, table: str | None = None) -> Iterator[Arrival]:
        with self._lock:
            found = [each for each in self.arrivals.values() if each.state == state and table in (None, each.table)]
        yield from found

    def versions(self, bucket: str, key: str) -> list[Arrival]:
        found = [each for each in self.arrivals.values() if (each.bucket, each.key) == (bucket, key)]
        return sorted(found, key=lambda each: each.sequencer)

    def head(self, bucket: str, key: str) -> Head | None:
        return self.head_items.get((bucket, key))

    def heads(self, bucket: str, keys: Sequence[str]) -> dict[str, Head]:
        return {key: self.head_items[bucket, key] for key in keys if (bucket, key) in self.head_items}

    def reconcile_round(self) -> Round | None:
        return self.round

    def save_round(self, round_: Round, seen: Round | None) -> bool:
        with self._lock:
            latest = self.round
            if (latest and (latest.started_at, latest.step)) != (seen and (seen.started_at, seen.step)):
                return False
            self.round = round_
            return True

    def mark_claimed(self, arrival: Arrival, batch: int, state: State, now: datetime) -> bool:
        with self._lock:
            known = self.arrivals.get(_key(arrival))
            if known is None and arrival.state == "pending":
                return False
            is_as_given = known is None or (known.state == arrival.state and known.batch == arrival.batch)
            if known is not None and not is_as_given and (known.batch, known.state) != (batch, state):
                return False
            self.arrivals[_key(arrival)] = replace(known or arrival, state=state, batch=batch, reason=None)
            head = self.head_items.get((arrival.bucket, arrival.key))
            if state == "claimed" and (head is None or head.sequencer < arrival.sequencer):
                self.head_items[arrival.bucket, arrival.key] = Head(
                    arrival.sequencer, arrival.version_id, arrival.etag, arrival.event_time
                )
            return True

    def set_aside(self, table: str, entry: Mapping[str, Any], batch: int, state: State, reason: str) -> None:
        key = (entry["bucket"], entry["key"], entry["sequencer"])
        if key in self.arrivals and self.arrivals[key].batch == batch:
            self.arrivals[key] = replace(self.arrivals[key], state=state, reason=reason)

    def table(self, name: str) -> Table:
        return self.table_items.get(name, Table(name))

    def tables(self, names: Sequence[str]) -> dict[str, Table]:
        return {name: self.table(name) for name in names}

    def block_table(self, table: str, reason: str) -> None:
        self._change(table, blocked_reason=reason)

    def take_lease(self, table: str, run_id: str, from_run: str | None, attempt: int = 0) -> Lease:
        with self._lock:
            lease = self.table(table).lease
            if lease is not None and lease.run_id not in (run_id, from_run):
                raise LeaseHeld(f"another run took table {table} at this moment")
            self.fences[table] = self.fences.get(table, 0) + 1
            taken = Lease(run_id, self.fences[table], attempt)
            self._change(table, lease=taken)
            return taken

    def free_lease(self, table: str, run_id: str, attempt: int) -> None:
        with self._lock:
            lease = self.table(table).lease
            if lease is not None and lease.run_id == run_id and lease.attempt <= attempt:
                self._change(table, lease=None)

    def open_claim(self, table: str, run_id: str, claim: OpenClaim) -> None:
        with self._lock:
            now = self.table(table)
            is_free = now.open_claim is None and now.unsettled_batch is None and now.next_batch == claim.batch
            if not (is_free and self._holds(table, run_id)):
                raise ClaimMoved(f"batch {claim.batch} of {table} can't be claimed")
            self._change(table, open_claim=claim)

    def drop_claim(self, table: str, claim: OpenClaim) -> None:
        if self._is_open(table, claim):
            self._change(table, open_claim=None, reopened=self._without(table, claim))

    def seal(self, batch: Batch, run_id: str, claim: OpenClaim) -> None:
        with self._lock:
            self.batch_items.setdefault((batch.table, batch.number), batch)
            if not (self._is_open(batch.table, claim) and self._holds(batch.table, run_id)):
                raise ClaimMoved(f"batch {batch.number} of {batch.table} was sealed or taken over")
            self._change(
                batch.table,
                unsettled_batch=batch.number,
                next_batch=batch.number + 1,
                open_claim=None,
                attempts=0,
                failures=0,
                retry_after=None,
                void_reason=None,
                reopened=self._without(batch.table, claim),
            )

    def queue_reopened(self, table: str, uris: Sequence[str]) -> None:
        with self._lock:
            self._change(table, reopened=self.table(table).reopened | set(uris))

    def batch(self, table: str, number: int) -> Batch:
        if (table, number) not in self.batch_items:
            raise ClaimMoved(f"batch {number} of {table} is not in the ledger")
        return self.batch_items[table, number]

    def batches(self, table: str) -> Iterator[Batch]:
        yield from (batch for (name, _), batch in sorted(self.batch_items.items(), reverse=True) if name == table)

    def settle_merged(self, batch: Batch, run_id: str, merged: Merged, now: datetime) -> None:
        key = (batch.table, batch.number)
        if not self.batch_items[key].is_settled:
            self.batch_items[key] = replace(
                self.batch_items[key],
                state="merged",
                delta_version=merged.delta_version,
                rows=dict(merged.rows),
                rejected_files=len(merged.rejected),
                receipt_uri=merged.uri,
                merge_s=merged.merge_s,
                run_id=run_id,
                error=None,
            )
        self._settle_table(batch, (), announce={batch.number})

    def settle_voided(self, batch: Batch, run_id: str, voided: Voided, reopened: Sequence[str], now: datetime) -> None:
        key = (batch.table, batch.number)
        if not self.batch_items[key].is_settled:
            self.batch_items[key] = replace(
                self.batch_items[key],
                state="voided",
                delta_version=voided.delta_version,
                receipt_uri=voided.uri,
                run_id=run_id,
                error=None,
            )
        self._settle_table(batch, reopened)

    def record_published(
        self, table: str, announced: Collection[int], catalogued: Catalogued | None, unregistered_batch: int | None
    ) -> None:
        with self._lock:
            if table in self.table_items:
                known = self.table(table)
                self._change(
                    table,
                    unannounced=known.unannounced - set(announced),
                    catalogued=catalogued or known.catalogued,
                    unregistered_batch=unregistered_batch,
                )

    def _settle_table(self, batch: Batch, reopened: Sequence[str], announce: Collection[int] = ()) -> None:
        with self._lock:
            table = self.table(batch.table)
            if table.unsettled_batch == batch.number:
                self._change(
                    batch.table,
                    last_merged_batch=batch.number,
                    unsettled_batch=None,
                    attempts=0,
                    failures=0,
                    retry_after=None,
                    blocked_reason=None,
                    void_reason=None,
                    reopened=table.reopened | set(reopened),
                    unannounced=table.unannounced | set(announce),
                )

    def order_void(self, batch: Batch, reason: str) -> None:
        if self.table(batch.table).unsettled_batch == batch.number:
            self._change(batch.table, void_reason=reason, retry_after=None)

    def settle_failed(self, batch: Batch, attempt: str, error: str, retry: RetryDecision) -> None:
        is_new = self.last_attempt.get(batch.table) != attempt
        if self.table(batch.table).unsettled_batch == batch.number and is_new:
            self.last_attempt[batch.table] = attempt
            blocked = retry.blocked_reason or self.table(batch.table).blocked_reason
            self._change(
                batch.table,
                attempts=retry.attempts,
                failures=retry.failures,
                retry_after=retry.retry_after,
                blocked_reason=blocked,
                void_reason=retry.void_reason or self.table(batch.table).void_reason,
            )
        key = (batch.table, batch.number)
        if not self.batch_items[key].is_settled:
            self.batch_items[key] = replace(self.batch_items[key], error=error)

    def run(self, run_id: str) -> Run | None:
        return self.runs.get(run_id)

    def begin_run(self, run: Run, known: Run | None) -> None:
        with self._lock:
            now = self.runs.get(run.run_id)
            if _identity(now) != _identity(known):
                raise RunIsLive(f"another execution began run {run.run_id} at this moment")
            first = now or run
            self.runs[run.run_id] = replace(
                run,
                state="running",
                batches=first.batches,
                started_at=first.started_at,
                cluster_name=first.cluster_name,
                units=first.units,
                planned_at=run.started_at,
                round_bytes=first.round_bytes,
                round_ends_at=first.round_ends_at,
            )

    def plan_batches(self, run: Run) -> None:
        with self._lock:
            now = self.runs[run.run_id]
            if not _is_as_seen(now, run):
                raise StalePass(f"run {run.run_id} was taken over")
            self.runs[run.run_id] = replace(
                now,
                batches=run.batches,
                cluster_name=run.cluster_name,
                tables=run.tables,
                units=run.units,
                round_bytes=run.round_bytes,
                round_ends_at=run.round_ends_at,
            )

    def next_attempt(self, run: Run, launch: int, launches: int) -> Run:
        with self._lock:
            now = self.runs[run.run_id]
            if not _is_as_seen(now, run):
                raise StalePass(f"run {run.run_id} has moved on")
            rounds = run.rounds + (launches == run.launches)
            self.runs[run.run_id] = replace(
                now, attempt=run.attempt + 1, launch=launch, launches=launches, rounds=rounds
            )
            return replace(run, attempt=run.attempt + 1, launch=launch, launches=launches, rounds=rounds)

    def order_launch(self, run: Run, cluster_name: str, launch: int) -> bool:
        with self._lock:
            known = self.runs[run.run_id]
            if not _is_as_seen(known, run):
                return False
            self.runs[run.run_id] = replace(known, ordered_launch=(cluster_name, launch))
            return True

    def running_runs(self) -> Iterator[Run]:
        yield from [run for run in self.runs.values() if run.state in {"running", "fenced"}]

    def fence_run(self, run: Run, reason: str, now: datetime) -> bool:
        with self._lock:
            known = self.runs[run.run_id]
            if not _is_as_seen(known, run):
                return False
            self.runs[run.run_id] = replace(known, state="fenced", attempt=run.attempt + 1, error=reason)
            return True

    def admitted_pass(self, execution_arn: str) -> int:
        return self.admitted.get(execution_arn, 0)

    def admit_pass(self, execution_arn: str, pass_: int, now: datetime) -> None:
        self.admitted[execution_arn] = pass_

    def end_run(self, run: Run, state: RunState, summary: Mapping[str, Any], error: str | None, now: datetime) -> None:
        with self._lock:
            known = self.runs[run.run_id]
            is_as_seen = _identity(replace(run, state=known.state)) == _identity(known)
            if is_as_seen and known.state in {"running", "fenced"}:
                self.runs[run.run_id] = replace(known, state=state, summary=dict(summary), error=error, ended_at=now)

    def start_ups(self) -> tuple[StartUpSample, ...]:
        return self.start_up_samples

    def merges_of(self, tables: Sequence[str]) -> dict[str, tuple[MergeSample, ...]]:
        return {table: self.merge_samples[table] for table in tables if table in self.merge_samples}

    def learn_start_up(self, sample: StartUpSample, now: datetime) -> None:
        with self._lock:
            known = learn(self.start_up_samples, sample, now, succeeded=True, limit=START_UPS_KEPT)
            self.start_up_samples = decode_start_ups(encode_history(known))

    def learn_merge(self, table: str, sample: MergeSample, now: datetime) -> None:
        with self._lock:
            known = learn(self.merge_samples.get(table, ()), sample, now, succeeded=True)
            self.merge_samples[table] = decode_merges(encode_history(known))

    def scaling_state(self, run_id: str) -> tuple[ScalingState | None, str]:
        text = self.scaling.get(run_id, "")
        return decode_state(text), text

    def record_scaling(self, run_id: str, look: ScalingLook, state: ScalingState, seen: str) -> bool:
        with self._lock:
            if self.scaling.get(run_id, "") != seen:
                return False
            self.scaling[run_id] = encode_state(state)
            self.looks.setdefault(run_id, []).append(look)
            return True

    def scaling_looks(self, run_id: str) -> Iterator[ScalingLook]:
        yield from self.looks.get(run_id, [])

    def batches_named(self, names: Collection[tuple[str, int]]) -> list[Batch]:
        return [self.batch_items[name] for name in names if name in self.batch_items]

    def begin_cost(self, cost: RunCost) -> bool:
        with self._lock:
            key = _cost_key(cost)
            known = self.costs.get(key)
            if known is not None and known.attempt > cost.attempt:
                return False
            accounted = {} if known is None else {
                "clusters": known.clusters,
                "control_plane_usd": known.control_plane_usd,
                "accounted_at": known.accounted_at,
            }  # fmt: skip
            self.costs[key] = replace(cost, **accounted)
            self.cost_tries[key] = cost.planned_at
            return True

    def record_cost(self, cost: RunCost, next_try: datetime) -> bool:
        with self._lock:
            key = _cost_key(cost)
            known = self.costs.get(key)
            if known is not None and (known.attempt != cost.attempt or known.is_final):
                return False
            self.costs[key] = cost
            self.cost_tries[key] = next_try
            return True

    def record_shares(self, cost: RunCost, by_table: Mapping[str, TableCost]) -> None:
        self.shares[_cost_key(cost)] = dict(by_table)

    def cost_of(self, run_id: str, began_at: datetime) -> RunCost | None:
        return self.costs.get((began_at.date(), run_id))

    def open_costs(self, now: datetime) -> Iterator[RunCost]:
        found = [each for key, each in self.costs.items() if not each.is_final and self.cost_tries[key] <= now]
        yield from found

    def costs_of_day(self, day: date) -> Iterator[RunCost]:
        yield from [each for (on, _), each in self.costs.items() if on == day]

    def costs_of_month(self, day: date) -> Iterator[RunCost]:
        yield from [each for (on, _), each in self.costs.items() if (on.year, on.month) == (day.year, day.month)]

    def shares_of_day(self, day: date) -> Iterator[Mapping[str, TableCost]]:
        yield from [each for (on, _), each in self.shares.items() if on == day]

    def shares_of_month(self, day: date) -> Iterator[Mapping[str, TableCost]]:
        yield from [each for (on, _), each in self.shares.items() if (on.year, on.month) == (day.year, day.month)]

    def pause(self, table: str | None, reason: str, now: datetime) -> None:
        if table is None:
            self.stack_pause = reason
        else:
            self._change(table, paused_reason=reason)

    def resume(self, table: str | None) -> None:
        if table is None:
            self.stack_pause = None
        else:
            self._change(table, paused_reason=None)

    def paused_stack(self) -> str | None:
        return self.stack_pause

    def _change(self, table: str, **changes: Any) -> None:
        with self._lock:
            self.table_items[table] = replace(self.table(table), **changes)

    def _holds(self, table: str, run_id: str) -> bool:
        lease = self.table(table).lease
        return lease is not None and lease.run_id == run_id

    def _without(self, table: str, claim: OpenClaim) -> frozenset[str]:
        return self.table(table).reopened - {claim.candidates_uri}

    def _is_open(self, table: str, claim: OpenClaim) -> bool:
        now = self.table(table).open_claim
        return now is not None and now.candidates_uri == claim.candidates_uri


def _cost_key(cost: RunCost) -> tuple[date, str]:
    return (cost.day, cost.run_id)


def _key(arrival: Arrival) -> tuple[str, str, str]:
    return (arrival.bucket, arrival.key, arrival.sequencer)


def _identity(run: Run | None) -> tuple[Any, ...] | None:
    return None if run is None else (run.execution_arn, run.pass_, run.state, run.attempt)


def _is_as_seen(now: Run, seen: Run) -> bool:
    """The condition of the writes that only the execution at the run may make."""
    return now.state == "running" and _identity(replace(seen, state="running")) == _identity(now)
