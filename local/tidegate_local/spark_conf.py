"""A cluster's Spark configuration, translated from EMR's nodes to this machine. Pure.

What the cluster's `spark-defaults` say is kept, so that a job meets here what it will meet on EMR,
except for what names things that a laptop lacks. The rule, in this order:

1. Dropped by name (:data:`DROPPED_PREFIXES`): YARN, the shuffle service, dynamic allocation, EMR's own
   options, and the sizes of executors and drivers, which are made for EMR's nodes.
2. Dropped by value: paths of EMR's image (`/usr/lib/...`) and classes of EMR alone
   (`com.amazon.*`, `com.amazonaws.emr.*`).
3. Kept: everything else.
4. Set here, whatever the cluster says (:func:`local_properties`): the master, the S3 endpoint, all
   folders, loopback, and few shuffle partitions, since local data is small.

With YARN (`yarn_properties`) dynamic allocation is kept, since there are executors to allocate.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tidegate_local.jars import AVRO_JAR, DELTA_JARS, S3_JARS
from tidegate_local.settings import Settings
from tidegate_local.spark_home import spark_home

DROPPED_PREFIXES = (
    "spark.master",
    "spark.submit.deployMode",
    "spark.yarn.",
    "spark.shuffle.service.",
    "spark.shuffle.push.",
    "spark.dynamicAllocation.",
    "spark.decommission",
    "spark.storage.decommission",
    "spark.blacklist.",
    "spark.excludeOnFailure.",
    "spark.emr.",
    "spark.hadoop.fs.s3.",
    "spark.hadoop.yarn.",
    "spark.history.",
    "spark.eventLog.",
    "spark.ui.",
    "spark.driver.memory",
    "spark.driver.cores",
    "spark.driver.host",
    "spark.driver.bindAddress",
    "spark.driver.extraLibraryPath",
    "spark.executor.",
    "spark.pyspark.",
)

_EMR_PATH = re.compile(r"(^|[:,=])(file://)?/(usr|opt|mnt\d*|var|etc|emr)/")
_EMR_CLASS = re.compile(r"\bcom\.amazon(\.|aws\.emr\b|aws\.services\.emr\b)")

_SIZE_OPTIONS = frozenset(
    {
        "--master",
        "--driver-memory",
        "--driver-cores",
        "--executor-memory",
        "--executor-cores",
        "--num-executors",
        "--total-executor-cores",
        "--queue",
        "--driver-library-path",
        "--driver-class-path",
    }
)


def spark_defaults(
    configurations: Sequence[Mapping[str, Any]],
    settings: Settings,
    *,
    class_archive: Path | None = None,
) -> dict[str, str]:
    """All properties of a cluster's `spark-defaults.conf`, from RunJobFlow's `Configurations`."""
    kept = {
        key: value
        for key, value in _classification(configurations, "spark-defaults").items()
        if makes_sense_here(key, value, settings.master)
    }
    wanted_options = kept.get("spark.driver.extraJavaOptions", "")
    delta = _classification(configurations, "delta-defaults").get("delta.enabled", "").lower() == "true"
    properties = {**kept, **local_properties(settings, delta=delta)}
    if settings.master == "yarn":
        properties |= yarn_properties(settings, delta=delta)
    properties["spark.driver.extraJavaOptions"] = " ".join(
        [*java_options(settings, class_archive), *([wanted_options] if wanted_options else [])]
    )
    return properties


def makes_sense_here(key: str, value: str, master: str = "local") -> bool:
    """Does a property of an EMR cluster mean something to Spark on this machine? See the rule above."""
    if master == "yarn" and key.startswith("spark.dynamicAllocation.") and not key.endswith(".maxExecutors"):
        return True
    return not key.startswith(DROPPED_PREFIXES) and _EMR_PATH.search(value) is None and _EMR_CLASS.search(value) is None


def local_properties(settings: Settings, *, delta: bool) -> dict[str, str]:
    """What the local cloud sets itself. Delta's jars are there only with `delta.enabled`, as on EMR."""
    tmp = settings.tmp_dir
    s3a = {
        # The same s3:// URIs as on EMR, whose releases from 7.10 on read them through S3A, too.
        "fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        "fs.s3a.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        "fs.s3a.endpoint": settings.endpoint_url,
        "fs.s3a.endpoint.region": settings.region,
        "fs.s3a.path.style.access": "true",
        "fs.s3a.connection.ssl.enabled": "false",
        "fs.s3a.aws.credentials.provider": "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider",
        "fs.s3a.access.key": settings.access_key,
        "fs.s3a.secret.key": settings.secret_key,
        "fs.s3a.buffer.dir": str(tmp / "s3a"),
        "hadoop.tmp.dir": str(tmp / "hadoop"),
    }
    return {
        "spark.master": f"local[{settings.spark_cores}]",
        "spark.submit.deployMode": "client",
        "spark.driver.memory": settings.spark_driver_memory,
        "spark.driver.extraClassPath": class_path(settings, delta=delta),
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.local.dir": str(tmp / "spark"),
        "spark.sql.warehouse.dir": str(tmp / "warehouse"),
        "spark.jars.ivy": str(tmp / "ivy"),
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": (settings.logs_dir / "spark-events").as_uri(),
        # Measured on two cores: a merge of 1,000 rows takes 3 s with these and 7 s with the defaults.
        "spark.sql.shuffle.partitions": "2",
        "spark.databricks.delta.snapshotPartitions": "2",
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": "4",
        # Where EMR has it, the job knows.
        "spark.tidegate.avroJar": str(settings.jars_dir / AVRO_JAR.file_name),
        **{f"spark.hadoop.{key}": value for key, value in s3a.items()},
    }


