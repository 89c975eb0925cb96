"""One cluster that is always there, with managed scaling: task machines come with the queue and go without one."""

import math

import simpy
from tidegate.run_size import BYTES_PER_UNIT, MAXIMUM_UNITS

from tidegate_lab.bills import Usage
from tidegate_lab.clusters import Cluster, Process
from tidegate_lab.outcome import Life, Record
from tidegate_lab.policies.situation import Situation
from tidegate_lab.traces import DAY_S

EVERY_S = 300.0
"""Between two merges, unless the one before takes longer."""


def always_on(situation: Situation) -> Record:
    """Merges all that is pending each five minutes. It is paid for from the first to the last second of the trace."""
    stream, record = situation.stream("always_on"), Record()
    backlog, env = situation.backlog(stream), simpy.Environment()
    cluster = situation.cluster(env, stream, 0)
    task_type = situation.cluster(env, stream, 2**50).machines.task_type
    task_s = [0.0]

    def merges() -> Process:
        took_s = 0.0
        while not backlog.is_all_recorded or backlog.has_pending:
            yield env.timeout(max(0.0, EVERY_S - took_s))
            took_s = 0.0
            backlog.advance(env.now)
            if not backlog.has_pending:
                continue
            waiting = backlog.take_all()
            rate = situation.rates.merge_bytes_per_s.draw(stream)
            work_s = situation.rates.work_s(len(waiting), sum(arrival.size_bytes for arrival in waiting), rate)
            overhead_s = situation.rates.step_overhead_s.draw(stream)
            tasks = min(MAXIMUM_UNITS, math.ceil(work_s * rate / BYTES_PER_UNIT)) - 1
            alone_s = min(work_s, situation.rates.scale_out_s) if tasks > 0 else work_s
            together_s = (work_s - alone_s) / (1 + max(0, tasks))
            if together_s > 0:
                task_s[0] += together_s * tasks
            took_s = overhead_s + alone_s + together_s
            yield env.timeout(took_s)
            cluster.busy_unit_s += overhead_s + work_s
            record.merged += [(arrival, env.now) for arrival in waiting]

    env.process(merges())
    env.run()
    _end(cluster, task_type, task_s[0], max(env.now, situation.trace.days * DAY_S), record)
    return record


def _end(cluster: Cluster, task_type: str, task_s: float, wall_s: float, record: Record) -> None:
    usage = [Usage(name, "on_demand", wall_s) for name in cluster.machines.base]
    if task_s:
        usage.append(Usage(task_type, "spot", task_s))
    record.lives.append(Life(tuple(usage), wall_s, wall_s + task_s, cluster.busy_unit_s))
