"""The Glue Data Catalog: one entry a table, in one database."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from tidegate.adapters.clients import CONFIG_FOR_NEWS, code_of
from tidegate.catalog import FoundEntry, TableInput
from tidegate.errors import NotRegistered

_GONE = "EntityNotFoundException"
_MOVED = frozenset({_GONE, "ConcurrentModificationException", "VersionMismatchException", "ResourceNotReadyException"})
"""Somebody else is at the entry at this moment: it is read again."""


class GlueCatalog:
    """Keeps to `tidegate.ports.Catalog`."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._client: Any = boto3.client("glue", config=CONFIG_FOR_NEWS)

    def entry(self, name: str) -> FoundEntry | None:
        with self._named("glue:GetTable", name):
            try:
                found = self._client.get_table(DatabaseName=self._database, Name=name)["Table"]
            except ClientError as error:
                if code_of(error) == _GONE:
                    return None
                raise
        return FoundEntry(found, found.get("VersionId"))

    def create(self, table_input: TableInput) -> bool:
        with self._named("glue:CreateTable", table_input["Name"]):
            try:
                self._client.create_table(DatabaseName=self._database, TableInput=dict(table_input))
            except ClientError as error:
                if code_of(error) == "AlreadyExistsException":
                    return False
                raise
        return True

    def update(self, table_input: TableInput, version: str | None) -> bool:
        request: dict[str, Any] = {"DatabaseName": self._database, "TableInput": dict(table_input)}
        if version is not None:
            request["VersionId"] = version
        with self._named("glue:UpdateTable", table_input["Name"]):
            try:
                self._client.update_table(**request)
            except ClientError as error:
                if code_of(error) in _MOVED:
                    return False
                raise
        return True

    @contextmanager
    def _named(self, call: str, name: str) -> Iterator[None]:
        """Whatever goes wrong is about one entry, and the table itself is merged all the same."""
        try:
            yield
        except (ClientError, BotoCoreError) as error:
            raise NotRegistered(f"{call} of {self._database}.{name}: {error}") from error
