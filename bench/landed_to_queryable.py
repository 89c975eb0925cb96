"""How long from the upload of a small file to its rows in the table, on the local cloud.

    tidegate local up --detach
    .venv/bin/python bench/landed_to_queryable.py --files 5          # waits for the minute of the schedule
    .venv/bin/python bench/landed_to_queryable.py --files 5 --now    # `tidegate dispatch now` after each upload

Each file is uploaded when the one before is queryable, at a random second of the minute. Prints each time and the
median; `tidegate timings` says where the seconds of one of them went. One machine, one run: compare medians of runs
made one after the other, not with another machine's.
"""

import argparse
import json
import random
import statistics
import subprocess
import time
from pathlib import Path

import boto3
from deltalake import DeltaTable, QueryBuilder
from deltalake.exceptions import TableNotFoundError

ROOT = Path(__file__).resolve().parent.parent
CONTRACT_COLUMNS = "carrier,name"  # tables/airlines.yaml
POLL_S = 0.25


def main() -> None:
    arguments = parse()
    cloud = json.loads((ROOT / ".tidegate" / "local.json").read_text(encoding="utf-8"))
    times_s = []
    for number in range(arguments.files):
        if not arguments.now:
            time.sleep(random.uniform(0, 60))  # so that the median meets every second of the minute
        times_s.append(upload_and_wait(cloud, f"bench-{time.time_ns()}", dispatch=arguments.now))
        print(f"file {number + 1}: {times_s[-1]:5.1f} s", flush=True)
    print(
        f"median of {len(times_s)}: {statistics.median(times_s):.1f} s "
        f"(least {min(times_s):.1f}, most {max(times_s):.1f})"
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=5, help="how many uploads to time")
    parser.add_argument("--now", action="store_true", help="don't wait for the schedule: dispatch after each upload")
    return parser.parse_args()


def upload_and_wait(cloud: dict[str, str], name: str, *, dispatch: bool) -> float:
    """Seconds from the end of the upload until the file's one row is in the table."""
    s3 = boto3.client(
        "s3",
        endpoint_url=cloud["endpoint_url"],
        region_name=cloud["region"],
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    body = f"{CONTRACT_COLUMNS}\n{name},Bench Air\n".encode()
    s3.put_object(Bucket=cloud["landing_bucket"], Key=f"airlines/{name}.csv", Body=body)
    uploaded = time.monotonic()
    if dispatch:
        time.sleep(2)  # the event is on its way to the ledger; part of the time that is measured
        subprocess.run([ROOT / ".venv/bin/tidegate", "dispatch", "now"], check=True, stdout=subprocess.DEVNULL)
    while not is_queryable(cloud, name):
        if time.monotonic() - uploaded > 600:
            raise SystemExit(f"{name} is not in the table after ten minutes: see `tidegate status`")
        time.sleep(POLL_S)
    return time.monotonic() - uploaded


def is_queryable(cloud: dict[str, str], name: str) -> bool:
    try:
        table = DeltaTable(
            f"s3://{cloud['lake_bucket']}/airlines",
            storage_options={
                "AWS_ENDPOINT_URL": cloud["endpoint_url"],
                "AWS_REGION": cloud["region"],
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_ALLOW_HTTP": "true",
            },
        )
    except TableNotFoundError:
        return False
    found = QueryBuilder().register("airlines", table).execute(f"SELECT 1 FROM airlines WHERE carrier = '{name}'")
    return found.read_all().num_rows > 0


if __name__ == "__main__":
    main()
