"""How landed files are written: one model a format."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator

from tidegate_cli.contracts.part import Part

ENCODINGS = ("UTF-8", "US-ASCII", "ISO-8859-1", "windows-1252")


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


class CsvFormat(Part):
    """CSV, plain or gzip (`.gz`)."""

    type: Literal["csv"]
    header: bool = True
    """Whether the first line names the columns. They may then stand in any order; without it they stand in
    the order of `columns` (what comes from the path and what `transform` makes left out), then of `reads`."""
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


class JsonFormat(Part):
    """JSON lines, plain or gzip (`.gz`): one object a line, in UTF-8. A field that is absent is null."""

    type: Literal["json"]


class ParquetFormat(Part):
    """Parquet, with the compression that is in the file. Its columns are found by name."""

    type: Literal["parquet"]


class AvroFormat(Part):
    """Avro container files, with the compression that is in the file. Their columns are found by name."""

    type: Literal["avro"]


class OrcFormat(Part):
    """ORC, with the compression that is in the file. Its columns are found by name."""

    type: Literal["orc"]


FORMATS = (CsvFormat, JsonFormat, ParquetFormat, AvroFormat, OrcFormat)
