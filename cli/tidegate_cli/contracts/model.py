"""The contract: one pydantic model that validates, compiles, completes in editors and documents itself."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from tidegate.quiet_hours import PATTERN as QUIET_HOURS
from tidegate.quiet_hours import parse_quiet_hours

from tidegate_cli.contracts import durations, freshness, landing, types
from tidegate_cli.contracts.findings import did_you_mean
from tidegate_cli.contracts.formats import AvroFormat, CsvFormat, JsonFormat, OrcFormat, ParquetFormat
from tidegate_cli.contracts.merge import Merge
from tidegate_cli.contracts.part import Part

OWN_CHECKS = frozenset({"parse", "key", "too_late"})
"""What the quarantine calls rows that don't parse, have no key, or come after their tombstone was forgotten."""
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


def _reader(name: str) -> str:
    if name not in READERS:
        raise ValueError(f"{name!r} is not a known reader{did_you_mean(name, READERS)} (known: {', '.join(READERS)})")
    return name


def _landing(pattern: str) -> str:
    landing.parse(pattern)
    return pattern


def _transform(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty; write SELECT ... FROM arrivals, or the name of a .sql file, or remove it")
    return text


def _freshness(text: str) -> str:
    freshness.parse(text)
    return text


def _quiet_hours(text: str) -> str:
    parse_quiet_hours(text)
    return text


def _bytes(value: Any) -> Any:
    if isinstance(value, str):
        match = _SIZE.fullmatch(value)
        if match is None:
            raise ValueError(f"{value!r} is not a size; write 50 GiB, 500 MB or a number of bytes")
        return int(match[1]) * _UNITS[match[2]]
    return value


def _expectation_name(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        fixed = re.sub(r"[^a-z0-9_]+", "_", name.lower()).strip("0123456789_") or "my_check"
        raise ValueError(f"{name!r} cannot be an expectation's name; small letters, digits and '_', such as {fixed!r}")
    if name in OWN_CHECKS:
        raise ValueError(
            f"{name!r} is what Tidegate's own check is called; write another name, such as '{name}_is_good'"
        )
    return name


def _switch(value: Any) -> Any:
    # YAML 1.1 reads `off` as false.
    return {False: "off", True: "auto"}.get(value, value) if isinstance(value, bool) else value


def _vacuum(text: str) -> str:
    if text not in ("auto", "off"):
        durations.parse(text, least="1h", most="3650d")
    elif text == "auto":
        raise ValueError("'auto' is not an age; write 7d, 30d or off")
    return text


def _limit(text: str) -> str:
    durations.parse(text, least="10s", most="6h")
    return text


def _tombstones(text: str) -> str:
    durations.parse(text, least="1d", most="3650d")
    return text


_DURATION = Field(json_schema_extra={"pattern": durations.PATTERN})
TypeName = Annotated[str, AfterValidator(_column_type)]


class Expectation(Part):
    """A condition that every row of the table should meet."""

    name: Annotated[str, AfterValidator(_expectation_name), Field(json_schema_extra={"pattern": "^[a-z][a-z0-9_]*$"})]
    """What it is called in receipts and in the quarantine."""
    check: str
    """A SQL condition on the table's columns, such as `amount > 0`. A null is not met."""
    on_fail: Literal["quarantine", "warn", "fail"] = "quarantine"
    """`quarantine`: the row goes to `<table>__quarantine` and is not merged. `warn`: it is merged and counted.
    `fail`: nothing of the batch is merged, and the file ends as failed."""


class Maintenance(Part):
    """What is done for the table while a cluster is there anyway."""

    optimize: Annotated[Literal["auto", "off"], BeforeValidator(_switch)] = "auto"
    """Whether small files are put together when that pays."""
    vacuum: Annotated[
        str,
        BeforeValidator(_switch),
        AfterValidator(_vacuum),
        Field(json_schema_extra={"pattern": f"^off$|{durations.PATTERN}"}),
    ] = "7d"
    """The age from which files that no version needs any more are deleted, or `off`. Time travel reaches back as
    far."""
    checkpoint: Annotated[Literal["auto", "off"], BeforeValidator(_switch)] = "auto"
    """Whether checkpoints of the table's log are written when readers need them."""
    limit: Annotated[str, AfterValidator(_limit), _DURATION] = "5m"
    """The most time that it may take at the end of a run."""


class Batch(Part):
    """The most that one batch takes; what is left over goes into the next."""

    max_files: Annotated[int, Field(ge=1, le=100_000)] = 5000
    """Files."""
    max_bytes: Annotated[int, BeforeValidator(_bytes), Field(ge=1)] = 50 * 2**30
    """Bytes: a number, or a size such as `50 GiB`."""


class Contract(Part):
    """What lands where, what its rows look like, how they merge and how fresh the table must be."""

    table: Annotated[str, AfterValidator(_table_name), Field(json_schema_extra={"pattern": "^[a-z][a-z0-9_]*$"})]
    """The table's name: small letters, digits and `_`. The table is at `s3://<lake bucket>/<table>`."""
    landing: Annotated[str, AfterValidator(_landing)]
    """Which keys of the landing bucket belong to the table. `*` stands for any characters but `/`, `{name}`
    too, for at least one, and a column of that name is filled from it."""
    format: Annotated[CsvFormat | JsonFormat | ParquetFormat | AvroFormat | OrcFormat, Field(discriminator="type")]
    """How the files are written."""
    columns: dict[str, TypeName] = Field(min_length=1)
    """Every column of the table, in its order: its name and its Spark SQL type. `_source_file: string` and
    `_arrived_at: timestamp` are filled with the file that a row came from and the time at which that landed."""
    reads: dict[str, TypeName] = Field(default_factory=dict)
    """Columns that files or paths have and the table doesn't keep as they are: for `transform` and `delete_when`."""
    transform: Annotated[str, AfterValidator(_transform)] | None = None
    """A SQL SELECT from `arrivals`, which makes the table's columns of what arrives, or the name of a `.sql` file
    beside the contract. See below."""
    merge: Merge
    freshness: Annotated[str, AfterValidator(_freshness), Field(json_schema_extra={"pattern": freshness.PATTERN})]
    """From landed to queryable: `15m`, `2h`, `1d`, `by 06:00 Europe/Berlin`, or `asap`. The more time there
    is, the more arrivals share a cluster, and the less they cost."""
    quiet_hours: (
        Annotated[str, AfterValidator(_quiet_hours), Field(json_schema_extra={"pattern": f"^{QUIET_HOURS}$"})] | None
    ) = None
    """When no run begins for the table, each day: `22:00-06:00 Europe/Berlin`. What has to be fresh within these hours
    is merged before they begin, and what lands in them afterwards. The stack's own are the parameter `QuietHours`;
    both hold."""
    partition_by: list[str] = Field(default_factory=list)
    """Columns whose values become folders. A partition column that is also a key lets a merge skip the other
    folders. An empty text is null in such a column."""
    cluster_by: list[str] = Field(default_factory=list, max_length=4)
    """Up to four columns by which rows are kept together in files (Delta's liquid clustering), instead of
    `partition_by`. delta-rs reads such tables and can't write them."""
    readers: list[Annotated[str, AfterValidator(_reader)]] = Field(default_factory=lambda: ["spark"], min_length=1)
    """Who reads the table. Tidegate writes nothing that one of them can't read."""
    expectations: list[Expectation] = Field(default_factory=list)
    """Conditions that rows should meet, and what happens to those that don't."""
    evolution: Literal["strict", "add_columns", "widen"] = "strict"
    """What may change: `strict`: nothing; files with other columns are rejected. `add_columns`: new columns of the
    contract are added to the table, and so are unknown columns of files, as strings. `widen`: types of columns may
    become wider as well."""
    change_data_feed: bool = False
    """Whether Delta's change data feed is on: readers can ask for what changed between two versions."""
    tombstones: Annotated[str, AfterValidator(_tombstones), _DURATION] = "30d"
    """For `cdc`: how long it is remembered that a key was deleted. A change that comes later than that, and is older
    than the delete, is quarantined."""
    maintenance: Maintenance = Field(default_factory=Maintenance)
    batch: Batch = Field(default_factory=Batch)
