"""The whole way of an object on the local cloud: real sam deploy, real events, real state machine, real Spark."""

import io
import json
import re
import urllib.request
import zipfile
from pathlib import Path

import pytest
import yaml
from systems import System, wait_for
from tidegate_local.event_log import read_events
from tidegate_local.faults.plan import plan_faults, strikes

pytestmark = pytest.mark.local_cloud
ROOT = Path(__file__).resolve().parents[2]


ODD_KEYS = [
    "airlines/with space.csv",
    "airlines/a+b.csv",
    "airlines/100%.csv",
    "airlines/é漢.csv",
    "airlines/_hidden.csv",
]


def test_whatever_lands_is_merged_or_set_aside_with_a_reason(system: System) -> None:
    # GIVEN files of every kind, one of them overwritten and told of twice, before anything is merged
    system.land("airlines/plain.csv", "carrier,name", "AA,American", "UA,Untied")
    for number, key in enumerate(ODD_KEYS):
        system.land(key, "name,carrier", f"Odd Air {number},X{number}")
    system.land("airlines/plain.csv", "carrier,name", "UA,United")
    system.land("airlines/broken.csv", "carrier;name", "ZZ;Broken")
    system.land("airlines/empty.csv")
    system.land("airlines/")
    system.land("nobody/asked.csv", "a", "1")
    others = ["airlines/broken.csv", "airlines/empty.csv", "airlines/", "nobody/asked.csv"]
    for key, versions in {**dict.fromkeys([*ODD_KEYS, *others], 1), "airlines/plain.csv": 2}.items():
        system.wait_recorded(key, versions)

    # WHEN a run is dispatched
    execution = system.end_of(system.dispatch())

    # THEN every good row is in the table once, the newest version of each key
    assert execution["status"] == "SUCCEEDED", execution
    mine = {"AA", "UA", *(f"X{number}" for number in range(len(ODD_KEYS)))}
    assert [row for row in system.rows("airlines", "carrier", "name") if row[0] in mine] == [
        ("AA", "American"),
        ("UA", "United"),
        *((f"X{number}", f"Odd Air {number}") for number in range(len(ODD_KEYS))),
    ]
    # AND what is not merged says why
    (broken,) = system.arrivals("airlines/broken.csv")
    assert broken["state"] == "quarantined"
    assert "carrier" in broken["reason"]
    assert system.arrivals("airlines/empty.csv")[0]["reason"] == "the file is empty"
    assert system.arrivals("airlines/")[0]["state"] == "ignored"
    assert "no contract" in system.arrivals("nobody/asked.csv")[0]["reason"]
    # AND the execution's output names the table's version
    output = json.loads(execution["output"])
    assert output["merged"][0]["table"] == "airlines"
    assert output["merged"][0]["delta_version"] == system.table("airlines").version()
    assert system.live_clusters() == []
    # AND the catalog has the table with its columns, and an event tells of that version
    glue, database = system.cloud.client("glue"), system.cloud.fields.catalog_database
    entry = glue.get_table(DatabaseName=database, Name="airlines")["Table"]
    assert entry["StorageDescriptor"]["Location"] == f"s3://{system.cloud.fields.lake_bucket}/airlines"
    assert [each["Name"] for each in entry["StorageDescriptor"]["Columns"]] == ["carrier", "name", "_tidegate"]
    told = [each for each in read_events(system.cloud.here.events_file) if each["detail"]["table"] == "airlines"]
    assert (told[-1]["source"], told[-1]["detail-type"]) == ("tidegate", "Table Updated")
    assert told[-1]["detail"]["versions"]["to"] == output["merged"][0]["delta_version"]

    # WHEN somebody presses New execution with the same input THEN nothing happens, and it says so
    again = system.steps.start_execution(
        stateMachineArn=system.cloud.fields.state_machine_arn, input=execution["input"]
    )
    no_op = system.end_of(again["executionArn"])
    assert no_op["status"] == "SUCCEEDED"
    assert "is settled" in json.loads(no_op["output"])["reason"]
    assert system.table("airlines").version() == output["merged"][0]["delta_version"]


def test_a_run_whose_step_is_killed_fails_and_a_redrive_merges_its_batch_once(system: System) -> None:
    # GIVEN a run whose Spark process is killed when it is about to commit
    commit = {"call": "s3:PutObject", "resource": "*/planes/_delta_log/*.json"}
    plan_faults(system.cloud.here.faults_file, [{"fault": "killed", "step": "*", **commit}])
    system.land("planes/p.csv", PLANES_HEADER, "N1,1999,Fixed wing,EMBRAER,EMB-145XR,2,55,,Turbo-fan")
    system.wait_recorded("planes/p.csv")
    arn = system.dispatch()
    failed = system.end_of(arn)
    # THEN the execution fails with words, and no cluster is left
    assert (failed["status"], failed["error"]) == ("FAILED", "RunFailed"), failed
    assert strikes(system.cloud.here.faults_file)[-1]["on"]["call"][0] == "s3:PutObject"
    assert "planes batch 1" in failed["cause"]
    assert "Redrive" in failed["cause"]
    assert system.live_clusters() == []
    # WHEN somebody presses Redrive
    system.cloud.here.faults_file.unlink()
    system.steps.redrive_execution(executionArn=arn)
    done = system.end_of(arn)
    # THEN the same execution succeeds, and the batch is one commit
    assert done["status"] == "SUCCEEDED", (done.get("error"), done.get("cause"))
    assert system.rows("planes", "tailnum") == [("N1",)]
    commits = [json.loads(each.get("userMetadata", "{}")) for each in system.table("planes").history()]
    assert [each["tidegate"]["batch"] for each in commits if each] == [1]
    assert system.live_clusters() == []


