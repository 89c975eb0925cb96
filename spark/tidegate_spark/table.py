"""The Delta table of a contract: opened, made if it isn't there, and asked what it has seen."""

from __future__ import annotations

import json
from typing import Any

from delta.tables import DeltaTable
from py4j.protocol import Py4JJavaError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf
from pyspark.sql.types import StructType

from tidegate_spark.commit import Commit, parse_commit
from tidegate_spark.engines.choice import TIMESTAMPS_PROPERTY
from tidegate_spark.errors import TableRefused
from tidegate_spark.schema import table_schema
from tidegate_spark.side_tables import Kind, SideTable
from tidegate_spark.storage import Storage
from tidegate_spark.turn import check_origin, is_committed
from tidegate_spark.work import Contract, Manifest

NAME_PROPERTY = "tidegate.table"
_INDEXED_COLUMNS = 32
"""Delta's default number of columns with statistics."""
_ORIGIN_FIELDS = 5
_SEARCHED_COMMITS = 1000
"""How far back a batch's commit is looked for, should OPTIMIZE and the like have come after it."""


class Target:
    """A table at its location. Made by :func:`open_target`."""

    def __init__(
        self, session: SparkSession, storage: Storage, uri: str, *, app_id: str = "", rows: int | None = None
    ) -> None:
        self.session = session
        self.uri = uri
        self.app_id = app_id
        self.rows = rows
        """How many rows it had when it was opened; None if its log doesn't say."""
        self.is_new = False
        """Made just now, so no batch can be in it."""
        self._storage = storage
        jvm: Any = session._jvm
        self._delta_log_class = jvm.org.apache.spark.sql.delta.DeltaLog

    @property
    def storage(self) -> Storage:
        """Where its files are."""
        return self._storage

    @property
    def delta(self) -> DeltaTable:
        """The table as Delta's own API has it."""
        return DeltaTable.forPath(self.session, self.uri)

    def frame(self) -> DataFrame:
        """The table's rows as they are now."""
        return self.session.read.format("delta").load(self.uri)

    def side(self, kind: Kind) -> SideTable:
        """A table that goes with this one."""
        return SideTable(self.session, self.uri, self.app_id, kind)

    def snapshot(self) -> Any:
        """Delta's newest snapshot, an object of the JVM. What is asked of it may take a job."""
        return self._delta_log_class.forTableWithSnapshot(self.session._jsparkSession, self.uri)._2()

    def commit(self, version: int) -> Commit | None:
        """A commit of the table's log, read from its file; None if the file was cleaned up."""
        try:
            return parse_commit(version, self._storage.read(f"{self.uri}/_delta_log/{version:020d}.json"))
        except FileNotFoundError:
            return None

    def last_batch(self, app_id: str) -> int | None:
        """The number of the last batch that is in the table; None before the first."""
        snapshot = self.snapshot()
        newest = self.commit(int(snapshot.version()))
        if newest is not None and app_id in newest.batches:
            return newest.batches[app_id]
        # Somebody made a commit since, OPTIMIZE perhaps: Delta knows, after a job or two.
        found = snapshot.transactions().get(app_id)
        return int(found.get()) if found.isDefined() else None

    def commit_of(self, manifest: Manifest) -> Commit | None:
        """The commit of this batch's number; None if it isn't among the newest. Raises ForeignCommit."""
        newest = int(self.snapshot().version())
        for version in range(newest, max(-1, newest - _SEARCHED_COMMITS), -1):
            commit = self.commit(version)
            if commit is None:
                break
            if commit.batches.get(manifest.app_id) != manifest.batch:
                continue
            check_origin(commit, manifest, self.uri)
            return commit
        return None


def open_target(session: SparkSession, storage: Storage, manifest: Manifest) -> Target:
    """The batch's table, made now if there is nothing yet. Raises :class:`TableRefused`."""
    target = Target(session, storage, path_of(storage, manifest.target), app_id=manifest.app_id)
    if DeltaTable.isDeltaTable(session, target.uri):
        _check_ours(target, manifest.contract)
        target.rows = _row_count(target)
    else:
        _create(target, storage, manifest.contract)
        target.rows, target.is_new = 0, True
    return target


def path_of(storage: Storage, uri: str) -> str:
    """A location as Delta wants it: it compares them as text, and Hadoop writes `file:` with one slash."""
    return str(storage.path(uri).toString())


