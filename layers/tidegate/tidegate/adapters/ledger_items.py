"""The ledger's items: how arrivals, tables, batches and runs look in DynamoDB, and back."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from tidegate.arrivals import KEPT_STATES, RETENTION, Arrival, State, shard_of
from tidegate.catalog import Catalogued
from tidegate.errors import UnreadableItem
from tidegate.ports import Batch, Head, Lease, OpenClaim, Table
from tidegate.runs import Run

Item = Mapping[str, Any]

Given = ParamSpec("Given")
Read = TypeVar("Read")

SCHEMA = 1
"""Of the items. One without a number is of the first; whoever changes what an item means counts on."""

RUNS_PK = "run"
STACK_KEY = {"pk": "stack", "sk": "stack"}
ROUND_KEY = {"pk": "reconcile", "sk": "round"}
RUNNING_PK = "running"
"""The partition of the index that has the runs which have not ended."""

RECORDS_KEPT = timedelta(days=400)
"""How long batches and runs are kept after their end."""

NO_TABLE = "-"
"""No table is called so; it stands before the arrivals that no contract matches."""


def checked(read: Callable[Given, Read]) -> Callable[Given, Read]:
    """Have a reader of items, its last argument, say what to do about an item that it can't read.

    Such a reader raises UnreadableItem.
    """

    @wraps(read)
    def read_checked(*given: Given.args, **named: Given.kwargs) -> Read:
        item = cast("Item", given[-1])
        name = f"{item.get('pk')} / {item.get('sk')}"
        if int(item.get("schema", SCHEMA)) > SCHEMA:
            raise UnreadableItem(
                f"the ledger's item {name} was written by a newer release (schema {item['schema']}, this one reads "
                f"{SCHEMA}): deploy that release again; going back needs a ledger of before it"
            )
        try:
            return read(*given, **named)
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise UnreadableItem(
                f"the ledger's item {name} is not as any release writes it ({type(error).__name__}: {error}): somebody "
                "else wrote it, or changed it. Restore it from a moment before, or delete it and run tidegate reconcile"
            ) from error

    return read_checked


def arrival_key(bucket: str, key: str, sequencer: str) -> dict[str, str]:
    return {"pk": f"arrival#{bucket}/{key}", "sk": sequencer}


def head_key(bucket: str, key: str) -> dict[str, str]:
    return {"pk": f"arrival#{bucket}/{key}", "sk": "head"}


def table_key(table: str) -> dict[str, str]:
    return {"pk": f"table#{table}", "sk": "table"}


def batch_key(table: str, number: int) -> dict[str, str]:
    return {"pk": f"table#{table}", "sk": f"batch#{number:012d}"}


def run_key(run_id: str) -> dict[str, str]:
    return {"pk": RUNS_PK, "sk": run_id}


def history_key(table: str | None) -> dict[str, str]:
    """Of a table's merges; None: of the stack's start-ups. Not on the table's item: that is written oftener."""
    return {"pk": "stack" if table is None else f"table#{table}", "sk": "history"}


def scaling_key(run_id: str, at: datetime | None = None) -> dict[str, str]:
    """Of a run's scaling, or of one look at it. Not on the run's item, which is large: this is written each minute."""
    return {"pk": f"run#{run_id}", "sk": "scaling" if at is None else f"look#{iso(at)}"}


def costs_pk(kind: str, day: date) -> str:
    """The partition with what the runs of a month cost, or with their tables' shares: a sum is one Query."""
    return f"{kind}#{day:%Y-%m}"


def cost_key(run_id: str, began_at: datetime) -> dict[str, str]:
    """Of what a run costs, below the day on which it began. Not on the run's item, which is large and not by day."""
    day = began_at.astimezone(UTC).date()
    return {"pk": costs_pk("cost", day), "sk": f"{day:%d}#{run_id}"}


