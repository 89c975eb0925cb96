"""A run that will be late, on a local cloud with a real YARN: alarm, scale_cluster, managed scaling, nodes, in time?

    .venv/bin/python bench/scale_loop.py           # a quarter of an hour; writes docs/scale_loop.json and its picture
    .venv/bin/python bench/scale_loop.py --draw    # the picture again, from what was written

Hundreds of small files land whose events come late, so that little of their table's freshness is left when the run
starts on one core node; and S3 is slow, at so many seconds a call, so that executors wait for it and not for this
machine's processor. All that follows is the product: nobody but managed scaling starts or ends a node, and nobody but
scale_cluster moves its limits. Ends with an error if the run was late or no limit was raised.
"""

import argparse
import json
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / name) for name in ("tests", "layers/tidegate", "local")]

from clouds import Cloud, cloud_with  # noqa: E402
from tidegate_local.faults.plan import plan_faults  # noqa: E402

RECORD, PICTURE = ROOT / "docs" / "scale_loop.json", ROOT / "docs" / "images" / "scale_loop.svg"
FRESHNESS = timedelta(minutes=10)
HURRIED, PATIENT = "readings", "returns"
"""The second is one file and has time. S3 lets its executor wait beyond all others, so that they become idle."""
PATIENCE_S, PATIENT_CALLS = 150, 4
HEIGHT = 260

CONTRACT = """\
table: {table}
landing: {table}/*.json
format: {{type: json}}
columns:
  id: string
  sensor: string
  value: double
  note: string
merge:
  strategy: upsert
  keys: [id]
freshness: {freshness}
readers: [spark]
"""

Json = dict[str, Any]


def main() -> None:
    arguments = parse()
    if not arguments.draw:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with tempfile.TemporaryDirectory(prefix="tidegate-scale-") as folder:
            record = play(Path(folder), arguments)
        arguments.record.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    record = json.loads(arguments.record.read_text(encoding="utf-8"))
    draw(record, arguments.picture)
    sys.exit(tell(record))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--seconds-a-call", type=float, default=1.35, help="how long S3 takes, two calls a file")
    parser.add_argument("--deadline", type=float, default=480, help="seconds from landing to the deadline")
    parser.add_argument("--cores", type=int, default=4, help="executors that an application may have")
    parser.add_argument("--record", type=Path, default=RECORD)
    parser.add_argument("--picture", type=Path, default=PICTURE)
    parser.add_argument("--draw", action="store_true", help="draw what was recorded, and run nothing")
    return parser.parse_args()


def play(folder: Path, arguments: argparse.Namespace) -> Json:
    """Run it; what the run's own record says, and what EMR, CloudWatch and Spark say of the same time."""
    freshness = {HURRIED: "10m", PATIENT: "1h"}
    contracts = {table: CONTRACT.format(table=table, freshness=promised) for table, promised in freshness.items()}
    with cloud_with(contracts, folder, master="yarn", spark_cores=arguments.cores) as cloud:
        landed_at = land(cloud, arguments)
        run_id, status = follow(cloud)
        return {
            "run": run_id,
            "status": status,
            "landed_at": landed_at.isoformat(),
            "deadline": (landed_at + timedelta(seconds=arguments.deadline)).isoformat(),
            "looks": looks(cloud, run_id),
            "instances": instances(cloud),
            "executors": executors(cloud),
            "alarms": alarms(cloud),
            "merged_at": merged_at(cloud),
        }


def land(cloud: Cloud, arguments: argparse.Namespace) -> datetime:
    """Put the files, and send S3's events of them, minutes late. When they landed is now, by this machine's clock."""
    s3, sqs = cloud.client("s3"), cloud.client("sqs")
    stack = cloud.client("cloudformation")
    resource = stack.describe_stack_resource(StackName=cloud.fields.stack_name, LogicalResourceId="ArrivalsQueue")
    queue = resource["StackResourceDetail"]["PhysicalResourceId"]
    slow = {"fault": "hangs", "call": "s3:GetObject", "caller": "step"}
    plan_faults(
        cloud.here.faults_file,
        [
            {"fault": "lost", "event": "Object Created", "times": 10_000},
            {
                **slow,
                "resource": f"*/{HURRIED}/part-*.json",
                "seconds": arguments.seconds_a_call,
                # The driver asks for each file twice before the executors read it.
                "after": 2 * arguments.files + 20,
                "times": 10_000,
            },
            {**slow, "resource": f"*/{PATIENT}/*.json", "after": 2, "seconds": PATIENCE_S, "times": PATIENT_CALLS},
        ],
    )
    bodies = [(f"{HURRIED}/part-{number:04d}.json", lines(number * 200, 200)) for number in range(arguments.files)]
    bodies.append((f"{PATIENT}/all.json", lines(0, 200)))
    for key, body in bodies:
        s3.put_object(Bucket=cloud.fields.landing_bucket, Key=key, Body=body)
    landed_at = datetime.now(UTC)
    happened_at = landed_at + timedelta(seconds=arguments.deadline) - FRESHNESS
    for number, (key, body) in enumerate(bodies):
        head = s3.head_object(Bucket=cloud.fields.landing_bucket, Key=key)
        found = {
            "key": key, "size": len(body), "etag": head["ETag"].strip('"'), "version-id": head["VersionId"],
            "sequencer": f"{int(happened_at.timestamp()):016X}{number:04X}",
        }  # fmt: skip
        event = {
            "version": "0", "id": f"late-{number}", "detail-type": "Object Created", "source": "aws.s3",
            "account": "000000000000", "time": f"{happened_at:%Y-%m-%dT%H:%M:%SZ}", "region": "us-east-1",
            "resources": [f"arn:aws:s3:::{cloud.fields.landing_bucket}"],
            "detail": {
                "version": "0", "bucket": {"name": cloud.fields.landing_bucket}, "object": found,
                "request-id": "late", "requester": "000000000000", "reason": "PutObject",
            },
        }  # fmt: skip
        sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(event))
    return landed_at


