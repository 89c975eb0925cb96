"""What the control plane costs: every call counted over small loads, priced by a dated sheet.

    .venv/bin/python bench/control_plane_cost.py                # a few minutes
    .venv/bin/python bench/control_plane_cost.py --tables 10    # larger loads, the same figures

Real handlers and the real machine definition run in this process against the local cloud's services; the stand-in takes
Spark's place. Three loads tell apart what an arrival, a batch and a run use up: the second has twice the arrivals of
the first, the third twice the tables of that. From these shares a million arrivals are priced for batches and runs of
several sizes, without EMR and without what the job itself reads and writes. Nothing is timed: figures are the same on
any machine. Ends with an error when a bound of the design is broken.
"""

import argparse
import io
import math
import os
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / name) for name in ("tests", "layers/tidegate", "local")]

from campaign import one_process_cloud  # noqa: E402
from campaign.loads import Done, contracts_of, play_load  # noqa: E402
from campaign.metering import Meter  # noqa: E402
from tidegate.prices import load_prices  # noqa: E402

SHEET = load_prices("us-east-1")
SHEET_OF = f"{SHEET.as_of:%Y-%m}, {SHEET.region}, on demand, beyond the free tier"
MILLION = 1_000_000
PRICE_USD = {name: float(figure.value) for name, figure in SHEET.rates.items()}

# Assumed, not counted.
CPU_MS_A_CALL = 2.0
"""Of a whole vCPU, for one call by boto3. Lambda gives a vCPU for 1,769 MB, and a part of it below."""
CPU_MS_AN_INVOCATION = 20.0
VCPU_MB = 1769
PLATFORM_LOG_BYTES = 900
"""Lambda's own start, end and report of an invocation, as JSON."""
TRACED_SHARE = 0.05
"""X-Ray's default sampling."""
MESSAGES_A_REQUEST = 10
"""SQS gives and deletes so many at most at a time."""

FILES_A_BATCH = 100
"""Of the first load, and of the third."""
RUN_OF = 20_000
SHAPES = (100, 500, 5000)
"""Arrivals of a table in a run of RUN_OF arrivals, for which a million is priced."""
PRICED_AT = 500
"""The shape at which the bound of dollars must hold."""
TABLES_A_STEP = 50

MOST_WRITE_UNITS, MOST_INVOCATIONS, MOST_DOLLARS = 6.0, 0.01, 5.0
"""Of the design: an arrival's units, its share of record_arrivals' invocations, dollars a million. A run may take 15
transitions and two a step group."""

