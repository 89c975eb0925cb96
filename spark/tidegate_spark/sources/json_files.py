"""JSON lines: one object a line. An absent key is null; a key that the contract doesn't know is an error."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as sf
from pyspark.sql.types import DataType, StringType, StructField, StructType

from tidegate_spark.errors import BrokenFile
from tidegate_spark.sources import rows, unknown
from tidegate_spark.storage import Storage
from tidegate_spark.types import is_nested, parse_type
from tidegate_spark.work import Column as ContractColumn
from tidegate_spark.work import Contract, SourceFile

_OBJECT = "_tidegate_object"
_OBJECTS = "_tidegate_objects"
_LINE = "_tidegate_line"
_STORED = "_tidegate_stored"
"""The line as it is stored. Spark names it `value`, which the contract's own column may be."""
_UNREADABLE_SUFFIXES = (".zst", ".zstd", ".lz4", ".snappy", ".deflate", ".zip", ".7z", ".xz", ".tar", ".tgz")


class JsonFiles:
    """UTF-8, plain, `.gz` or `.bz2`. All files have one layout: what is in a line, the line itself says."""

    raw_type = "string"

    def layout_of(self, file: SourceFile, contract: Contract, storage: Storage) -> Hashable:  # noqa: ARG002
        if file.key.lower().endswith(_UNREADABLE_SUFFIXES):
            raise BrokenFile("this compression can't be read; send the file plain or as .gz")
        return "lines"

    def read(
        self,
        session: SparkSession,
        uris: Sequence[str],
        layout: Hashable,  # noqa: ARG002
        contract: Contract,
    ) -> DataFrame:
        lines = session.read.option("recursiveFileLookup", True).text(list(uris))
        text = sf.expr("if(startswith(value, '\ufeff'), substring(value, 2), value)")
        types = {column.name: _type_in_json(column) for column in contract.file_columns}
        schema = StructType(
            [StructField(name, data_type) for name, data_type in types.items()]
            + [StructField(rows.CORRUPT, StringType())]
        )
        parsed = lines.select(sf.col("value").alias(_STORED), "_metadata", text.alias(_LINE)).select(
            _STORED,
            "_metadata",
            _LINE,
            sf.from_json(_LINE, schema, {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": rows.CORRUPT}).alias(
                _OBJECT
            ),
            # The line as the inside of a list: anything but one object shows, also `{..}{..}` and `{..} x`.
            sf.from_json(sf.concat(sf.lit("["), _LINE, sf.lit("]")), "array<map<string,string>>").alias(_OBJECTS),
        )
        flat = parsed.select("*", *(sf.col(f"{_OBJECT}.{rows.quoted(name)}").alias(name) for name in types))
        cells = {column.name: _cell(column) for column in contract.file_columns}
        return rows.checked(
            flat,
            contract,
            cells,
            _line_problems(contract),
            raw=sf.col(_LINE),
            blank=sf.trim(sf.col(_LINE)) == sf.lit(""),
            brought=sf.map_keys(sf.col(_OBJECTS)[0]),
            unknown=_unknown_values(contract) if unknown.are_welcome(contract) else None,
        )


def _type_in_json(column: ContractColumn) -> DataType:
    """Plain values are read as text, so that they are cast as CSV's are.

    Decimals are not: as text they would pass through a double. Nested values are parsed as what they are.
    """
    if is_nested(column.type):
        return parse_type(column.type)
    wide = rows.widest_decimal(column.type)
    return parse_type(wide) if wide else StringType()


def _cell(column: ContractColumn) -> rows.Cell:
    wide = rows.widest_decimal(column.type)
    if not wide and not is_nested(column.type):
        return rows.from_text(column.name, column.type)
    parsed = sf.col(rows.quoted(column.name))
    written = sf.get_json_object(sf.col(_LINE), f"$['{column.name}']")
    value = parsed.cast(column.type) if wide else parsed
    is_bad = value.isNull() & written.isNotNull()
    if wide:
        is_bad = is_bad | ~value.eqNullSafe(parsed)
    return rows.Cell(value, rows.cast_problem(column.name, column.type, written, is_bad=is_bad))


def _line_problems(contract: Contract) -> list[Column]:
    bytes_of_line = sf.col(_STORED).cast("binary")
    names = sf.map_keys(sf.col(_OBJECTS)[0])
    others = sf.array_except(names, _known(contract))
    return [
        sf.when(
            sf.encode(sf.decode(bytes_of_line, "UTF-8"), "UTF-8") != bytes_of_line,
            sf.lit("holds bytes that are not UTF-8; save the file as UTF-8"),
        ),
        sf.when(
            sf.coalesce(sf.size(sf.col(_OBJECTS)) != 1, sf.lit(True)) | sf.col(_OBJECTS)[0].isNull(),
            sf.lit("is not one JSON object; write each object on a line of its own"),
        ),
        sf.when(
            sf.size(sf.array_distinct(names)) != sf.size(names), sf.lit("names a column more than once; write it once")
        ),
        *_unknown_problems(others, contract),
        # Nested values of a wrong type leave their mark on the object as a whole.
        sf.when(
            sf.col(f"{_OBJECT}.{rows.CORRUPT}").isNotNull(),
            _first_misfit(contract),
        ),
    ]


def _known(contract: Contract) -> Column:
    return sf.array(*(sf.lit(column.name) for column in contract.file_columns)).cast("array<string>")


def _unknown_problems(others: Column, contract: Contract) -> list[Column]:
    def problem(names: Column, why: str) -> Column:
        return sf.when(sf.size(names) > 0, sf.concat(sf.lit("column "), sf.array_join(names, ", "), sf.lit(why)))

    if not unknown.are_welcome(contract):
        return [problem(others, " is not in the contract")]
    lowered = sf.transform(others, sf.lower)
    return [
        problem(unknown.unfit_in(others, contract), f" can't be added to the table: {unknown.FIT_NAMES}"),
        sf.when(
            sf.size(sf.array_distinct(lowered)) != sf.size(lowered),
            sf.lit("has columns whose names differ by upper and lower case alone"),
        ),
    ]


def _unknown_values(contract: Contract) -> Column:
    others = sf.map_filter(sf.col(_OBJECTS)[0], lambda name, _: ~sf.array_contains(_known(contract), name))
    # Two names that became one are the row's problem, not an exception.
    pairs = sf.transform(
        sf.map_entries(others), lambda pair: sf.struct(sf.lower(pair["key"]).alias("key"), pair["value"].alias("value"))
    )
    names = sf.transform(pairs, lambda pair: pair["key"])
    return sf.when(sf.size(sf.array_distinct(names)) == sf.size(names), sf.map_from_entries(pairs))


def _first_misfit(contract: Contract) -> Column:
    problems = [_cell(column).problem for column in contract.file_columns]
    return sf.coalesce(*problems, sf.lit("a nested value is not of the contract's type"))
