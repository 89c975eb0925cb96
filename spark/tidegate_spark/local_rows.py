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
from pyspark.sql.types import StructType

from tidegate_spark.types import parse_type


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
    for row in rows:
        texts.add(json.dumps(_by_name(row, schema)))
    java_session: Any = session._jsparkSession
    made = java_session.createDataset(texts, jvm.org.apache.spark.sql.Encoders.STRING()).toDF()
    parsed_row = sf.from_json("value", schema, {"mode": "FAILFAST"})
    return DataFrame(made, session).select(parsed_row.alias("row")).select("row.*")


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