def share_key(run_id: str, began_at: datetime) -> dict[str, str]:
    """Of a run's shares by table. Not on its cost, so that sums of money read no tables."""
    day = began_at.astimezone(UTC).date()
    return {"pk": costs_pk("shares", day), "sk": f"{day:%d}#{run_id}"}


def execution_key(execution_arn: str) -> dict[str, str]:
    return {"pk": f"execution#{execution_arn}", "sk": "execution"}


def index_pk(state: State, shard: int) -> str:
    """A partition of the sparse index: one a shard for what is pending, others for what may be replayed."""
    return f"{state}#{shard}"


def index_keys(state: State, arrival: Arrival) -> dict[str, str]:
    """What puts an arrival into the sparse index, below its table and in the order of its event."""
    return {
        "pending_pk": index_pk(state, shard_of(arrival.object_name)),
        # Keys of an index may be equal. The object's own key would be there a third time, and an item of more than a
        # KB costs another unit with each write.
        "pending_sk": f"{arrival.table or NO_TABLE}#{iso(arrival.event_time)}",
    }


def epoch(time: datetime) -> int:
    """As DynamoDB's time to live wants it."""
    return int(time.timestamp())


def arrival_item(arrival: Arrival, now: datetime) -> dict[str, Any]:
    item: dict[str, Any] = {
        **arrival_key(arrival.bucket, arrival.key, arrival.sequencer),
        "kind": "arrival",
        "schema": SCHEMA,
        "bucket": arrival.bucket,
        "key": arrival.key,
        "sequencer": arrival.sequencer,
        "event_name": arrival.event_name,
        "event_time": iso(arrival.event_time),
        "recorded_at": iso(now),
        "size_bytes": arrival.size_bytes,
        "etag": arrival.etag,
        "captures": dict(arrival.captures),
        "state": arrival.state,
    }
    optional = {
        "table": arrival.table,
        "version_id": arrival.version_id,
        "reason": arrival.reason,
        "batch": arrival.batch,
    }
    item |= {name: value for name, value in optional.items() if value is not None}
    if arrival.state == "pending" or arrival.state in KEPT_STATES:
        item |= index_keys(arrival.state, arrival)
    if arrival.state not in {"pending", "quarantined", "failed"}:
        item["expires_at"] = epoch(now + RETENTION)
    return item


@checked
def read_arrival(item: Item) -> Arrival:
    return Arrival(
        bucket=item["bucket"],
        key=item["key"],
        sequencer=item["sequencer"],
        event_name=item["event_name"],
        event_time=moment(item["event_time"]),
        size_bytes=int(item["size_bytes"]),
        etag=item["etag"],
        version_id=item.get("version_id"),
        table=item.get("table"),
        captures=dict(item.get("captures", {})),
        state=item["state"],
        reason=item.get("reason"),
        batch=_int(item.get("batch")),
    )


@checked
def read_head(item: Item) -> Head:
    return Head(item["sequencer"], item.get("version_id"), item["etag"], moment(item["event_time"]))


@checked
def read_table(name: str, item: Item) -> Table:
    lease, claim = item.get("lease"), item.get("open_claim")
    return Table(
        name=name,
        next_batch=int(item.get("next_batch", 1)),
        last_merged_batch=_int(item.get("last_merged_batch")),
        unsettled_batch=_int(item.get("unsettled_batch")),
        void_reason=item.get("void_reason"),
        open_claim=OpenClaim(int(claim["batch"]), claim["candidates_uri"]) if claim else None,
        reopened=frozenset(item.get("reopened", ())),
        lease=Lease(lease["run_id"], int(lease["fence"]), int(lease.get("attempt", 0))) if lease else None,
        attempts=int(item.get("attempts", 0)),
        failures=int(item.get("failures", 0)),
        retry_after=_moment(item.get("retry_after")),
        blocked_reason=item.get("blocked_reason"),
        paused_reason=item.get("paused_reason"),
        unannounced=frozenset(int(number) for number in item.get("unannounced", ())),
        unregistered_batch=_int(item.get("unregistered_batch")),
        catalogued=_read_catalogued(item["catalogued"]) if item.get("catalogued") else None,
    )


