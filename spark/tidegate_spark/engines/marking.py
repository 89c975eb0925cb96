"""Marks the rows that go and appends the rows that come, in one commit: what MERGE does, without rewriting a file.

Spark's MERGE joins all columns of all rows with the changes and shuffles both, deletion vectors or not. Whoever knows
which rows go (file and number) needs no such join: their numbers go into the files' deletion vectors, the new rows
into new files. The table must have deletion vectors switched on. Delta's own transaction commits, so its rules for
conflicts, checkpoints and log stores hold. https://github.com/delta-io/delta/blob/master/PROTOCOL.md#deletion-vectors
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from py4j.protocol import Py4JError
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from tidegate_spark.altering import Found
from tidegate_spark.commit import amend_plan, number_of
from tidegate_spark.errors import JobError, summary
from tidegate_spark.features import CHANGE_DATA_FEED, DELETION_VECTORS
from tidegate_spark.reading import release
from tidegate_spark.sources.rows import quoted
from tidegate_spark.table import Target

FILE = "_tidegate_file"
ROW = "_tidegate_row"
"""Where a row of the table is: its file, and its number there from 0."""
INSERT, UPDATE, DELETE = _OPERATIONS = ("insert", "update", "delete")
_ONE_FILE_ROWS = 200_000
MARKED = "marked in deletion vectors"
_APPEND_ONLY = "delta.appendOnly"


@dataclass(frozen=True)
class Counts:
    """Of rows, for the commit's metrics."""

    updated: int
    deleted: int


def refusal(target: Target, columns: Iterable[str]) -> str | None:
    """Why no row of this table may be marked by a merge that writes these columns; None: they may be."""
    snapshot = target.snapshot()
    if int(snapshot.version()) < 0:
        return "there is no table yet"
    found = Found(snapshot)
    if found.properties.get(DELETION_VECTORS) != "true":
        return "the table has no deletion vectors"
    if found.properties.get(CHANGE_DATA_FEED) == "true":
        return "the table keeps a change data feed"
    if found.properties.get(_APPEND_ONLY) == "true":
        return "the table is for appending only"
    if missing := sorted({field.name for field in found.schema} - set(columns)):
        return f"a row keeps what it has in {', '.join(missing)}"
    return None


