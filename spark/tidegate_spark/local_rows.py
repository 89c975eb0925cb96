"""A handful of rows that the driver knows, as a frame, without Python workers.

`createDataFrame` of a list starts Python processes beside the executors and a stage for them to read what the driver
has at hand. A relation of texts needs neither, and Spark's optimizer parses them while it plans.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf
from pyspark.sql.types import ArrayType, StructType

from tidegate_spark.types import parse_type

_FEW_ROWS = 50


def local_rows(session: SparkSession, rows: Sequence[Sequence[Any]], schema: StructType | str) -> DataFrame:
    """The rows, in no order: texts, whole numbers, booleans, lists, maps by text, tuples for structs, None.

    All columns may be null. Times and decimals come as texts, to be cast: JSON would not keep them exactly.
    """
    if isinstance(schema, str):
        parsed = parse_type(schema)
        if not isinstance(parsed, StructType):
            raise TypeError(f"{schema!r} is no list of columns")
        schema = parsed
    jvm: Any = session._jvm
    texts = jvm.java.util.ArrayList()
    told = [_by_name(row, schema) for row in rows]
    # Each text is a call of the JVM; one text of all rows is a call, and a stage.
    is_many = len(told) > _FEW_ROWS
    for text in [json.dumps(told)] if is_many else map(json.dumps, told):
        texts.add(text)
    java_session: Any = session._jsparkSession
    made = java_session.createDataset(texts, jvm.org.apache.spark.sql.Encoders.STRING()).toDF()
    made_rows = DataFrame(made, session)
    if is_many:
        return made_rows.select(sf.inline(sf.from_json("value", ArrayType(schema), {"mode": "FAILFAST"})))
    return made_rows.select(sf.from_json("value", schema, {"mode": "FAILFAST"}).alias("row")).select("row.*")


def no_rows(session: SparkSession, schema: StructType) -> DataFrame:
    """A frame of these columns without a row."""
    java_session: Any = session._jsparkSession
    jvm: Any = session._jvm
    java_schema = java_session.parseDataType(schema.json())
    return DataFrame(java_session.createDataFrame(jvm.java.util.ArrayList(), java_schema), session)


def _by_name(values: Sequence[Any], schema: StructType) -> dict[str, Any]:
    return {
        field.name: _by_name(value, field.dataType)
        if isinstance(field.dataType, StructType) and value is not None
        else value
        for field, value in zip(schema, values, strict=True)
    }
