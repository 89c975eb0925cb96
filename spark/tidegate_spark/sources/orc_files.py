"""ORC: each file's footer says what is in it."""

from __future__ import annotations

from typing import Any

from tidegate_spark.errors import BrokenFile
from tidegate_spark.sources.schema_files import SchemaFiles
from tidegate_spark.storage import Storage
from tidegate_spark.work import SourceFile

_MAGIC = b"ORC"
_END_BYTES = len(_MAGIC) + 1
"""The postscript ends with the magic; its length, one byte, is the file's last."""


class OrcFiles(SchemaFiles):
    """Any compression that ORC knows: it is inside the file."""

    spark_format, called = "orc", "ORC"

    def schema_of(self, file: SourceFile, storage: Storage) -> Any:
        # ORC takes a file without its end for one of an old release, and reads what is there as a footer.
        if storage.tail(file.uri, _END_BYTES)[: len(_MAGIC)] != _MAGIC:
            raise BrokenFile("it is not a whole ORC file: it doesn't end as one; send it again")
        orc = storage.jvm.org.apache.spark.sql.execution.datasources.orc.OrcUtils
        found = orc.readSchema(storage.path(file.uri), storage.conf, False)
        if not found.isDefined():
            raise BrokenFile("its ORC schema has no columns; send a file with columns")
        return orc.toCatalystSchema(found.get()).json()