class Marking:
    """One commit on the table as it is now."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._session = target.session
        jvm: Any = target.session._jvm
        self._jvm = jvm
        self._delta: Any = jvm.org.apache.spark.sql.delta
        self._log = self._delta.DeltaLog.forTable(self._session._jsparkSession, target.uri)
        self._transaction = self._log.startTransaction()
        # Whatever came in between is of another driver, whose batch may be this one.
        self._transaction.readWholeTable()

    def frame(self) -> DataFrame:
        """The table's rows, and of each its `FILE` and `ROW`."""
        version = self._transaction.snapshot().version()
        rows: DataFrame = self._session.read.format("delta").option("versionAsOf", version).load(self._target.uri)
        return rows.select(
            *(sf.col(quoted(name)) for name in rows.columns),
            sf.col("_metadata.file_path").alias(FILE),
            sf.col("_metadata.row_index").alias(ROW),
        )

    def marks(self) -> Column:
        """An aggregate by `FILE`: the numbers of its rows as a bitmap."""
        # Delta's own, by which its DELETE and UPDATE gather rows.
        aggregator = self._jvm.org.apache.spark.sql.catalyst.expressions.aggregation.BitmapAggregator
        expression = aggregator(sf.col(ROW)._jc.expr(), self._format)
        return Column(self._jvm.org.apache.spark.sql.Column(expression.toAggregateExpression()))

    def apply(self, found: DataFrame, operation: str, columns: Sequence[str], order: Sequence[str]) -> bool:
        """Carry out what the column `operation` says of each row: insert, update or delete; anything else is left.

        Rows to update or delete have their `FILE` and `ROW`. `columns` are written, in files by `order`. As `commit`.
        """
        found = found.localCheckpoint(eager=False)
        try:
            told = (
                found.groupBy(FILE, operation).agg(sf.count("*").alias("rows"), self.marks().alias("marks")).collect()
            )
            rows = {each: sum(row["rows"] for row in told if row[operation] == each) for each in _OPERATIONS}
            new = found.where(sf.col(operation).isin(INSERT, UPDATE)).select(*map(quoted, columns))
            return self.commit(
                [(row[FILE], row["marks"]["bitmap"]) for row in told if row[operation] in {UPDATE, DELETE}],
                in_files(new, rows[INSERT] + rows[UPDATE], order),
                Counts(rows[UPDATE], rows[DELETE]),
            )
        finally:
            release(found)

    def commit(self, marks: Iterable[tuple[str, bytes]], rows: DataFrame, counts: Counts) -> bool:
        """Mark rows, a `FILE` and what `marks()` gave for it, and append `rows`.

        False if the table has the number already. Raises JobError if a file isn't the table's, and what Delta raises.
        """
        number = number_of(self._session)
        if self._transaction.txnVersion(number.app_id) >= number.batch:
            return False
        actions = _listed(self._transaction.writeFiles(rows._jdf))
        written = sum(int(added.numPhysicalRecords().get()) for added in actions)
        if counts.updated > written:
            raise JobError(f"{counts.updated} rows have {written} changes: the table's keys are not unique")
        actions += self._marked(marks)
        actions.append(self._set_transaction(number.app_id, number.batch))
        self._tell(
            numTargetRowsInserted=written - counts.updated,
            numTargetRowsUpdated=counts.updated,
            numTargetRowsDeleted=counts.deleted,
        )
        self._transaction.commit(self._sequence(actions), self._operation())
        return True

    @property
    def _format(self) -> Any:
        return _object(self._delta.deletionvectors, "RoaringBitmapArrayFormat").Portable()

    def _marked(self, marks: Iterable[tuple[str, bytes]]) -> list[Any]:
        """The actions that put each file in the place of itself, with more of its rows gone."""
        root = self._log.dataPath()
        prefix = f"{root.toUri().toString()}/"
        names: dict[str, list[bytes]] = {}
        for uri, bitmap in marks:
            names.setdefault(uri.removeprefix(prefix), []).append(bitmap)
        if not names:
            return []
        wanted = sf.col("path").isin(list(names))
        files = list(self._transaction.snapshot().allFiles().filter(wanted._jc).collect())
        if len(files) != len(names):
            raise JobError(f"{len(names)} files have rows to mark, and the log of {self._target.uri} has {len(files)}")
        store = _object(self._delta.storage.dv, "DeletionVectorStore").createInstance(self._log.newDeltaHadoopConf())
        vector_id = self._jvm.java.util.UUID.randomUUID()
        place = store.generateFileNameInTable(store.pathWithFileSystem(root), vector_id, "")
        writer = store.createWriter(place)
        actions: list[Any] = []
        try:
            # Each reads what was marked before: one after another, a thousand files would be as many round trips to S3.
            gone_of = self._target.storage.in_threads(
                lambda file: self._gone(file, names[file.path()], store, root), files
            )
            for file, gone in zip(files, gone_of, strict=True):
                if gone.cardinality() == int(file.numPhysicalRecords().get()):
                    actions.append(file.remove())
                    continue
                at = writer.write(gone.serializeAsByteArray(self._format))
                some = self._jvm.scala.Option.apply
                vector = _object(self._delta.actions, "DeletionVectorDescriptor").onDiskWithRelativePath(
                    vector_id, "", at.length(), gone.cardinality(), some(at.offset()), self._jvm.scala.Option.empty()
                )
                both = file.removeRows(vector, True, True)
                actions += [both._1(), both._2()]
        finally:
            writer.close()
        return actions

    def _gone(self, file: Any, bitmaps: Sequence[bytes], store: Any, root: Any) -> Any:
        """All rows of a file that are to be gone: those of now and those of before."""
        roaring = _object(self._delta.deletionvectors, "RoaringBitmapArray")
        gone, *others = (roaring.readFrom(bytes(bitmap)) for bitmap in bitmaps)
        for other in others:
            getattr(gone, "or")(other)
        before = file.deletionVector()
        if before is not None:
            stored = self._delta.deletionvectors.DeletionVectorStoredBitmap(before, self._jvm.scala.Option.apply(root))
            getattr(gone, "or")(stored.load(store))
        gone.runOptimize()
        return gone

    def _set_transaction(self, app_id: str, batch: int) -> Any:
        now = self._jvm.scala.Option.apply(self._jvm.java.lang.System.currentTimeMillis())
        return self._delta.actions.SetTransaction(app_id, batch, now)

    def _operation(self) -> Any:
        nothing = self._sequence([])
        merge = _object(self._delta, "DeltaOperations$Merge")
        return merge.apply(self._jvm.scala.Option.empty(), nothing, nothing, nothing)

    def _tell(self, **metrics: int) -> None:
        """What DESCRIBE HISTORY shows, and the receipt counts."""
        context = self._session.sparkContext._jsc.sc()
        told = self._jvm.java.util.HashMap()
        for name, value in metrics.items():
            metric = self._jvm.org.apache.spark.sql.execution.metric.SQLMetrics.createMetric(context, name)
            metric.set(value)
            told.put(name, metric)
        as_map = self._jvm.org.apache.spark.api.python.PythonUtils.toScalaMap(told)
        self._transaction.registerSQLMetrics(self._session._jsparkSession, as_map)

    def _sequence(self, items: Sequence[Any]) -> Any:
        found = self._jvm.java.util.ArrayList()
        for item in items:
            found.add(item)
        return self._jvm.org.apache.spark.api.python.PythonUtils.toSeq(found)


def marking_of(target: Target, columns: Iterable[str]) -> Marking | None:
    """A commit that marks rows; None if they may not be marked, or if this Delta has no such transaction."""
    if refusal(target, columns) is not None:
        return None
    try:
        return Marking(target)
    except (Py4JError, TypeError):  # a method, or a class, that isn't there
        return None


def is_marked(target: Target, mark: Callable[[], object]) -> bool:
    """Within `numbered_commit`: mark rows. False, with a sentence in the plan, leaves them to MERGE.

    MERGE can do whatever this can't, and skips a number that is committed: so no failure of it is the batch's.
    """
    try:
        mark()
    except Exception as failed:  # noqa: BLE001 - as above; Delta's classes may have other names, for one
        amend_plan(target.session, f"Rows could not be marked ({summary(failed)}), so MERGE rewrote them.")
        return False
    return True


def in_files(rows: DataFrame, count: int, order: Sequence[str]) -> DataFrame:
    """By these columns, so that files can be skipped by them; few rows are one file."""
    names = [quoted(name) for name in dict.fromkeys(order)]
    if count <= _ONE_FILE_ROWS:
        return rows.coalesce(1).sortWithinPartitions(*names)
    return rows.repartitionByRange(*names).sortWithinPartitions(*names)


def _object(package: Any, name: str) -> Any:
    """A Scala object."""
    return getattr(getattr(package, f"{name}$"), "MODULE$")


def _listed(sequence: Any) -> list[Any]:
    return [sequence.apply(at) for at in range(sequence.size())]
