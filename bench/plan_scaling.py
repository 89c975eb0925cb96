"""How the time of a plan grows: with what is pending, and not with what was ever seen.

    .venv/bin/python bench/plan_scaling.py                                  # 500, 1000, 2000, 4000 pending; 1 M settled
    .venv/bin/python bench/plan_scaling.py --pending 1000 2000 4000 8000

The real plan_run in this process, against the local cloud's DynamoDB and S3. What is pending is laid into the ledger's
table and the landing bucket, what is settled into the table alone: claimed arrivals with the heads of their keys, as
they are after their runs. Prints the processor's seconds of plan and service together, the calls and the items that
were read. Ends with an error if settled items change what is called or read, or if an arrival's share of the time
grows more than half again from the fewest to the most.
"""

import argparse
import io
import os
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / name) for name in ("tests", "layers/tidegate", "local")]

from boto3.dynamodb.types import TypeSerializer  # noqa: E402
from campaign.loads import contracts_of, key_of, names_of  # noqa: E402
from campaign.metering import Meter  # noqa: E402
from campaign.one_process_cloud import LANDING, LEDGER, MACHINE_ARN, OneProcessCloud  # noqa: E402
from ministack.services import dynamodb  # noqa: E402
from tidegate.adapters.ledger_items import arrival_item, head_key, iso  # noqa: E402
from tidegate.arrivals import Arrival, pad_sequencer  # noqa: E402

TABLES = 10
NOW = datetime.now(UTC)
Json = dict[str, Any]


@dataclass(frozen=True)
class Measured:
    pending: int
    settled: int
    cpu_s: float
    calls: dict[str, int]
    items_read: int
    read_units: float


def main() -> None:
    arguments = parse()
    terminal, sys.stdout = sys.stdout, io.StringIO()  # functions count and log to it
    broken: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        cloud = OneProcessCloud(Path(folder), contracts_of(TABLES))
        plan(cloud, 20, 0)  # imports and first connections
        measured = [plan(cloud, pending, 0) for pending in arguments.pending]
        same = arguments.pending[len(arguments.pending) // 2]
        without = measured[len(arguments.pending) // 2]
        beside = plan(cloud, same, arguments.settled)
    sys.stdout = terminal
    print(f"{'pending':>9}{'settled':>11}{'CPU s':>9}{'ms a pending one':>18}{'items read':>12}{'read units':>12}")
    for each in (*measured, beside):
        share = 1000 * each.cpu_s / each.pending
        print(
            f"{each.pending:>9,}{each.settled:>11,}{each.cpu_s:>9.2f}{share:>18.2f}"
            f"{each.items_read:>12,}{each.read_units:>12,.1f}"
        )
    print(f"\ncalls with {same:,} pending: {without.calls}")
    print(f"beside {arguments.settled:,} settled: {beside.calls}")
    print(f"time beside them / without: {beside.cpu_s / without.cpu_s:.2f}")
    if (beside.calls, beside.items_read) != (without.calls, without.items_read):
        broken.append("what is settled changes what is called or read")
    growth = (measured[-1].cpu_s / measured[-1].pending) / (measured[0].cpu_s / measured[0].pending)
    print(f"a pending one's share of the time, most / fewest: {growth:.2f}")
    if growth > 1.5:
        broken.append(f"an arrival's share of the time grows {growth:.2f} times")
    for line in broken:
        print(f"BROKEN: {line}")
    sys.stdout.flush()
    os._exit(1 if broken else 0)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pending", type=int, nargs="+", default=[500, 1000, 2000, 4000])
    parser.add_argument("--settled", type=int, default=1_000_000)
    return parser.parse_args()


def plan(cloud: OneProcessCloud, pending: int, settled: int) -> Measured:
    """One plan_run of all that is pending, on a new stack."""
    cloud.reset(contracts_of(TABLES))
    items = dynamodb._tables[LEDGER]["items"]
    for number in range(settled):
        lay_settled(items, number)
    for number in range(pending):
        lay_pending(cloud, number)
    meter = Meter()
    meter.watch(cloud)
    run = f"run-{pending}-{settled}"
    arn = MACHINE_ARN.replace("stateMachine", "execution") + f":{run}-1"
    event = {"action": "plan_run", "input": {}, "execution": {"arn": arn, "name": f"{run}-1", "redrive_count": 0}}
    before = time.process_time()
    planned = cloud.invoke("plan_run", event)
    cpu_s = time.process_time() - before
    assert planned["work"] == "merge", planned
    assert f"{pending} files" in planned["reason"], planned["reason"]
    calls = {operation: count for (_, operation), count in sorted(meter.calls.items())}
    return Measured(
        pending, settled, cpu_s, calls, sum(meter.items_read.values()), float(sum(meter.read_units.values()))
    )


def arrival_of(number: int, key: str, version: str = "v", etag: str = "e") -> Arrival:
    table = names_of(TABLES)[number % TABLES]
    landed = NOW - timedelta(hours=1) + timedelta(milliseconds=number % 1000)
    return Arrival(LANDING, key, pad_sequencer(f"{number:x}"), "Object Created", landed, 2, etag, version, table)


def lay_pending(cloud: OneProcessCloud, number: int) -> None:
    """A file that has landed and is recorded."""
    key = key_of(number, TABLES)
    put = cloud.s3.put_object(Bucket=LANDING, Key=key, Body=b"1\n")
    arrival = arrival_of(number, key, put["VersionId"], put["ETag"].strip('"'))
    item = serialized(arrival_item(arrival, NOW))
    dynamodb._set_item(dynamodb._tables[LEDGER], item["pk"]["S"], item["sk"]["S"], item)


def lay_settled(items: Any, number: int) -> None:
    """A claimed arrival and the head of its key. What all have in common is one object: there is little room."""
    key = f"{names_of(TABLES)[number % TABLES]}/old/{number:09d}.csv"
    pk, sk = f"arrival#{LANDING}/{key}", f"{number:040x}"
    mine = {"pk": {"S": pk}, "sk": {"S": sk}, "key": {"S": key}, "sequencer": {"S": sk}}
    head = {"pk": mine["pk"], "sk": {"S": "head"}, "sequencer": mine["sequencer"]}
    items[pk] = {sk: ALIKE | mine, "head": ALIKE_HEADS | head}


def serialized(item: Json) -> Json:
    return {name: TypeSerializer().serialize(value) for name, value in item.items()}


ALIKE = serialized(arrival_item(replace(arrival_of(0, "k"), state="claimed", batch=7), NOW))
ALIKE_HEADS = serialized({
    **head_key(LANDING, "k"), "kind": "head", "version_id": "v", "etag": "e", "event_time": iso(NOW)
})  # fmt: skip


if __name__ == "__main__":
    main()
