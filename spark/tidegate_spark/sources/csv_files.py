"""CSV: columns are found by their names in each file's own header.

Spark maps CSV columns by position. So the driver reads the headers, a few kilobytes a file, and files with
the same header are read together.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import io
import zlib
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any, cast

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf
from pyspark.sql.types import StringType, StructField, StructType

from tidegate_spark.errors import BrokenFile, NotSupported
from tidegate_spark.sources import rows, unknown
from tidegate_spark.storage import Storage
from tidegate_spark.types import is_nested
from tidegate_spark.work import Contract, SourceFile

_HEAD_BYTES = 64 * 1024
_LONGEST_HEAD_BYTES = 16 * 1024 * 1024
_UNREADABLE_SUFFIXES = (".zst", ".zstd", ".lz4", ".snappy", ".deflate", ".zip", ".7z", ".xz", ".tar", ".tgz")


class CsvFiles:
    """Options of the contract: header, delimiter, quote, escape, null_value, encoding, multiline.

    Plain, `.gz` or `.bz2`: the suffix says which.
    """

    raw_type = "string"

    def layout_of(self, file: SourceFile, contract: Contract, storage: Storage) -> Hashable:
        """The column names in the file's own order."""
        if file.key.lower().endswith(_UNREADABLE_SUFFIXES):
            raise BrokenFile("this compression can't be read; send the file plain or as .gz")
        expected = tuple(column.name for column in contract.file_columns)
        if not _has_header(contract):
            return expected
        header = _header_of(file, contract, storage)
        _check_names(header, contract)
        return header

    def read(self, session: SparkSession, uris: Sequence[str], layout: Hashable, contract: Contract) -> DataFrame:
        names = cast(tuple[str, ...], layout)
        nested = [column.name for column in contract.file_columns if is_nested(column.type)]
        if nested:
            raise NotSupported(f"Columns {', '.join(nested)} are nested, and a CSV file has no nested values.")
        encoding = str(contract.options.get("encoding") or "UTF-8")
        schema = StructType([StructField(name, StringType()) for name in (*names, rows.CORRUPT)])
        frame = session.read.schema(schema).options(**_spark_options(contract, encoding)).csv(list(uris))
        fields = sf.when(
            sf.col(rows.CORRUPT).isNotNull(),
            sf.lit(f"has another number of fields than the {len(names)} columns, or a quote that isn't closed"),
        )
        undecodable = [rows.undecodable(name, encoding) for name in names]
        cells = {
            column.name: rows.from_text(column.name, column.type) if column.name in names else rows.absent(column.type)
            for column in contract.file_columns
        }
        text = {name: sf.col(rows.quoted(name)) for name in names}
        # Spark keeps a line as it was only if its number of fields is wrong; others are written again.
        line = sf.to_csv(sf.struct(*text.values()), _written(contract))
        return rows.checked(
            frame,
            contract,
            cells,
            [fields, *undecodable],
            raw=sf.coalesce(sf.col(rows.CORRUPT), line),
            brought=sf.array(*(sf.lit(name) for name in names)),
            unknown=unknown.as_map(names, contract, text),
        )


def _has_header(contract: Contract) -> bool:
    return bool(contract.options.get("header", True))


def _spark_options(contract: Contract, encoding: str) -> dict[str, Any]:
    options = contract.options
    return {
        "header": _has_header(contract),
        # By position within one header: what the header says was checked by the driver.
        "enforceSchema": True,
        "mode": "PERMISSIVE",
        "columnNameOfCorruptRecord": rows.CORRUPT,
        "sep": options.get("delimiter") or ",",
        "quote": _quote(contract),
        "escape": _escape(contract),
        "nullValue": options.get("null_value") or "",
        "encoding": encoding,
        # A quoted value may hold line breaks (RFC 4180). The price: one file is one task.
        "multiLine": bool(options.get("multiline", True)),
        "recursiveFileLookup": True,  # no partition columns out of path segments such as `day=1`
    }


