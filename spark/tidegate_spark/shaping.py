"""From the columns that files and paths give to those of the table, and what becomes of each row.

A row is merged, or left out by the transform's WHERE, or it has a problem: it doesn't parse, it has no key, it
doesn't meet an expectation. All of it is decided from the row alone, in the pass that reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as sf
from pyspark.sql.types import StringType, StructField, StructType

from tidegate_spark.conditions import made_by_transform
from tidegate_spark.errors import ContractRefused
from tidegate_spark.local_rows import local_rows
from tidegate_spark.origin import DELETED, SET_COLUMNS
from tidegate_spark.reading import normal, normal_column
from tidegate_spark.sources import casts, rows
from tidegate_spark.sources.rows import quoted
from tidegate_spark.work import METADATA_COLUMNS, Contract, Expectation, SourceFile
from tidegate_spark.work import Column as ContractColumn

CHECK = "_tidegate_check"
"""What the row failed: `parse`, `key` or an expectation's name. Null in the rows that go on."""
FILTERED = "_tidegate_filtered"
"""The transform leaves the row out."""
_MADE = "_tidegate_made"
NO_FOLDER = ("", "__HIVE_DEFAULT_PARTITION__")
"""Texts that are null where a column is one of folders, to Delta's protocol and to Spark."""
_LONGEST_RAW = 64 * 1024


def unmet(number: int) -> str:
    """The column that says whether a row fails the contract's expectation of this number."""
    return f"_tidegate_unmet_{number}"


def is_good() -> Column:
    """Does a row go on?"""
    return sf.col(CHECK).isNull() & ~sf.col(rows.BLANK) & ~sf.col(FILTERED)