def lines(start: int, rows: int) -> bytes:
    """JSON lines: their files have no header that the driver would read before."""
    found = (
        {
            "id": f"r{start + n:09d}",
            "sensor": f"s{n % 977}",
            "value": n * 0.37,
            "note": f"reading {n * 7919 % 1_000_003}",
        }
        for n in range(rows)
    )
    return "".join(json.dumps(each) + "\n" for each in found).encode()


def follow(cloud: Cloud) -> tuple[str, str]:
    """Wait for the run, which the schedule starts, and for the end of its cluster; the run's id and its status."""
    machine = cloud.client("stepfunctions")
    for _ in range(1200):
        found = machine.list_executions(stateMachineArn=cloud.fields.state_machine_arn)["executions"]
        if found and found[0]["status"] != "RUNNING":
            items = cloud.resource("dynamodb").Table(cloud.fields.ledger_table).scan()["Items"]
            return next(str(each["sk"]) for each in items if each.get("kind") == "run"), found[0]["status"]
        time.sleep(1)
    raise TimeoutError("the run has not ended within 20 minutes")


def looks(cloud: Cloud, run_id: str) -> list[Json]:
    """What scale_cluster saw and decided, each minute and on alarms: the run's own record."""
    from boto3.dynamodb.conditions import Key  # noqa: PLC0415

    table = cloud.resource("dynamodb").Table(cloud.fields.ledger_table)
    condition = Key("pk").eq(f"run#{run_id}") & Key("sk").begins_with("look#")
    items = table.query(KeyConditionExpression=condition)["Items"]
    kept = ("at", "action", "reason", "maximum_units", "units_requested", "units_running", "pending_ratio",
            "memory_available_percent", "done_bytes", "total_bytes", "late_by_s", "deadline")  # fmt: skip
    return [
        {name: each[name] if isinstance(each[name], str) else float(each[name]) for name in kept if name in each}
        for each in items
    ]


def instances(cloud: Cloud) -> list[Json]:
    emr = cloud.client("emr")
    clusters = emr.list_clusters()["Clusters"]
    found = []
    for cluster in clusters:
        fleets = {
            each["Id"]: each["InstanceFleetType"]
            for each in emr.list_instance_fleets(ClusterId=cluster["Id"])["InstanceFleets"]
        }
        for each in emr.list_instances(ClusterId=cluster["Id"])["Instances"]:
            timeline = each["Status"]["Timeline"]
            times = {name: at.astimezone(UTC).isoformat() for name, at in timeline.items()}
            found.append({"fleet": fleets[each["InstanceFleetId"]], "market": each["Market"], **times})
    return found


def executors(cloud: Cloud) -> list[Json]:
    """Executors that Spark had, by its event log: a unit each."""
    found: dict[str, Json] = {}
    for log in sorted((cloud.here.logs_dir / "spark-events").iterdir()):
        for line in log.read_text(encoding="utf-8").splitlines():
            event = json.loads(line) if "Executor" in line[:60] or "ApplicationEnd" in line[:60] else {}
            name = event.get("Event", "")
            if name == "SparkListenerExecutorAdded":
                found[f"{log.name}/{event['Executor ID']}"] = {"added": moment(event["Timestamp"])}
            elif name == "SparkListenerExecutorRemoved":
                found[f"{log.name}/{event['Executor ID']}"]["removed"] = moment(event["Timestamp"])
            elif name == "SparkListenerApplicationEnd":
                for each in found.values():
                    each.setdefault("removed", moment(event["Timestamp"]))
    return list(found.values())


def moment(milliseconds: float) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat()


def alarms(cloud: Cloud) -> list[Json]:
    history = cloud.client("cloudwatch").describe_alarm_history(HistoryItemType="StateUpdate", MaxRecords=100)
    return sorted(
        (
            {
                "alarm": each["AlarmName"],
                "at": each["Timestamp"].astimezone(UTC).isoformat(),
                "what": each["HistorySummary"],
            }
            for each in history["AlarmHistoryItems"]
            if "-clusters-" in each["AlarmName"]
        ),
        key=lambda each: str(each["at"]),
    )


