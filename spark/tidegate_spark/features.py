"""What a table is made with, by its contract: which of Delta's features its readers can read, and which pay.

Deletion vectors make a merge into a large table cheaper and each read dearer until the next OPTIMIZE. They can't be
taken out of a table's protocol again (Delta 3.3), so a table gets them only when it has outgrown plain rewriting.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from tidegate_spark.evolution import ELSE
from tidegate_spark.work import Contract

OWNER = "tidegate.table"
"""Which contract's table it is."""
MERGE = "tidegate.merge"
"""How the contract merges: what an existing table can't change."""
CLUSTERED_BY = "tidegate.cluster_by"
"""The clustering columns that were set: Delta's own record of them takes a job to read."""
TIMESTAMPS = "tidegate.timestamps"
"""`micros`: no file has timestamps as INT96, which delta-rs reads as nanoseconds: the year 9999 comes back as 1816."""
DELETION_VECTORS = "delta.enableDeletionVectors"
CHANGE_DATA_FEED = "delta.enableChangeDataFeed"
SYMLINK_MANIFEST = "delta.compatibility.symlinkFormatManifest.enabled"
INDEXED_COLUMNS = "delta.dataSkippingNumIndexedCols"
FILE_RETENTION = "delta.deletedFileRetentionDuration"
LOG_RETENTION = "delta.logRetentionDuration"

READ_DELETION_VECTORS = frozenset({"spark", "duckdb", "delta-rs", "trino"})
"""Athena's documentation says nothing of them, so it isn't trusted with them."""
READ_MANIFESTS = frozenset({"hive", "presto", "redshift"})
"""They read lists of Parquet files that Delta keeps for them, in which deleted rows would come back."""
_MERGING = frozenset({"upsert", "cdc", "scd2", "snapshot", "bitemporal"})
_DEFAULT_INDEXED_COLUMNS = 32
_WEEK_S = 7 * 86400
_MONTH_S = 30 * 86400


@dataclass(frozen=True)
class TableFeatures:
    """What a contract's table has."""

    properties: Mapping[str, str]
    """As they must be. What isn't here and not the contract's business stays as it is."""
    defaults: Mapping[str, str]
    """Set only where the table says nothing itself: an operator may keep more than the contract asks for."""
    cluster_by: tuple[str, ...]
    may_have_deletion_vectors: bool
    why: str
    """Why deletion vectors may be used, or not."""

    @property
    def keeps_manifests(self) -> bool:
        return self.properties[SYMLINK_MANIFEST] == "true"

    @property
    def at_creation(self) -> Mapping[str, str]:
        """The properties of a table that is made now."""
        needless = {name for name, value in self.properties.items() if value == "false"} - {DELETION_VECTORS}
        kept = {name: value for name, value in self.properties.items() if name not in needless}
        clustered = {CLUSTERED_BY: ",".join(self.cluster_by)} if self.cluster_by else {}
        return {**self.defaults, **kept, DELETION_VECTORS: "false", TIMESTAMPS: "micros", **clustered}


@dataclass(frozen=True)
class Adjustment:
    """What has to be done to a table's features, in this order; each step may be done twice."""

    purge: bool = False
    """Rewrite the files that have deletion vectors: a reader can't read them."""
    generate: bool = False
    """Write the manifests of all files: from then on each commit keeps them."""
    cluster_by: tuple[str, ...] | None = None
    """Set the clustering columns; None: they are right."""
    properties: Mapping[str, str] = field(default_factory=dict)
    """Set last: until then everything before it comes again."""


def features_of(contract: Contract, leaves: int) -> TableFeatures:
    """The features of a contract's table, whose schema has so many `leaves`: columns, with a struct's own apart."""
    unable = sorted(set(contract.readers) - READ_DELETION_VECTORS)
    if unable:
        may, why = False, f"{', '.join(unable)} can't read them, or isn't known to"
    elif contract.strategy not in _MERGING:
        may, why = False, f"{contract.strategy} hardly ever changes a row"
    elif contract.maintenance.optimize == "off":
        may, why = False, "nothing would take them out again: maintenance.optimize is off"
    else:
        may, why = True, f"all of {', '.join(contract.readers)} read them"
    properties = {
        OWNER: contract.table,
        CHANGE_DATA_FEED: _boolean(contract.change_data_feed),
        SYMLINK_MANIFEST: _boolean(bool(READ_MANIFESTS & set(contract.readers))),
    }
    if unable:
        properties[DELETION_VECTORS] = "false"
    if leaves > _DEFAULT_INDEXED_COLUMNS:
        # The last column is `_tidegate`, by whose source a re-sent file is looked for.
        properties[INDEXED_COLUMNS] = str(leaves)
    defaults = {MERGE: _merge_of(contract), **_retention(contract.maintenance.vacuum_s)}
    return TableFeatures(properties, defaults, contract.cluster_by, may, why)


def check_merge(contract: Contract, found: Mapping[str, str]) -> list[str]:
    """Why the contract's merges can't go on in a table with these properties; none if they can."""
    before, now = json.loads(found.get(MERGE) or "{}"), json.loads(_merge_of(contract))
    return [
        f"merge.{name} was {json.dumps(before[name])} when the table was made and is {json.dumps(now[name])} now: its "
        f"rows can't be merged in another way after the fact; {ELSE}"
        for name in now
        if name in before and before[name] != now[name]
    ]


def adjust(features: TableFeatures, found: Mapping[str, str], *, knows_deletion_vectors: bool) -> Adjustment:
    """What makes a table that has the properties `found` one of these features.

    `knows_deletion_vectors`: its protocol has them, so any of its files may have some.
    """
    wanted = {
        name: value
        for name, value in features.properties.items()
        # What is off by itself needn't be said to be.
        if found.get(name, "false" if value == "false" else None) != value
    }
    missing = {name: value for name, value in features.defaults.items() if name not in found}
    begins_manifests = wanted.get(SYMLINK_MANIFEST) == "true"
    ends_vectors = DELETION_VECTORS in wanted
    is_clustered_by = tuple(name for name in found.get(CLUSTERED_BY, "").split(",") if name)
    clusters = features.cluster_by != is_clustered_by
    return Adjustment(
        purge=ends_vectors or (begins_manifests and knows_deletion_vectors),
        generate=begins_manifests,
        cluster_by=features.cluster_by if clusters else None,
        properties={**missing, **wanted, **({CLUSTERED_BY: ",".join(features.cluster_by)} if clusters else {})},
    )


def _merge_of(contract: Contract) -> str:
    merge = {"strategy": contract.strategy, "keys": sorted(contract.keys), "sequence_by": contract.sequence_by}
    return json.dumps(merge, ensure_ascii=False)


def _retention(vacuum_s: int | None) -> dict[str, str]:
    """Time travel needs both the files of old versions and the log that names them."""
    kept: dict[str, str] = {}
    if vacuum_s is not None and vacuum_s != _WEEK_S:
        kept[FILE_RETENTION] = f"interval {vacuum_s} seconds"
    if vacuum_s is not None and vacuum_s > _MONTH_S:
        kept[LOG_RETENTION] = f"interval {vacuum_s} seconds"
    return kept


def _boolean(value: bool) -> str:
    return "true" if value else "false"
