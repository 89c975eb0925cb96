"""Makes and changes tables: what `features` and `evolution` decide, carried out.

Every step is a commit of its own, before the batch's, and may come twice: a process may die between any two.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from delta.tables import DeltaTable
from pyspark.sql import SparkSession
from pyspark.sql import functions as sf
from pyspark.sql.types import DataType, StructType

from tidegate_spark.evolution import UNKNOWN, Evolution, Field, compare
from tidegate_spark.features import CLUSTERED_BY, Adjustment, TableFeatures
from tidegate_spark.origin import ORIGIN
from tidegate_spark.schema import table_schema
from tidegate_spark.sources.rows import quoted, text_literal
from tidegate_spark.work import Contract


class Found:
    """A table's metadata as it is now: read once, asked often."""

    def __init__(self, snapshot: Any) -> None:
        # As the log has them, in one text each: asked field by field they are dozens of calls to the JVM.
        metadata = json.loads(snapshot.metadata().json())["metaData"]
        protocol = json.loads(snapshot.protocol().json())["protocol"]
        self.schema = StructType.fromJson(json.loads(metadata["schemaString"]))
        self.properties: dict[str, str] = dict(metadata.get("configuration") or {})
        self.partition_by: tuple[str, ...] = tuple(metadata.get("partitionColumns") or ())
        self.knows_deletion_vectors = "deletionVectors" in (protocol.get("readerFeatures") or ())
        self.created_at_ms: int | None = metadata.get("createdTime")

    @property
    def fields(self) -> tuple[Field, ...]:
        return tuple(
            Field(
                field.name,
                field.dataType.simpleString(),
                is_unknown=(field.metadata or {}).get("comment") == UNKNOWN,
            )
            for field in self.schema
        )


def asked_fields(contract: Contract) -> tuple[Field, ...]:
    """The columns that the contract's table must have."""
    own = {column.name for column in contract.columns} | {ORIGIN}
    return tuple(
        Field(field.name, field.dataType.simpleString(), is_added=field.name not in own)
        for field in table_schema(contract)
    )


def evolution_of(contract: Contract, found: Found) -> Evolution:
    """What the contract asks of the table that is there."""
    return compare(
        asked_fields(contract),
        found.fields,
        rule=contract.evolution,
        strategy=contract.strategy,
        partial_updates=contract.partial_updates,
    )


def count_leaves(schema: StructType) -> int:
    """How many columns Delta counts when it keeps statistics of the first so many."""
    return sum(_leaves(field.dataType) for field in schema)


def create_table(
    session: SparkSession, uri: str, schema: StructType, features: TableFeatures, partition_by: Sequence[str]
) -> None:
    """Make the table, empty, if nobody has by now."""
    builder = DeltaTable.createIfNotExists(session).location(uri).addColumns(schema)
    for name, value in features.at_creation.items():
        builder = builder.property(name, value)
    if partition_by:
        builder = builder.partitionedBy(*partition_by)
    if features.cluster_by:
        builder = builder.clusterBy(*features.cluster_by)
    builder.execute()


def add_columns(session: SparkSession, uri: str, found: Found, fields: Sequence[Field]) -> None:
    """One commit of metadata alone: rows that are there have nulls in the new columns."""
    names = [field.name for field in found.schema]
    new = [field for field in fields if field.name not in names]
    if not new:
        return
    place = ""
    if len(names) > 1 and names[-1] == ORIGIN and all(field.name != ORIGIN for field in new):
        # Each goes right behind the last of the old ones, so they are named the other way round.
        place = f" AFTER {quoted(names[-2])}"
        new.reverse()
    columns = ", ".join(
        f"{quoted(field.name)} {field.type}" + (f" COMMENT {text_literal(UNKNOWN)}" if field.is_unknown else "") + place
        for field in new
    )
    session.sql(f"ALTER TABLE delta.{quoted(uri)} ADD COLUMNS ({columns})")


def widen_columns(session: SparkSession, uri: str, found: Found, fields: Sequence[Field]) -> None:
    """Rewrite the table with wider types, in one commit.

    Delta could widen types without it, but few readers read such a table, and delta-rs, which answers the
    operator's queries, isn't one of them.
    """
    types = {field.name: field.type for field in fields}
    there = {field.name: field.type for field in found.fields}
    if all(there.get(name) in (None, type_name) for name, type_name in types.items()):
        return
    if CLUSTERED_BY in found.properties:
        # The rewrite loses the clustering columns: without the property they are set again.
        session.sql(f"ALTER TABLE delta.{quoted(uri)} UNSET TBLPROPERTIES IF EXISTS ({text_literal(CLUSTERED_BY)})")
        found.properties.pop(CLUSTERED_BY)
    frame = session.read.format("delta").load(uri)
    comments = {field.name: field.metadata for field in found.schema}
    rewritten = frame.select(
        *(
            sf.col(quoted(name)).cast(types.get(name, there[name])).alias(name, metadata=comments[name])
            for name in frame.columns
        )
    )
    writer = rewritten.write.format("delta").mode("overwrite").option("overwriteSchema", "true")
    if found.partition_by:
        writer = writer.partitionBy(*found.partition_by)
    writer.save(uri)


def apply_adjustment(session: SparkSession, uri: str, adjustment: Adjustment) -> None:
    """Give the table its features."""
    table = f"delta.{quoted(uri)}"
    if adjustment.purge:
        session.sql(f"REORG TABLE {table} APPLY (PURGE)")
    if adjustment.generate:
        DeltaTable.forPath(session, uri).generate("symlink_format_manifest")
    if adjustment.cluster_by is not None:
        columns = f"({', '.join(quoted(name) for name in adjustment.cluster_by)})" if adjustment.cluster_by else "NONE"
        session.sql(f"ALTER TABLE {table} CLUSTER BY {columns}")
    if adjustment.properties:
        set_properties(session, uri, adjustment.properties)


def set_properties(session: SparkSession, uri: str, properties: Mapping[str, str]) -> None:
    """One commit of metadata alone."""
    pairs = ", ".join(f"{text_literal(name)} = {text_literal(value)}" for name, value in sorted(properties.items()))
    session.sql(f"ALTER TABLE delta.{quoted(uri)} SET TBLPROPERTIES ({pairs})")


def _leaves(data_type: DataType) -> int:
    return count_leaves(data_type) if isinstance(data_type, StructType) else 1