def yarn_properties(settings: Settings, *, delta: bool) -> dict[str, str]:
    """What differs with `--yarn`: executors in containers of their own, as many as are needed.

    Each is a whole unit and says so, so that unit-seconds mean here what they mean on EMR; but it does one task at a
    time, which is all that a laptop's core is good for.
    """
    return {
        "spark.master": "yarn",
        "spark.yarn.jars": f"local:{spark_home()}/jars/*",
        "spark.yarn.stagingDir": (settings.tmp_dir / "staging").as_uri(),
        "spark.yarn.am.memory": "512m",
        "spark.yarn.am.extraJavaOptions": _CONTAINER_JAVA_OPTIONS,
        "spark.executor.cores": "4",
        "spark.task.cpus": "4",
        "spark.executor.memory": "1g",
        "spark.executor.extraClassPath": class_path(settings, delta=delta),
        "spark.executor.extraJavaOptions": _CONTAINER_JAVA_OPTIONS,
        "spark.dynamicAllocation.enabled": "true",
        # What EMR's nodes could hold, a laptop can't.
        "spark.dynamicAllocation.maxExecutors": str(settings.spark_cores),
        # There is no external shuffle service, so an executor stays for the shuffle files that it holds; but not for
        # ever, or nothing could be scaled in.
        "spark.dynamicAllocation.shuffleTracking.enabled": "true",
        "spark.dynamicAllocation.shuffleTracking.timeout": "30s",
        "spark.dynamicAllocation.executorIdleTimeout": "20s",
        "spark.sql.shuffle.partitions": "8",
    }


_CONTAINER_JAVA_OPTIONS = "-XX:-UsePerfData -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Duser.timezone=UTC"


def class_path(settings: Settings, *, delta: bool) -> str:
    """The six jars, then all of Spark's own.

    Spark would add its own anyway, but behind the configuration's folder, and an archive of classes
    (`class_archive.py`) may cover a class path only up to the first folder.
    """
    jars = (*DELTA_JARS, *S3_JARS) if delta else S3_JARS
    return ":".join([*(str(settings.jars_dir / jar.file_name) for jar in jars), f"{spark_home()}/jars/*"])


def java_options(settings: Settings, class_archive: Path | None = None) -> list[str]:
    """The driver's JVM: quick to start, nothing written outside the state folder."""
    options = [
        "-XX:-UsePerfData",  # would write below the system's temp folder
        f"-Djava.io.tmpdir={settings.tmp_dir}",
        f"-Duser.home={settings.tmp_dir / 'home'}",
        f"-Dderby.system.home={settings.tmp_dir / 'derby'}",
        "-Duser.timezone=UTC",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
    ]
    if class_archive is not None:
        options += [
            "-Xshare:auto",
            f"-XX:SharedArchiveFile={class_archive}",
            # An archive that doesn't fit is not worth a word in the step's stdout.
            "-Xlog:disable",
            "-Xlog:all=error:stderr",
        ]
    # Spark splits the options as a shell does.
    return [shlex.quote(option) for option in options]


def submit_arguments(arguments: Sequence[str], master: str = "local") -> list[str]:
    """`spark-submit`'s arguments without what only EMR's nodes can honour.

    Sizes, `--master` and properties that the rule above drops are left out; `--deploy-mode cluster`
    becomes `client`, since there is no other node to go to.
    """
    kept: list[str] = []
    rest = list(arguments)
    while rest:
        option = rest.pop(0)
        if not option.startswith("-"):
            # The application; what follows are its own arguments.
            return [*kept, option, *rest]
        name, equals, inline = option.partition("=")
        has_inline = bool(equals) and name.startswith("--")
        value = inline if has_inline else (rest.pop(0) if name not in _FLAGS and rest else None)
        if name in _SIZE_OPTIONS:
            continue
        if name in {"--conf", "-c"} and value is not None:
            key, _, setting = value.partition("=")
            if not makes_sense_here(key, setting, master):
                continue
        if name == "--deploy-mode":
            value = "client"
        kept += [name] if value is None else [name, value]
    return kept


_FLAGS = frozenset({"--supervise", "--verbose", "-v", "--help", "-h", "--version"})


def as_properties_file(properties: Mapping[str, str]) -> str:
    """The text of a `spark-defaults.conf`: Java's properties format."""
    lines = []
    for key, value in sorted(properties.items()):
        escaped = value.replace("\\", "\\\\").replace("\n", "\\n")
        lines.append(f"{key} {escaped}\n")
    return "".join(lines)


def _classification(configurations: Sequence[Mapping[str, Any]], name: str) -> dict[str, str]:
    return {
        key: str(value)
        for configuration in configurations
        if configuration.get("Classification") == name
        for key, value in (configuration.get("Properties") or {}).items()
    }