@dataclass(frozen=True)
class Shape:
    """What is done to the rows of one contract. Made by :func:`shape_of`."""

    session: SparkSession
    contract: Contract
    made: StructType
    """The columns that the transform makes."""
    raw_type: str
    """SQL type of `rows.RAW`."""

    def of(self, scan: DataFrame, files: Sequence[SourceFile]) -> DataFrame:
        """The table's columns, `_tidegate_deleted`, `_tidegate_set`, and what this module and `rows` add."""
        return self._judged(self._of_table(self._of_source(self._with_paths(scan, files))))

    def _with_paths(self, scan: DataFrame, files: Sequence[SourceFile]) -> DataFrame:
        """With the columns that a file's path and arrival give, if anything asks for them."""
        captures = self.contract.captures
        metadata = [name for name in METADATA_COLUMNS if self._asks_for(name)]
        if not captures and not metadata:
            return scan
        schema = StructType(
            [
                StructField(name, StringType())
                for name in (rows.FILE, *METADATA_COLUMNS, *(f"capture {name}" for name in captures))
            ]
        )
        described = [
            (
                normal(file.uri),
                f"s3://{file.source}",
                file.event_time,
                *(file.captures[name] for name in captures),
            )
            for file in files
        ]
        paths = local_rows(self.session, described, schema)
        types = {column.name: column.type for column in self.contract.source_columns}
        return scan.withColumn(rows.FILE, normal_column(sf.col(rows.FILE))).join(
            sf.broadcast(
                paths.select(
                    rows.FILE,
                    *(sf.col(name).cast(METADATA_COLUMNS[name]).alias(name) for name in metadata),
                    *(sf.col(quoted(f"capture {name}")).cast(types[name]).alias(name) for name in captures),
                )
            ),
            rows.FILE,
            "inner",
        )

    def _asks_for(self, name: str) -> bool:
        contract = self.contract
        texts = [contract.delete_when, *(each.check for each in contract.expectations)]
        if contract.transform is not None:
            texts += [*contract.transform.select, contract.transform.where]
        return any(column.name == name for column in contract.columns) or any(name in text for text in texts if text)

    def _of_source(self, frame: DataFrame) -> DataFrame:
        """What is said of a row in the words of its source: is it a delete, is it wanted, what is made of it?"""
        contract, transform = self.contract, self.contract.transform
        deletes = sf.expr(contract.delete_when) if contract.delete_when else sf.lit(False)
        made = [sf.struct(*(sf.expr(text) for text in transform.select)).alias(_MADE)] if transform else []
        wanted = sf.coalesce(sf.expr(transform.where), sf.lit(False)) if transform and transform.where else None
        is_left_out = sf.lit(False) if wanted is None else sf.col(rows.PROBLEM).isNull() & ~wanted
        return frame.select(
            "*",
            sf.coalesce(deletes, sf.lit(False)).alias(DELETED),
            (is_left_out & ~sf.col(rows.BLANK)).alias(FILTERED),
            *made,
        )

    def _of_table(self, frame: DataFrame) -> DataFrame:
        contract = self.contract
        cells = {column.name: self._cell(column.name, column.type) for column in contract.columns}
        problem = sf.coalesce(sf.col(rows.PROBLEM), *(cells[name].problem for name in self.made.names if name in cells))
        # The names that a path gives are set by every row of the file.
        of_paths = sf.array(*(sf.lit(name) for name in contract.captures)).cast("array<string>")
        unknown = sf.col(rows.UNKNOWN)
        if contract.ignore_null_updates:
            unknown = sf.map_filter(unknown, lambda _, value: value.isNotNull())
        is_new = sf.coalesce(sf.map_keys(unknown), sf.array().cast("array<string>"))
        brought = [sf.col(rows.SET), of_paths] if contract.partial_updates else []
        brought += [is_new] if brought and contract.evolution != "strict" else []
        return frame.select(
            *(self._as_kept(column, cells[column.name].value) for column in contract.columns),
            *self._also_asked_for(frame),
            *(rows.FILE, rows.BLOCK, rows.ROW_ID, rows.BLANK, rows.RAW, DELETED, FILTERED),
            sf.when(~sf.col(FILTERED) & ~sf.col(rows.BLANK), problem).alias(rows.PROBLEM),
            *([sf.concat(*brought).alias(SET_COLUMNS)] if brought else []),
            *([sf.col(rows.UNKNOWN)] if contract.evolution != "strict" else []),
        )

    def _as_kept(self, column: ContractColumn, value: Column) -> Column:
        """The value as the table will have it: were it another, a key would not be found again."""
        is_folder = column.name in self.contract.partition_by and column.type == "string"
        return (sf.when(~value.isin(*NO_FOLDER), value) if is_folder else value).alias(column.name)

    def _also_asked_for(self, frame: DataFrame) -> list[Column]:
        """Metadata that a check asks for and the table doesn't have."""
        there = {column.name for column in self.contract.columns}
        return [sf.col(name) for name in METADATA_COLUMNS if name in frame.columns and name not in there]

    def _cell(self, name: str, type_name: str) -> rows.Cell:
        if name not in self.made.names or name in METADATA_COLUMNS:
            return rows.Cell(sf.col(quoted(name)), sf.lit(None).cast("string"))
        try:
            return casts.typed(
                self.session, name, self.made[name].dataType, type_name, sf.col(f"{_MADE}.{quoted(name)}")
            )
        except casts.NoSuchCast as reason:
            raise ContractRefused(
                f"The transform of table {self.contract.table} doesn't fit its columns: {reason}. Cast it in the "
                "transform, or change the column's type."
            ) from reason

    def _judged(self, frame: DataFrame) -> DataFrame:
        contract = self.contract
        null_key = sf.coalesce(
            *(sf.when(sf.col(quoted(key)).isNull(), sf.lit(_null_words(key, contract))) for key in contract.keys),
            sf.lit(None).cast("string"),
        )
        is_live = sf.col(rows.PROBLEM).isNull() & ~sf.col(rows.BLANK) & ~sf.col(FILTERED)
        keyed = frame.select(
            *(sf.col(quoted(name)) for name in frame.columns if name != rows.PROBLEM),
            sf.when(sf.col(rows.PROBLEM).isNotNull(), sf.lit("parse"))
            .when(is_live & null_key.isNotNull(), sf.lit("key"))
            .alias(CHECK),
            sf.coalesce(sf.col(rows.PROBLEM), sf.when(is_live, null_key)).alias(rows.PROBLEM),
        )
        is_checked = sf.col(CHECK).isNull() & ~(sf.col(rows.BLANK) | sf.col(FILTERED) | sf.col(DELETED))
        for number, each in enumerate(contract.expectations):
            is_met = sf.coalesce(sf.expr(each.check), sf.lit(False))
            keyed = keyed.withColumn(unmet(number), is_checked & ~is_met)
        strict = [(number, each) for number, each in enumerate(contract.expectations) if each.on_fail != "warn"]
        # A row that fails its batch does so whatever else it fails.
        strict.sort(key=lambda one: one[1].on_fail != "fail")
        check = sf.coalesce(
            sf.col(CHECK), *(sf.when(sf.col(unmet(number)), sf.lit(each.name)) for number, each in strict)
        )
        problem = sf.coalesce(
            sf.col(rows.PROBLEM),
            *(sf.when(sf.col(unmet(number)), sf.lit(_unmet_words(each))) for number, each in strict),
        )
        metadata = [name for name in METADATA_COLUMNS if name not in {c.name for c in contract.columns}]
        kept = (name for name in keyed.columns if name not in {CHECK, rows.PROBLEM, rows.RAW, *metadata})
        judged = keyed.select(
            *(sf.col(quoted(name)) for name in kept),
            check.alias(CHECK),
            problem.alias(rows.PROBLEM),
            # Named once: so Spark makes the text of a row where it is asked for, not of each row.
            sf.when(check.isNotNull(), sf.col(rows.RAW)).alias(rows.RAW),
        )
        return judged.withColumn(rows.RAW, cut(sf.col(rows.RAW))) if self.raw_type == "string" else judged


def cut(raw: Column) -> Column:
    """At most 64 Ki characters of a text for people: one cell may have ten megabytes."""
    return sf.when(
        sf.length(raw) > _LONGEST_RAW,
        sf.concat(sf.substring(raw, 1, _LONGEST_RAW), sf.lit("... (cut, "), sf.length(raw), sf.lit(" characters)")),
    ).otherwise(raw)


def shape_of(session: SparkSession, contract: Contract, raw_type: str) -> Shape:
    """Raises :class:`ContractRefused` if Spark can't use the contract's SQL."""
    return Shape(session, contract, made_by_transform(session, contract), raw_type)


def fatal(contract: Contract) -> list[str]:
    """The names of the expectations that fail their batch."""
    return [each.name for each in contract.expectations if each.on_fail == "fail"]


def _null_words(key: str, contract: Contract) -> str:
    also = " or an empty text, which a partition can't tell apart" if key in contract.partition_by else ""
    return f"key column {key} is null{also}"


def _unmet_words(expectation: Expectation) -> str:
    return f"expectation {expectation.name} is not met: {expectation.check}"
