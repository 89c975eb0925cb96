"""The Delta table of a contract: opened, made if it isn't there, and asked what it has seen."""

from __future__ import annotations

import re
from typing import Any

from delta.tables import DeltaTable
from py4j.protocol import Py4JJavaError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf

from tidegate_spark.altering import Found, count_leaves, create_table
from tidegate_spark.commit import Commit, parse_commit
from tidegate_spark.errors import TableRefused, summary
from tidegate_spark.features import OWNER, features_of
from tidegate_spark.fitting import extra_of, fit
from tidegate_spark.schema import table_schema
from tidegate_spark.side_tables import Kind, SideTable
from tidegate_spark.sources.rows import quoted, text_literal
from tidegate_spark.storage import Storage
from tidegate_spark.turn import check_origin, is_committed
from tidegate_spark.work import Column, Contract, Manifest

_NEWER = re.compile(
    r"DELTA_UNSUPPORTED_FEATURES|DELTA_INVALID_PROTOCOL_VERSION|InvalidProtocolVersion|minReaderVersion"
)
"""What Delta says of a table that it is too old for."""
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
        self.last: int | None = None
        """The number of the last batch that was in it when it was opened."""
        self.extra: tuple[Column, ...] = ()
        """Columns that it has because files brought them, and that the contract doesn't name."""
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

    def check_writable(self, snapshot: Any) -> None:
        """Raises :class:`TableRefused` if this Delta is too old to write the table, though it can read it."""
        try:
            snapshot.deltaLog().protocolWrite(snapshot.protocol())
        except Py4JJavaError as refused:
            raise _too_new(self.uri, "written", refused) from refused

    def snapshot(self) -> Any:
        """Delta's newest snapshot, an object of the JVM. What is asked of it may take a job."""
        return self.snapshot_of(self.uri)

    def snapshot_of(self, uri: str) -> Any:
        """The newest snapshot of the table itself or of one that goes with it."""
        return self._delta_log_class.forTableWithSnapshot(self.session._jsparkSession, uri)._2()

    def commit(self, version: int) -> Commit | None:
        """A commit of the table's log, read from its file; None if the file was cleaned up."""
        try:
            return parse_commit(version, self._storage.read(f"{self.uri}/_delta_log/{version:020d}.json"))
        except FileNotFoundError:
            return None

    def last_batch(self, app_id: str, snapshot: Any, newest: Commit | None) -> int | None:
        """The number of the last batch that is in the table; None before the first. `newest` made the snapshot."""
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
    """The batch's table, made now if there is nothing yet, and made to fit its contract if it is the batch's turn.

    Raises :class:`TableRefused`.
    """
    target = target_of(session, storage, manifest)
    contract = manifest.contract
    if not _is_table(target):
        _create(target, storage, contract)
        target.rows, target.is_new = 0, True
        return target
    # Looked at once: each look for a newer snapshot lists the log.
    snapshot = target.snapshot()
    newest = target.commit(int(snapshot.version()))
    found = Found(snapshot)
    _check_owner(target.uri, found, contract)
    target.rows = _row_count(target.session, snapshot, newest)
    target.last = target.last_batch(manifest.app_id, snapshot, newest)
    if target.last == manifest.predecessor:
        target.check_writable(snapshot)
        fit(target, found, contract)
    else:
        target.extra = extra_of(found, contract)
    return target


def target_of(session: SparkSession, storage: Storage, manifest: Manifest) -> Target:
    """The batch's table, whatever is at its location."""
    return Target(session, storage, path_of(storage, manifest.target), app_id=manifest.app_id)


def path_of(storage: Storage, uri: str) -> str:
    """A location as Delta wants it: it compares them as text, and Hadoop writes `file:` with one slash."""
    return str(storage.path(uri).toString())


def check_predecessor(target: Target, manifest: Manifest) -> bool:
    """True if the batch is in the table already, False if it is its turn. Raises WrongPredecessor."""
    return is_committed(target.last, manifest, target.uri)


def _row_count(session: SparkSession, snapshot: Any, newest: Commit | None) -> int | None:
    """By the newest commit, if a batch made it, or else by the log's statistics. Reads no data."""
    if newest is not None and newest.table_rows is not None:
        return newest.table_rows
    files = DataFrame(snapshot.allFiles().toDF(), session)
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
    create_table(target.session, target.uri, schema, features_of(contract, count_leaves(schema)), contract.partition_by)


def _delete_folders(files: Any, path: Any) -> None:
    """Folders alone: should another driver have made the table meanwhile, this fails and its log stays."""
    for status in files.listStatus(path):
        _delete_folders(files, status.getPath())
    files.delete(path, False)


def _is_table(target: Target) -> bool:
    try:
        return bool(DeltaTable.isDeltaTable(target.session, target.uri))
    except Exception as refused:
        if _NEWER.search(str(refused)) is None:
            raise
        raise _too_new(target.uri, "read", refused) from refused


def _too_new(uri: str, verb: str, refused: Exception) -> TableRefused:
    return TableRefused(
        f"{uri} was made by a newer Delta and can't be {verb} by this one: {summary(refused)}. Nothing was written. "
        "Drop the feature with the release that made it, or give the contract another table name."
    )


def _check_owner(uri: str, found: Found, contract: Contract) -> None:
    owner = found.properties.get(OWNER)
    if owner == contract.table:
        return
    if owner is not None:
        raise TableRefused(
            f"{uri} is a Delta table of {owner!r} (property {OWNER}). Nothing was written. Give the contract another "
            "table name, or set the property if this really is its table."
        )
    raise TableRefused(
        f"{uri} is a Delta table that Tidegate did not make (it has no property {OWNER}). Nothing was written. Give "
        "the contract another table name; or, if Tidegate alone is to write this table from now on, adopt it: "
        f"ALTER TABLE delta.{quoted(uri)} SET TBLPROPERTIES ({text_literal(OWNER)} = {text_literal(contract.table)}), "
        "then redrive."
    )
