"""Where a row comes from, and its place in the one total order of changes.

"(sequence, delete last, arrival's event time, bucket and key, padded sequencer, position in the file)": no two
changes have one place, and a replay doesn't change it. Without a sequence column the arrival's own order is the
sequence: then "delete last" has no ties to break, and as a first field it would let no key be born again.
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
REASON = "_tidegate_reason"
"""A column of changes that a strategy can't take: why, for people."""
PLACE = ("event_time", "source", "sequencer", "position")
"""The fields of `_tidegate` that tell apart any two changes; without the batch, which a replay changes."""
ORDERS = "orders"
LAST_DELETE = "last_delete"
_PLACE_TYPES = {"event_time": "timestamp", "source": "string", "sequencer": "string", "position": "bigint"}


def order_of(side: str, contract: Contract, *, deleted: str = "false") -> str:
    """A SQL struct: the place of `side`'s row in the total order. A missing sequence value is the oldest.

    `deleted` is a SQL condition: of two changes of one sequence value, the one that deletes is the later.
    """
    fields = [f"{side}.{ORIGIN}.{name} AS {name}" for name in PLACE]
    if contract.sequence_by:
        fields = [f"{side}.{quoted(contract.sequence_by)} AS sequence", f"{deleted} AS deleted", *fields]
    return f"struct({', '.join(fields)})"


def order_type(contract: Contract) -> str:
    """The type of :func:`order_of`'s struct."""
    fields = [f"{name}:{_PLACE_TYPES[name]}" for name in PLACE]
    if contract.sequence_by:
        types = {column.name: column.type for column in contract.columns}
        fields = [f"sequence:{types[contract.sequence_by]}", "deleted:boolean", *fields]
    return f"struct<{','.join(fields)}>"


def origin_type(contract: Contract) -> str:
    """The type of the table's `_tidegate`. Under partial updates a row remembers an order a column, by name, and

    the newest delete of its key: its tombstone may be forgotten before a late change comes.
    """
    if not contract.partial_updates:
        return ORIGIN_TYPE
    order = order_type(contract)
    return ORIGIN_TYPE.removesuffix(">") + f",{ORDERS}:map<string,{order}>,{LAST_DELETE}:{order}>"


def place_of(side: str) -> str:
    """A SQL struct that two rows share if they are one change, read twice."""
    return f"struct({', '.join(f'{side}.{ORIGIN}.{name} AS {name}' for name in PLACE)})"
