"""What the use cases need from outside. Adapters for AWS and the tests' fakes both keep to these."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from tidegate.arrivals import Arrival, State
from tidegate.failures import RetryDecision
from tidegate.receipts import Merged
from tidegate.runs import Run, RunState


@dataclass(frozen=True)
class Lease:
    """A run's sole right to write a table. Each time it is taken the fence grows by one."""

    run_id: str
    fence: int


@dataclass(frozen=True)
class OpenClaim:
    """A claim that somebody began. Its candidates may be missing if they died before they were written."""

    batch: int
    candidates_uri: str


@dataclass(frozen=True)
class Table:
    """A table as the ledger has it."""

    name: str
    next_batch: int = 1
    last_merged_batch: int | None = None
    unsettled_batch: int | None = None
    open_claim: OpenClaim | None = None
    lease: Lease | None = None
    attempts: int = 0
    failures: int = 0
    retry_after: datetime | None = None
    blocked_reason: str | None = None


@dataclass(frozen=True)
class Batch:
    """A sealed batch. Sizes in bytes."""

    table: str
    number: int
    predecessor: int | None
    manifest_uri: str
    manifest_sha256: str
    files: int
    size_bytes: int
    oldest_event_time: datetime
    newest_event_time: datetime
    state: str = "sealed"
    run_id: str | None = None
    delta_version: int | None = None
    rows: Mapping[str, int] | None = None
    error: str | None = None


class Ledger(Protocol):
    """Arrivals, tables, batches and runs. Every write is conditional and may be repeated.

    All methods raise Throttled when AWS asks for fewer calls.
    """

    def record_arrival(self, arrival: Arrival, now: datetime) -> bool:
        """Record an arrival once; False if it was known."""

    def pending(self, table: str | None = None) -> Iterator[Arrival]:
        """The pending arrivals, of one table or of all."""

    def table(self, name: str) -> Table:
        """A table; one that nothing was recorded of yet is new."""

    def tables(self, names: Sequence[str]) -> dict[str, Table]:
        """Several tables at once."""

    def take_lease(self, table: str, run_id: str, from_run: str | None) -> Lease:
        """Take the lease if it is free, this run's already, or `from_run`'s. Raises LeaseHeld."""

    def free_lease(self, table: str, run_id: str) -> None:
        """Give the lease up, if it is this run's."""

    def open_claim(self, table: str, run_id: str, claim: OpenClaim) -> None:
        """Begin to claim the next batch. Raises ClaimMoved if another is open or the number is taken."""

    def mark_claimed(self, arrival: Arrival, batch: int, state: State) -> bool:
        """Mark a pending arrival as of this batch; True also if it was, False if it is another's or settled."""

    def seal(self, batch: Batch, run_id: str, claim: OpenClaim) -> None:
        """End the claim: the batch's list is final now. Raises ClaimMoved."""

    def drop_claim(self, table: str, claim: OpenClaim) -> None:
        """End this very claim, which turned out to be about nothing; its number stays free."""

    def batch(self, table: str, number: int) -> Batch:
        """A sealed batch. Raises ClaimMoved if there is none."""

    def settle_merged(self, batch: Batch, run_id: str, merged: Merged, now: datetime) -> None:
        """Record that a batch is merged."""

    def settle_failed(self, batch: Batch, attempt: str, error: str, retry: RetryDecision) -> None:
        """Record a failed attempt once, by its name."""

    def block_table(self, table: str, reason: str) -> None:
        """Leave a table alone until a person names it in an input."""

    def quarantine(self, entry: Mapping[str, Any], batch: int, reason: str) -> None:
        """Mark one file of a manifest as quarantined."""

    def run(self, run_id: str) -> Run | None:
        """A run, if it is known."""

    def begin_run(self, run: Run, known: Run | None) -> None:
        """Record that an execution plans the run, in its pass. Keeps the run's batches and its first start.

        Raises RunIsLive if the run is no longer as `known`: of two executions that begin at once, one goes on.
        """

    def plan_batches(self, run: Run) -> None:
        """Record the batches and the cluster's name that the plan has decided on. Raises StalePass."""

    def admitted_pass(self, execution_arn: str) -> int:
        """The last pass in which a redriven execution was let through to plan again; 0 if it never was."""

    def admit_pass(self, execution_arn: str, pass_: int, now: datetime) -> None:
        """Record that a redriven execution may plan again."""

    def end_run(
        self, run_id: str, state: RunState, summary: Mapping[str, Any], error: str | None, now: datetime
    ) -> None:
        """Close a run."""


class Objects(Protocol):
    """Objects in S3. All methods raise Throttled when AWS asks for fewer calls."""

    def read(self, uri: str) -> bytes | None:
        """An object's bytes; None if there is none."""

    def write(self, uri: str, data: bytes) -> None:
        """Write an object, over an older one too."""

    def create(self, uri: str, data: bytes) -> bool:
        """Write an object that is not there yet; False if it is. Throttled also while another write is under way."""

    def names(self, prefix_uri: str) -> list[str]:
        """URIs below a prefix, sorted."""

    def current(self, bucket: str, key: str) -> tuple[str | None, str | None]:
        """(version id, ETag without quotes) of an object as it is now; (None, None) if there is none."""

    def copy_version(self, bucket: str, key: str, version_id: str | None, target_uri: str) -> None:
        """Copy one version by S3 itself. Raises SourceGone."""


class Machine(Protocol):
    """The state machine's executions."""

    def start(self, name: str, run_input: Mapping[str, Any]) -> bool:
        """Start an execution; False if one of this name was started before, which is as good."""

    def is_running(self, execution_arn: str) -> bool:
        """Whether an execution has not ended. One that is unknown has."""


class Clusters(Protocol):
    """EMR clusters, found by name."""

    def alive(self, stack: str, run_id: str) -> list[str]:
        """Ids of the run's clusters that are not terminated, by their names."""

    def why_ended(self, cluster_id: str) -> str | None:
        """EMR's own words on why a cluster ended, if it has and there are any."""
