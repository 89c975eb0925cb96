"""Tidegate: each minute the product's own functions decide, on snapshots as the product takes them.

`decide_dispatch` says who is due, `decide_size` and `size_cluster` on what cluster, `group_steps` in which steps,
`decide_scaling` how far that cluster may grow, `decide_more` what the run takes on while it is warm, and
`estimate_rates` how long all that takes, by what the runs before have taken. What is simulated is what surrounds them:
arrivals, times, leases.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import simpy
from tidegate.batches import GROUPS_A_ROUND, group_steps
from tidegate.dispatch import decide_dispatch, decide_more
from tidegate.due import TableDecision, deadline_of
from tidegate.rates import Rates
from tidegate.run_size import TableWork, decide_size, round_s, units_of_batch
from tidegate.runs import LONGEST_RUN, MAXIMUM_BATCHES, MAXIMUM_ROUNDS
from tidegate.sizing import size_cluster

from tidegate_lab.clusters import Process, machines_of
from tidegate_lab.ledger import LIMITS, Batches, Ledger, LiveRun
from tidegate_lab.outcome import DAYS_A_MONTH, Record
from tidegate_lab.policies.scaled_cluster import Group, ScaledCluster
from tidegate_lab.policies.situation import TICK_S, Situation
from tidegate_lab.traces import DAY_S

LONGEST_WAIT_DAYS = 32
"""A day more than the longest freshness that a contract may have."""

LINGER_S = 300.0
"""How long `tidegate_lingers` waits for more: as much as a start-up costs would be a bet that is never lost twice."""


@dataclass
class _World:
    env: simpy.Environment
    situation: Situation
    ledger: Ledger
    record: Record
    claims_when_ready: bool = False
    lingers_s: float = 0.0

    def __post_init__(self) -> None:
        self.stream = self.situation.stream("tidegate's clusters")


def tidegate_runs(situation: Situation) -> Record:
    """As the product is."""
    return _simulate(situation)


def tidegate_unlearned(situation: Situation) -> Record:
    """What if nothing were learned: all decisions by the assumed rates."""
    return _simulate(situation, learns=False)


def tidegate_late_claim(situation: Situation) -> Record:
    """What if a run claimed its batches when its cluster is up, and not before it asks for one?"""
    return _simulate(situation, claims_when_ready=True)


def tidegate_lingers(situation: Situation) -> Record:
    """What if a cluster waited some minutes for more before it ends?"""
    return _simulate(situation, lingers_s=LINGER_S)


def _simulate(
    situation: Situation, *, learns: bool = True, claims_when_ready: bool = False, lingers_s: float = 0.0
) -> Record:
    env = simpy.Environment()
    ledger = Ledger(situation, situation.backlog(situation.stream("tidegate")), learns)
    world = _World(env, situation, ledger, Record(), claims_when_ready, lingers_s)
    env.process(_schedule(world))
    env.run()
    arrivals, months = len(situation.trace.arrivals), situation.trace.days / DAYS_A_MONTH
    world.record.other_usd = situation.bills.control_plane_usd(arrivals, ledger.batches, ledger.begun, months)
    return world.record


def _schedule(world: _World) -> Process:
    """Each minute, as the schedule of dispatch_runs; a minute at which nothing can be due is passed over.

    Raises RuntimeError if something is never merged: a lease that nobody frees, or decisions that never take it.
    """
    env, ledger = world.env, world.ledger
    passed_over, reason = 0, ""
    while env.now < (world.situation.trace.days + LONGEST_WAIT_DAYS) * DAY_S:
        yield env.timeout(TICK_S * (1 + passed_over))
        passed_over = 0
        ledger.backlog.advance(env.now)
        if not ledger.backlog.has_pending:
            next_s = ledger.backlog.next_recorded_s
            if next_s is None:
                return
            passed_over = max(0, math.ceil((next_s - env.now) / TICK_S) - 1)
            continue
        now = world.situation.trace.moment(env.now)
        rates = ledger.rates(env.now)
        dispatch = decide_dispatch(ledger.snapshots(env.now), now, rates=rates, limits=LIMITS, stack=ledger.stack())
        if dispatch.tables:
            ledger.begun += 1
            env.process(_run(world, f"run-{ledger.begun}", dispatch.tables))
        else:
            reason = dispatch.reason
            passed_over = _passed_over(ledger, dispatch.decisions, rates, env.now)
    raise RuntimeError(f"still pending {LONGEST_WAIT_DAYS} days after the trace: {reason}")


def _passed_over(ledger: Ledger, decisions: Sequence[TableDecision], rates: Rates, now_s: float) -> int:
    """How many minutes from now nothing can be due, whatever lands.

    While no run lives, age and bytes alone make a table due. Half of the time until the first one is left out, if what
    lands by then can't need the other half.
    """
    if ledger.runs:
        return 0
    soonest_s = min(_soonest_s(each, rates) for each in decisions)
    minutes = int(soonest_s / 2 // TICK_S)
    if minutes <= 1:
        return 0
    files, size_bytes = ledger.backlog.coming_by(now_s + minutes * TICK_S)
    files += sum(each.snapshot.pending_files for each in decisions)
    size_bytes += sum(each.snapshot.pending_bytes for each in decisions)
    contracts = ledger.situation.contracts.by_table.values()
    slowest = [rates.merge, *rates.tables.values()]
    takes_s = max(each.moving_s(size_bytes, files) for each in slowest) + 5 * len(decisions)
    is_far_from_full = files < min(each.max_files for each in contracts) and size_bytes < min(
        each.max_bytes for each in contracts
    )
    return minutes - 1 if is_far_from_full and takes_s < soonest_s / 4 else 0


def _soonest_s(decision: TableDecision, rates: Rates) -> float:
    """When a table may be due at the earliest; of one with nothing pending: if something landed at once."""
    if decision.snapshot.pending_files:
        return decision.start_in_s
    freshness = decision.snapshot.contract.freshness
    takes_s = rates.start_up_s + rates.of(decision.table).overhead_s + LIMITS.tick_s
    return freshness.seconds - takes_s if freshness.kind == "within" else 0.0


def _run(world: _World, run_id: str, tables: Sequence[str]) -> Process:
    """Plan run, Create cluster, Merge batches, Claim more, Terminate cluster, Settle run."""
    env, ledger, moment = world.env, world.ledger, world.situation.trace.moment
    began_s = env.now
    began, rates = moment(began_s), ledger.rates(began_s)
    live = ledger.runs[run_id] = LiveRun(run_id)
    batches = ledger.claim(tables, run_id)
    mine = list(tables)
    work = _work(world, batches)
    size = decide_size(work, len(_groups(world, batches)), rates=rates)
    plan = size_cluster("lab", run_id, 1, _bytes_of(batches), len(batches), size=size)
    live.round_ends_at = began + timedelta(seconds=rates.start_up_s + round_s(work, size.units, rates))
    cluster = ScaledCluster(
        env, world.situation.rates, world.stream, machines_of(plan, world.situation.bills),
        start_at=world.situation.trace.start, steps_at_once=plan.step_concurrency,
    )  # fmt: skip
    yield from cluster.start()
    start_up_s, is_first, round_bytes = env.now - began_s, True, 0
    if world.claims_when_ready:
        batches = _topped_up(world, batches, run_id)
        mine = list(dict.fromkeys((*mine, *batches)))

    def settle(group: Group) -> None:
        nonlocal is_first
        if is_first:
            ledger.learn_start_up(run_id, began_s, start_up_s)
            is_first = False
        for table, batch in group.batches.items():
            size_bytes = sum(arrival.size_bytes for arrival in batch)
            share = units_of_batch(size.units, size_bytes, group.size_bytes, round_bytes)
            ledger.learn_merge(table, batch, env.now - group.began_s, share, env.now)

    rounds = merged = 0
    while batches:
        round_bytes = _bytes_of(batches)
        groups = _groups(world, batches)
        for first in range(0, len(groups), GROUPS_A_ROUND):
            yield from cluster.work(groups[first : first + GROUPS_A_ROUND], rates, world.record, settle)
        rounds, merged = rounds + 1, merged + len(batches)
        is_long = timedelta(seconds=env.now - began_s) >= LONGEST_RUN
        if rounds > MAXIMUM_ROUNDS or merged >= MAXIMUM_BATCHES or is_long:
            live.takes_more = False
            break
        batches, waited_s = {}, 0.0
        while True:
            rates, now = ledger.rates(env.now), moment(env.now)
            more = decide_more(ledger.snapshots(env.now, by_run=run_id), mine, began, now, rates=rates, limits=LIMITS)
            batches = ledger.claim(more, run_id)
            if batches or waited_s >= world.lingers_s:
                break
            yield env.timeout(15.0)
            waited_s += 15.0
        mine = list(dict.fromkeys((*mine, *batches)))
        takes_s = round_s(_work(world, batches), size.units, rates)
        live.round_ends_at = now + timedelta(seconds=takes_s) if batches else None
    cluster.end(world.record)
    yield env.timeout(cluster.terminating_s())
    ledger.free(run_id)


def _topped_up(world: _World, batches: Batches, run_id: str) -> Batches:
    """With what has landed since the claim."""
    world.ledger.backlog.advance(world.env.now)
    topped = {table: list(batch) for table, batch in batches.items()}
    for table in world.situation.contracts.by_table:
        if world.ledger.holders.get(table, run_id) == run_id:
            topped.setdefault(table, []).extend(world.ledger.claim([table], run_id).get(table, []))
    return {table: batch for table, batch in topped.items() if batch}


def _work(world: _World, batches: Batches) -> list[TableWork]:
    """As tidegate.usecases.plan_batches.table_work makes it of a plan."""
    now_s, by_table = world.env.now, world.situation.contracts.by_table
    moment = world.situation.trace.moment
    now = moment(now_s)
    return [
        TableWork(
            table,
            sum(arrival.size_bytes for arrival in batch),
            len(batch),
            deadline_in_s=(deadline_of(moment(batch[0].at_s), by_table[table].freshness) - now).total_seconds(),
        )
        for table, batch in batches.items()
    ]


def _groups(world: _World, batches: Batches) -> list[Group]:
    by_table, moment = world.situation.contracts.by_table, world.situation.trace.moment
    sizes = {table: sum(arrival.size_bytes for arrival in batch) for table, batch in batches.items()}
    deadlines = {
        table: deadline_of(moment(batch[0].at_s), by_table[table].freshness) for table, batch in batches.items()
    }
    return [
        Group(each.name, {table: batches[table] for table in each.tables}, deadlines) for each in group_steps(sizes)
    ]


def _bytes_of(batches: Batches) -> int:
    return sum(arrival.size_bytes for batch in batches.values() for arrival in batch)