def merged_at(cloud: Cloud) -> str:
    """When the hurried table could be queried: its newest commit."""
    s3, bucket = cloud.client("s3"), cloud.fields.lake_bucket
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    found = [each for page in pages for each in page.get("Contents", [])]
    commits = [each for each in found if is_commit(each["Key"])]
    return str(max(each["LastModified"] for each in commits).astimezone(UTC).isoformat())


def is_commit(key: str) -> bool:
    return key.endswith(".json") and f"/{HURRIED}/_delta_log/0" in f"/{key}"


def tell(record: Json) -> int:
    start = datetime.fromisoformat(record["landed_at"])

    def after(text: str) -> str:
        return f"{(datetime.fromisoformat(text) - start).total_seconds():6.0f} s"

    told = [
        (each["at"], f"look: {each['action']}, up to {each['maximum_units']:.0f} units: {each['reason']}")
        for each in record["looks"]
    ]
    told += [(each["at"], f"{each['alarm']}: {each['what']}") for each in record["alarms"]]
    for each in record["instances"]:
        if each["fleet"] != "MASTER":
            told.append(
                (each["ReadyDateTime"], f"{each['fleet'].lower()} instance ({each['market']}) is there")
            ) if "ReadyDateTime" in each else None
            told.append(
                (each["EndDateTime"], f"{each['fleet'].lower()} instance is gone")
            ) if "EndDateTime" in each else None
    for each in record["executors"]:
        told += [(each["added"], "executor added"), (each["removed"], "executor removed")]
    told += [(record["deadline"], "DEADLINE"), (record["merged_at"], "merged")]
    for at, words in sorted(told):
        print(f"{after(at)}  {words}")
    is_late = record["merged_at"] > record["deadline"]
    was_raised = any(each["action"] == "raise" for each in record["looks"])
    print(f"the run {'was LATE' if is_late else 'was in time'}, and its limit was {'' if was_raised else 'NOT '}raised")
    return 0 if was_raised and not is_late and record["status"] == "SUCCEEDED" else 1


def draw(record: Json, picture: Path) -> None:
    """Capacity over time: what was allowed, what was there, and what Spark had of it."""
    import altair as alt  # noqa: PLC0415

    start = datetime.fromisoformat(record["landed_at"])

    def minutes(text: str) -> float:
        return (datetime.fromisoformat(text) - start).total_seconds() / 60

    workers = [each for each in record["instances"] if each["fleet"] != "MASTER" and "ReadyDateTime" in each]
    ends = max(minutes(each["EndDateTime"]) for each in workers)
    counts = steps(
        "instances", [(minutes(each["ReadyDateTime"]), minutes(each["EndDateTime"])) for each in workers], ends
    )
    counts += steps(
        "executors",
        [(minutes(each["added"]), minutes(each["removed"])) for each in record["executors"]],
        ends,
    )
    counts += [
        {"what": "limit of managed scaling", "minute": minutes(each["at"]), "count": each["maximum_units"]}
        for each in record["looks"]
    ]
    alarms = [
        {"minute": minutes(each["at"]), "what": each["alarm"].split("-clusters-")[1].replace("-", " ")}
        for each in record["alarms"]
        if "to ALARM" in each["what"]
    ]
    decided = [
        {"minute": minutes(each["at"]), "what": each["action"]} for each in record["looks"] if each["action"] != "hold"
    ]
    decided += [{"minute": minutes(record[each]), "what": each.split("_")[0]} for each in ("deadline", "merged_at")]
    x = alt.X("minute:Q", title="minutes after landing")
    capacity = (
        alt.Chart(
            alt.InlineData(values=counts), width=640, height=HEIGHT, title="A late run: capacity follows the limit"
        )
        .mark_line(interpolate="step-after")
        .encode(
            x=x,
            y=alt.Y("count:Q", title="units", axis=alt.Axis(tickMinStep=1)),
            color=alt.Color("what:N", legend=alt.Legend(title=None, orient="bottom")),
            strokeDash=alt.StrokeDash("what:N", legend=None),
        )
    )
    rules = alt.Chart(alt.InlineData(values=alarms + decided)).mark_rule(strokeDash=[4, 3], color="#888").encode(x=x)
    words = [
        alt.Chart(alt.InlineData(values=marks))
        .mark_text(angle=270, align=align, dx=dx, dy=-5, fontSize=10)
        .encode(x=x, y=alt.value(y), text="what:N")
        for marks, align, dx, y in ((alarms, "right", -4, 0), (decided, "left", 4, HEIGHT))
    ]
    picture.parent.mkdir(parents=True, exist_ok=True)
    alt.layer(capacity, rules, *words).configure(background="white").save(picture)


def steps(what: str, spans: list[tuple[float, float]], ends: float) -> list[Json]:
    """How many spans hold at each moment at which one begins or ends."""
    moments = sorted({0.0, ends, *(begin for begin, _ in spans), *(end for _, end in spans)})
    return [{"what": what, "minute": at, "count": sum(begin <= at < end for begin, end in spans)} for at in moments]


if __name__ == "__main__":
    main()
