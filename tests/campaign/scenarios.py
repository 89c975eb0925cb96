"""What happens to the stack of a campaign, and what must be true of it in the end whatever fails on the way.

A scenario says what the world does: files that land, clusters that don't come, a person who stops an execution. The
rest happens by itself (`settle`): queues give again what was not taken, schedules strike, rules tell of ended
executions. `what_is_wrong` then compares the tables and the ledger with what was landed, which it alone remembers.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import boto3
from campaign.fault_points import Watch
from campaign.one_process_cloud import (
    CONTROL,
    LAKE,
    LANDING,
    LEDGER,
    MACHINE_ARN,
    ROOT,
    STACK,
    Landed,
    Life,
    OneProcessCloud,
    living,
    this_life,
)
from fakes.contracts import document
from tidegate_local import stand_in

if TYPE_CHECKING:
    from tidegate.arrivals import Arrival

TABLES = ("airlines", "clicks", "flights")
GOOD, POISON, BROKEN = b"id\n1\n", stand_in.POISON, stand_in.REJECT
LONGEST_DEATH_S = 10
MOST_TICKS = 14
"""More than any scenario takes: three attempts at a batch and its halves are seven runs."""

Json = dict[str, Any]
Moment = Callable[[Life], None]
"""Something that happens in the life of a step."""


@dataclass
class World:
    """A scenario in progress."""

    cloud: OneProcessCloud
    expected: dict[tuple[str, str], str] = field(default_factory=dict)
    """What must become of a version, by key and sequencer; those that are not named are merged."""
    replayed: set[str] = field(default_factory=set)
    """Keys that somebody had merged again."""
    before_merge: list[Moment] = field(default_factory=list)
    """What happens while a step runs, before it has merged anything, once each."""
    after_merge: list[Moment] = field(default_factory=list)
    """What happens while a step runs, after it has merged all and before it ends, once each."""

    lost: list[Landed] = field(default_factory=list)
    """Versions of whom no event tells: the ledger has to find them by itself."""

    def land(self, key: str, body: bytes = GOOD, *, become: str = "merged", told: int = 1) -> Landed:
        landed = self.cloud.land(key, body, told=told)
        self.expected[key, landed.sequencer] = become
        return landed

    def lose(self, key: str, body: bytes = GOOD, *, ago: timedelta = timedelta(days=2)) -> Landed:
        """A file has landed, and EventBridge lost its event."""
        landed = self.cloud.land(key, body, told=0, ago=ago)
        self.lost.append(landed)
        return landed

    def step(self, arguments: list[str]) -> int:
        life = this_life()
        self._let_happen(self.before_merge, life)
        code = stand_in.run(arguments[arguments.index("--work") + 1], boto3.client("s3"))
        self._let_happen(self.after_merge, life)
        return code

    @staticmethod
    def _let_happen(moments: list[Moment], life: Life) -> None:
        if moments:
            with living(None):
                moments.pop(0)(life)

    def start(self, run_input: Json, name: str) -> str:
        """New execution, pressed by a person; its ARN."""
        answer = self.cloud.steps.start_execution(stateMachineArn=MACHINE_ARN, name=name, input=json.dumps(run_input))
        return str(answer["executionArn"])

    def stop_the_running(self) -> None:
        """A person presses Stop execution."""
        for execution in self.cloud.executions():
            if execution["status"] == "RUNNING":
                self.cloud.steps.stop_execution(executionArn=execution["executionArn"])

    def settle(self) -> None:
        """Let happen what happens by itself, until nothing is left to do or it has had its chances."""
        for _ in range(MOST_TICKS):
            for _ in range(len(self.cloud.queue) + 1):
                self.cloud.deliver()
            self.cloud.dispatch()
            self.cloud.wait_executions()
            self.cloud.wait_clusters_to_end()
            self.cloud.tick()
            if not what_is_left(self.cloud) and not self._what_is_not_found():
                return

    def _what_is_not_found(self) -> list[Landed]:
        return [each for each in self.lost if not recorded(each)]


def recorded(landed: Landed) -> list[Arrival]:
    """What the ledger has of a version, under whatever sequencer."""
    from tidegate.adapters.ledger import DynamoLedger

    found = DynamoLedger(LEDGER).versions(LANDING, landed.key)
    return [each for each in found if each.version_id == landed.version_id]


def what_is_left(cloud: OneProcessCloud) -> list[str]:
    """What is still to be done, or held, or alive."""
    from tidegate.adapters.ledger import DynamoLedger

    ledger = DynamoLedger(LEDGER)
    left = [f"message {message.id} is on the queue" for message in cloud.queue]
    left += [f"{arrival.key} is pending" for arrival in ledger.pending()]
    for table in ledger.tables(TABLES).values():
        if table.has_work:
            left.append(f"{table.name} has work: {table}")
        if table.is_unpublished:
            left.append(f"{table.name} is still to be told of: {table}")
        if table.lease is not None:
            left.append(f"{table.name} is leased to {table.lease.run_id}")
    left += [f"{run.run_id} is {run.state}" for run in ledger.running_runs()]
    left += [f"{each['name']} is running" for each in cloud.executions() if each["status"] == "RUNNING"]
    return left + [f"cluster {name}" for name in cloud.live_clusters()]


def what_is_wrong(world: World) -> list[str]:
    """Everything that is not as it must be; nothing if the stack survived."""
    cloud = world.cloud
    wrong = what_is_left(cloud)
    wrong += [f"dead letter {message.id}" for message in cloud.dead_letters]
    commits = {table: stand_in.commits(cloud.s3, f"s3://{LAKE}/{table}") for table in TABLES}
    for table, log in commits.items():
        # Each has its predecessor's number plus one: the stand-in, as the job, refuses any other.
        if [commit["batch"] for commit in log] != list(range(1, len(log) + 1)):
            wrong.append(f"{table} has commits of batches {[commit['batch'] for commit in log]}")
    listed = [file for log in commits.values() for commit in log for file in commit["files"]]
    merged = Counter((file["key"], file["sequencer"].lstrip("0")) for file in listed)
    versions = {(file["key"], file["sequencer"].lstrip("0")): file["version_id"] for file in listed}
    for landed in cloud.landed:
        if versions.get((landed.key, landed.sequencer), landed.version_id) != landed.version_id:
            wrong.append(f"{landed.key} {landed.sequencer} was merged from another version than it landed as")
    wrong += _wrong_copies(cloud) + _wrong_finds(world, versions, merged)
    for version, become in world.expected.items():
        times = merged.pop(version, 0)
        if become == "merged" and (times != 1 if version[0] not in world.replayed else times < 1):
            wrong.append(f"{version} is merged {times} times")
        if become != "merged" and times:
            wrong.append(f"{version} is merged, but must be {become}")
    wrong += [f"{version} was never landed, and is merged" for version in merged]
    wrong += _what_nobody_told(cloud, commits) + _what_nobody_accounts_for(cloud)
    return wrong + _what_the_ledger_says(world)


def _what_nobody_told(cloud: OneProcessCloud, commits: Mapping[str, list[Json]]) -> list[str]:
    """Merged batches of which no event tells, events of others, tables that the catalog lacks."""
    told = {(each["table"], batch) for each in cloud.announced() for batch in each["batches"]}
    merged = {(table, commit["batch"]) for table, log in commits.items() for commit in log if not commit["void"]}
    wrong = [f"{table} {batch} is merged and not announced" for table, batch in sorted(merged - told)]
    wrong += [f"{table} {batch} is announced and not merged" for table, batch in sorted(told - merged)]
    names = {table for table, _ in merged}
    # A quarantine is registered once it has rows, which is its table's business.
    registered = {name.removesuffix("__quarantine") for name in cloud.registered()}
    return wrong + [f"the catalog has {cloud.registered()}, not {names}"] * (registered != names)


def _what_nobody_accounts_for(cloud: OneProcessCloud) -> list[str]:
    """Clusters that are neither in a final account nor in one that is open, which is tried again."""
    from tidegate.sizing import parse_cluster_name

    items = cloud.dynamodb.scan(TableName=LEDGER)["Items"]
    costs = {item["run_id"]["S"]: item for item in items if item.get("kind", {}).get("S") == "cost"}
    wrong = []
    with cloud.engine.reading():
        clusters = [
            (each.id, str(each.request["Name"]), any(map(_has_lived, each.instances)))
            for each in cloud.engine.clusters.values()
        ]
    for cluster_id, name, was_billed in clusters:
        run_id, *_ = parse_cluster_name(name, STACK) or ("",)
        cost = costs.get(run_id)
        if cost is None:
            wrong.append(f"nobody accounts for cluster {name}")
        elif "pending_pk" not in cost:
            *_, instance_s, is_final = cost["clusters"]["M"].get(cluster_id, {"L": [{"N": "0"}, {"BOOL": False}]})["L"]
            if not is_final["BOOL"] or (was_billed and instance_s["N"] == "0"):
                wrong.append(f"the account of run {run_id} is closed without cluster {cluster_id}: {cost}")
    return wrong


def _has_lived(instance: Any) -> bool:
    """For a moment that EMR's API shows: in a cloud without waits a cluster may come and go within a millisecond."""
    return instance.ended_s is None or round(instance.ended_s, 3) > round(instance.created_s, 3)