S3_WRITES = ("PutObject", "CopyObject", "ListObjects", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload")


class LogBytes(io.TextIOBase):
    """Stands for standard output: how much each function logs."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes: Counter[str] = Counter()

    def write(self, text: str) -> int:
        self.bytes[one_process_cloud.life_of_call()] += len(text.encode())
        return len(text)


Usage = dict[str, float]


def main() -> None:
    tables = parse().tables
    files = tables * FILES_A_BATCH
    one_process_cloud.ENVIRONMENT["POWERTOOLS_LOG_LEVEL"] = "INFO"
    memory_mb, broken = memory_of_functions(), []
    usages: list[Usage] = []
    terminal = sys.stdout
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout = logs = LogBytes()
        cloud = one_process_cloud.OneProcessCloud(Path(folder), contracts_of(tables))
        play_load(cloud, 2, 1)  # what is logged once in a process
        for arrivals, of_tables in ((files, tables), (2 * files, tables), (2 * files, 2 * tables)):
            logs.bytes.clear()
            done = play_load(cloud, arrivals, of_tables, limit_s=1800)
            usages.append(usage_of(done, arrivals, logs, memory_mb))
            terminal.write(f"{arrivals:,} arrivals in {of_tables} tables: {done.recorded:,} recorded, ")
            terminal.write(f"{done.claimed:,} claimed, {done.merged:,} merged\n")
            broken += what_is_broken(done, arrivals)
    sys.stdout = terminal
    arrival, batch, run = shares_of(usages, files, tables)
    print_calls(done.meter)
    print_units(done.meter, 2 * files)
    costs = print_cost(arrival, batch, run)
    print_waiting(done.meter, 2 * files)
    units = arrival["DynamoDB write unit"] + batch["DynamoDB write unit"] / FILES_A_BATCH
    print(f"write units an arrival, its share of a batch of {FILES_A_BATCH} included: {units:.3f}")
    if units > MOST_WRITE_UNITS:
        broken.append(f"{units:.3f} write units an arrival")
    if costs[PRICED_AT] > MOST_DOLLARS:
        broken.append(f"${costs[PRICED_AT]:.3f} a million")
    for line in broken:
        print(f"BROKEN: {line}")
    sys.stdout.flush()
    os._exit(1 if broken else 0)  # threads of the cloud still run, and nobody needs them


def shares_of(usages: list[Usage], files: int, tables: int) -> tuple[Usage, Usage, Usage]:
    """What one arrival, one batch and one run use up, from the three loads."""
    names = {name: 0.0 for usage in usages for name in usage}
    first, more_files, more_tables = (names | usage for usage in usages)
    arrival = {name: (more_files[name] - first[name]) / files for name in names}
    batch = {name: (more_tables[name] - more_files[name]) / tables for name in names}
    run = {name: first[name] - files * arrival[name] - tables * batch[name] for name in names}
    return arrival, batch, run


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=3, help="of the first load, with a hundred arrivals each")
    return parser.parse_args()


def memory_of_functions() -> dict[str, int]:
    """Configured memory in MB by function, as the template has it."""
    text = (ROOT / "template.yaml").read_text(encoding="utf-8")
    usual = int(re.search(r"^    MemorySize: (\d+)", text, re.MULTILINE)[1])  # type: ignore[index]
    found = {}
    for name, body in re.findall(
        r"\n  (\w+)Function:\n    Type: AWS::Serverless::Function\n(.*?)(?=\n  \w)", text, re.S
    ):
        own = re.search(r"^      MemorySize: (\d+)", body, re.MULTILINE)
        found[re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()] = int(own[1]) if own else usual
    return found


def usage_of(done: Done, arrivals: int, logs: LogBytes, memory_mb: dict[str, int]) -> Usage:
    """Everything that is paid for, by the names of the price sheet."""
    meter = done.meter
    calls = {key: count for key, count in meter.calls.items() if key[0] != "step"}
    s3 = Counter[str]()
    for (_, operation), count in calls.items():
        service, _, name = operation.partition(".")
        if service == "s3":
            s3["S3 PUT, COPY or LIST" if name.startswith(S3_WRITES) else "S3 GET or HEAD"] += count
    invocations = sum(meter.invocations.values())
    deliveries = meter.invocations["record_arrivals"]
    logged = sum(count for caller, count in logs.bytes.items() if caller not in ("", "step"))
    return {
        # Those of arrivals, and one for each table that was merged: an entry of PutEvents is paid, not the call.
        "EventBridge event": arrivals + done.announced,
        "Glue request": sum(count for (_, operation), count in calls.items() if operation.startswith("glue.")),
        # Sent by EventBridge one by one; received and deleted by Lambda's poller in tens.
        "SQS request": arrivals + 2 * max(deliveries, -(-arrivals // MESSAGES_A_REQUEST)),
        "Lambda invocation": invocations,
        "Lambda GB-second": sum(
            gb_seconds(caller, count, calls, memory_mb) for caller, count in meter.invocations.items()
        ),
        "DynamoDB write unit": sum(meter.write_units.values()),
        "DynamoDB read unit": sum(meter.read_units.values()),
        **s3,
        "Step Functions transition": sum(states for states, _ in done.transitions),
        "CloudWatch Logs GB": (logged + invocations * PLATFORM_LOG_BYTES) / 1e9,
        "X-Ray trace": (invocations + len(done.transitions)) * TRACED_SHARE,
    }


def gb_seconds(caller: str, invocations: int, calls: dict[tuple[str, str], int], memory_mb: dict[str, int]) -> float:
    """Bound by its processor: what a call waits for is short beside what boto3 computes on a part of a vCPU."""
    memory = memory_mb[caller.partition(".")[0]]
    of_caller = sum(count for (name, _), count in calls.items() if name == caller)
    cpu_s = (of_caller * CPU_MS_A_CALL + invocations * CPU_MS_AN_INVOCATION) / 1000
    return cpu_s * VCPU_MB / min(memory, VCPU_MB) * memory / 1024


def print_calls(meter: Meter) -> None:
    print(f"{'function':28}{'call':32}{'times':>10}")
    for caller, count in sorted(meter.invocations.items()):
        print(f"{caller:28}{'(invocations)':32}{count:>10,}")
        for (name, operation), times in sorted(meter.calls.items()):
            if name == caller:
                print(f"{'':28}{operation:32}{times:>10,}")
    print()


def print_units(meter: Meter, arrivals: int) -> None:
    of_kind: Counter[str] = Counter()
    for (caller, kind), units in meter.write_units.items():
        of_kind[f"{kind}, by {caller}"] += units
    print(f"{'DynamoDB write units':58}{'all':>10}{'an arrival':>12}")
    for kind, units in sorted(of_kind.items(), key=lambda each: -each[1]):
        print(f"{kind:58}{units:>10,}{units / arrivals:>12.3f}")
    total = sum(of_kind.values())
    print(f"{'together':58}{total:>10,}{total / arrivals:>12.3f}")
    print(f"largest items: {', '.join(f'{kind} {size} B' for kind, size in meter.largest_item_bytes.items())}\n")


def print_cost(arrival: Usage, batch: Usage, run: Usage) -> dict[int, float]:
    """The shares and their price; dollars a million arrivals by shape."""
    head = "".join(f"{f'$/M at {shape:,}':>14}" for shape in SHAPES)
    print(f"{SHEET_OF}\n{'paid for':28}{'an arrival':>12}{'a batch':>12}{'a run':>12}{head}")
    costs: Counter[int] = Counter()
    for name in sorted(arrival, key=lambda each: -arrival[each] * PRICE_USD[each]):
        line = f"{name:28}" + "".join(f"{share[name]:>12.4g}" for share in (arrival, batch, run))
        for shape in SHAPES:
            groups = math.ceil(RUN_OF / shape / TABLES_A_STEP)
            of_run = run[name] + 2 * (groups - 1) * (name == "Step Functions transition")
            cost = (arrival[name] + batch[name] / shape + of_run / RUN_OF) * PRICE_USD[name] * MILLION
            costs[shape] += cost  # type: ignore[assignment]
            line += f"{cost:>14.3f}"
        print(line)
    print(f"{'together, without EMR':64}" + "".join(f"{costs[shape]:>14.3f}" for shape in SHAPES))
    print(f"(at so many arrivals a batch, {RUN_OF:,} arrivals a run)\n")
    return dict(costs)


def print_waiting(meter: Meter, arrivals: int) -> None:
    """What a look of dispatch costs, which comes each minute."""
    units = float(meter.read_units["dispatch_runs"])
    cost = units / arrivals * PRICE_USD["DynamoDB read unit"] * MILLION
    print(f"each minute that a million arrivals wait: {units / arrivals:.3f} read units an arrival, ${cost:.4f}\n")


def what_is_broken(done: Done, arrivals: int) -> list[str]:
    """The bounds that a load by itself doesn't keep to."""
    broken = []
    for states, groups in done.transitions:
        print_line = f"  a run of {groups} step groups entered {states} states; at most {15 + 2 * groups}\n"
        sys.__stdout__.write(print_line)  # type: ignore[union-attr]
        if states > 15 + 2 * groups:
            broken.append(f"{states} transitions with {groups} step groups")
    share = done.meter.invocations["record_arrivals"] / arrivals
    if share > MOST_INVOCATIONS:
        broken.append(f"{share:.4f} invocations of record_arrivals an arrival")
    if not arrivals == done.recorded == done.claimed == done.merged:
        broken.append(f"{done.recorded} recorded, {done.claimed} claimed, {done.merged} merged")
    return broken


if __name__ == "__main__":
    main()
