"""What the use cases need from outside. Adapters for AWS and the tests' fakes both keep to these."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Protocol

from tidegate.arrivals import Arrival, State
from tidegate.catalog import Catalogued, FoundEntry, TableInput
from tidegate.clusters import Cluster, EndReason, RunCluster
from tidegate.costs import TableCost
from tidegate.failures import RetryDecision
from tidegate.history import MergeSample, StartUpSample
from tidegate.readings import Metrics
from tidegate.receipts import Merged, Voided
from tidegate.reconciling import Marker, Round, VersionsPage
from tidegate.run_costs import RunCost
from tidegate.runs import Run, RunState
from tidegate.scaling import ScalingLimits, ScalingState
from tidegate.scaling_record import ScalingLook


@dataclass(frozen=True)
class Lease:
    """A run's sole right to write a table. Each time it is taken the fence grows by one.

    `attempt` is the run's attempt that took it: only that one or a later one gives it up.
    """

    run_id: str
    fence: int
    attempt: int = 0


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
    """The last number that is committed: merged, or voided, which is an empty commit."""
    unsettled_batch: int | None = None
    void_reason: str | None = None
    """Set when the unsettled batch is not to be merged but voided: why its merges failed."""
    open_claim: OpenClaim | None = None
    reopened: frozenset[str] = frozenset()
    """URIs of lists of candidates that become batches before anything pending: halves of a voided one, and replays."""
    lease: Lease | None = None
    attempts: int = 0
    failures: int = 0
    retry_after: datetime | None = None
    blocked_reason: str | None = None
    paused_reason: str | None = None
    unannounced: frozenset[int] = frozenset()
    """Merged batches of which no event has told yet."""
    unregistered_batch: int | None = None
    """The batch with whose receipt the table is still to be registered in the catalog."""
    catalogued: Catalogued | None = None

    @property
    def is_unpublished(self) -> bool:
        """Whether the world is still to hear something of it."""
        return bool(self.unannounced) or self.unregistered_batch is not None

    @property
    def has_work(self) -> bool:
        """Whether there is something to merge even if nothing is pending."""
        return self.unsettled_batch is not None or self.open_claim is not None or bool(self.reopened)


@dataclass(frozen=True, slots=True)
class Waiting:
    """As much of a pending arrival as a decision about its table needs."""

    table: str
    event_time: datetime
    size_bytes: int


@dataclass(frozen=True)
class Head:
    """The newest version of a key that was ever claimed. It outlives the arrivals of the key."""

    sequencer: str
    version_id: str | None
    etag: str
    event_time: datetime


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
    opened_from: int | None = None
    """The voided batch of which this one is a half."""
    delta_version: int | None = None
    rows: Mapping[str, int] | None = None
    rejected_files: int = 0
    receipt_uri: str | None = None
    merge_s: float | None = None
    """Seconds of its merge, as its receipt says; None: nobody measured."""
    error: str | None = None

    @property
    def is_settled(self) -> bool:
        return self.state in {"merged", "voided"}


class Ledger(Protocol):
    """Arrivals, tables, batches and runs. Every write is conditional and may be repeated.

    All methods raise Throttled when AWS asks for fewer calls.
    """

    def record_arrival(self, arrival: Arrival, now: datetime) -> bool:
        """Record an arrival once; False if it was known."""

    def pending(self, table: str | None = None) -> Iterator[Arrival]:
        """The pending arrivals, of one table, the oldest first, or of all.

        No more is read than is taken: a backlog may be far larger than a batch.
        """

    def waiting(self) -> Iterator[Waiting]:
        """All that is pending, in brief: of a million arrivals each minute, every attribute counts."""

    def versions(self, bucket: str, key: str) -> list[Arrival]:
        """Every version of an object that the ledger has, oldest first."""

    def head(self, bucket: str, key: str) -> Head | None:
        """The newest version of an object that was ever claimed."""

    def heads(self, bucket: str, keys: Sequence[str]) -> dict[str, Head]:
        """The heads of many objects, by their keys; those that have one. They may be a moment old."""

    def reconcile_round(self) -> Round | None:
        """The latest comparison of the landing bucket with the ledger."""

    def save_round(self, round_: Round, seen: Round | None) -> bool:
        """Write how far a comparison is. False if the latest one is no longer as `seen`: somebody else is at it."""

    def kept(self, state: State, table: str | None = None) -> Iterator[Arrival]:
        """Arrivals that were failed, quarantined or ignored, of one table or of all."""

    def set_aside(self, table: str, entry: Mapping[str, Any], batch: int, state: State, reason: str) -> None:
        """Mark one file of a manifest as quarantined or failed. It stays until a replay takes it."""

    def table(self, name: str) -> Table:
        """A table; one that nothing was recorded of yet is new."""

    def tables(self, names: Sequence[str]) -> dict[str, Table]:
        """Several tables at once."""

    def take_lease(self, table: str, run_id: str, from_run: str | None, attempt: int = 0) -> Lease:
        """Take the lease if it is free, this run's already, or `from_run`'s. Raises LeaseHeld."""

    def free_lease(self, table: str, run_id: str, attempt: int) -> None:
        """Give the lease up, if it is this run's and of no later attempt."""

    def open_claim(self, table: str, run_id: str, claim: OpenClaim) -> None:
        """Begin to claim the next batch. Raises ClaimMoved if another is open or the number is taken."""

    def mark_claimed(self, arrival: Arrival, batch: int, state: State, now: datetime) -> bool:
        """Mark an arrival as of this batch, if it is still as given (its state and batch).

        True also if it was marked so already, False if it is another batch's. One that the ledger has forgotten is
        written again. Keeps the key's head.
        """

    def seal(self, batch: Batch, run_id: str, claim: OpenClaim) -> None:
        """End the claim: the batch's list is final now. Raises ClaimMoved."""

    def drop_claim(self, table: str, claim: OpenClaim) -> None:
        """End this very claim, which turned out to be about nothing; its number stays free."""

    def batch(self, table: str, number: int) -> Batch:
        """A sealed batch. Raises ClaimMoved if there is none."""

    def batches_named(self, names: Collection[tuple[str, int]]) -> list[Batch]:
        """These batches, by table and number; those that there are. They may be a moment old."""

    def batches(self, table: str) -> Iterator[Batch]:
        """Every batch of a table, the newest first."""

    def queue_reopened(self, table: str, uris: Sequence[str]) -> None:
        """Have these lists of candidates claimed as batches. Those that are there already stay once."""

    def settle_merged(self, batch: Batch, run_id: str, merged: Merged, now: datetime) -> None:
        """Record that a batch is merged, and that it is to be announced."""

    def record_published(
        self, table: str, announced: Collection[int], catalogued: Catalogued | None, unregistered_batch: int | None
    ) -> None:
        """Take batches out of those to be announced, and keep what the catalog has by now; None: as before."""

    def settle_voided(self, batch: Batch, run_id: str, voided: Voided, reopened: Sequence[str], now: datetime) -> None:
        """Record that a batch is voided and that these lists of its files are to be claimed anew."""

    def settle_failed(self, batch: Batch, attempt: str, error: str, retry: RetryDecision) -> None:
        """Record a failed attempt once, by its name."""

    def order_void(self, batch: Batch, reason: str) -> None:
        """Have the unsettled batch voided instead of merged."""

    def block_table(self, table: str, reason: str) -> None:
        """Leave a table alone until a person names it in an input."""

    def pause(self, table: str | None, reason: str, now: datetime) -> None:
        """Leave a table (None: all) alone until it is resumed. Arrivals are recorded all the same."""

    def resume(self, table: str | None) -> None:
        """End a pause."""

    def start_ups(self) -> tuple[StartUpSample, ...]:
        """How long the stack's newest clusters took to start, the newest first. It may be a moment old."""

    def merges_of(self, tables: Sequence[str]) -> dict[str, tuple[MergeSample, ...]]:
        """How long the newest merges of these tables took; those that have any."""

    def learn_start_up(self, sample: StartUpSample, now: datetime) -> None:
        """Add a start-up to those that are known, if it isn't among them."""

    def learn_merge(self, table: str, sample: MergeSample, now: datetime) -> None:
        """Add a merge of a table to those that are known, if it isn't among them."""

    def scaling_state(self, run_id: str) -> tuple[ScalingState | None, str]:
        """With what the next look at a run's cluster decides, and how it is written, which `record_scaling` takes."""

    def record_scaling(self, run_id: str, look: ScalingLook, state: ScalingState, seen: str) -> bool:
        """Keep a look and the state after it. False if the state is no longer as `seen`: somebody else has looked."""

    def scaling_looks(self, run_id: str) -> Iterator[ScalingLook]:
        """Every look at a run's clusters, the oldest first."""

    def begin_cost(self, cost: RunCost) -> bool:
        """Record the estimate of a run that is about to have a cluster, whose account is open from now on.

        What was accounted of its earlier clusters stays. False if a later attempt has been planned.
        """

    def record_cost(self, cost: RunCost, next_try: datetime) -> bool:
        """Record an account, or why there is none; unless it is final, it is open again from `next_try` on.

        False if the account is final already, or another attempt has been planned since it was read.
        """

    def record_shares(self, cost: RunCost, by_table: Mapping[str, TableCost]) -> None:
        """Record a run's shares by table."""

    def cost_of(self, run_id: str, began_at: datetime) -> RunCost | None:
        """What a run costs, if it is known."""

    def open_costs(self, now: datetime) -> Iterator[RunCost]:
        """The costs whose accounts are not final and are to be tried by now. They may be a moment old."""

    def costs_of_day(self, day: date) -> Iterator[RunCost]:
        """What the runs cost that began on a day (UTC). It may be a moment old."""

    def costs_of_month(self, day: date) -> Iterator[RunCost]:
        """What the runs cost that began in a day's month (UTC). It may be a moment old."""

    def shares_of_day(self, day: date) -> Iterator[Mapping[str, TableCost]]:
        """The shares by table of the runs that began on a day (UTC) and have ended."""

    def shares_of_month(self, day: date) -> Iterator[Mapping[str, TableCost]]:
        """The shares by table of the runs that began in a day's month (UTC) and have ended."""

    def paused_stack(self) -> str | None:
        """Why all tables are paused, if they are."""

    def run(self, run_id: str) -> Run | None:
        """A run, if it is known."""

    def begin_run(self, run: Run, known: Run | None) -> None:
        """Record that an execution plans the run, in its pass. Keeps the run's batches and its first start.

        Raises RunIsLive if the run is no longer as `known`: of two executions that begin at once, one goes on.
        """

    def plan_batches(self, run: Run) -> None:
        """Record what the plan has decided on: tables, batches, the cluster's name. Raises StalePass."""

    def next_attempt(self, run: Run, launch: int, launches: int) -> Run:
        """Count another attempt of a run that goes on in the same execution. Raises StalePass if it has moved on."""

    def order_launch(self, run: Run, cluster_name: str, launch: int) -> bool:
        """Have this launch option follow a cluster that is about to be ended. False if the run has moved on."""

    def running_runs(self) -> Iterator[Run]:
        """The runs that have not ended: running, and fenced."""

    def fence_run(self, run: Run, reason: str, now: datetime) -> bool:
        """Make every later call of a dead execution stale. False if the run is no longer as given."""

    def admitted_pass(self, execution_arn: str) -> int:
        """The last pass in which a redriven execution was let through to plan again; 0 if it never was."""

    def admit_pass(self, execution_arn: str, pass_: int, now: datetime) -> None:
        """Record that a redriven execution may plan again."""

    def end_run(self, run: Run, state: RunState, summary: Mapping[str, Any], error: str | None, now: datetime) -> None:
        """Close a run that is still as given. One that has succeeded, or was planned again, stays as it is."""


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

    def versions_page(self, bucket: str, prefix: str, after: Marker | None) -> VersionsPage:
        """About a thousand versions of objects, from a marker on. Delete markers are left out."""

    def etags_after(self, bucket: str, key: str) -> dict[str, str]:
        """ETags without quotes of the objects that follow a key in the bucket's order, a thousand at most."""

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

    def of_stack(self, stack: str) -> list[Cluster]:
        """The clusters that are not terminated and named as this stack's are; `is_ours` says whether they are."""

    def of_run(self, stack: str, run_id: str, since: datetime) -> list[RunCluster]:
        """All of a run's clusters that were made since then, also those that have ended, by their names.

        Raises CostUnknown if EMR doesn't say.
        """

    def instances(self, cluster_id: str) -> list[Mapping[str, Any]]:
        """EMR's Instances of a cluster, those that have ended too, each once. Raises CostUnknown if EMR doesn't say."""

    def end(self, cluster_id: str) -> None:
        """Have a cluster end. Doing it twice does no harm."""

    def why_ended(self, cluster_id: str) -> EndReason | None:
        """Why a cluster has ended or is ending, in EMR's own words; None if it lives or is unknown."""

    def scale(self, cluster_id: str, limits: ScalingLimits) -> None:
        """Set the limits of managed scaling. Doing it twice does no harm. Raises ScalingRefused."""


class Readings(Protocol):
    """EMR's metrics in CloudWatch."""

    def of(self, cluster_ids: Collection[str], now: datetime) -> dict[str, Metrics]:
        """The newest metrics of each cluster that has any. Raises Throttled."""


class Catalog(Protocol):
    """The entries of one database of the Glue Data Catalog. All methods raise NotRegistered with what went wrong."""

    def entry(self, name: str) -> FoundEntry | None:
        """An entry as it is now; None if there is none."""

    def create(self, table_input: TableInput) -> bool:
        """Write an entry that is not there yet; False if it is."""

    def update(self, table_input: TableInput, version: str | None) -> bool:
        """Write over an entry; False if it is no longer the version that was read, or gone."""


class Bus(Protocol):
    """The event bus that tells others of tables."""

    def send(self, details: Sequence[Mapping[str, Any]]) -> list[str | None]:
        """Send a "Table Updated" event for each detail; why it could not be sent, or None, for each in turn."""