def _written(contract: Contract) -> dict[str, str]:
    """How a line is written that had these values."""
    options = contract.options
    return {
        "sep": str(options.get("delimiter") or ","),
        "quote": _quote(contract),
        "escape": _escape(contract),
        "nullValue": str(options.get("null_value") or ""),
    }


def _quote(contract: Contract) -> str:
    return str(contract.options.get("quote") or '"')


def _escape(contract: Contract) -> str:
    # RFC 4180 doubles the quote; Spark's own default is a backslash.
    return str(contract.options.get("escape") or _quote(contract))


def _header_of(file: SourceFile, contract: Contract, storage: Storage) -> tuple[str, ...]:
    limit = _HEAD_BYTES
    while True:
        raw = storage.head(file.uri, limit)
        is_all = len(raw) < limit
        header = _first_record(_decoded(_plain(raw, file.key), contract), contract, is_all=is_all)
        if header is not None:
            return header
        if is_all:
            raise BrokenFile("the file is empty: not even a header; send a header at least")
        if limit >= _LONGEST_HEAD_BYTES:
            raise BrokenFile(f"no end of the header within {limit} bytes: is this a CSV file?")
        limit *= 16


def _plain(raw: bytes, key: str) -> bytes:
    """The bytes as far as they can be decompressed; what is missing further on shows when Spark reads."""
    try:
        if key.lower().endswith(".gz"):
            return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(raw)
        if key.lower().endswith(".bz2"):
            return bz2.BZ2Decompressor().decompress(raw)
    except (zlib.error, OSError) as broken:
        raise BrokenFile(f"it can't be decompressed ({broken}); send it again, or without the suffix") from None
    return raw


def _decoded(raw: bytes, contract: Contract) -> str:
    encoding = str(contract.options.get("encoding") or "UTF-8")
    try:
        decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    except LookupError:
        raise BrokenFile(f"the contract's encoding {encoding!r} is unknown") from None
    return decoder.decode(raw).removeprefix("\ufeff")


def _first_record(text: str, contract: Contract, *, is_all: bool) -> tuple[str, ...] | None:
    """The first record that isn't blank; None if `text` ends before it does."""
    quote, escape = _quote(contract), _escape(contract)
    delimiter = str(contract.options.get("delimiter") or ",")
    if len(delimiter) > 1:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2 and not is_all:
            return None
        return tuple(name.strip(f" {quote}") for name in lines[0].split(delimiter)) if lines else None
    records = csv.reader(
        io.StringIO(text),
        delimiter=delimiter,
        quotechar=quote,
        doublequote=escape == quote,
        escapechar=None if escape == quote else escape,
    )
    try:
        # Spark passes over empty lines before the header, too, but over nothing else.
        record = next((record for record in records if record), None)
        if record is None:
            return None
        # The last record of a part of a file may be half a record.
        if not is_all and next(records, None) is None:
            return None
    except csv.Error as broken:
        raise BrokenFile(f"its header can't be read ({broken}): is this a CSV file?") from None
    return tuple(name.strip() for name in record)


def _check_names(header: tuple[str, ...], contract: Contract) -> None:
    """Raises BrokenFile with all that is wrong at once."""
    if any(rows.REPLACEMENT in name or "\x00" in name for name in header):
        raise BrokenFile("its header is not in the contract's encoding; save the file in that encoding")
    faults = []
    twice = sorted(name for name, count in Counter(header).items() if count > 1)
    if twice:
        faults.append(f"column {unknown.listed(twice)} more than once in the header")
    needed = [column.name for column in contract.file_columns if not rows.may_be_absent(column.name, contract)]
    missing = [name for name in needed if name not in header]
    if missing:
        faults.append(f"column {unknown.listed(missing)} missing from the header")
    faults += unknown.faults_of(list(dict.fromkeys(header)), contract, where="header")
    if faults:
        raise BrokenFile(f"{'; '.join(faults)}. {unknown.WHAT_TO_DO}")
