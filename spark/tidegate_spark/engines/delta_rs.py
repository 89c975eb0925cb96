"""delta-rs: merges small and middle-sized batches in the driver, several times as fast as Spark.

It writes the same table under the same lease, with the same number and story in its commit. It doesn't skip a
number that the table has, so that is asked first; and it never commits over somebody else's newer version.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from arro3.core import Table
from deltalake import (
    CommitProperties,
    DeltaTable,
    PostCommitHookProperties,
    Transaction,
    WriterProperties,
    write_deltalake,
)

from tidegate_spark.commit import Number
from tidegate_spark.engines.choice import CALENDARS, refusal_of_table
from tidegate_spark.engines.keys import FileRange, Span
from tidegate_spark.origin import PLACE
from tidegate_spark.storage import Storage

_FILES = WriterProperties(compression="ZSTD", compression_level=3)
"""As Spark's are (`job`)."""
_CHECKPOINT_HOOK = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False)
"""Old logs are the maintenance's business."""


class Settings(Protocol):
    """Hadoop's configuration."""

    def get(self, name: str, /) -> Any:
        """None if it isn't set."""


def open_table(storage: Storage, uri: str) -> DeltaTable:
    """The table's newest version. Raises what delta-rs raises."""
    scheme, _, rest = uri.partition(":")
    if scheme in {"s3", "s3a"}:
        return DeltaTable(f"s3:{rest}", storage_options=s3_options(storage.conf))
    # As Hadoop writes a path: one slash or three, and nothing is escaped.
    return DeltaTable(re.sub("^/+", "/", rest) if scheme == "file" else uri)


def s3_options(conf: Settings) -> dict[str, str]:
    """What Spark's own S3 client is told. On EMR that is nothing: the instance's role is found by itself."""
    wanted = {
        "fs.s3a.endpoint": "aws_endpoint",
        "fs.s3a.endpoint.region": "aws_region",
        "fs.s3a.access.key": "aws_access_key_id",
        "fs.s3a.secret.key": "aws_secret_access_key",
        "fs.s3a.session.token": "aws_session_token",
    }
    found = {option: conf.get(name) for name, option in wanted.items()}
    options = {option: str(value) for option, value in found.items() if value}
    endpoint = options.get("aws_endpoint", "")
    if endpoint.startswith("http://"):
        options["aws_allow_http"] = "true"
    elif endpoint and "://" not in endpoint:
        options["aws_endpoint"] = f"https://{endpoint}"
    if str(conf.get("fs.s3a.path.style.access")) == "true":
        options["aws_virtual_hosted_style_request"] = "false"
    # A commit is one PUT that S3 refuses if the version is there.
    options["aws_conditional_put"] = "etag"
    return options


def refusal(table: DeltaTable, *, has_timestamps: bool) -> str | None:
    """Why delta-rs must not write this table; None: it may."""
    protocol = table.protocol()
    return refusal_of_table(
        writer=protocol.min_writer_version,
        features=frozenset(protocol.writer_features or ()) | frozenset(protocol.reader_features or ()),
        properties=table.metadata().configuration,
        has_timestamps=has_timestamps,
    )


def files_of(table: DeltaTable, keys: Sequence[str], types: Mapping[str, str]) -> list[FileRange]:
    """The table's files and what its log knows of these keys; `types` are those of all columns."""
    actions = table.get_add_actions(flatten=True)
    names = set(actions.schema.names)

    def of(name: str) -> list[Any]:
        return list(actions.column(name).to_pylist()) if name in names else [None] * actions.num_rows

    bounds: list[dict[str, Span]] = [{} for _ in range(actions.num_rows)]
    ancient = [False] * actions.num_rows
    for column in keys:
        at = (f"partition.{column}",) * 2 if f"partition.{column}" in names else (f"min.{column}", f"max.{column}")
        for found, smallest, largest in zip(bounds, *map(of, at), strict=True):
            if smallest is not None and largest is not None:
                found[column] = (smallest, largest)
    for column, bound in ((name, CALENDARS[kind]) for name, kind in types.items() if kind in CALENDARS):
        if f"partition.{column}" in names:  # a partition's value is in no file
            continue
        known = zip(of(f"min.{column}"), of(f"null_count.{column}"), of("num_records"), strict=True)
        for number, (smallest, nulls, rows) in enumerate(known):
            is_empty = rows is not None and nulls == rows
            ancient[number] |= not is_empty and (smallest is None or smallest < bound)
    told = zip(of("size_bytes"), bounds, ancient, strict=True)
    return [FileRange(int(size), found, may_be) for size, found, may_be in told]