def _wrong_finds(world: World, versions: Mapping[tuple[str, str], str], merged: Counter[tuple[str, str]]) -> list[str]:
    """Lost versions that were not found, merged and known once; they have sequencers that nobody here has given."""
    wrong = []
    for landed in world.lost:
        times = sum(merged.pop(name) for name, version_id in versions.items() if version_id == landed.version_id)
        if times != 1 or len(recorded(landed)) != 1:
            wrong.append(f"{landed.key} was lost, is merged {times} times, and recorded as {recorded(landed)}")
    return wrong


def _wrong_copies(cloud: OneProcessCloud) -> list[str]:
    """Staged copies that are not the version that they stand for."""
    bodies = {landed.version_id: landed.body for landed in cloud.landed}
    wrong = []
    for work in _documents(cloud, "runs/"):
        for batch in work["batches"]:
            files = {str(each["index"]): each for each in _read(cloud, batch["manifest_uri"])["files"]}
            for index, uri in batch["locations"].items():
                if _bytes(cloud, uri) != bodies[files[index]["version_id"]]:
                    wrong.append(f"{uri} is not version {files[index]['version_id']} of {files[index]['key']}")
    return wrong


def _documents(cloud: OneProcessCloud, prefix: str) -> list[Json]:
    listed = cloud.s3.list_objects_v2(Bucket=CONTROL, Prefix=prefix).get("Contents", [])
    return [_read(cloud, f"s3://{CONTROL}/{each['Key']}") for each in listed]


