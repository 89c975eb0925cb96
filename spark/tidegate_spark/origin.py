"""Where a row comes from, and its place in the one total order of changes.

"(sequence, delete last, arrival's event time, bucket and key, padded sequencer, position in the file)": no two
changes have one place, and a replay doesn't change it.
"""

from __future__ import annotations

from tidegate_spark.sources.rows import quoted
from tidegate_spark.work import Contract

ORIGIN = "_tidegate"
"""The struct column of every table: what places a row in the total order, and its batch."""
ORIGIN_TYPE = "struct<event_time:timestamp,source:string,sequencer:string,position:bigint,batch:bigint>"
DELETED = "_tidegate_deleted"
"""A column of changes and of histories: does the change delete its key? Never a column of a table."""
SET_COLUMNS = "_tidegate_set"
"""A column of changes under partial updates: the names of the columns that the change brings."""
PLACE = ("event_time", "source", "sequencer", "position")
"""The fields of `_tidegate` that tell apart any two changes; without the batch, which a replay changes."""


def order_of(side: str, contract: Contract, *, deleted: str = "false") -> str:
    """A SQL struct: the place of `side`'s row in the total order. A missing sequence value is the oldest.

    `deleted` is a SQL condition: of two changes of one sequence value, the one that deletes is the later.
    """
    fields = [f"{side}.{ORIGIN}.{name} AS {name}" for name in PLACE]
    if contract.sequence_by:
        fields = [f"{side}.{quoted(contract.sequence_by)} AS sequence", f"{deleted} AS deleted", *fields]
    return f"struct({', '.join(fields)})"


def place_of(side: str) -> str:
    """A SQL struct that two rows share if they are one change, read twice."""
    return f"struct({', '.join(f'{side}.{ORIGIN}.{name} AS {name}' for name in PLACE)})"
