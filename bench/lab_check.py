"""The lab beside the local cloud: the same arrivals, really merged and simulated, file by file.

    .venv/bin/python bench/lab_check.py                # some ten minutes; writes what was recorded, and compares
    .venv/bin/python bench/lab_check.py --compare      # compares what was recorded

Files of two tables land for five minutes on a local cloud of their own, which dispatches, starts clusters and merges by
itself. What its ledger and receipts say is written to tests/lab/recorded/local_cloud.json; the lab then gets the same
arrivals, and the rates that were measured, and everything else is its own.
"""

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / name) for name in ("tests", "layers/tidegate", "local", "lab")]

from clouds import Cloud, cloud_with  # noqa: E402
from tidegate.contracts import Contract, Contracts, Freshness  # noqa: E402
from tidegate_lab.bills import bills_of  # noqa: E402
from tidegate_lab.recorded import compare_with, read_recording  # noqa: E402

RECORD = ROOT / "tests" / "lab" / "recorded" / "local_cloud.json"
TABLES = ("orders", "returns")
CONTRACT = """\
table: {table}
landing: {table}/*.csv
format: {{type: csv, header: true}}
columns:
  id: string
  amount: double
merge:
  strategy: upsert
  keys: [id]
freshness: asap
readers: [spark]
"""
LANDINGS, FOR_S, SEED = 14, 300, 7

Json = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compare", action="store_true", help="compare what was recorded, and run nothing")
    parser.add_argument("--record", type=Path, default=RECORD)
    arguments = parser.parse_args()
    if not arguments.compare:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with tempfile.TemporaryDirectory(prefix="tidegate-lab-check-") as folder:
            document = play(Path(folder))
        arguments.record.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    recording = read_recording(json.loads(arguments.record.read_text(encoding="utf-8")))
    for line in compare_with(recording, contracts(), bills_of()).lines():
        print(line)


def contracts() -> Contracts:
    return Contracts({
        table: Contract(table, f"{table}/", f"^{table}/.*$", "upsert", Freshness("asap"), 5000, 50 * 1024**3, {})
        for table in TABLES
    })  # fmt: skip


def play(folder: Path) -> Json:
    """Let files land, wait until all are merged, and take down what the ledger and the receipts say of it."""
    with cloud_with({table: CONTRACT.format(table=table) for table in TABLES}, folder) as cloud:
        land(cloud)
        for _ in range(600):
            found = recorded(cloud)
            is_merged = [
                all("batch" in each for each in found["arrivals"]),
                all("ended_at" in e for e in found["runs"]),
            ]
            if len(found["arrivals"]) == LANDINGS and all(is_merged):
                return found
            time.sleep(1)
    raise TimeoutError("not all was merged within ten minutes")


def land(cloud: Cloud) -> None:
    """At times that look like chance, and are the same each time."""
    chance, s3 = random.Random(SEED), cloud.client("s3")
    began = time.monotonic()
    for number, at_s in enumerate(sorted(chance.uniform(0, FOR_S) for _ in range(LANDINGS))):
        time.sleep(max(0.0, began + at_s - time.monotonic()))
        rows = "".join(f"{chance.randrange(10_000)},{chance.random():.4f}\n" for _ in range(2_000))
        key = f"{chance.choice(TABLES)}/{number:03d}.csv"
        s3.put_object(Bucket=cloud.fields.landing_bucket, Key=key, Body=f"id,amount\n{rows}".encode())


def recorded(cloud: Cloud) -> Json:
    """Arrivals and runs of the ledger, and the receipts of the control bucket."""
    items = cloud.resource("dynamodb").Table(cloud.fields.ledger_table).scan()["Items"]
    s3, bucket = cloud.client("s3"), cloud.fields.control_bucket
    listed = s3.list_objects_v2(Bucket=bucket, Prefix="receipts/").get("Contents", [])
    receipts = [json.loads(s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read()) for each in listed]
    kept = ("table", "batch", "outcome", "started_at", "seconds")
    return {
        "recorded_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "arrivals": [plain(each) for each in items if each.get("kind") == "arrival"],
        "runs": [plain(each) for each in items if each.get("kind") == "run"],
        "receipts": [{name: each[name] for name in kept if name in each} for each in receipts],
    }


def plain(value: Any) -> Any:
    """DynamoDB's numbers as JSON's."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items() if not isinstance(each, (bytes, set))}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return (int(value) if value == int(value) else float(value)) if isinstance(value, Decimal) else value


if __name__ == "__main__":
    main()
