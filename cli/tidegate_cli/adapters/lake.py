"""Reads the lake's tables through delta-rs.

Queries go through its own engine (DataFusion's `QueryBuilder`), which reads partition values, statistics
and the log as delta-rs does. The other way, Arrow data handed to DuckDB, needs pyarrow, and pyarrow needs
a NumPy that PySpark 3.5 doesn't bear.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from deltalake import DeltaTable, QueryBuilder
from deltalake.exceptions import DeltaError, TableNotFoundError
from tidegate.rebuild import TableLog

from tidegate_cli import as_of
from tidegate_cli.adapters.aws import session_of, translated
from tidegate_cli.connection import Connection
from tidegate_cli.exit_codes import ExitCode
from tidegate_cli.output import CliError

ORIGIN = "_tidegate"
"""The column with the origin of each row, hidden unless a query names it."""
NOW = "__now"
"""`<table>__now`: of a scd2 or bitemporal table what is so now."""
_TABLE_NOT_FOUND = re.compile(r"table 'datafusion\.public\.(.+?)' not found")
_READS = re.compile(
    r"\s*(?:--[^\n]*\n\s*|/\*.*?\*/\s*|\(\s*)*(select|with|values|explain|describe|desc)\b",
    re.IGNORECASE | re.DOTALL,
)
_DECORATION = re.compile(r"\s*\x1b\[\d+m↳\x1b\[0m|\x1b\[\d+m|<\?xml[^>]*>")
_INNER_LINE = re.compile(r"caused by$|Optimizer rule |\s*Candidate functions:|\t")
_INNER_PREFIX = re.compile(
    r"^((Error during planning|Schema error|SQL error|Internal error|External error|Arrow error"
    r"|Execution error|type_coercion|Cast error|This feature is not implemented): ?)+",
    re.MULTILINE,
)
_MOST_TABLES = 100


class UnknownTable(Exception):
    """A query names a table that the lake doesn't have."""

    def __init__(self, table: str) -> None:
        super().__init__(table)
        self.table = table


class InvalidQuery(Exception):
    """A query that can't be run; the message says why."""


