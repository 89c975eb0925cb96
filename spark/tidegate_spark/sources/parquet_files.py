"""Parquet: each file's footer says what is in it; values are cast only where nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from typing import cast

from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf
from pyspark.sql.types import (
    BinaryType,
    BooleanType,
    DataType,
    DateType,
    NumericType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
    _parse_datatype_string,
)

from tidegate_spark.errors import BrokenFile, is_broken_content, is_gone
from tidegate_spark.sources import rows
from tidegate_spark.storage import Storage
from tidegate_spark.types import is_nested
from tidegate_spark.work import Column as ContractColumn
from tidegate_spark.work import Contract, SourceFile

_FAMILIES: tuple[tuple[type[DataType], ...], ...] = (
    (NumericType,),
    (DateType, TimestampType, TimestampNTZType),
    (BooleanType,),
    (BinaryType,),
)


class ParquetFiles:
    """The layout is the file's schema, as Spark understands it."""

    def layout_of(self, file: SourceFile, contract: Contract, storage: Storage) -> Hashable:
        schema = _schema_of(file, storage)
        names = [field["name"] for field in json.loads(schema)["fields"]]
        expected = [column.name for column in contract.file_columns]
        faults = []
        needed = [name for name in expected if not rows.may_be_absent(name, contract)]
        if missing := [name for name in needed if name not in names]:
            faults.append(f"column {', '.join(missing)} missing from the file")
        if unknown := [name for name in names if name not in expected]:
            faults.append(f"column {', '.join(unknown)} is not in the contract")
        if faults:
            raise BrokenFile("; ".join(faults) + ". Send the file with the contract's columns, or change the contract")
        return schema

    def read(self, session: SparkSession, uris: Sequence[str], layout: Hashable, contract: Contract) -> DataFrame:
        """Raises BrokenFile if a column's type can't become the contract's at all."""
        schema = StructType.fromJson(json.loads(cast(str, layout)))
        frame = session.read.schema(schema).option("recursiveFileLookup", True).parquet(*uris)
        cells = {
            column.name: _cell(session, column, schema) if column.name in schema.names else rows.absent(column.type)
            for column in contract.file_columns
        }
        return rows.checked(frame, contract, cells, [], brought=sf.array(*(sf.lit(name) for name in schema.names)))


def _schema_of(file: SourceFile, storage: Storage) -> str:
    jvm = storage.jvm
    try:
        reader = jvm.org.apache.parquet.hadoop.ParquetFileReader.open(
            jvm.org.apache.parquet.hadoop.util.HadoopInputFile.fromPath(storage.path(file.uri), storage.conf)
        )
        try:
            message = reader.getFooter().getFileMetaData().getSchema()
        finally:
            reader.close()
        session = jvm.org.apache.spark.sql.SparkSession.active()
        parquet = jvm.org.apache.spark.sql.execution.datasources.parquet
        return str(parquet.ParquetToSparkSchemaConverter(session.sessionState().conf()).convert(message).json())
    except Py4JJavaError as failed:
        text = str(failed.java_exception.toString()).splitlines()[0]
        if is_gone(text):
            raise FileNotFoundError(text) from failed
        if is_broken_content(text) or "RuntimeException" in text or "Analysis" in text:
            raise BrokenFile(f"it is not a whole Parquet file ({text[:300]}); send it again") from failed
        raise OSError(text) from failed


def _cell(session: SparkSession, column: ContractColumn, schema: StructType) -> rows.Cell:
    found = schema[column.name].dataType
    wanted = _parse_datatype_string(column.type)
    raw = sf.col(rows.quoted(column.name))
    if found.simpleString() == wanted.simpleString():
        return rows.Cell(raw, sf.lit(None).cast("string"))
    if isinstance(found, StringType) and not is_nested(column.type):
        return rows.from_text(column.name, column.type)
    if not _is_kin(session, found, wanted):
        raise BrokenFile(
            f"column {column.name} is {found.simpleString()}, the contract says {column.type}; "
            "send it in that type, or change the contract"
        )
    value = raw.cast(column.type)
    is_bad = raw.isNotNull() & value.isNull()
    both = {found.simpleString(), wanted.simpleString()}
    if not is_nested(column.type) and wanted.simpleString() != "string" and both != {"float", "double"}:
        # 1.5 is no int and a time is no date: what doesn't come back the same has lost something.
        is_bad = is_bad | ~raw.eqNullSafe(value.cast(found))
    return rows.Cell(value, rows.cast_problem(column.name, column.type, raw, is_bad=is_bad))


def _is_kin(session: SparkSession, found: DataType, wanted: DataType) -> bool:
    """May one be cast to the other without guessing? A number is no time: nobody knows whose seconds it counts."""
    for family in _FAMILIES:
        if isinstance(found, family) or isinstance(wanted, family):
            return isinstance(found, family) and isinstance(wanted, (*family, StringType))
    try:
        session.sql(f"SELECT try_cast(CAST(NULL AS {found.simpleString()}) AS {wanted.simpleString()})")
    except AnalysisException:
        return False
    return True
