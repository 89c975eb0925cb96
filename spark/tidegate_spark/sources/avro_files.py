"""Avro: each file's head says what is in it.

Spark reads it with a jar of its own, `spark-avro`, that isn't on its class path. It is added to the application
when the first Avro file comes, so that a cluster without it merges everything else.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from tidegate_spark.errors import BrokenFile, NotSupported
from tidegate_spark.sources.schema_files import SchemaFiles
from tidegate_spark.storage import Storage
from tidegate_spark.work import Contract, SourceFile

JAR_SETTING = "spark.tidegate.avroJar"
EMR_JAR = "/usr/lib/spark/external/lib/spark-avro.jar"
"""Where EMR's Spark has it: AWS's own examples for Hudi name this path. On EMR 7 that is inferred, not tried."""
_MARK_BYTES = 16
"""A file's head and each of its blocks end with the same mark. Avro's readers take a file that is cut off for one
that ends there."""
_PROVIDER = "org.apache.spark.sql.avro.AvroFileFormat"


class AvroFiles(SchemaFiles):
    """Any compression that Avro knows: it is inside the file."""

    spark_format, called = "avro", "Avro"

    def read(self, session: SparkSession, uris: Sequence[str], layout: Hashable, contract: Contract) -> DataFrame:
        make_ready(session._jvm)
        return super().read(session, uris, layout, contract)

    def schema_of(self, file: SourceFile, storage: Storage) -> Any:
        jvm = storage.jvm
        make_ready(jvm)
        avro = jvm.org.apache.avro
        reader = avro.file.DataFileReader.openReader(
            avro.mapred.FsInput(storage.path(file.uri), storage.conf), avro.generic.GenericDatumReader()
        )
        try:
            schema, end_of_head = reader.getSchema(), reader.previousSync()
        finally:
            reader.close()
        if storage.slice(file.uri, end_of_head - _MARK_BYTES, _MARK_BYTES) != storage.tail(file.uri, _MARK_BYTES):
            raise BrokenFile("it is cut off: it doesn't end with the mark that its blocks end with; send it again")
        return jvm.org.apache.spark.sql.avro.SchemaConverters.toSqlType(schema).dataType().json()


def make_ready(jvm: Any) -> None:
    """Let this thread find Spark's Avro classes. Raises :class:`NotSupported`."""
    session = jvm.org.apache.spark.sql.SparkSession.active()
    # What is added to an application is seen by threads that look through its own loader.
    loader = session.sharedState().jarClassLoader()
    jvm.java.lang.Thread.currentThread().setContextClassLoader(loader)
    if loader.getResource(_PROVIDER.replace(".", "/") + ".class") is not None:
        return
    jar = session.sparkContext().conf().get(JAR_SETTING, EMR_JAR)
    if not jvm.java.io.File(jar).isFile():
        raise NotSupported(
            f"Avro files need Spark's jar spark-avro, and there is none at {jar}. Set {JAR_SETTING} to where the "
            "cluster has org.apache.spark:spark-avro_2.12 of its Spark's version, then redrive."
        )
    session.sessionState().resourceLoader().addJar(jar)
