"""Tables in the Glue Data Catalog: what an entry looks like, and when it is written.

Who reads what of an entry, and where that is documented, stands in docs/catalog.md. In short: an entry is found by its
name; engines that know Delta take the location and read everything else from the table's own log; the columns are for
those who look at them (consoles, Lake Formation, views).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from tidegate.catalog_types import catalog_type
from tidegate.errors import CatalogTaken

TableInput = Mapping[str, Any]
"""An entry as Glue's CreateTable and UpdateTable take it."""

OWNER_PARAMETER = "tidegate.table"
"""Has the table's name; an entry that has it is ours to change."""
SHA256_PARAMETER = "tidegate.entry_sha256"
BATCH_PARAMETER = "tidegate.batch"
"""The batch that last changed the entry: batches only ever count on, so an older one never undoes a newer one's."""

LOOKED_AT_FOR = timedelta(days=1)
"""How long an entry is believed to be as it was written. After that it is looked at, since anybody may delete it."""

MANIFEST_READERS = frozenset({"hive", "presto", "redshift"})
"""Engines that know no Delta: they read lists of the current files, which the job keeps beside the table."""

QUARANTINE_COLUMNS = (
    {"name": "source", "type": "string"},
    {"name": "sequencer", "type": "string"},
    {"name": "row", "type": "bigint"},
    {"name": "event_time", "type": "timestamp"},
    {"name": "check", "type": "string"},
    {"name": "reason", "type": "string"},
    {"name": "raw", "type": "string"},
    {"name": "_tidegate", "type": "struct<batch:bigint>"},
)
"""The columns of `<table>__quarantine`, which are the same for every table."""

_HIVE = "org.apache.hadoop.hive"
# What Spark's Hive catalog writes for a data source without a Hive SerDe of its own, of which Delta is one.
_DELTA_STORAGE = {
    "InputFormat": "org.apache.hadoop.mapred.SequenceFileInputFormat",
    "OutputFormat": f"{_HIVE}.ql.io.HiveSequenceFileOutputFormat",
}
_DELTA_SERDE = f"{_HIVE}.serde2.lazy.LazySimpleSerDe"
_MANIFEST_STORAGE = {
    "InputFormat": f"{_HIVE}.ql.io.SymlinkTextInputFormat",
    "OutputFormat": f"{_HIVE}.ql.io.HiveIgnoreKeyTextOutputFormat",
}
_MANIFEST_SERDE = f"{_HIVE}.ql.io.parquet.serde.ParquetHiveSerDe"


@dataclass(frozen=True)
class Catalogued:
    """What the ledger remembers of a table's entries."""

    entries: Mapping[str, str] = field(default_factory=dict)
    """By their names in the catalog: the hash of what was written."""
    looked_at: datetime | None = None


@dataclass(frozen=True)
class FoundEntry:
    """An entry as the catalog has it. `version` is Glue's, for a change on the condition that it is still the same."""

    table_input: TableInput
    version: str | None


@dataclass(frozen=True)
class Subject:
    """A table as its newest batch leaves it."""

    table: str
    batch: int
    location: str
    columns: Sequence[Mapping[str, str]]
    """As the receipt has them: name and Spark's type."""
    partition_by: Sequence[str] = ()
    readers: Sequence[str] = ()
    has_quarantine: bool = False


def entries_of(subject: Subject) -> list[TableInput]:
    """The entries that a table has: itself, its quarantine, and the list of files for engines that know no Delta.

    The history is not registered: nobody but the job reads it. Views of a table (`<table>__now` of a bitemporal one)
    would be entries of their own and belong here.
    """
    about = f"by Tidegate from batch {subject.batch}"
    found = [_delta_entry(subject, subject.table, subject.location, subject.columns, f"Merged {about}.")]
    if subject.has_quarantine:
        name = f"{subject.table}__quarantine"
        words = f"Rows of {subject.table} that break its contract, kept {about}."
        found.append(_delta_entry(subject, name, f"{subject.location}__quarantine", QUARANTINE_COLUMNS, words))
    if MANIFEST_READERS & set(subject.readers):
        found.append(_manifest_entry(subject))
    return found


def sha256_of(table_input: TableInput) -> str:
    """The hash that an entry carries: of all that Tidegate decides about it, but for the batch that last did."""
    own: str = table_input["Parameters"][SHA256_PARAMETER]
    return own


def is_remembered(wanted: Sequence[TableInput], known: Catalogued | None, now: datetime) -> bool:
    """Whether the catalog need not be asked: all was written so, and not too long ago."""
    if known is None or known.looked_at is None or now - known.looked_at > LOOKED_AT_FOR:
        return False
    return all(known.entries.get(each["Name"]) == sha256_of(each) for each in wanted)


