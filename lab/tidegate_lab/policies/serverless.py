"""EMR Serverless: a job as late as freshness allows, paid by vCPU and GB second from when its workers are there."""

import simpy
from tidegate.rates import MERGE_BYTES_PER_S, MERGE_OVERHEAD_S

from tidegate_lab.backlog import Backlog
from tidegate_lab.clusters import Process
from tidegate_lab.outcome import Record, due_s
from tidegate_lab.policies.situation import TICK_S, Situation

START_S = 180.0
"""What it allows for the start of a job, above the 95 % quantile."""


def serverless(situation: Situation) -> Record:
    """One job at a time for all tables, since one is enough for them; looked for each minute, as Tidegate does."""
    stream, record = situation.stream("serverless"), Record()
    backlog, env = situation.backlog(stream), simpy.Environment()
    env.process(_minutes(env, situation, backlog, record))
    env.run()
    return record


def _minutes(env: simpy.Environment, situation: Situation, backlog: Backlog, record: Record) -> Process:
    stream, rates, bills = situation.stream("serverless's jobs"), situation.rates, situation.bills
    while not backlog.is_all_recorded or backlog.has_pending:
        yield env.timeout(TICK_S)
        backlog.advance(env.now)
        if not _is_due(env.now, situation, backlog):
            continue
        size_bytes = sum(pending.size_bytes for pending in backlog.pending.values())
        executors = situation.cluster(env, stream, size_bytes).units
        yield env.timeout(rates.serverless_start_s.draw(stream))
        backlog.advance(env.now)
        waiting = backlog.take_all()
        rate = rates.merge_bytes_per_s.draw(stream)
        work_s = rates.work_s(len(waiting), sum(arrival.size_bytes for arrival in waiting), rate)
        took_s = rates.step_overhead_s.draw(stream) + work_s / executors
        yield env.timeout(took_s)
        record.merged += [(arrival, env.now) for arrival in waiting]
        record.other_usd += bills.serverless_usd(1 + executors, took_s)


def _is_due(now_s: float, situation: Situation, backlog: Backlog) -> bool:
    for pending in backlog.pending.values():
        if pending.arrivals:
            lead_s = START_S + TICK_S + MERGE_OVERHEAD_S + pending.size_bytes / MERGE_BYTES_PER_S
            if now_s >= due_s(situation.trace, situation.contracts, pending.arrivals[0]) - lead_s:
                return True
    return False
