"""Parquet: each file's footer says what is in it."""

from __future__ import annotations

from typing import Any

from tidegate_spark.sources.schema_files import SchemaFiles
from tidegate_spark.storage import Storage
from tidegate_spark.work import SourceFile


class ParquetFiles(SchemaFiles):
    """Any compression that Parquet knows: it is inside the file."""

    spark_format, called = "parquet", "Parquet"

    def schema_of(self, file: SourceFile, storage: Storage) -> Any:
        jvm = storage.jvm
        reader = jvm.org.apache.parquet.hadoop.ParquetFileReader.open(
            jvm.org.apache.parquet.hadoop.util.HadoopInputFile.fromPath(storage.path(file.uri), storage.conf)
        )
        try:
            message = reader.getFooter().getFileMetaData().getSchema()
        finally:
            reader.close()
        session = jvm.org.apache.spark.sql.SparkSession.active()
        parquet = jvm.org.apache.spark.sql.execution.datasources.parquet
        return parquet.ParquetToSparkSchemaConverter(session.sessionState().conf()).convert(message).json()
