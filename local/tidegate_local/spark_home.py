"""Where the venv's Spark is: `$SPARK_HOME` is the folder of the package pyspark."""

from __future__ import annotations

import importlib.util
from pathlib import Path


class SparkNotFound(RuntimeError):
    """pyspark is not installed; the message says what to do."""


def spark_home() -> Path:
    """The folder that holds Spark's `bin/` and `jars/`. pyspark itself is not imported."""
    found = importlib.util.find_spec("pyspark")
    if found is None or found.origin is None:
        raise SparkNotFound("The package pyspark is not installed in this environment: run `make setup`.")
    return Path(found.origin).parent


def ivy_jar() -> Path:
    """Apache Ivy, as Spark ships it."""
    jars = sorted((spark_home() / "jars").glob("ivy-*.jar"))
    if not jars:
        raise SparkNotFound(f"{spark_home()}/jars holds no ivy jar: install pyspark again (`make setup`).")
    return jars[-1]
