"""Tidegate: each minute the product's own functions decide, on snapshots as the product takes them.

`decide_dispatch` says who is due, `size_cluster` on what cluster, `group_steps` in which steps, `decide_more` what the
run takes on while its cluster is warm. What is simulated is what surrounds them: arrivals, times, leases.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import simpy
from tidegate.batches import GROUPS_A_ROUND, group_steps
from tidegate.dispatch import TableSnapshot, decide_dispatch, decide_more
from tidegate.runs import LONGEST_RUN, MAXIMUM_BATCHES, MAXIMUM_ROUNDS
from tidegate.sizing import size_cluster

from tidegate_lab.backlog import Backlog
from tidegate_lab.clusters import Cluster, Process, machines_of
from tidegate_lab.outcome import Record
from tidegate_lab.policies.situation import TICK_S, Situation
from tidegate_lab.traces import DAY_S, Arrival

CONTROL_USD_AN_ARRIVAL = 4.85e-6
CONTROL_USD_A_MONTH = 0.46
"""docs/costs.md, at 500 arrivals a batch; schedules and the queue's polling. Alarms and storage are left out."""

LONGEST_WAIT_DAYS = 32
"""A day more than the longest freshness that a contract may have."""

Batches = dict[str, list[Arrival]]


@dataclass
class _World:
    """Leases and what is claimed and not merged yet."""

    env: simpy.Environment
    situation: Situation
    backlog: Backlog
    record: Record
    claims_when_ready: bool
    holders: dict[str, str] = field(default_factory=dict)
    runs: int = 0

    def __post_init__(self) -> None:
        self.stream = self.situation.stream("tidegate's clusters")

    def snapshots(self, by_run: str | None = None) -> list[TableSnapshot]:
        """As tidegate.usecases.take_snapshots makes them of the ledger."""
        self.backlog.advance(self.env.now)
        moment = self.situation.trace.moment
        taken = []
        for table, contract in self.situation.contracts.by_table.items():
            pending, holder = self.backlog.pending[table], self.holders.get(table)
            oldest = moment(pending.arrivals[0].at_s) if pending.arrivals else None
            held_by = holder if holder != by_run else None
            taken.append(TableSnapshot(contract, len(pending.arrivals), pending.size_bytes, oldest, held_by))
        return taken

    def claim(self, tables: Sequence[str], run: str) -> Batches:
        """The next batch of each table, its lease taken."""
        claimed: Batches = {}
        for table in tables:
            batch = self.backlog.take(self.situation.contracts.by_table[table])
            if batch:
                claimed[table] = batch
                self.holders[table] = run
        return claimed


def tidegate_runs(situation: Situation) -> Record:
    """As the product is."""
    return _simulate(situation, claims_when_ready=False)


def tidegate_late_claim(situation: Situation) -> Record:
    """What if a run claimed its batches when its cluster is up, and not before it asks for one?"""
    return _simulate(situation, claims_when_ready=True)


def _simulate(situation: Situation, *, claims_when_ready: bool) -> Record:
    env = simpy.Environment()
    backlog = situation.backlog(situation.stream("tidegate"))
    world = _World(env, situation, backlog, Record(), claims_when_ready)
    env.process(_schedule(world))
    env.run()
    a_month = situation.trace.days * DAY_S / (30 * DAY_S)
    world.record.other_usd = CONTROL_USD_AN_ARRIVAL * len(situation.trace.arrivals) + CONTROL_USD_A_MONTH * a_month
    return world.record


def _schedule(world: _World) -> Process:
    """Each minute, as the schedule of dispatch_runs; a minute at which nothing is pending can decide nothing.

    Raises RuntimeError if something is never merged: a lease that nobody frees, or decisions that never take it.
    """
    while world.env.now < (world.situation.trace.days + LONGEST_WAIT_DAYS) * DAY_S:
        yield world.env.timeout(TICK_S)
        world.backlog.advance(world.env.now)
        if not world.backlog.has_pending:
            if world.backlog.is_all_recorded:
                return
            continue
        now = world.situation.trace.moment(world.env.now)
        dispatch = decide_dispatch(world.snapshots(), now)
        if dispatch.tables:
            world.runs += 1
            world.env.process(_run(world, f"run-{world.runs}", dispatch.tables))
    raise RuntimeError(f"still pending {LONGEST_WAIT_DAYS} days after the trace: {dispatch.reason}")


def _run(world: _World, run: str, tables: Sequence[str]) -> Process:
    """Plan run, Create cluster, Merge batches, Claim more, Terminate cluster, Settle run."""
    began_s = world.env.now
    began = world.situation.trace.moment(began_s)
    mine = list(tables)
    batches = world.claim(tables, run)
    plan = size_cluster("lab", run, 1, _bytes_of(batches), max(1, len(_steps(batches))))
    cluster = Cluster(world.env, world.situation.rates, world.stream, machines_of(plan, world.situation.sheet))
    yield from cluster.start()
    if world.claims_when_ready:
        world.backlog.advance(world.env.now)
        for table in world.situation.contracts.by_table:
            if world.holders.get(table, run) == run:
                batches.setdefault(table, []).extend(world.claim([table], run).get(table, []))
        batches = {table: batch for table, batch in batches.items() if batch}
        mine = list(dict.fromkeys((*mine, *batches)))
    rounds = merged = 0
    while batches:
        yield from _merge(world, cluster, batches, plan.step_concurrency)
        rounds, merged = rounds + 1, merged + len(batches)
        is_long = timedelta(seconds=world.env.now - began_s) >= LONGEST_RUN
        if rounds >= MAXIMUM_ROUNDS or merged >= MAXIMUM_BATCHES or is_long:
            break
        now = world.situation.trace.moment(world.env.now)
        more = decide_more(world.snapshots(by_run=run), mine, began, now)
        batches = world.claim(more, run)
        mine = list(dict.fromkeys((*mine, *batches)))
    cluster.end(world.record)
    yield world.env.timeout(cluster.terminating_s())
    for table in mine:
        if world.holders.get(table) == run:
            del world.holders[table]


def _merge(world: _World, cluster: Cluster, batches: Batches, concurrency: int) -> Process:
    steps = _steps(batches)
    for first in range(0, len(steps), GROUPS_A_ROUND):
        yield from cluster.merge(steps[first : first + GROUPS_A_ROUND], concurrency, world.record)


def _steps(batches: Batches) -> list[list[Arrival]]:
    groups = group_steps({table: sum(arrival.size_bytes for arrival in batch) for table, batch in batches.items()})
    return [[arrival for table in group.tables for arrival in batches[table]] for group in groups]


def _bytes_of(batches: Batches) -> int:
    return sum(arrival.size_bytes for batch in batches.values() for arrival in batch)