def check_predecessor(target: Target, manifest: Manifest) -> bool:
    """True if the batch is in the table already, False if it is its turn. Raises WrongPredecessor."""
    last = None if target.is_new else target.last_batch(manifest.app_id)
    return is_committed(last, manifest, target.uri)


def _row_count(target: Target) -> int | None:
    """By the newest commit, if a batch made it, or else by the log's statistics. Reads no data."""
    snapshot = target.snapshot()
    newest = target.commit(int(snapshot.version()))
    if newest is not None and newest.table_rows is not None:
        return newest.table_rows
    files = DataFrame(snapshot.allFiles().toDF(), target.session)
    present = sf.get_json_object("stats", "$.numRecords").cast("bigint")
    removed = sf.coalesce(sf.col("deletionVector.cardinality"), sf.lit(0))
    counted = files.agg(
        sf.coalesce(sf.sum(present - removed), sf.lit(0)).alias("rows"),
        sf.count_if(present.isNull()).alias("unknown"),
    ).first()
    return None if counted is None or counted["unknown"] else int(counted["rows"])


def _create(target: Target, storage: Storage, contract: Contract) -> None:
    path = storage.path(target.uri)
    files = path.getFileSystem(storage.conf)
    try:
        is_empty = not files.listFiles(path, True).hasNext()
    except Py4JJavaError as failed:
        if "FileNotFound" not in str(failed):
            raise
    else:
        if not is_empty:
            raise TableRefused(
                f"{target.uri} is not empty and not a Delta table, so no table was made there. Move away what is "
                "there, or give the contract another table name."
            )
        # An attempt that died before the table's first commit leaves folders without a file, which Delta refuses.
        _delete_folders(files, path)
    schema = table_schema(contract)
    columns = len(schema) - 1 + _ORIGIN_FIELDS
    builder = (
        DeltaTable.createIfNotExists(target.session)
        .location(target.uri)
        .addColumns(schema)
        .property(NAME_PROPERTY, contract.table)
        .property("delta.enableDeletionVectors", "false")
        .property(TIMESTAMPS_PROPERTY, "micros")
    )
    if columns > _INDEXED_COLUMNS:
        # The struct's source is what a re-sent file is looked for by.
        builder = builder.property("delta.dataSkippingNumIndexedCols", str(columns))
    if contract.partition_by:
        builder = builder.partitionedBy(*contract.partition_by)
    builder.execute()


def _delete_folders(files: Any, path: Any) -> None:
    """Folders alone: should another driver have made the table meanwhile, this fails and its log stays."""
    for status in files.listStatus(path):
        _delete_folders(files, status.getPath())
    files.delete(path, False)


def _check_ours(target: Target, contract: Contract) -> None:
    metadata = target.snapshot().metadata()
    owner = metadata.configuration().get(NAME_PROPERTY)
    if not owner.isDefined() or owner.get() != contract.table:
        whose = f"of {owner.get()!r}" if owner.isDefined() else "that Tidegate did not make"
        raise TableRefused(
            f"{target.uri} is a Delta table {whose} (property {NAME_PROPERTY}). Nothing was written. Use "
            f"another table name, or set the property to {contract.table!r} if this really is its table."
        )
    wanted = table_schema(contract)
    found = StructType.fromJson(json.loads(metadata.schemaString()))
    there = {field.name: field.dataType.simpleString() for field in found}
    asked = {field.name: field.dataType.simpleString() for field in wanted}
    partitions = tuple(_strings(metadata.partitionColumns()))
    faults = [
        *(f"column {name} {type_name} is not in the table" for name, type_name in asked.items() if name not in there),
        *(
            f"column {name} {type_name} is not in the contract"
            for name, type_name in there.items()
            if name not in asked
        ),
        *(
            f"column {name} is {there[name]} in the table and {asked[name]} in the contract"
            for name in asked.keys() & there.keys()
            if asked[name] != there[name]
        ),
    ]
    if partitions != contract.partition_by:
        faults.append(f"partitioned by {list(partitions)}, the contract says {list(contract.partition_by)}")
    if faults:
        raise TableRefused(
            f"{target.uri} doesn't fit its contract: {'; '.join(sorted(faults))}. Nothing was written. "
            "Change the contract back, or alter the table."
        )


def _strings(sequence: Any) -> list[str]:
    """A Scala sequence of strings."""
    return [str(sequence.apply(index)) for index in range(sequence.size())]
