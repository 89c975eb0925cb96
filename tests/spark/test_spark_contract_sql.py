"""What the contract's own reader of SQL takes, Spark takes as well; and it knows the functions that Spark has."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JJavaError
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


def test_what_changes_each_time_is_forbidden(spark: SparkSession) -> None:
    # GIVEN what Spark says of the calls that need no argument
    rows = spark.range(1)
    changing = set()
    for name in sorted(functions.ALLOWED | functions.FORBIDDEN.keys()):
        try:
            expression = rows.selectExpr(f"{name}() AS x")._jdf.queryExecution().analyzed().expressions().head()
        except (AnalysisException, ParseException, Py4JJavaError):
            continue
        if not expression.deterministic():
            changing.add(name)
    # THEN none of them is allowed
    assert changing
    assert changing.isdisjoint(functions.ALLOWED)


def _cases() -> Any:
    """The module of the pure tests, whose cases these are."""
    spec = importlib.util.spec_from_file_location("contract_sql_cases", _PATH)
    assert spec is not None
    assert spec.loader is not None
    cases = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(cases)
    return cases


def test_a_compiled_transform_is_what_the_select_means(spark: SparkSession) -> None:
    # GIVEN a SELECT with all that is taken out of it when it is compiled
    select = (
        "SELECT arrivals.id, upper( trim(name) ) AS NAME, arrivals.s.x + cents/100 amount -- of cents\n"
        "FROM arrivals WHERE NOT coalesce(arrivals.test, false) AND id IS DISTINCT FROM 3; -- the end"
    )
    compiled = _cases().compiled(select)
    source = "id bigint, day date, name string, cents bigint, test boolean, s struct<x:int>, _arrived_at timestamp"
    rows = spark.createDataFrame(
        [
            (1, None, " a ", 250, None, (1,), None),
            (2, None, "b", 1, True, None, None),
            (3, None, "c", 1, None, None, None),
        ],
        source,
    )
    # WHEN Spark computes what was compiled
    made = rows.where(compiled["transform"]["where"]).selectExpr(*compiled["transform"]["select"])
    # THEN it is what Spark says of the SELECT itself
    rows.createOrReplaceTempView("arrivals")
    meant = spark.sql(select.partition(";")[0])
    assert made.columns == ["id", "day", "name", "amount"]
    assert [(row["id"], row["name"], row["amount"]) for row in made.collect()] == [
        tuple(row) for row in meant.collect()
    ]


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
