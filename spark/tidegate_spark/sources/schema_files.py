"""Files that say themselves what is in them: Parquet, Avro, ORC. Values are cast only where nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from typing import Any, cast

from py4j.protocol import Py4JJavaError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf
from pyspark.sql.types import StructType

from tidegate_spark.errors import BrokenFile, is_broken_content, is_gone
from tidegate_spark.sources import casts, rows, unknown
from tidegate_spark.storage import Storage
from tidegate_spark.work import Contract, SourceFile

_SIGNS = ("RuntimeException", "Analysis", "CANNOT_READ_FILE_FOOTER")
"""What is said here, by a file's head or foot, of content alone."""


class SchemaFiles:
    """The layout is the file's schema, as Spark understands it."""

    raw_type = "map<string,string>"
    spark_format: str
    called: str

    def layout_of(self, file: SourceFile, contract: Contract, storage: Storage) -> Hashable:
        schema = self._schema(file, storage)
        names = [field["name"] for field in json.loads(schema)["fields"]]
        expected = [column.name for column in contract.file_columns]
        needed = [name for name in expected if not rows.may_be_absent(name, contract)]
        missing = [name for name in needed if name not in names]
        faults = [f"column {unknown.listed(missing)} missing from the file"] if missing else []
        faults += unknown.faults_of(names, contract)
        if faults:
            raise BrokenFile(f"{'; '.join(faults)}. {unknown.WHAT_TO_DO}")
        return schema

    def read(self, session: SparkSession, uris: Sequence[str], layout: Hashable, contract: Contract) -> DataFrame:
        """Raises BrokenFile if a column's type can't become the contract's at all."""
        schema = StructType.fromJson(json.loads(cast(str, layout)))
        frame = session.read.schema(schema).option("recursiveFileLookup", True).format(self.spark_format)
        text = {field.name: casts.as_text(sf.col(rows.quoted(field.name)), field.dataType) for field in schema}
        try:
            cells = {
                column.name: casts.typed(
                    session,
                    column.name,
                    schema[column.name].dataType,
                    column.type,
                    sf.col(rows.quoted(column.name)),
                )
                if column.name in schema.names
                else rows.absent(column.type)
                for column in contract.file_columns
            }
        except casts.NoSuchCast as reason:
            raise BrokenFile(f"{reason}; send it in that type, or change the contract") from reason
        return rows.checked(
            frame.load(list(uris)),
            contract,
            cells,
            [],
            raw=sf.create_map(*(part for name in schema.names for part in (sf.lit(name), text[name]))),
            brought=sf.array(*(sf.lit(name) for name in schema.names)),
            unknown=unknown.as_map(schema.names, contract, text),
        )

    def schema_of(self, file: SourceFile, storage: Storage) -> Any:
        """The schema as Spark's own JSON, read from the file's head or foot. Raises what the JVM raises."""
        raise NotImplementedError

    def _schema(self, file: SourceFile, storage: Storage) -> str:
        try:
            return str(self.schema_of(file, storage))
        except Py4JJavaError as failed:
            text = str(failed.java_exception.toString()).splitlines()[0]
            if is_gone(text):
                raise FileNotFoundError(text) from failed
            if is_broken_content(text) or any(sign in text for sign in _SIGNS):
                raise BrokenFile(f"it is not a whole {self.called} file ({text[:300]}); send it again") from failed
            raise OSError(text) from failed
