"""The contract: one pydantic model that validates, compiles, completes in editors and documents itself."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from tidegate_cli.contracts import freshness, landing, types
from tidegate_cli.contracts.findings import did_you_mean

ENCODINGS = ("UTF-8", "US-ASCII", "ISO-8859-1", "windows-1252")
READERS = ("spark", "athena", "trino", "presto", "hive", "redshift", "duckdb", "delta-rs")
_SIZE = re.compile(r"([0-9]+)\s*(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)")
_UNITS = {
    **{"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12},
    **{"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40},
}


def _table_name(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        fixed = re.sub(r"[^a-z0-9_]+", "_", name.lower()).lstrip("0123456789_") or "my_table"
        raise ValueError(f"{name!r} cannot be a table's name; small letters, digits and '_', such as {fixed!r}")
    if "__" in name:
        raise ValueError(f"{name!r} has '__', which is kept for tables that go with a table; write one '_'")
    if len(name) > 100:
        raise ValueError("is longer than 100 characters; give the table a shorter name")
    return name


def _column_type(text: str) -> str:
    return types.parse(text).ddl


def _encoding(name: str) -> str:
    by_lower_case = {known.lower(): known for known in ENCODINGS}
    by_lower_case |= {"utf8": "UTF-8", "ascii": "US-ASCII", "latin-1": "ISO-8859-1", "latin1": "ISO-8859-1"}
    by_lower_case |= {"cp1252": "windows-1252"}
    if name.lower() not in by_lower_case:
        raise ValueError(f"{name!r} is not supported yet; write {', '.join(ENCODINGS)}")
    return by_lower_case[name.lower()]


def _sign(text: str) -> str:
    if len(text) != 1 or text in "\r\n":
        raise ValueError(f"{text!r} must be one character, and not a line break")
    return text


def _delimiter(text: str) -> str:
    if not text or "\r" in text or "\n" in text:
        raise ValueError(f"{text!r} must be at least one character, and no line break")
    return text


def _reader(name: str) -> str:
    if name not in READERS:
        raise ValueError(f"{name!r} is not a known reader{did_you_mean(name, READERS)} (known: {', '.join(READERS)})")
    return name


def _landing(pattern: str) -> str:
    landing.parse(pattern)
    return pattern


def _freshness(text: str) -> str:
    freshness.parse(text)
    return text


def _bytes(value: Any) -> Any:
    if isinstance(value, str):
        match = _SIZE.fullmatch(value)
        if match is None:
            raise ValueError(f"{value!r} is not a size; write 50 GiB, 500 MB or a number of bytes")
        return int(match[1]) * _UNITS[match[2]]
    return value


Text = Annotated[str, Field(strict=True)]
TypeName = Annotated[str, AfterValidator(_column_type)]


class _Part(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True, hide_input_in_errors=True
    )


class CsvFormat(_Part):
    """CSV, plain or gzip (`.gz`)."""

    type: Literal["csv"]
    header: bool = True
    """Whether the first line names the columns. They may then stand in any order; without it they stand in
    the order of `columns` (captures left out)."""
    delimiter: Annotated[str, AfterValidator(_delimiter)] = ","
    """What stands between two values."""
    quote: Annotated[str, AfterValidator(_sign)] = '"'
    """The character around a value that holds a delimiter."""
    escape: Annotated[str | None, AfterValidator(lambda text: text and _sign(text))] = None
    """The character that stands before a quote within a quoted value, such as a backslash. Without it, the
    quote is doubled (RFC 4180)."""
    null_value: str = ""
    """What stands for a missing value. An empty value is always a missing one."""
    encoding: Annotated[str, AfterValidator(_encoding)] = "UTF-8"
    """How characters are written as bytes."""
    multiline: bool = True
    """Whether a quoted value may hold line breaks. Without them a large file is read in parts."""


class JsonFormat(_Part):
    """JSON lines, plain or gzip (`.gz`): one object a line, in UTF-8. A field that is absent is null."""

    type: Literal["json"]


class ParquetFormat(_Part):
    """Parquet. Its columns are found by name."""

    type: Literal["parquet"]


class Merge(_Part):
    """How what lands is merged into the table."""

    strategy: Literal["upsert", "append"]
    """`upsert`: a row for each key, which holds the key's newest change. `append`: every row of every file is
    kept, and an overwritten file's rows are replaced by those of its newest version."""
    keys: list[str] = Field(default_factory=list)
    """The columns that tell rows apart; for `upsert`. A file with a null among them is rejected."""
    sequence_by: str | None = None
    """The column that tells which of two changes of a key is newer, for `upsert`. Nulls are oldest; equal
    values are ordered by the time at which their files landed. Without it, that time alone decides."""


class Batch(_Part):
    """The most that one batch takes; what is left over goes into the next."""

    max_files: Annotated[int, Field(ge=1, le=100_000)] = 5000
    """Files."""
    max_bytes: Annotated[int, BeforeValidator(_bytes), Field(ge=1)] = 50 * 2**30
    """Bytes: a number, or a size such as `50 GiB`."""


class Contract(_Part):
    """What lands where, what its rows look like, how they merge and how fresh the table must be."""

    table: Annotated[str, AfterValidator(_table_name), Field(json_schema_extra={"pattern": "^[a-z][a-z0-9_]*$"})]
    """The table's name: small letters, digits and `_`. The table is at `s3://<lake bucket>/<table>`."""
    landing: Annotated[str, AfterValidator(_landing)]
    """Which keys of the landing bucket belong to the table. `*` stands for any characters but `/`, `{name}`
    too, for at least one, and a column of that name is filled from it."""
    format: Annotated[CsvFormat | JsonFormat | ParquetFormat, Field(discriminator="type")]
    """How the files are written."""
    columns: dict[str, TypeName] = Field(min_length=1)
    """Every column of the table, in its order: its name and its Spark SQL type. A file with other columns is
    rejected."""
    merge: Merge
    freshness: Annotated[str, AfterValidator(_freshness), Field(json_schema_extra={"pattern": freshness.PATTERN})]
    """From landed to queryable: `15m`, `2h`, `1d`, `by 06:00 Europe/Berlin`, or `asap`. The more time there
    is, the more arrivals share a cluster, and the less they cost."""
    partition_by: list[str] = Field(default_factory=list)
    """Columns whose values become folders. A partition column that is also a key lets a merge skip the other
    folders."""
    readers: list[Annotated[str, AfterValidator(_reader)]] = Field(default_factory=lambda: ["spark"], min_length=1)
    """Who reads the table. Tidegate writes nothing that one of them can't read."""
    evolution: Literal["strict"] = "strict"
    """What happens to a file with columns that the contract doesn't name: `strict` rejects it."""
    batch: Batch = Field(default_factory=Batch)
