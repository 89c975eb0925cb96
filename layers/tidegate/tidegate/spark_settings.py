"""Spark's settings by the size of a run: memory, executors, shuffle partitions."""

import math
from dataclasses import dataclass

CORES_A_UNIT = 4
YARN_MB_A_UNIT = 12_288
"""What YARN may give away of 16 GiB on a 4-vCPU machine (EMR Release Guide, "Task configuration", m5.xlarge)."""

MASTER_MB = 1_024
"""An application master in client mode: 512 MB and their overhead of 384, rounded up. It sits on the core node."""

OVERHEAD = 0.1875
"""Memory beside the heap, as a part of it: EMR's `spark.executor.memoryOverheadFactor`."""

DRIVERS_MB = 10_240
"""Of the primary's 16 GiB, for all drivers together; the rest is for YARN's and HDFS's daemons and delta-rs."""

PARTITION_BYTES = 128 * 1024**2
EXPANSION = 4
"""Compressed files against the rows in a shuffle: columns of text in gzip or zstd."""

MAXIMUM_PARTITIONS = 4_000

CACHED_IDLE_S = 120
"""After which an idle executor goes although it holds cached blocks. Delta caches each table's state, and Spark's own
default is to keep such an executor for ever: no cluster would ever be scaled in while an application runs."""

LARGE_STEP_BYTES = 1024**3
"""A step from that size on gets executors of a whole unit."""


@dataclass(frozen=True)
class SparkSettings:
    """Of each Spark application of a run. Memory in MB, as Spark writes `m`."""

    executor_cores: int
    executor_memory_mb: int
    driver_memory_mb: int
    minimum_executors: int
    maximum_executors: int
    shuffle_partitions: int

    def as_configuration(self) -> dict[str, str]:
        """As spark-submit's `--conf`. Adaptive execution makes fewer partitions of too many, never more of too few."""
        return {
            "spark.driver.memory": f"{self.driver_memory_mb}m",
            "spark.dynamicAllocation.cachedExecutorIdleTimeout": f"{CACHED_IDLE_S}s",
            "spark.dynamicAllocation.enabled": "true",
            "spark.dynamicAllocation.minExecutors": str(self.minimum_executors),
            "spark.dynamicAllocation.maxExecutors": str(self.maximum_executors),
            "spark.executor.cores": str(self.executor_cores),
            "spark.executor.memory": f"{self.executor_memory_mb}m",
            "spark.sql.adaptive.enabled": "true",
            "spark.sql.shuffle.partitions": str(self.shuffle_partitions),
        }


def settings_for(largest_step_bytes: int, units: int, maximum_units: int, concurrency: int) -> SparkSettings:
    """Settings for `concurrency` applications on `units` units, which may become `maximum_units`.

    `largest_step_bytes` are the compressed bytes that the largest step reads: arrivals, and what they touch. Small
    steps get executors of half a unit, so that two applications share the core node, each with its master.
    """
    is_large = largest_step_bytes >= LARGE_STEP_BYTES and units > 1
    a_unit = 1 if is_large else 2
    cores = CORES_A_UNIT // a_unit
    # The core node is a unit like any other, so an application master has to fit beside each executor.
    memory_mb = int((YARN_MB_A_UNIT / a_unit - MASTER_MB) / (1 + OVERHEAD)) // 64 * 64
    wanted = math.ceil(largest_step_bytes * EXPANSION / PARTITION_BYTES)
    return SparkSettings(
        executor_cores=cores,
        executor_memory_mb=memory_mb,
        driver_memory_mb=DRIVERS_MB // concurrency,
        minimum_executors=1,
        maximum_executors=_executors(maximum_units, a_unit, memory_mb, concurrency),
        shuffle_partitions=min(MAXIMUM_PARTITIONS, max(2 * CORES_A_UNIT * units, wanted)),
    )


def _executors(units: int, a_unit: int, memory_mb: int, concurrency: int) -> int:
    """As many as fit beside the application masters, which are all on the one core unit."""
    with_overhead_mb = memory_mb * (1 + OVERHEAD)
    on_core = int((YARN_MB_A_UNIT - concurrency * MASTER_MB) / with_overhead_mb)
    return max(1, (units - 1) * a_unit + min(a_unit, on_core))