def decide_entry(found: FoundEntry | None, wanted: TableInput) -> Literal["create", "update", "keep"]:
    """What to do about an entry.

    Raises CatalogTaken for one of the same name that is somebody else's and of another place.
    """
    if found is None:
        return "create"
    parameters = found.table_input.get("Parameters") or {}
    place = _place(found.table_input)
    if OWNER_PARAMETER not in parameters and place != _place(wanted):
        raise CatalogTaken(
            f"the catalog has a table {wanted['Name']} at {place or 'no location'} that is not Tidegate's, so "
            f"{_place(wanted)} was not registered: rename or delete that entry, or give the contract another table name"
        )
    if parameters.get(SHA256_PARAMETER) == sha256_of(wanted) and place == _place(wanted):
        return "keep"
    if int(parameters.get(BATCH_PARAMETER, 0)) > int(wanted["Parameters"][BATCH_PARAMETER]):
        return "keep"
    return "update"


def merged_entry(found: FoundEntry, wanted: TableInput) -> TableInput:
    """The entry to write over one that is there: what others have added to it stays."""
    theirs = found.table_input
    comments = {
        column["Name"]: column["Comment"]
        for column in _columns_of(theirs)
        if column.get("Comment")
    }  # fmt: skip

    def commented(columns: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        return [column | _comment(comments, column["Name"]) for column in map(dict, columns)]

    storage = {**wanted["StorageDescriptor"], "Columns": commented(wanted["StorageDescriptor"]["Columns"])}
    return {
        **{name: theirs[name] for name in ("Owner", "Retention") if theirs.get(name)},
        **wanted,
        "StorageDescriptor": storage,
        "PartitionKeys": commented(wanted["PartitionKeys"]),
        "Parameters": {**(theirs.get("Parameters") or {}), **wanted["Parameters"]},
    }


def _delta_entry(
    subject: Subject, name: str, location: str, schema: Sequence[Mapping[str, str]], words: str
) -> TableInput:
    storage = {
        "Columns": _columns(schema),
        "Location": location,
        **_DELTA_STORAGE,
        # Spark, Trino and Athena take the location of such a table from `path`, not from the line above.
        "SerdeInfo": {
            "SerializationLibrary": _DELTA_SERDE,
            "Parameters": {"path": location, "serialization.format": "1"},
        },
    }
    parameters = {"classification": "delta", "table_type": "DELTA", "spark.sql.sources.provider": "delta"}
    # Partition columns are columns like others: their values come from the log, and the catalog has no partitions.
    entry = {"Name": name, "StorageDescriptor": storage, "PartitionKeys": [], "Parameters": parameters}
    return _signed(subject, entry, words)


def _manifest_entry(subject: Subject) -> TableInput:
    columns = _columns([column for column in subject.columns if column["name"] not in subject.partition_by])
    types = {column["name"]: column for column in subject.columns}
    keys = _columns([types[name] for name in subject.partition_by if name in types])
    storage = {
        "Columns": columns,
        "Location": f"{subject.location}/_symlink_format_manifest/",
        **_MANIFEST_STORAGE,
        "SerdeInfo": {"SerializationLibrary": _MANIFEST_SERDE, "Parameters": {"serialization.format": "1"}},
    }
    entry = {
        "Name": f"{subject.table}_manifest",
        "StorageDescriptor": storage,
        "PartitionKeys": keys,
        "Parameters": {"classification": "parquet"},
    }
    return _signed(subject, entry, f"The current files of {subject.table}, for engines that know no Delta.")


def _signed(subject: Subject, entry: Mapping[str, Any], words: str) -> TableInput:
    decided = {
        **entry,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {"EXTERNAL": "TRUE", **entry["Parameters"], OWNER_PARAMETER: subject.table},
    }
    text = json.dumps(decided, sort_keys=True, separators=(",", ":"))
    signature = {SHA256_PARAMETER: hashlib.sha256(text.encode()).hexdigest(), BATCH_PARAMETER: str(subject.batch)}
    return {**decided, "Description": words, "Parameters": {**decided["Parameters"], **signature}}


def _columns(schema: Sequence[Mapping[str, str]]) -> list[Mapping[str, Any]]:
    # Glue folds names of tables to lower case, Hive those of columns; Delta takes no two that differ by case alone.
    return [{"Name": column["name"].lower(), "Type": catalog_type(column["type"])} for column in schema]


def _columns_of(table_input: TableInput) -> list[Mapping[str, Any]]:
    storage = table_input.get("StorageDescriptor") or {}
    return [*(storage.get("Columns") or []), *(table_input.get("PartitionKeys") or [])]


def _comment(comments: Mapping[str, str], name: str) -> dict[str, str]:
    return {"Comment": comments[name]} if name in comments else {}


def _place(table_input: TableInput) -> str:
    return str((table_input.get("StorageDescriptor") or {}).get("Location") or "").rstrip("/")