def _read(cloud: OneProcessCloud, uri: str) -> Json:
    document: Json = json.loads(_bytes(cloud, uri))
    return document


def _bytes(cloud: OneProcessCloud, uri: str) -> bytes:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bytes(cloud.s3.get_object(Bucket=bucket, Key=key)["Body"].read())


def _what_the_ledger_says(world: World) -> list[str]:
    """Arrivals that are lost, or not what they should be: the design's definition."""
    from tidegate.adapters.ledger import DynamoLedger

    ledger = DynamoLedger(LEDGER)
    wrong = []
    for (key, sequencer), become in world.expected.items():
        found = [each for each in ledger.versions(LANDING, key) if each.sequencer.lstrip("0") == sequencer]
        if not found:
            wrong.append(f"{key} {sequencer} is not in the ledger")
            continue
        (arrival,) = found
        state: str = arrival.state
        if state == "claimed" and arrival.batch is not None and arrival.table is not None:
            state = ledger.batch(arrival.table, arrival.batch).state
        if state != become:
            wrong.append(f"{key} {sequencer} is {state}, but must be {become}: {arrival.reason}")
        elif state in {"ignored", "failed", "quarantined"} and not arrival.reason:
            wrong.append(f"{key} {sequencer} is {state} without a reason")
    return wrong


# ---- The scenarios

Script = Callable[[World], None]


def normal(world: World) -> None:
    """Files of three tables, one told of twice, one that no contract wants; merged by one run."""
    world.land("airlines/a.csv", told=2)
    world.land("airlines/b.csv")
    world.land("clicks/a.csv")
    world.land("flights/2013-01/a.csv")
    world.land("nobody/asked.csv", become="ignored")


def rejected(world: World) -> None:
    """A file that breaks its contract, beside one that does not."""
    world.land("airlines/a.csv")
    world.land("airlines/broken.csv", BROKEN, become="quarantined")


def poison(world: World) -> None:
    """A file that makes its batch fail: the batch is voided, its halves are merged, the file is set aside."""
    world.land("airlines/a.csv")
    world.land("airlines/b.csv")
    world.land("airlines/poison.csv", POISON, become="failed")


def overwritten(world: World) -> None:
    """Keys that are overwritten before they are merged, and one that Spark would not read in place."""
    world.land("airlines/a.csv", b"id\n1\n")
    world.land("airlines/a.csv", b"id\n2\n")
    world.land("airlines/_hidden.csv")
    world.land("clicks/a.csv", b"id\n1\n", become="superseded")
    world.land("clicks/a.csv", b"id\n2\n")


def no_capacity(world: World) -> None:
    """The first cluster does not come for want of capacity."""
    world.cloud.plan_faults({"fault": "no_capacity", "times": 1})
    world.land("airlines/a.csv")


def more_lands(world: World) -> None:
    """Files land while the cluster is warm."""

    def land_more(_step: Life) -> None:
        world.land("airlines/late.csv")
        world.land("clicks/late.csv")
        world.cloud.deliver()

    world.land("airlines/a.csv")
    world.before_merge.append(land_more)


