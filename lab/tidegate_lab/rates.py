"""How long things take: distributions, each with where its figures are from. No account has measured them yet."""

import math
import random
from dataclasses import dataclass, replace

from tidegate_lab.generate import MIB


@dataclass(frozen=True)
class Spread:
    """A log-normal time or rate. `sigma` 0 is always the median."""

    median: float
    sigma: float

    def draw(self, stream: random.Random) -> float:
        return stream.lognormvariate(math.log(self.median), self.sigma) if self.sigma else self.median

    @property
    def mean(self) -> float:
        return self.median * math.exp(self.sigma**2 / 2)


def spread_between(p05: float, p95: float) -> Spread:
    """The log-normal of which one in twenty is below the one and one in twenty above the other."""
    return Spread(math.sqrt(p05 * p95), math.log(p95 / p05) / (2 * 1.6449))


_EMR_START, _SERVERLESS_START = spread_between(300, 600), spread_between(60, 150)


@dataclass(frozen=True)
class Rates:
    """What a simulation draws from. A unit is a machine of 4 vCPU and 16 GiB that runs executors."""

    start_up_s: Spread = _EMR_START
    """From RunJobFlow to the first step: AWS quotes five to ten minutes (Amazon EMR FAQ, "How quickly will my cluster
    be up"); taken as the 5 % and the 95 % quantile, which is our reading of it."""
    step_overhead_s: Spread = Spread(40, 0.25)
    """Of a step before and beside its bytes: EMR's agent, spark-submit on YARN, the session, the commit. Three times
    the 12 s that docs/timings.md measures without YARN; one in twenty is above the product's MERGE_OVERHEAD_S."""
    merge_bytes_per_s: Spread = Spread(25 * MIB, 0.17)
    """Compressed bytes that a unit merges: one in ten is below the product's guess, tidegate.dispatch's
    MERGE_BYTES_PER_S. An assumption: docs/benchmarks.md was measured on other machines."""
    file_s: float = 0.1
    """To open and read a small file on one of a unit's cores: S3 answers "with latencies of roughly 100-200
    milliseconds" (Amazon S3 User Guide, Performance design patterns). Shared by `cores_a_unit`."""
    cores_a_unit: int = 4
    termination_s: tuple[float, float] = (60, 300)
    """From TerminateJobFlows to TERMINATED, uniform: one to five minutes. Not paid; a lease is held so long."""
    record_s: tuple[float, float] = (1, 8)
    """From S3's event to the ledger: EventBridge, SQS and its batching window of up to five seconds."""
    spot_losses_an_hour: float = 0.0003
    """Of one Spot machine: 20 % a month, the worst but one of the Spot Instance Advisor's bands, by the hour."""
    spot_short: float = 0.0
    """Share of launches for which no Spot is to be had: they wait for EMR's time-out and take On-Demand. The goals are
    for the time without capacity faults, so it is 0 unless somebody says so."""
    serverless_start_s: Spread = _SERVERLESS_START
    """From StartJobRun to the driver's first line, without pre-initialised workers: an assumption from users' reports
    of one to two minutes. Not paid."""
    scale_out_s: float = 240
    """Until a task machine that managed scaling asks for works: half a cluster's start-up, an assumption."""

    def without_chance(self) -> "Rates":
        """The same middle values, always: what bounds are proven with."""
        return replace(
            self,
            start_up_s=Spread(self.start_up_s.median, 0),
            step_overhead_s=Spread(self.step_overhead_s.median, 0),
            merge_bytes_per_s=Spread(self.merge_bytes_per_s.median, 0),
            serverless_start_s=Spread(self.serverless_start_s.median, 0),
            termination_s=(sum(self.termination_s) / 2,) * 2,
            record_s=(sum(self.record_s) / 2,) * 2,
            spot_losses_an_hour=0.0,
            spot_short=0.0,
        )

    def work_s(self, files: int, size_bytes: int, bytes_per_s: float | None = None) -> float:
        """Seconds that one unit is busy with so many files and bytes, without the step's overhead."""
        return size_bytes / (bytes_per_s or self.merge_bytes_per_s.median) + files * self.file_s / self.cores_a_unit


RATES = Rates()
