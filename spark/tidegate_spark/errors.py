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


class DataRefused(JobError):
    """Spark can't read or merge what is in the files, for a reason that is nobody else's."""

    cause: Cause = "data"


class CheckFailed(DataRefused):
    """A row doesn't meet an expectation whose failure is to fail its batch."""


class ContractRefused(JobError):
    """SQL or a column of the contract is not what Spark can use; no row was read."""

    cause: Cause = "code"


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
    r"|AvroRuntimeException|AvroTypeException|UnresolvedUnionException|Not an? (?:Avro )?data file|Invalid sync!"
    r"|Malformed ORC|not an ORC file|FileFormatException|InvalidProtocolBuffer|Read past EOF for compressed stream"
    r"|Buffer size too small\. size = |Seek in .{0,80} is outside of the data"
    r"|MalformedInputException|UnmappableCharacterException|CharConversionException|not a snappy",
    re.IGNORECASE,
)
_GONE = re.compile(
    r"FileNotFoundException|PATH_NOT_FOUND|Path does not exist|RemoteFileChangedException|NoSuchKey"
    r"|404 Not Found"
)
# In a path of the table: a value of a partition column is a folder's name. S3 takes 1,024 bytes a key.
_TOO_LONG = re.compile(r"KeyTooLong|key is too long|File name too long", re.IGNORECASE)
_INFRASTRUCTURE = re.compile(
    # Executors, nodes, memory and disks, as Spark and YARN have it.
    r"ExecutorLost|ExecutorDead|[Ee]xecutor heartbeat timed out|(?:Slave|Worker|worker) lost|Lost executor"
    r"|executor decommission|FetchFailed|Missing an output location for shuffle|Failed to get broadcast"
    r"|Could not execute broadcast in|OutOfMemory|GC overhead limit|Unable to acquire \d+ bytes of memory"
    r"|Not enough memory to build and broadcast|unable to create (?:new )?native thread"
    r"|blockmgr-|No space left|Too many open files|Input/output error|Stale file handle|DiskErrorException"
    r"|Container (?:killed|marked as failed|from a bad node|released on a \*?lost)|on request\. Exit code is 1(?:37|43)"
    r"|YARN application has (?:exited|already ended)|Application application_\w+ (?:was )?killed"
    r"|SparkContext was shut ?down|stopped SparkContext|cancelled because|Checkpoint block .* not found"
    r"|(?:Job|Stage) \d+ (?:was )?cancelled|Stage cancelled"
    # The network between them.
    r"|ConnectException|SocketException|SocketTimeout|UnknownHost|NoRouteToHost|UnresolvedAddress|ConnectionClosed"
    r"|ClosedChannel|NoHttpResponse|SSLException|SSLHandshake|Connection (?:refused|reset|timed out|closed)"
    r"|Connection from \S+ closed|Broken pipe|Read timed out|Futures timed out|RpcTimeout|Rpc client disassociated"
    r"|RPC client disassociated|RpcEnv already stopped|Premature end of Content-Length"
    r"|Py4JNetworkError|Answer from Java side is empty|ClassNotFoundException: io\.delta"
    # S3 and KMS, through S3A, EMRFS and either of Amazon's clients. Rights and keys are given back, not files mended.
    r"|AmazonS3Exception|AmazonServiceException|AmazonClientException|SdkClientException|SdkServiceException"
    r"|awssdk\.\S+Exception|S3Exception|AWS(?:ClientIO|S3IO|ServiceIO|BadRequest|Redirect|NoResponse)Exception"
    r"|AWSServiceThrottled|AWSStatus500|AWSApiCallTimeout|NoAuthWithAWS|CredentialInitialization"
    r"|Unable to load (?:AWS )?credentials|Unable to execute HTTP request|Timeout waiting for connection from pool"
    r"|ExpiredToken|InvalidAccessKeyId|RequestTimeTooSkewed|AccessDenied|AccessControlException|NoSuchBucket"
    r"|UnknownStoreException|Slow ?Down|reduce your request rate|[Rr]equests? (?:is|are|was|were) (?:being )?throttled"
    r"|ThrottlingException|Rate exceeded|RequestLimitExceeded|TooManyRequests|exceeded the rate at which you may call"
    r"|Service ?Unavailable|internal error\. Please try again|RequestTimeout|Status Code: 5\d\d"
    r"|AWSKMS|AWS KMS|KMS\.\w+Exception|perform: kms:|KMSInvalidState"
)
# The first of these that fits decides.
_CAUSES: tuple[tuple[Cause, re.Pattern[str]], ...] = (
    ("data", _TOO_LONG),
    ("infrastructure", _INFRASTRUCTURE),
    (
        "table",
        re.compile(
            r"DELTA_CONCURRENT|Concurrent(?:Append|Write|DeleteRead|DeleteDelete|Transaction)Exception"
            r"|MetadataChangedException|ProtocolChangedException|InvalidProtocolVersion"
            r"|DELTA_(?:FAILED_TO_MERGE_FIELDS|LOG_FILE_NOT_FOUND|TRUNCATED_TRANSACTION_LOG|STATE_RECOVER"
            r"|UNSUPPORTED_FEATURES|FILE_NOT_FOUND_DETAILED|VERSION|VIOLATE|NEW_CHECK|NEW_NOT_NULL|TABLE)"
            # The batch's own files are read by then, or else `reading` says so: these are the table's.
            r"|FileNotFoundException|PATH_NOT_FOUND|Path does not exist",
        ),
    ),
    ("code", re.compile(r"NoSuchMethodError|NoClassDefFoundError|ClassNotFoundException|NoSuchFieldError")),
)
_OF_THE_JVM = frozenset({"Py4JJavaError", "CapturedException"})
_OF_THE_PLAN = frozenset({"AnalysisException", "ParseException", "IllegalArgumentException"})
"""What Spark raises before it has seen a row."""


def is_broken_content(text: str) -> bool:
    """Does this error text of the JVM blame what is in the file?"""
    return _BROKEN_CONTENT.search(text) is not None


def is_gone(text: str) -> bool:
    """Does this error text of the JVM say that the file is not there (any more)?"""
    return _GONE.search(text) is not None


def is_infrastructure(text: str) -> bool:
    """Does this error text of the JVM blame nodes, network or services?"""
    return _INFRASTRUCTURE.search(text) is not None


def cause_of(error: BaseException) -> Cause:
    """Whose fault it is.

    What nobody recognises is taken for the data's fault if the JVM raised it while it was at the rows: the batch is
    then opened up until the file that nobody can merge is alone, and all else goes on. Were it taken for the code's,
    one file would stop its table until a person comes. An error of Python, or of a plan that Spark refuses before
    it has seen a row, would strike each half again, whatever is in it: that is the code's fault.
    """
    if isinstance(error, JobError):
        return error.cause
    if isinstance(error, MemoryError | OSError):
        return "infrastructure"
    text = f"{type(error).__name__}: {error}"
    named = next((cause for cause, pattern in _CAUSES if pattern.search(text)), None)
    if named is not None:
        return named
    # By name, since without Spark there are no such classes.
    classes = {each.__name__ for each in type(error).__mro__}
    return "data" if classes & _OF_THE_JVM and not classes & _OF_THE_PLAN else "code"


def summary(error: BaseException) -> str:
    """The error without its stack: at most four lines of it, which name the JVM's root cause last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith(("at ", "...", "JVM stacktrace"))]
    roots = [line for line in said if line.startswith("Caused by:")]
    picked = said[:3] + [line for line in roots[-1:] if line not in said[:3]]
    return " | ".join(line[:500] for line in picked) or type(error).__name__
