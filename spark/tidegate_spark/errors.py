"""What can go wrong with a batch, and whose fault it is.

The cause decides what happens next: only `data` counts against a batch; `source_changed` and
`infrastructure` are tried again as they are; `table` and `code` wait for a person.
"""

from __future__ import annotations

import re
from typing import Literal

Cause = Literal["data", "source_changed", "table", "infrastructure", "code"]


class JobError(Exception):
    """A failure whose cause is known. The message says what happened, to what, and what to do."""

    cause: Cause = "code"

    def __init__(self, message: str, *, file: str | None = None, row: int | None = None) -> None:
        super().__init__(message)
        self.file = file
        self.row = row


class SourceChanged(JobError):
    """A landed file is no longer the version that the manifest pins. The next attempt stages it."""

    cause: Cause = "source_changed"


class TableRefused(JobError):
    """The target is not the table that this batch was made for; nothing was written."""

    cause: Cause = "table"


class WrongPredecessor(TableRefused):
    """The table's last batch is not the one before this."""


class ForeignCommit(TableRefused):
    """The table holds a batch of this number that was made from another manifest."""


class EarlierBatchFailed(TableRefused):
    """A batch of the same table failed before this one in the same work file."""

    @classmethod
    def of(cls, table: str, batch: int, failed: int) -> EarlierBatchFailed:
        return cls(f"Batch {batch} of {table} was not tried: batch {failed} failed before it. Its receipt says why.")


class BrokenWork(JobError):
    """A work file or manifest that isn't what its sha256 or its schema says."""

    cause: Cause = "infrastructure"


class ReadFailed(JobError):
    """A file could not be read, and not for what is in it."""

    cause: Cause = "infrastructure"


class NotSupported(JobError):
    """The manifest asks for something that this version of the job doesn't have."""

    cause: Cause = "code"


class BrokenFile(Exception):
    """One file is not what its contract says. Never leaves `changes`: the file is rejected, others go on."""


# What the JVM says when the content of a file is to blame. All else leaves the file in peace.
_BROKEN_CONTENT = re.compile(
    r"EOFException|Unexpected end of (?:input|ZLIB)|ZipException|not a gzip file|not in GZIP format"
    r"|incorrect (?:data|header) check|invalid (?:block type|distance|stored block|code lengths|bit length)"
    r"|is not a Parquet file|ParquetDecodingException|ParquetCryptoRuntimeException|corrupted file"
    r"|can not read class org\.apache\.parquet|Required field .* was not (?:found|present)"
    r"|don't know what type|could not read page|failed to decompress"
    r"|file is not a parquet|too small length|SchemaColumnConvertNotSupportedException|TextParsingException"
    r"|MalformedInputException|UnmappableCharacterException|CharConversionException|not a snappy",
    re.IGNORECASE,
)
_GONE = re.compile(
    r"FileNotFoundException|PATH_NOT_FOUND|Path does not exist|RemoteFileChangedException|NoSuchKey"
    r"|404 Not Found"
)
# The first of these that fits decides.
_CAUSES: tuple[tuple[Cause, re.Pattern[str]], ...] = (
    (
        "infrastructure",
        re.compile(
            r"ExecutorLost|FetchFailed|OutOfMemory|No space left|SparkContext was shut ?down"
            r"|cancelled because"
            r"|ConnectException|SocketException|SocketTimeout|UnknownHost|ConnectionClosed|SdkClientException"
            r"|AmazonS3Exception|AWSClientIOException|AWSServiceThrottled|AWSStatus500|AccessDenied|SlowDown"
            r"|NoSuchBucket|UnknownStoreException|Py4JNetworkError|Checkpoint block .* not found"
            r"|Connection refused|Answer from Java side is empty|ClassNotFoundException: io\.delta",
        ),
    ),
    (
        "table",
        re.compile(
            r"DELTA_CONCURRENT|Concurrent(?:Append|Write|DeleteRead|DeleteDelete|Transaction)Exception"
            r"|MetadataChangedException|ProtocolChangedException|InvalidProtocolVersion"
            r"|DELTA_(?:FAILED_TO_MERGE_FIELDS|LOG_FILE_NOT_FOUND|TRUNCATED_TRANSACTION_LOG|STATE_RECOVER"
            r"|UNSUPPORTED_FEATURES|FILE_NOT_FOUND_DETAILED|VERSION|VIOLATE|NEW_CHECK|NEW_NOT_NULL|TABLE)",
        ),
    ),
)


def is_broken_content(text: str) -> bool:
    """Does this error text of the JVM blame what is in the file?"""
    return _BROKEN_CONTENT.search(text) is not None


def is_gone(text: str) -> bool:
    """Does this error text of the JVM say that the file is not there (any more)?"""
    return _GONE.search(text) is not None


def cause_of(error: BaseException) -> Cause:
    """Whose fault it is. What nobody recognises is taken for a fault of the code."""
    if isinstance(error, JobError):
        return error.cause
    if isinstance(error, MemoryError | OSError):
        return "infrastructure"
    text = f"{type(error).__name__}: {error}"
    return next((cause for cause, pattern in _CAUSES if pattern.search(text)), "code")


def summary(error: BaseException) -> str:
    """The error without its stack: at most four lines of it, which name the JVM's root cause last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith(("at ", "...", "JVM stacktrace"))]
    roots = [line for line in said if line.startswith("Caused by:")]
    picked = said[:3] + [line for line in roots[-1:] if line not in said[:3]]
    return " | ".join(line[:500] for line in picked) or type(error).__name__
