"""20,000 arrivals of 200 tables in one go, on the local cloud: all recorded, claimed and settled?

    .venv/bin/python bench/load.py                                  # half an hour and more on two cores
    .venv/bin/python bench/load.py --arrivals 2000 --tables 20
    .venv/bin/python bench/load.py --one-process                    # all of it in minutes, without servers in between

Starts a local cloud of its own with the stand-in in Spark's place, and deploys a copy of the checkout to it that has
contracts for so many tables; `tables/` is left alone. Prints what became of the arrivals, and the most memory that each
function's processes held. Times are those of this machine, on which functions, services and steps share the processor.
Ends with an error if an arrival is missing or a function holds 256 MB. With `--one-process` the real handlers and the
real machine run on the campaign's cloud instead, where a function has no memory of its own. How many arrivals share an
invocation is counted by `control_plane_cost.py`.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / name) for name in ("tests", "layers/tidegate", "local")]

from clouds import Cloud, cloud_with  # noqa: E402

MOST_MB = 256
CONTRACT = """\
table: {name}
landing: {name}/*.csv
format: {{type: csv, header: true}}
columns:
  id: string
merge:
  strategy: upsert
  keys: [id]
freshness: asap
readers: [spark]
"""


def main() -> None:
    arguments = parse()
    if arguments.one_process:
        play_in_one_process(arguments.arrivals, arguments.tables, arguments.limit)
    # Whoever ends it ends the cloud too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    names = [f"load_{number:03d}" for number in range(arguments.tables)]
    with tempfile.TemporaryDirectory(prefix="tidegate-load-") as folder:
        contracts = {name: CONTRACT.format(name=name) for name in names}
        with cloud_with(contracts, Path(folder), steps="stand-in") as cloud:
            cloud.switch_schedule(on=False)
            broken = play(cloud, names, arguments.arrivals, arguments.limit)
    for line in broken:
        print(f"BROKEN: {line}")
    sys.exit(1 if broken else 0)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arrivals", type=int, default=20_000)
    parser.add_argument("--tables", type=int, default=200)
    parser.add_argument("--one-process", action="store_true", help="without a server, and so without memory figures")
    parser.add_argument("--limit", type=float, default=1800, help="seconds for each stage")
    return parser.parse_args()


def play_in_one_process(arrivals: int, tables: int, limit_s: float) -> None:
    """The same load where a call of AWS is a call of a function. Ends the process, whose threads nobody needs."""
    from campaign.loads import contracts_of, play_load  # noqa: PLC0415 - what it brings patches this process
    from campaign.one_process_cloud import OneProcessCloud  # noqa: PLC0415

    terminal = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # functions log and count to the standard output
    with tempfile.TemporaryDirectory(prefix="tidegate-load-") as folder:
        began = time.monotonic()
        done = play_load(OneProcessCloud(Path(folder), contracts_of(tables)), arrivals, tables, limit_s=limit_s)
        seconds = time.monotonic() - began
    print(f"{done.recorded:,} recorded, {done.claimed:,} claimed, {done.merged:,} merged", file=terminal)
    print(f"in {seconds:.0f} s, {arrivals / seconds:.0f} arrivals/s, landing and stand-in included", file=terminal)
    for states, groups in done.transitions:
        print(f"a run of {groups} step groups entered {states} states", file=terminal)
    calls = sum(done.meter.invocations.values())
    print(f"{calls} invocations, of record_arrivals {done.meter.invocations['record_arrivals']}", file=terminal)
    terminal.flush()
    os._exit(0 if done.recorded == done.claimed == done.merged == arrivals else 1)


def play(cloud: Cloud, names: list[str], arrivals: int, limit_s: float) -> list[str]:
    """Land, record, merge and settle; what was not as it should be."""
    watch = MemoryWatch(cloud.fields.pid)
    landed = timed("landed", arrivals, lambda: land(cloud, names, arrivals))
    recorded = timed("recorded after that", arrivals, lambda: wait_recorded(cloud, limit_s))
    merged = timed("merged and settled", arrivals, lambda: merge(cloud, limit_s))
    peak_mb = watch.end()
    total_s = landed + recorded + merged
    print(f"in all {total_s:.0f} s, {arrivals / total_s:.0f} arrivals/s\n")
    states, files = look(cloud)
    print(f"recorded {sum(states.values()):,}: {dict(states)}; files in batches: {dict(files)}")
    for name, megabytes in sorted(peak_mb.items()):
        print(f"peak memory of {name}: {megabytes:.0f} MB")
    broken = [f"{name} held {megabytes:.0f} MB" for name, megabytes in peak_mb.items() if megabytes >= MOST_MB]
    if (sum(states.values()), states["claimed"], files["merged"]) != (arrivals,) * 3:
        broken.append(f"{arrivals} landed, but {dict(states)} and {dict(files)}")
    return broken


def timed(what: str, arrivals: int, do: Callable[[], None]) -> float:
    began = time.monotonic()
    do()
    seconds = time.monotonic() - began
    print(f"{what}: {seconds:.0f} s, {arrivals / seconds:.0f}/s", flush=True)
    return seconds


def land(cloud: Cloud, names: list[str], arrivals: int) -> None:
    s3, bucket = cloud.client("s3"), cloud.fields.landing_bucket

    def put(number: int) -> None:
        key = f"{names[number % len(names)]}/part-{number:06d}.csv"
        s3.put_object(Bucket=bucket, Key=key, Body=b"id\n%d\n" % number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(arrivals)))


def wait_recorded(cloud: Cloud, limit_s: float) -> None:
    sqs = cloud.client("sqs")
    queue = next(url for url in sqs.list_queues()["QueueUrls"] if "ArrivalsQueue" in url)
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

    def is_empty() -> bool:
        counts = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
        return sum(map(int, counts.values())) == 0

    wait("the queue is empty", is_empty, limit_s)


def merge(cloud: Cloud, limit_s: float) -> None:
    """Runs until nothing is pending."""
    lambdas, steps = cloud.client("lambda"), cloud.client("stepfunctions")
    machine = cloud.fields.state_machine_arn
    while True:
        answer = lambdas.invoke(FunctionName=cloud.fields.dispatch_function, Payload=json.dumps({"dispatch": "now"}))
        said = json.loads(answer["Payload"].read())
        if not said.get("run_id"):
            return
        arn = f"{machine.replace(':stateMachine:', ':execution:')}:{said['run_id']}-1"
        wait("the run ends", lambda: steps.describe_execution(executionArn=arn)["status"] != "RUNNING", limit_s)  # noqa: B023
        ended = steps.describe_execution(executionArn=arn)
        history = steps.get_paginator("get_execution_history").paginate(executionArn=arn)
        entered = [each["type"] for page in history for each in page["events"]]
        states = sum(kind.endswith("StateEntered") for kind in entered)
        print(f"run {said['run_id']}: {ended['status']}, {states} states entered, {len(entered)} events", flush=True)
        if ended["status"] != "SUCCEEDED":
            raise SystemExit(f"the run failed: {ended.get('cause')}")


def wait(what: str, is_so: Callable[[], bool], limit_s: float) -> None:
    until = time.monotonic() + limit_s
    while not is_so():
        if time.monotonic() > until:
            raise SystemExit(f"{what}: not within {limit_s:.0f} s")
        time.sleep(0.5)


def look(cloud: Cloud) -> tuple[Counter[str], Counter[str]]:
    """Arrivals by their state, and files by the state of their batch, as the ledger has them."""
    states, files = Counter[str](), Counter[str]()
    for page in cloud.client("dynamodb").get_paginator("scan").paginate(TableName=cloud.fields.ledger_table):
        for item in page["Items"]:
            if item["kind"]["S"] == "arrival":
                states[item["state"]["S"]] += 1
            elif item["kind"]["S"] == "batch":
                files[item["state"]["S"]] += int(item["files"]["N"])
    return states, files


class MemoryWatch:
    """The most that a process of each function has held: its resident set, in MB."""

    def __init__(self, server_pid: int) -> None:
        self._server = psutil.Process(server_pid)
        self._peak_mb: dict[str, float] = {}
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end(self) -> dict[str, float]:
        self._is_over.set()
        self._thread.join()
        return self._peak_mb

    def _watch(self) -> None:
        while not self._is_over.wait(0.5):
            for process in self._server.children(recursive=True):
                try:
                    name = process.environ().get("AWS_LAMBDA_FUNCTION_NAME", "")
                    held_mb = process.memory_info().rss / 1024**2
                except (psutil.NoSuchProcess, psutil.AccessDenied):
                    continue
                logical = name.removeprefix("tidegate-").partition("Function")[0]
                if logical:
                    self._peak_mb[logical] = max(held_mb, self._peak_mb.get(logical, 0.0))


if __name__ == "__main__":
    main()
