"""One cluster a file: what an event rule that starts a cluster comes to. Clusters run side by side without limit."""

import simpy

from tidegate_lab.outcome import Record
from tidegate_lab.policies.situation import Situation


def cluster_a_file(situation: Situation) -> Record:
    """As soon as it can be; that two clusters can't write one table at once is left aside, in its favour.

    No cluster knows of another, so each has a clock of its own.
    """
    stream, record = situation.stream("cluster_a_file"), Record()
    for arrival in situation.trace.arrivals:
        env = simpy.Environment(arrival.at_s)
        cluster = situation.cluster(env, stream, arrival.size_bytes)
        env.process(cluster.serve(arrival, record))
        env.run()
    return record