def append(table: DeltaTable, rows: Table, number: Number) -> bool:
    """Write rows as they are; False if the table has the number already."""
    if _has(table, number):
        return False
    write_deltalake(
        table,
        rows,
        mode="append",
        writer_properties=_FILES,
        commit_properties=_commit_properties(number),
        post_commithook_properties=_CHECKPOINT_HOOK,
    )
    return True


def merge(
    table: DeltaTable,
    changes: Table,
    number: Number,
    *,
    condition: str,
    is_newer: str,
    columns: Sequence[str],
    deleted: str | None,
) -> bool:
    """Merge one change a key; False if the table has the number already. `deleted` names a column of changes."""
    if _has(table, number):
        return False
    values = {f"target.`{name}`": f"change.`{name}`" for name in columns}
    merger = table.merge(
        changes,
        condition,
        source_alias="change",
        target_alias="target",
        # Otherwise delta-rs skips files by the changes' own statistics, and Spark's of timestamps are cut to
        # milliseconds: a key just above is not looked for. The literals of `condition` skip what can be skipped.
        streamed_exec=True,
        writer_properties=_FILES,
        commit_properties=_commit_properties(number),
        post_commithook_properties=_CHECKPOINT_HOOK,
    )
    if deleted is not None:
        merger = merger.when_matched_delete(predicate=f"({is_newer}) AND change.`{deleted}`")
        merger = merger.when_matched_update(values, predicate=f"({is_newer}) AND NOT change.`{deleted}`")
        merger = merger.when_not_matched_insert(values, predicate=f"NOT change.`{deleted}`")
    else:
        merger = merger.when_matched_update(values, predicate=is_newer).when_not_matched_insert(values)
    merger.execute()
    if not _has(table, number):
        _commit_nothing(table, number)
    return True


def _commit_nothing(table: DeltaTable, number: Number) -> None:
    """The number alone: a merge of delta-rs that changes no row makes no commit."""
    table.create_write_transaction(
        [],
        "append",
        table.schema(),
        partition_by=table.metadata().partition_columns,
        commit_properties=_commit_properties(number),
        post_commithook_properties=_CHECKPOINT_HOOK,
    )


def is_newer(sequence: str | None, origin: str, deleted: str | None) -> str:
    """`order_of('change') > order_of('target')` for an engine that can't compare structs.

    As in Spark, a null comes before any value. A row of the table is never a deleted one.
    """
    pairs = [] if sequence is None else [(f"change.`{sequence}`", f"target.`{sequence}`")]
    if deleted is not None and sequence is not None:  # only within one value of the sequence is a delete the later
        pairs.append((f"change.`{deleted}`", "false"))
    pairs += [(f"change.`{origin}`['{name}']", f"target.`{origin}`['{name}']") for name in PLACE]
    condition = "false"
    for change, target in reversed(pairs):
        condition = (
            f"(({change} > {target}) OR (({change} IS NOT NULL) AND ({target} IS NULL)) OR "
            f"(({change} IS NOT DISTINCT FROM {target}) AND {condition}))"
        )
    return condition


def _has(table: DeltaTable, number: Number) -> bool:
    last = table.transaction_version(number.app_id)
    return last is not None and last >= number.batch


def _commit_properties(number: Number) -> CommitProperties:
    metadata: dict[str, Any] = {"userMetadata": number.user_metadata}
    return CommitProperties(
        custom_metadata=metadata,
        max_commit_retries=0,  # a newer version is another driver's, whose batch may be this one
        app_transactions=[Transaction(number.app_id, number.batch)],
    )
