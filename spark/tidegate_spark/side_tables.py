"""The tables that go with a table: `<table>__history` for what its strategy must remember beyond the visible row,
`<table>__quarantine` for rows that break their contract; for snapshots of several files `<table>__pieces`, which files
there are, and `<table>__parts`, their rows.

They are committed before the main table, whose commit means done. What is written to them depends on the batch
alone, and carries the batch's number under an app id of its own: an attempt that comes again is skipped by Delta.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf
from pyspark.sql.types import StructType

from tidegate_spark.commit import numbered_commit
from tidegate_spark.local_rows import no_rows
from tidegate_spark.origin import ORIGIN
from tidegate_spark.sources.rows import quoted, text_literal

Kind = Literal["history", "quarantine", "pieces", "parts"]
KINDS: tuple[Kind, ...] = ("history", "quarantine", "pieces", "parts")


class SideTable:
    """One of them, made when it is first written."""

    def __init__(self, session: SparkSession, table_uri: str, app_id: str, kind: Kind) -> None:
        self.session = session
        self.uri = f"{table_uri}__{kind}"
        self._app_id = f"{app_id}:{kind}"

    @property
    def exists(self) -> bool:
        return bool(DeltaTable.isDeltaTable(self.session, self.uri))

    @property
    def delta(self) -> DeltaTable:
        return DeltaTable.forPath(self.session, self.uri)

    def frame(self, schema: StructType) -> DataFrame:
        """Its rows as they are now; none, of `schema`, if it isn't there yet."""
        if self.exists:
            return self.session.read.format("delta").load(self.uri)
        return no_rows(self.session, schema)

    def create(
        self, schema: StructType, *, partition_by: tuple[str, ...] = (), properties: Mapping[str, str] | None = None
    ) -> None:
        """Make it, empty, if it isn't there."""
        builder = DeltaTable.createIfNotExists(self.session).location(self.uri).addColumns(schema)
        for name, value in (properties or {}).items():
            builder = builder.property(name, value)
        if partition_by:
            builder = builder.partitionedBy(*partition_by)
        builder.execute()

    def property(self, name: str) -> str | None:
        """A property of it; None if it was never set."""
        jvm: Any = self.session._jvm
        log = jvm.org.apache.spark.sql.delta.DeltaLog
        found = (
            log.forTableWithSnapshot(self.session._jsparkSession, self.uri)._2().metadata().configuration().get(name)
        )
        return str(found.get()) if found.isDefined() else None

    def set_property(self, name: str, value: str) -> None:
        """One commit, which is no batch's."""
        where = f"delta.{quoted(self.uri)}"
        self.session.sql(f"ALTER TABLE {where} SET TBLPROPERTIES ({text_literal(name)} = {text_literal(value)})")

    def append(self, rows: DataFrame, batch: int, **told: Any) -> None:
        """Add the batch's rows, once. The table is made with the rows' schema if it isn't there."""
        if not self.exists:
            self.create(rows.schema)
        self.commit(batch, lambda: rows.write.format("delta").mode("append").save(self.uri), **told)

    def commit(self, batch: int, write: Callable[[], None], **told: Any) -> None:
        """Run `write`, one commit of this table, as the batch's; Delta skips it if the batch has one here."""
        with numbered_commit(self.session, self._app_id, batch, {"batch": batch, **told}):
            write()

    def take_back(self, batch: int) -> None:
        """Undo the batch's commit, if it has one: what it changed or deleted of other batches is there again.

        Nothing of Tidegate's comes after an attempt's commit until its batch is settled, so it is the newest one. If
        an operator's is (OPTIMIZE, perhaps), the batch's rows go all the same; so they do if it is undone already.
        """
        if not self.exists:
            return
        newest = self.delta.history(1).first()
        if newest is not None and _batch_of(newest["userMetadata"]) == batch:
            self.delta.restoreToVersion(int(newest["version"]) - 1)
        else:
            self.forget(batch)

    def forget(self, batch: int) -> None:
        """Take the batch's rows out again: it was voided, and its files come again in other batches."""
        if self.exists:
            self.delta.delete(sf.col(f"{ORIGIN}.batch") == batch)


def _batch_of(user_metadata: str | None) -> int | None:
    """The number of the batch that a commit is of; None if it is of none."""
    try:
        return int(json.loads(user_metadata or "")["tidegate"]["batch"])
    except (ValueError, KeyError, TypeError):
        return None