PLANES_HEADER = "tailnum,year,type,manufacturer,model,engines,seats,speed,engine"


def test_the_schedule_finds_what_has_landed(system: System) -> None:
    # GIVEN a file that nobody dispatches
    system.land("airlines/scheduled.csv", "carrier,name", "S1,Scheduled")
    # WHEN the schedule's minute has passed THEN a run of that minute merges it
    machine = system.cloud.fields.state_machine_arn

    def started() -> list[str]:
        executions = system.steps.list_executions(stateMachineArn=machine)["executions"]
        return [each["executionArn"] for each in executions if re.fullmatch(r"run-\d{8}T\d{4}Z-1", each["name"])]

    system.cloud.switch_schedule(on=True)
    try:
        (arn, *_) = wait_for("the schedule has started a run", started, 90)
    finally:
        system.cloud.switch_schedule(on=False)
    assert system.end_of(arn)["status"] == "SUCCEEDED"
    assert ("S1",) in system.rows("airlines", "carrier")


def test_an_input_that_is_wrong_fails_with_what_to_write_instead(system: System) -> None:
    started = system.steps.start_execution(
        stateMachineArn=system.cloud.fields.state_machine_arn, input='{"tables": ["fligths"]}'
    )
    failed = system.end_of(started["executionArn"])
    assert (failed["status"], failed["error"]) == ("FAILED", "RunFailed")
    assert "UnknownTable" in failed["cause"]
    assert "flights" in failed["cause"]


def test_an_event_that_is_not_s3s_ends_in_the_dead_letter_queue_or_is_kept_for_another_try(system: System) -> None:
    # GIVEN a message on the queue that nobody can read, beside one that is fine
    sqs = system.cloud.client("sqs")
    queue = next(url for url in sqs.list_queues()["QueueUrls"] if "ArrivalsQueue" in url)
    sqs.send_message(QueueUrl=queue, MessageBody='{"not": "an S3 event"}')
    system.land(
        "airports/fine.csv", "faa,name,lat,lon,alt,tz,dst,tzone", "EWR,Newark,40.7,-74.2,18,-5,A,America/New_York"
    )
    # THEN the good one is recorded, and the other is not taken off the queue as if it were done
    system.wait_recorded("airports/fine.csv")
    attributes = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

    def kept() -> bool:
        counts = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=attributes)["Attributes"]
        return sum(int(count) for count in counts.values()) == 1

    wait_for("the message is kept", kept, 20)
    # AND what was recorded can be merged
    assert system.end_of(system.dispatch())["status"] == "SUCCEEDED"
    assert ("EWR",) in system.rows("airports", "faa")


def test_what_is_deployed_is_what_the_checkout_holds(system: System) -> None:
    # The state machine's definition is the file, with only its parameters filled in.
    text = (ROOT / "statemachine" / "run.asl.yaml").read_text()
    deployed = json.loads(
        system.steps.describe_state_machine(stateMachineArn=system.cloud.fields.state_machine_arn)["definition"]
    )
    pattern = re.compile(re.sub(r"\\\$\\\{\w+\\\}", "(.*?)", re.escape(json.dumps(yaml.safe_load(text)))))
    assert pattern.fullmatch(json.dumps(deployed))

    # Functions, the layer with the decisions and the Spark job are the checkout's files, byte for byte.
    lambdas = system.cloud.client("lambda")
    functions = {path.name for path in (ROOT / "functions").iterdir() if (path / f"{path.name}.py").exists()}
    handlers = set()
    for each in lambdas.list_functions()["Functions"]:
        name = each["Handler"].removesuffix(".handler")
        handlers.add(name)
        code = unzipped(lambdas.get_function(FunctionName=each["FunctionName"])["Code"]["Location"])
        assert code[f"{name}.py"] == (ROOT / "functions" / name / f"{name}.py").read_bytes()
    assert handlers == functions
    layer = next(
        layer["Arn"]
        for layer in lambdas.list_functions()["Functions"][0]["Layers"]
        if ":TidegateLayer:" in layer["Arn"]
    )
    content = lambdas.get_layer_version_by_arn(Arn=layer)["Content"]["Location"]
    assert unzipped(content) == files_of(ROOT / "layers" / "tidegate", "tidegate", "python/")
    control = system.cloud.fields.control_bucket
    keys = [each["Key"] for each in system.s3.list_objects_v2(Bucket=control, Prefix="artifacts/")["Contents"]]
    (job,) = [key for key in keys if key.endswith("tidegate_spark.zip")]
    sent = system.s3.get_object(Bucket=control, Key=job)["Body"].read()
    with zipfile.ZipFile(io.BytesIO(sent)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == files_of(ROOT / "spark", "tidegate_spark")


def unzipped(url: str) -> dict[str, bytes]:
    with urllib.request.urlopen(url) as answer, zipfile.ZipFile(io.BytesIO(answer.read())) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def files_of(folder: Path, package: str, prefix: str = "") -> dict[str, bytes]:
    """What is in a package of the checkout, by the names that an archive of it has."""
    return {
        f"{prefix}{path.relative_to(folder)}": path.read_bytes()
        for path in (folder / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
