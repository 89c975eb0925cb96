"""How files of a format become typed rows: one module a format, one line in the registry.

A format first looks at each file by itself, cheaply and on the driver (:meth:`Format.layout_of`): its header
or its footer. Files of one layout are then read by Spark in one go (:meth:`Format.read`), however many they
are. The row that comes out carries where it is from and what is wrong with it, so that one pass over the data
both reads and checks.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Protocol

from pyspark.sql import DataFrame, SparkSession

from tidegate_spark.errors import NotSupported
from tidegate_spark.sources.avro_files import AvroFiles
from tidegate_spark.sources.csv_files import CsvFiles
from tidegate_spark.sources.json_files import JsonFiles
from tidegate_spark.sources.orc_files import OrcFiles
from tidegate_spark.sources.parquet_files import ParquetFiles
from tidegate_spark.storage import Storage
from tidegate_spark.work import Contract, SourceFile


class Format(Protocol):
    """One format of landed files."""

    raw_type: str
    """SQL type of `rows.RAW`: a row's own text, or its values as text by their names."""

    def layout_of(self, file: SourceFile, contract: Contract, storage: Storage) -> Hashable:
        """What files must share to be read together. Raises BrokenFile, FileNotFoundError, OSError."""

    def read(self, session: SparkSession, uris: Sequence[str], layout: Hashable, contract: Contract) -> DataFrame:
        """Rows of `Contract.file_columns`, typed, and the columns of `sources.rows`. Reads nothing yet."""


_FORMATS: dict[str, Format] = {
    "csv": CsvFiles(),
    "json": JsonFiles(),
    "parquet": ParquetFiles(),
    "avro": AvroFiles(),
    "orc": OrcFiles(),
}


def format_of(contract: Contract) -> Format:
    """The contract's format. Raises :class:`NotSupported`."""
    try:
        return _FORMATS[contract.format]
    except KeyError:
        raise NotSupported(
            f"Files of format {contract.format!r} can't be read: this job knows {', '.join(sorted(_FORMATS))}."
        ) from None