def behind(world: World) -> None:
    """A run is behind: its cluster is looked at twice while its step runs, and is given more units."""

    def look(_step: Life) -> None:
        world.cloud.weigh_work(10**12)
        world.cloud.measure_clusters()
        for _ in range(2):
            world.cloud.look_at_clusters()

    world.land("airlines/a.csv")
    world.before_merge.append(look)


def nodes_lost(world: World) -> None:
    """A cluster loses one of its two units, and what is left is too slow: another one may be On-Demand."""

    def look(_step: Life) -> None:
        # 320 s on one unit, and a minute of overhead, that are due in five minutes: on two it is in time.
        world.cloud.weigh_work(320 * 20 * 1024**2, timedelta(minutes=5))
        for ago_min, units in ((2, 2), (1, 1), (0, 1)):
            world.cloud.measure_clusters(units=units, of=2, ago_min=ago_min)
            world.cloud.look_at_clusters()

    world.land("airlines/a.csv")
    world.before_merge.append(look)


def no_instances(world: World) -> None:
    """The first cluster's instances don't come in time, and it is ended for another one."""
    world.cloud.plan_faults({"fault": "stuck", "state": "STARTING", "seconds": 60, "times": 1})
    world.land("airlines/a.csv")
    world.cloud.deliver()
    world.cloud.dispatch()
    world.cloud.age_clusters(3600)
    for _ in range(2):
        world.cloud.look_at_clusters()
    world.cloud.free_clusters()
    world.cloud.wait_executions()


def stopped(world: World) -> None:
    """A person stops the execution while its step runs: the step is ended before it has merged anything."""

    def stop(step: Life) -> None:
        world.stop_the_running()
        until = time.monotonic() + LONGEST_DEATH_S
        while not step.is_over and time.monotonic() < until:
            time.sleep(0.002)

    world.land("airlines/a.csv")
    world.land("clicks/a.csv")
    world.before_merge.append(stop)


def stopped_late(world: World) -> None:
    """A person stops the execution when its step has merged all, and has not ended yet."""
    world.land("airlines/a.csv")
    world.after_merge.append(lambda _step: world.stop_the_running())


def replayed(world: World) -> None:
    """What is merged, failed for its data, or was ignored is merged again because a person asks for it."""
    world.land("airlines/a.csv")
    world.land("airlines/broken.csv", BROKEN, become="quarantined")
    world.settle()
    world.replayed |= {"airlines/a.csv"}
    world.start({"replay": {"table": "airlines"}, "run": "again"}, "again")
    world.cloud.wait_executions()


def lost(world: World) -> None:
    """Events that never come: of a key, of an overwritten version amid two that are told of; one comes too late."""
    world.lose("airlines/lost.csv")
    world.land("flights/2013-01/a.csv", b"id\n1\n")
    world.lose("flights/2013-01/a.csv", b"id\n2\n")
    world.land("flights/2013-01/a.csv", b"id\n3\n")
    late = world.lose("clicks/late.csv", ago=timedelta(hours=2))
    for _ in range(3):
        world.cloud.tick()  # a round of reconciling, and two more for one that died
    world.cloud.tell(late)


def deployed(world: World) -> None:
    """A deployment, which its operator makes again if it fails."""
    event = json.loads((ROOT / "events" / "publish_artifacts.create.json").read_text(encoding="utf-8"))
    for _ in range(2):
        world.cloud.invoke_asynchronously("publish_artifacts", event | {"ResponseURL": "file:///dev/null"})
    published = world.cloud.s3.list_objects_v2(Bucket=CONTROL, Prefix="artifacts/")["Contents"]
    assert {each["Key"].rpartition("/")[2] for each in published} >= {"main.py", "contracts.json"}


SCENARIOS: dict[str, Script] = {
    script.__name__: script
    # The long one last: the campaign strikes at a place in the first scenario that reaches it.
    for script in (
        normal,
        rejected,
        overwritten,
        no_capacity,
        more_lands,
        behind,
        nodes_lost,
        no_instances,
        stopped,
        stopped_late,
        replayed,
        lost,
        deployed,
        poison,
    )
}
CONTRACTS = document()


def play(cloud: OneProcessCloud, scenario: str, watch: Watch | None = None) -> World:
    """Play a scenario on an empty stack, to its end."""
    cloud.reset()
    world = World(cloud)
    cloud.step = world.step
    watch = watch or Watch(scenario)
    cloud.intercept, cloud.intercept_task = watch.intercept, watch.intercept_task
    SCENARIOS[scenario](world)
    world.settle()
    return world
