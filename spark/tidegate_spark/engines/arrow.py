"""Rows of Spark as Arrow in the driver, without pyarrow: its releases want a NumPy that PySpark 3.5 refuses.

Spark's side of `toPandas()` serves an Arrow stream on a socket; arro3 reads it. Only for what is known to be small.
"""

from __future__ import annotations

import io
import struct
from typing import Any

import arro3.io
from arro3.core import Table
from pyspark.rdd import _create_local_socket
from pyspark.sql import DataFrame

from tidegate_spark.errors import ReadFailed

_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"


def to_arrow(frame: DataFrame) -> Table:
    """All rows, in no order. Raises :class:`ReadFailed`."""
    port, secret, server = frame._jdf.collectAsArrowToPython()
    stream: Any = _create_local_socket((port, secret))
    try:
        raw: bytes = stream.read()
    finally:
        stream.close()
    server.getResult()  # raises what went wrong in the thread that served
    table: Table = arro3.io.read_ipc_stream(io.BytesIO(raw)).read_all()
    batches = len(table.to_batches())
    # After the stream comes the number of batches and their order; or -1 and the words of the job that failed.
    trailer = len(_END_OF_STREAM) + 4 * (batches + 1)
    told = raw[-trailer:]
    if told[:8] != _END_OF_STREAM or struct.unpack_from(">i", told, 8)[0] != batches:
        words = raw.rpartition(_END_OF_STREAM)[2][6:].decode(errors="replace")
        raise ReadFailed(f"Spark could not hand the changes over: {words.splitlines()[0] if words else 'cut off'}")
    return table