@dataclass(frozen=True)
class Result:
    """What a query gave."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Commit:
    """One version of a table."""

    version: int
    at: datetime
    operation: str
    batch: int | None
    run_id: str | None
    metrics: Mapping[str, Any]


class Lake:
    """The tables below one `s3://bucket` (or folder, in tests)."""

    def __init__(self, root: str, storage_options: dict[str, str] | None = None) -> None:
        self._root = root.rstrip("/")
        self._options = storage_options

    @classmethod
    def of(cls, connection: Connection) -> Lake:
        """The lake of a stack."""
        return cls(f"s3://{connection.lake_bucket}", storage_options(connection))

    def open(self, table: str) -> DeltaTable:
        """Raises :class:`UnknownTable`."""
        if not re.fullmatch(r"[a-z][a-z0-9_]*", table):
            raise UnknownTable(table)
        try:
            return DeltaTable(f"{self._root}/{table}", storage_options=self._options)
        except TableNotFoundError:
            raise UnknownTable(table) from None
        except (DeltaError, OSError) as error:
            if self._options:
                raise CliError(
                    f"Table {table} cannot be read: {_in_words(str(error))}", ExitCode.NOT_REACHABLE
                ) from None
            raise

    def query(self, sql: str) -> Result:
        """Run a query that reads. Raises :class:`UnknownTable`, :class:`InvalidQuery`.

        A table is opened when the engine misses it: no SQL is parsed here to find out what a query reads.
        """
        if not _READS.match(sql):
            raise InvalidQuery("only queries that read are run: SELECT, WITH, VALUES, EXPLAIN or DESCRIBE.")
        try:
            sql = as_of.rewrite(sql, lambda table: self.open(table).schema().fields)
        except as_of.NotAsOf as error:
            raise InvalidQuery(str(error)) from None
        engine = QueryBuilder()
        show_origin = ORIGIN in sql.lower()
        for _ in range(_MOST_TABLES):
            try:
                return _result(engine.execute(sql).read_all())
            except DeltaError as error:
                missing = _TABLE_NOT_FOUND.search(str(error))
                if missing is None:
                    raise InvalidQuery(_in_words(str(error))) from None
                self._add(engine, missing[1], show_origin=show_origin)
            except Exception as error:
                # What the engine finds out while it computes has no class of its own.
                if type(error) is not Exception:
                    raise
                raise InvalidQuery(_in_words(str(error))) from None
        raise InvalidQuery(f"more than {_MOST_TABLES} tables are too many.")

    def history(self, table: str) -> list[Commit]:
        """The versions of a table, oldest first. Raises :class:`UnknownTable`."""
        return [_commit(entry) for entry in reversed(self.open(table).history())]

    def log(self, table: str, app_id: str) -> TableLog | None:
        """What a table says of the batches of an app id: keeps to `tidegate.usecases.rebuild_ledger.TableLogs`.

        The last batch comes from the table's transactions, which checkpoints keep; commits are cleaned up in time.
        """
        try:
            opened = self.open(table)
        except UnknownTable:
            return None
        told = {}
        for entry in opened.history():
            ours = _told(entry)
            if isinstance(ours.get("batch"), int):
                told[ours["batch"]] = (int(entry["version"]), ours)
        return TableLog(opened.transaction_version(app_id), opened.version(), told)

    def _add(self, engine: QueryBuilder, name: str, *, show_origin: bool) -> None:
        """Make a table known to the engine by the name that the query gives it."""
        table, condition = self._table_or_now(name)
        columns = [field.name for field in table.schema().fields]
        if condition is None and (show_origin or ORIGIN not in columns):
            engine.register(as_of.quoted(name), table)
            return
        # A view without the column, so that `*`, DISTINCT and error messages don't know of it either.
        hidden = as_of.quoted(f"__{name}")
        engine.register(hidden, table)
        shown = ", ".join(as_of.quoted(column) for column in columns if show_origin or column != ORIGIN)
        where = f" WHERE {condition}" if condition else ""
        view = f"CREATE VIEW {as_of.quoted(name)} AS SELECT {shown} FROM {hidden}{where}"  # noqa: S608 - all are quoted
        engine.execute(view).read_all()

    def _table_or_now(self, name: str) -> tuple[DeltaTable, str | None]:
        """A table; or for `<table>__now` its table, and the condition that what is so now meets."""
        try:
            return self.open(name.lower()), None
        except UnknownTable:
            base = name.lower().removesuffix(NOW)
            if base == name.lower():
                raise
        try:
            table = self.open(base)
            return table, as_of.now_condition(table.schema().fields)
        except (UnknownTable, as_of.NotAsOf):
            raise UnknownTable(name) from None


def storage_options(connection: Connection) -> dict[str, str]:
    """What delta-rs needs to reach the connection's buckets."""
    with translated():
        credentials = session_of(connection).get_credentials()
        if credentials is None:
            raise CliError("There are no AWS credentials; name a profile: --profile NAME.", ExitCode.DENIED)
        keys = credentials.get_frozen_credentials()
    options = {
        "aws_region": connection.region,
        "aws_access_key_id": keys.access_key or "",
        "aws_secret_access_key": keys.secret_key or "",
    }
    if keys.token:
        options["aws_session_token"] = keys.token
    if connection.endpoint_url:
        options |= {"aws_endpoint_url": connection.endpoint_url, "aws_allow_http": "true"}
    return options


def _result(table: Any) -> Result:
    for field in table.schema:
        if "interval" in str(field.type).lower():
            raise InvalidQuery(f"column {field.name} is an interval, which can't be shown; cast it to varchar.")
    columns = [[value.as_py() for value in column] for column in table.columns]
    return Result(tuple(table.schema.names), tuple(zip(*columns, strict=True)))


def _commit(entry: Mapping[str, Any]) -> Commit:
    ours = _told(entry)
    return Commit(
        version=int(entry["version"]),
        at=datetime.fromtimestamp(entry["timestamp"] / 1000, UTC),
        operation=str(entry.get("operation", "")),
        batch=ours.get("batch"),
        run_id=ours.get("run_id"),
        metrics=entry.get("operationMetrics") or {},
    )


def _told(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a batch's commit was told; empty if somebody else made it."""
    note = entry.get("userMetadata")
    try:
        ours = json.loads(note).get("tidegate", {}) if note else {}
    except (ValueError, AttributeError):
        return {}
    return ours if isinstance(ours, dict) else {}


def _in_words(message: str) -> str:
    """The engine's message without the names of its own parts."""
    message = _DECORATION.sub("", message)
    if parser := re.search(r'ParserError\("(.*)"\)', message, re.DOTALL):
        return parser[1].replace('\\"', '"')
    if signature := re.search(r"No function matches .*", message):
        return signature[0]
    told = [line for line in message.splitlines() if line.strip() and not _INNER_LINE.match(line)]
    return _INNER_PREFIX.sub("", "\n".join(told)).replace("__", "")
