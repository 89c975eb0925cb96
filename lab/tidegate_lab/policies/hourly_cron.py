"""A cron job: each hour a cluster that merges what is pending when it is up."""

import simpy

from tidegate_lab.backlog import Backlog
from tidegate_lab.clusters import Process
from tidegate_lab.outcome import Record
from tidegate_lab.policies.situation import Situation
from tidegate_lab.traces import DAY_S

PERIOD_S = 3600.0


def hourly_cron(situation: Situation) -> Record:
    """Each hour, whether anything is pending or not."""
    return _simulate(situation, skips_empty=False)


def thrifty_cron(situation: Situation) -> Record:
    """A cron job that looks first: no cluster in an hour in which nothing has landed."""
    return _simulate(situation, skips_empty=True)


def _simulate(situation: Situation, *, skips_empty: bool) -> Record:
    stream, record = situation.stream("hourly_cron"), Record()
    backlog, env = situation.backlog(stream), simpy.Environment()
    env.process(_hours(env, situation, backlog, record, skips_empty=skips_empty))
    env.run()
    return record


def _hours(
    env: simpy.Environment, situation: Situation, backlog: Backlog, record: Record, *, skips_empty: bool
) -> Process:
    """A cluster that outlasts its hour delays the next. The newest files are taken along: it claims when it is up."""
    stream = situation.stream("hourly_cron's clusters")
    until_s = situation.trace.days * DAY_S
    while env.now < until_s or not backlog.is_all_recorded or backlog.has_pending:
        yield env.timeout(PERIOD_S - env.now % PERIOD_S)
        backlog.advance(env.now)
        if skips_empty and not backlog.has_pending:
            continue
        size_bytes = sum(pending.size_bytes for pending in backlog.pending.values())
        cluster = situation.cluster(env, stream, size_bytes)
        yield from cluster.start()
        backlog.advance(env.now)
        if backlog.has_pending:
            yield from cluster.merge([backlog.take_all()], 1, record)
        cluster.end(record)
