"""Make Spark's JVM start faster: an archive of its loaded classes (Java's class data sharing).

Measured on two cores, a step that merges 1,000 rows from CSV into a new Delta table on the local S3 takes
8.2 s with it and 12.0 s without: the JVM spends its first seconds loading and verifying 18,000 classes.
It is optional; the JVM itself checks that the archive fits its jars, and ignores it otherwise.

`python -m tidegate_local.class_archive` makes it once (about 40 seconds, 180 MB in the state folder);
nothing is said or done when it is there.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tidegate_local import jars, java, settings, spark_conf, spark_home
from tidegate_local.settings import Settings

_TIMEOUT_S = 300

_EXERCISE = """
import sys
from pyspark.sql import SparkSession, functions as F
from delta.tables import DeltaTable

spark = SparkSession.builder.getOrCreate()
path = sys.argv[1]
now, word = F.current_timestamp().alias("t"), F.lit("v").alias("v")
rows = spark.range(100).select(F.col("id").alias("k"), now, word)
rows.write.option("header", True).csv(path + "/in")
read = spark.read.option("header", True).schema("k long, t timestamp, v string").csv(path + "/in")
read.limit(0).write.format("delta").save(path + "/table")
for _ in range(2):
    merge = DeltaTable.forPath(spark, path + "/table").alias("t").merge(read.alias("s"), "t.k <=> s.k")
    merge.whenMatchedUpdateAll().whenNotMatchedInsertAll().execute()
spark.read.format("delta").load(path + "/table").groupBy("v").count().collect()
try:
    spark.read.text("s3://nowhere/at/all").collect()
except Exception as refused:  # there is no such place: asking for it is what loads the classes of S3A
    print(type(refused).__name__)
"""


class ArchiveNotMade(RuntimeError):
    """The archive could not be made; steps run without it."""


def find(here: Settings) -> Path | None:
    """The archive for this Java, these jars and this folder; None if it was not made."""
    path = _path(here)
    return path if path.is_file() else None


def make(here: Settings, say: Callable[[str], None] = lambda _line: None) -> Path:
    """Make the archive unless it is there. Raises :class:`ArchiveNotMade`."""
    path = _path(here)
    if path.is_file():
        return path
    say("Preparing Spark to start faster (once, about 40 seconds)")
    work = here.cache_dir / "class-archive"
    for old in here.cache_dir.glob("spark-*.jsa"):
        old.unlink()
    work.mkdir(parents=True, exist_ok=True)
    listed, draft = work / "classes.lst", work / "draft.jsa"
    _exercise(here, work, listed)
    _run(
        [
            str(java.find_java_home(os.environ) / "bin" / "java"),
            "-Xshare:dump",
            "-Xmx1g",
            "-Xlog:disable",
            "-Xlog:all=error:stderr",
            "-XX:-UsePerfData",
            "-XX:+UseSerialGC",
            f"-XX:SharedClassListFile={listed}",
            f"-XX:SharedArchiveFile={draft}",
            "-cp",
            spark_conf.class_path(here, delta=True),
        ],
        dict(os.environ),
        work,
    )
    draft.replace(path)
    shutil.rmtree(work, ignore_errors=True)
    return path


def _exercise(here: Settings, work: Path, listed: Path) -> None:
    """Run a small Spark job once and note the classes that it loads."""
    script, conf_dir = work / "exercise.py", work / "conf"
    script.write_text(_EXERCISE)
    conf_dir.mkdir(exist_ok=True)
    properties = spark_conf.spark_defaults(_CONFIGURATIONS, here)
    tmp = work / "tmp"
    tmp.mkdir(exist_ok=True)
    properties |= {
        "spark.driver.extraJavaOptions": " ".join(
            [
                *spark_conf.java_options(here),
                shlex.quote(f"-XX:DumpLoadedClassList={listed}"),
                shlex.quote(f"-Djava.io.tmpdir={tmp}"),
            ]
        ),
        "spark.local.dir": str(tmp),
        "spark.eventLog.enabled": "false",
        # There is no S3 yet; the attempt alone loads S3A's classes.
        "spark.hadoop.fs.s3a.attempts.maximum": "1",
        "spark.hadoop.fs.s3a.retry.limit": "0",
        "spark.hadoop.fs.s3a.endpoint": "http://127.0.0.1:9",
    }
    (conf_dir / "spark-defaults.conf").write_text(spark_conf.as_properties_file(properties))
    environment = {
        **os.environ,
        "JAVA_HOME": str(java.find_java_home(os.environ)),
        "SPARK_HOME": str(spark_home.spark_home()),
        "SPARK_CONF_DIR": str(conf_dir),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
    }
    submit = str(spark_home.spark_home() / "bin" / "spark-submit")
    _run([submit, str(script), (tmp / "data").as_uri()], environment, work)


_CONFIGURATIONS = [
    {"Classification": "delta-defaults", "Properties": {"delta.enabled": "true"}},
    {
        "Classification": "spark-defaults",
        "Properties": {
            "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
            "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        },
    },
]


def _run(command: list[str], environment: dict[str, str], cwd: Path) -> None:
    try:
        done = subprocess.run(
            command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise ArchiveNotMade(f"{command[0]} gave no answer within {_TIMEOUT_S} seconds.") from None
    if done.returncode != 0:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise ArchiveNotMade(f"{command[0]} ended with exit code {done.returncode}:\n{last}")


def _path(here: Settings) -> Path:
    home = java.find_java_home(os.environ)
    parts = [str(home), str(java.java_version(home)), spark_conf.class_path(here, delta=True)]
    parts += [f"{jar.file_name} {jar.sha256}" for jar in jars.JARS]
    fingerprint = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
    return here.cache_dir / f"spark-{fingerprint}.jsa"


def main() -> int:
    """Make the archive; a failure costs only speed, so it is said and forgiven."""
    try:
        make(settings.current(), say=lambda line: print(line, file=sys.stderr))  # noqa: T201
    except (ArchiveNotMade, java.JavaNotFound, spark_home.SparkNotFound) as trouble:
        print(f"Spark will start without its class archive: {trouble}", file=sys.stderr)  # noqa: T201
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
