"""Whose fault a failure of the job is. "Only failures caused by data count as attempts." (the design)"""

from __future__ import annotations

import pytest
from tidegate_spark.errors import (
    DataRefused,
    ReadFailed,
    WrongPredecessor,
    cause_of,
    is_broken_content,
    is_infrastructure,
)


class Py4JJavaError(Exception):
    """As PySpark raises what the JVM raised, without a JVM."""


class CapturedException(Exception):
    """As PySpark raises what it knows of the JVM's exceptions."""


class AnalysisException(CapturedException):
    """A plan that Spark refuses."""


STAGE = "Job aborted due to stage failure: Task 5 in stage 7.0 failed 4 times, most recent failure: Lost task 5.3: "

INFRASTRUCTURE = [
    STAGE
    + "ExecutorLostFailure (executor 3 exited caused by one of the running tasks) Reason: Executor heartbeat timed "
    "out after 148564 ms",
    STAGE + "ExecutorLostFailure (executor 9 exited) Reason: Container killed by YARN for exceeding memory limits.",
    "Container from a bad node: container_1 on host: ip-10-0-0-1. Exit status: 137.",
    "Container released on a *lost* node",
    "Slave lost",
    STAGE
    + "org.apache.spark.ExecutorDeadException: The relative remote executor(Id: 3), which maintains the block data "
    "to fetch is dead.",
    "org.apache.spark.shuffle.MetadataFetchFailedException: Missing an output location for shuffle 1 partition 3",
    "java.util.concurrent.TimeoutException: Futures timed out after [300 seconds]",
    "org.apache.spark.SparkException: Could not execute broadcast in 300 secs.",
    "Job 4 cancelled because SparkContext was shut down",
    "Job 12 cancelled part of cancelled job group",
    "java.io.IOException: No space left on device",
    "java.io.FileNotFoundException: /mnt/yarn/usercache/hadoop/blockmgr-1/0c/shuffle_1_2_0.data (No such file)",
    "com.amazon.ws.emr.hadoop.fs.shaded.com.amazonaws.services.s3.model.AmazonS3Exception: Slow Down (Service: Amazon "
    "S3; Status Code: 503; Error Code: 503 Slow Down)",
    "software.amazon.awssdk.services.s3.model.S3Exception: Please reduce your request rate. (Service: S3, Status Code: "
    "503)",
    "com.amazonaws.AmazonServiceException: You have exceeded the rate at which you may call KMS. (Service: AWSKMS; "
    "Status Code: 400; Error Code: ThrottlingException)",
    "User: arn:aws:sts::1:assumed-role/x is not authorized to perform: kms:Decrypt on resource",
    "KMS.DisabledException: the key is disabled",
    "Requests are throttled",
    "com.amazonaws.SdkClientException: Unable to execute HTTP request: Timeout waiting for connection from pool",
    "java.net.SocketException: Connection reset",
]
DATA = [
    "org.apache.spark.SparkException: Task failed while writing rows: java.lang.ArrayIndexOutOfBoundsException",
    STAGE + "java.lang.NegativeArraySizeException: -1",
    "org.apache.parquet.io.InvalidRecordException: nobody has seen this before",
    "java.io.FileNotFoundException: /lake/sales/name=xxxx (File name too long)",
    "AWSBadRequestException: PUT 0-byte object: Your key is too long (Service: Amazon S3; Status Code: 400; Error "
    "Code: KeyTooLongError)",
]
TABLE = [
    "io.delta.exceptions.ConcurrentAppendException: [DELTA_CONCURRENT_APPEND] Files were added",
    "[DELTA_VIOLATE_CONSTRAINT_WITH_VALUES] CHECK constraint positive",
    "java.io.FileNotFoundException: No such file or directory: s3://lake/sales/part-0001.parquet",
]


@pytest.mark.parametrize("raised", [Py4JJavaError, CapturedException])
@pytest.mark.parametrize(
    ("cause", "words"),
    [("infrastructure", each) for each in INFRASTRUCTURE]
    + [("data", each) for each in DATA]
    + [("table", each) for each in TABLE],
)
def test_what_the_jvm_says_is_told_apart(raised: type[Exception], cause: str, words: str) -> None:
    assert cause_of(raised(words)) == cause


@pytest.mark.parametrize(
    "error",
    [
        TypeError("unsupported operand"),
        KeyError("name"),
        AnalysisException("[UNRESOLVED_COLUMN] a column cannot be resolved"),
        Py4JJavaError("java.lang.NoSuchMethodError: io.delta.Something"),
    ],
)
def test_what_would_strike_every_half_again_is_the_codes_fault(error: Exception) -> None:
    """Python's own errors, a plan that Spark refuses, classes that don't fit together: no file is to blame."""
    assert cause_of(error) == "code"


def test_what_knows_its_cause_keeps_it() -> None:
    assert cause_of(WrongPredecessor("Executor heartbeat timed out")) == "table"
    assert cause_of(ReadFailed("nobody has seen this")) == "infrastructure"
    assert cause_of(DataRefused("nobody has seen this")) == "data"
    assert cause_of(OSError("anything")) == cause_of(MemoryError()) == "infrastructure"


def test_the_names_are_those_of_pyspark() -> None:
    """Classes are told by name, so that the protocol's code needs no Spark."""
    from py4j.protocol import Py4JJavaError as Raised
    from pyspark.errors.exceptions import captured

    assert Raised.__name__ == "Py4JJavaError"
    for name in ("AnalysisException", "ParseException", "IllegalArgumentException"):
        assert issubclass(getattr(captured, name), captured.CapturedException)


@pytest.mark.parametrize(
    "text",
    [
        "org.apache.avro.InvalidAvroMagicException: Not an Avro data file",
        "org.apache.avro.AvroRuntimeException: java.io.IOException: Invalid sync!",
        "org.apache.avro.AvroRuntimeException: java.io.IOException: Block read partially, the data may be corrupt",
        "org.apache.orc.FileFormatException: Malformed ORC file s3://b/k. Invalid postscript length 255",
        "org.apache.orc.protobuf.InvalidProtocolBufferException: Protocol message tag had invalid wire type.",
        "java.lang.IllegalArgumentException: Buffer size too small. size = 262144 needed = 3111111 in column 2",
        "java.lang.IllegalArgumentException: Seek in index to 4711 is outside of the data",
    ],
)
def test_what_avro_and_orc_say_of_a_files_content_blames_the_file(text: str) -> None:
    assert is_broken_content(text)
    assert not is_infrastructure(text)
