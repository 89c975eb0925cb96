"""The contract's SQL, looked at by Spark's own analyzer before a row is read.

All of it is row-local and deterministic: whatever the order and the batches, a row has the same fate.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf
from pyspark.sql.types import BooleanType, NullType, StructType

from tidegate_spark.errors import ContractRefused, summary
from tidegate_spark.local_rows import no_rows
from tidegate_spark.types import is_nested, parse_type
from tidegate_spark.work import METADATA_COLUMNS, Column, Contract


def made_by_transform(session: SparkSession, contract: Contract) -> StructType:
    """The columns that the contract's transform makes. Raises :class:`ContractRefused` for any SQL of the contract."""
    _check_sequence(contract)
    if not (contract.delete_when or contract.expectations or contract.transform):
        return StructType()
    arrivals = _empty(session, [*contract.source_columns, *_metadata()])
    table = _empty(session, [*contract.columns, *(c for c in _metadata() if c.name not in _names(contract.columns))])
    where = f"table {contract.table}"
    if contract.delete_when:
        _check_condition(arrivals, contract.delete_when, f"delete_when of {where}")
    for each in contract.expectations:
        _check_condition(table, each.check, f"expectation {each.name} of {where}")
    if contract.transform is None:
        return StructType()
    if contract.transform.where:
        _check_condition(arrivals, contract.transform.where, f"the transform's WHERE of {where}")
    made = StructType()
    for text in contract.transform.select:
        for field in _looked_at(arrivals, text, f"the transform of {where}").schema:
            made.add(field)
    twice = sorted({name for name in made.names if made.names.count(name) > 1})
    if twice:
        raise ContractRefused(f"The transform of {where} makes column {', '.join(twice)} more than once: name it once.")
    return made


def _check_condition(frame: DataFrame, text: str, called: str) -> None:
    found = _looked_at(frame, text, called).schema[0].dataType
    if not isinstance(found, BooleanType | NullType):
        raise ContractRefused(
            f"{_capital(called)} is no condition: {text!r} is {found.simpleString()}. Write one that is true or false."
        )


def _looked_at(frame: DataFrame, text: str, called: str) -> DataFrame:
    if "${" in text:
        raise ContractRefused(f"{_capital(called)} holds '${{': Spark would put its settings there. Leave it out.")
    try:
        looked_at = frame.select(sf.expr(text))
        plan = looked_at._jdf.queryExecution().analyzed()
    except PySparkException as refused:
        raise ContractRefused(
            f"{_capital(called)} can't be used: {text!r}: {summary(refused)}. Mend the contract; nothing was read."
        ) from refused
    patterns = frame.sparkSession._jvm.org.apache.spark.sql.catalyst.trees.TreePattern  # type: ignore[union-attr]
    # A window, an aggregate or a generator is a node of its own.
    if plan.nodeName() != "Project" or plan.child().nodeName() != frame._jdf.queryExecution().analyzed().nodeName():
        why = "looks at more than one row"
    elif plan.containsPattern(patterns.PLAN_EXPRESSION()):
        why = "has a query inside"
    elif plan.containsPattern(patterns.CURRENT_LIKE()) or not plan.deterministic():
        why = "doesn't always give the same"
    else:
        return looked_at
    raise ContractRefused(
        f"{_capital(called)} {why}: {text!r}. Use the row's own columns and functions that depend on them alone; joins "
        "and aggregates belong in follow-ups."
    )


def _check_sequence(contract: Contract) -> None:
    types = {column.name: column.type for column in contract.columns}
    found = types.get(contract.sequence_by or "")
    if found is not None and (is_nested(found) or found == "boolean"):
        raise ContractRefused(
            f"sequence_by of table {contract.table} is {contract.sequence_by}, which is {found} and doesn't order "
            "changes. Use a number, a date, a timestamp or a text."
        )


def _empty(session: SparkSession, columns: Iterable[Column]) -> DataFrame:
    schema = StructType()
    for column in columns:
        schema.add(column.name, parse_type(column.type))
    return no_rows(session, schema)


def _metadata() -> list[Column]:
    return [Column(name, type_name) for name, type_name in METADATA_COLUMNS.items()]


def _names(columns: Sequence[Column]) -> set[str]:
    return {column.name for column in columns}


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