def catalogued_value(catalogued: Catalogued) -> dict[str, Any]:
    looked_at = {"looked_at": iso(catalogued.looked_at)} if catalogued.looked_at else {}
    return {"entries": dict(catalogued.entries), **looked_at}


def _read_catalogued(value: Item) -> Catalogued:
    return Catalogued(dict(value["entries"]), _moment(value.get("looked_at")))


def batch_item(batch: Batch, now: datetime) -> dict[str, Any]:
    item: dict[str, Any] = {
        **batch_key(batch.table, batch.number),
        "kind": "batch",
        "schema": SCHEMA,
        "table": batch.table,
        "batch": batch.number,
        "manifest_uri": batch.manifest_uri,
        "manifest_sha256": batch.manifest_sha256,
        "files": batch.files,
        "bytes": batch.size_bytes,
        "oldest_event_time": iso(batch.oldest_event_time),
        "newest_event_time": iso(batch.newest_event_time),
        "state": batch.state,
        "sealed_at": iso(now),
    }
    optional = {"predecessor": batch.predecessor, "run_id": batch.run_id, "opened_from": batch.opened_from}
    return item | {name: value for name, value in optional.items() if value is not None}


@checked
def read_batch(item: Item) -> Batch:
    return Batch(
        table=item["table"],
        number=int(item["batch"]),
        predecessor=_int(item.get("predecessor")),
        manifest_uri=item["manifest_uri"],
        manifest_sha256=item["manifest_sha256"],
        files=int(item["files"]),
        size_bytes=int(item["bytes"]),
        oldest_event_time=moment(item["oldest_event_time"]),
        newest_event_time=moment(item["newest_event_time"]),
        state=item["state"],
        run_id=item.get("run_id"),
        opened_from=_int(item.get("opened_from")),
        delta_version=_int(item.get("delta_version")),
        rows={name: int(count) for name, count in item["rows"].items()} if "rows" in item else None,
        rejected_files=int(item.get("rejected_files", 0)),
        receipt_uri=item.get("receipt_uri"),
        merge_s=float(item["merge_s"]) if item.get("merge_s") is not None else None,
        error=item.get("error"),
    )


@checked
def read_run(item: Item) -> Run:
    return Run(
        run_id=item["sk"],
        state=item["state"],
        pass_=int(item["pass"]),
        execution_arn=item["execution_arn"],
        reason=item.get("reason", ""),
        started_at=moment(item["started_at"]),
        attempt=int(item.get("attempt", 0)),
        launch=int(item.get("launch", 0)),
        launches=int(item.get("launches", 0)),
        rounds=int(item.get("rounds", 0)),
        batches=tuple((table, int(number)) for table, number in item.get("batches", [])),
        tables=tuple(item.get("tables", ())),
        cluster_name=item.get("cluster_name"),
        units=int(item.get("units", 1)),
        planned_at=_moment(item.get("planned_at")),
        round_bytes=int(item.get("round_bytes", 0)),
        round_ends_at=_moment(item.get("round_ends_at")),
        ordered_launch=_ordered(item.get("ordered_launch")),
        ended_at=_moment(item.get("ended_at")),
        summary=plain(item.get("summary")),
        error=item.get("error"),
    )


def _ordered(value: Any) -> tuple[str, int] | None:
    return None if value is None else (str(value[0]), int(value[1]))


def iso(time: datetime) -> str:
    """ISO 8601 in UTC, to the millisecond: of one width, so that it sorts as text."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def plain(value: Any) -> Any:
    """Values as JSON has them: DynamoDB gives every number as a Decimal, which Lambda can't answer with."""
    if isinstance(value, Mapping):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value


def _moment(text: str | None) -> datetime | None:
    return None if text is None else moment(text)


def _int(value: Any) -> int | None:
    return None if value is None else int(value)
