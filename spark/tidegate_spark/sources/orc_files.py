"""ORC: each file's footer says what is in it."""

from __future__ import annotations

from typing import Any

from tidegate_spark.errors import BrokenFile
from tidegate_spark.sources.schema_files import SchemaFiles
from tidegate_spark.storage import Storage
from tidegate_spark.work import SourceFile


class OrcFiles(SchemaFiles):
    """Any compression that ORC knows: it is inside the file."""

    spark_format, called = "orc", "ORC"

    def schema_of(self, file: SourceFile, storage: Storage) -> Any:
        orc = storage.jvm.org.apache.spark.sql.execution.datasources.orc.OrcUtils
        found = orc.readSchema(storage.path(file.uri), storage.conf, False)
        if not found.isDefined():
            raise BrokenFile("its ORC schema has no columns; send a file with columns")
        return orc.toCatalystSchema(found.get()).json()
