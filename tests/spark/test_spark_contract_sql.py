"""What the contract's own reader of SQL takes, Spark takes as well; and it knows the functions that Spark has."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import SparkSession
from tidegate_cli.contracts import functions

_PATH = Path(__file__).parents[1] / "unit" / "test_contract_sql.py"
_BY_OPERATOR = frozenset({"and", "or", "not", "in", "like", "ilike", "rlike", "regexp", "when", "case", "between"})
_NO_VALUES = frozenset({"range", "sql_keywords"})
"""Functions that stand for tables."""


def test_every_function_of_spark_is_allowed_or_forbidden(spark: SparkSession) -> None:
    # GIVEN the functions that this Spark has
    listed = spark.sql("SHOW SYSTEM FUNCTIONS").collect()
    names = {row["function"] for row in listed if re.fullmatch(r"[a-z]\w*", row["function"])}
    # THEN each is known, and none is known that it hasn't (but what its grammar writes like one)
    known = functions.ALLOWED | functions.FORBIDDEN.keys() | _BY_OPERATOR
    assert names - known - _NO_VALUES == set()
    assert functions.ALLOWED - functions.SYNTAX - names == set()


def _cases() -> Any:
    """The module of the pure tests, whose cases these are."""
    spec = importlib.util.spec_from_file_location("contract_sql_cases", _PATH)
    assert spec is not None
    assert spec.loader is not None
    cases = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(cases)
    return cases


def test_conditions_that_are_taken_are_conditions_to_spark(spark: SparkSession) -> None:
    cases = _cases()
    schema = ", ".join(f"`{name}` {ddl}" for name, ddl in cases.TYPES.items())
    rows = spark.createDataFrame([], schema)
    refused = {}
    for text in cases.GOOD_CONDITIONS:
        # The name of the view and a last semicolon are taken off when a contract is compiled.
        bare = text.replace("arrivals.", "").removesuffix(";")
        try:
            (field,) = rows.selectExpr(f"{bare} AS x").schema.fields
        except (AnalysisException, ParseException) as error:
            refused[text] = str(error)[:200]
        else:
            assert field.dataType.simpleString() == "boolean", text
    assert refused == {}
