"""Whose turn it is: which batch may be the next commit of a table."""

from __future__ import annotations

from tidegate_spark.commit import Commit
from tidegate_spark.errors import ForeignCommit, WrongPredecessor
from tidegate_spark.work import Manifest


def is_committed(last: int | None, manifest: Manifest, where: str) -> bool:
    """True if the batch is the table's last one, merged or voided; False if it is its turn now.

    `last` is the number of the table's last batch. Raises :class:`WrongPredecessor`.
    """
    if last == manifest.batch:
        return True
    if last != manifest.predecessor:
        raise WrongPredecessor(
            f"Batch {manifest.batch} of {manifest.table} follows {_named(manifest.predecessor)}, but the "
            f"last one in {where} is {_named(last)}. Nothing was written. If the table was restored, "
            "rewound or written by another ledger, settle that first: batches go in one after another."
        )
    return False


def check_origin(commit: Commit, manifest: Manifest, where: str) -> None:
    """A commit with the batch's number was made from the batch's manifest. Raises :class:`ForeignCommit`."""
    if commit.told.get("manifest_sha256") != manifest.sha256:
        raise ForeignCommit(
            f"{where} holds batch {manifest.batch} already (version {commit.version}), but from manifest "
            f"{commit.told.get('manifest_sha256')}, not {manifest.sha256}. Two ledgers write this "
            "table, or one was restored. Nothing was written; see which is right first."
        )


def _named(batch: int | None) -> str:
    return "no batch" if batch is None else f"batch {batch}"
