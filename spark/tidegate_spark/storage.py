"""Files through Hadoop's FileSystem: `s3://` means the same on EMR and locally, and `file://` works, too.

Every call crosses into the JVM, which is where the credentials are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from py4j.protocol import Py4JError, Py4JJavaError
from pyspark.sql import SparkSession

from tidegate_spark.threads import in_threads

_THREADS = 16
"""Enough to hide S3's latency, few enough not to throttle a prefix."""

T = TypeVar("T")
R = TypeVar("R")


class Storage:
    """Small files and the facts about large ones. Safe to use from many threads."""

    def __init__(self, spark: SparkSession) -> None:
        jvm: Any = spark._jvm
        self.jvm = jvm
        self.conf: Any = spark._jsc.hadoopConfiguration()
        # Each dotted name is several round trips; these are used for every file.
        self._path_class = jvm.org.apache.hadoop.fs.Path

    def path(self, uri: str) -> Any:
        """Hadoop's Path of a URI."""
        return self._path_class(uri)

    def read(self, uri: str) -> bytes:
        """The whole of a small file. Raises what the file system raises, as FileNotFoundError or OSError."""
        return self._read(uri, None)

    def head(self, uri: str, limit: int) -> bytes:
        """At most the first `limit` bytes of a file, as they are stored."""
        return self._read(uri, limit)

    def slice(self, uri: str, start: int, length: int) -> bytes:
        """At most `length` bytes of a file from byte `start` on. Raises as `read` does."""
        return self._read(uri, length, start)

    def tail(self, uri: str, length: int) -> bytes:
        """At most the last `length` bytes of a file. Raises as `read` does."""
        path = self.path(uri)
        try:
            size = int(path.getFileSystem(self.conf).getFileStatus(path).getLen())
        except Py4JJavaError as failed:
            raise _translated(failed) from failed
        return self._read(uri, length, max(0, size - length))

    def create(self, uri: str, content: bytes) -> bool:
        """Write a file that isn't there yet; False if it is, and then it is left alone."""
        path = self.path(uri)
        file_system = path.getFileSystem(self.conf)
        try:
            stream = file_system.create(path, False)
        except Py4JJavaError as refused:
            if "FileAlreadyExists" in str(refused):
                return False
            raise OSError(_first_line(refused)) from refused
        _write(stream, content)
        return True

    def replace(self, uri: str, content: bytes) -> None:
        """Write a file, over an older one too. Raises OSError."""
        path = self.path(uri)
        try:
            stream = path.getFileSystem(self.conf).create(path, True)
        except Py4JJavaError as refused:
            raise OSError(_first_line(refused)) from refused
        _write(stream, content)

    def etag(self, uri: str) -> str | None:
        """The ETag of an object without its quotes; None where the file system knows none.

        Raises FileNotFoundError.
        """
        path = self.path(uri)
        try:
            status = path.getFileSystem(self.conf).getFileStatus(path)
        except Py4JJavaError as failed:
            raise _translated(failed) from failed
        try:
            etag = status.getEtag()
        except Py4JError:  # not a status of S3A
            return None
        return str(etag).strip('"') if etag else None

    def in_threads(self, work: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """`work` for every item, side by side, answers in order; the first exception is raised."""
        return in_threads(work, items, at_most=_THREADS)

    def _read(self, uri: str, limit: int | None, start: int = 0) -> bytes:
        path = self.path(uri)
        try:
            stream = path.getFileSystem(self.conf).open(path)
            try:
                if start:
                    stream.seek(start)
                return bytes(stream.readAllBytes() if limit is None else stream.readNBytes(limit))
            finally:
                stream.close()
        except Py4JJavaError as failed:
            raise _translated(failed) from failed


def _translated(failed: Py4JJavaError) -> OSError:
    line = _first_line(failed)
    return FileNotFoundError(line) if "FileNotFound" in line else OSError(line)


def _write(stream: Any, content: bytes) -> None:
    try:
        stream.write(bytearray(content))
    finally:
        stream.close()


def _first_line(failed: Py4JJavaError) -> str:
    return str(failed.java_exception.toString()).splitlines()[0]
