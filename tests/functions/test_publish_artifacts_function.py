"""publish_artifacts: CloudFormation is answered whatever happens, and what is there stays."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import publish_artifacts
import pytest

Call = Callable[..., Any]
FILES = {
    "main.py": b"main",
    "tidegate_spark.zip": b"zip",
    "install_python_deps.sh": b"sh",
    "python-deps-aarch64.zip": b"deps",
    "contracts.json": b"{}",
    "user/sql/a.sql": b"select 1",
}


@pytest.fixture
def answers() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Where CloudFormation waits: its URL, and what it was told."""
    told: list[dict[str, Any]] = []

    class Waiting(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            told[-1]["content-type"] = self.headers["content-type"]
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Waiting)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/answer?X-Amz-Signature=0", told
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def ask(run: Call, golden: Call, layers: Path, answers: Any) -> Callable[..., dict[str, Any]]:
    url, told = answers
    for name, content in FILES.items():
        path = layers / "tidegate_artifacts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def call(name: str, context: Any = None, **properties: str) -> dict[str, Any]:
        event = golden(f"publish_artifacts.{name}")
        event["ResourceProperties"] |= properties
        run(publish_artifacts, event | {"ResponseURL": url}, context)
        answer: dict[str, Any] = told.pop()
        assert told == []
        return answer

    return call


def keys(account: Any) -> list[str]:
    found = account.s3.list_objects_v2(Bucket="tidegate-control").get("Contents", [])
    return [each["Key"] for each in found]


def test_everything_is_published_under_one_hash_and_named_in_the_answer(ask: Call, account: Any) -> None:
    answer = ask("create")
    data = answer["Data"]
    assert answer["Status"] == "SUCCESS"
    assert keys(account) == sorted(f"artifacts/{data['Hash']}/{name}" for name in FILES)
    prefix = f"s3://tidegate-control/artifacts/{data['Hash']}"
    assert data == {
        "Hash": data["Hash"],
        "Prefix": prefix,
        "MainUri": f"{prefix}/main.py",
        "PyFilesUri": f"{prefix}/tidegate_spark.zip",
        "PythonDepsPrefix": f"{prefix}/python-deps-",
        "InstallScriptUri": f"{prefix}/install_python_deps.sh",
        "ContractsUri": f"{prefix}/contracts.json",
    }


def test_the_answer_is_for_the_very_request(ask: Call, golden: Call) -> None:
    request, answer = golden("publish_artifacts.create"), ask("create")
    for name in ("StackId", "RequestId", "LogicalResourceId"):
        assert answer[name] == request[name]
    # The signature of the URL covers an empty content type.
    assert answer["content-type"] == ""


def test_the_same_again_writes_nothing_and_the_resource_keeps_its_id(ask: Call, account: Any) -> None:
    first = ask("create")
    head = account.s3.head_object(Bucket="tidegate-control", Key=keys(account)[0])["LastModified"]
    second = ask("update")
    assert (second["Data"], second["PhysicalResourceId"]) == (first["Data"], first["PhysicalResourceId"])
    assert account.s3.head_object(Bucket="tidegate-control", Key=keys(account)[0])["LastModified"] == head


@pytest.mark.parametrize("change", ["content", "name"])
def test_whatever_changes_makes_a_new_hash_and_the_old_one_stays(
    ask: Call, account: Any, layers: Path, change: str
) -> None:
    first = ask("create")
    sql = layers / "tidegate_artifacts" / "user" / "sql" / "a.sql"
    if change == "content":
        sql.write_bytes(b"select 2")
    else:
        sql.rename(sql.with_name("b.sql"))
    assert ask("update")["Data"]["Hash"] != first["Data"]["Hash"]
    assert len(keys(account)) == 2 * len(FILES)


def test_deleting_leaves_what_runs_may_still_read(ask: Call, account: Any) -> None:
    ask("create")
    assert ask("delete")["Status"] == "SUCCESS"
    assert len(keys(account)) == len(FILES)


def test_a_failure_is_answered_with_its_words(ask: Call, account: Any) -> None:
    account.s3.delete_bucket(Bucket="tidegate-control")
    answer = ask("create")
    assert answer["Status"] == "FAILED"
    assert "NoSuchBucket" in answer["Reason"]
    assert len(json.dumps(answer)) < 4096


@pytest.mark.parametrize("name", ["DailyBudget", "MonthlyBudget"])
def test_a_budget_that_no_prices_hold_is_refused_at_deploy(
    ask: Call, account: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    answer = ask("update", **{name: "12.5"})
    assert answer["Status"] == "FAILED"
    assert "there is no price sheet of eu-central-1: run `tidegate prices refresh" in answer["Reason"]
    # BUT without a budget, or with prices, it is as good as any
    assert ask("update", **{name: "0"})["Status"] == "SUCCESS"
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    assert ask("update", **{name: "12.5"})["Status"] == "SUCCESS"


@pytest.mark.parametrize(
    ("quiet_hours", "words"),
    [("22:00-06:00 Europe/Berln", "'Europe/Berln' is not a time zone"), ("06:00-06:00 UTC", "are none, or all day")],
)
def test_quiet_hours_that_cannot_be_kept_are_refused_at_deploy(
    ask: Call, account: Any, quiet_hours: str, words: str
) -> None:
    answer = ask("update", QuietHours=quiet_hours)
    assert answer["Status"] == "FAILED"
    assert words in answer["Reason"]
    assert keys(account) == []


def test_a_missing_file_is_named(ask: Call, layers: Path) -> None:
    (layers / "tidegate_artifacts" / "main.py").unlink()
    answer = ask("create")
    assert answer["Status"] == "FAILED"
    assert "main.py" in answer["Reason"]


def test_slow_publishing_is_answered_before_lambda_ends_it(
    ask: Call, monkeypatch: pytest.MonkeyPatch, make_context: Call
) -> None:
    monkeypatch.setattr(publish_artifacts, "publish_artifacts", lambda *_, **__: threading.Event().wait(30))
    answer = ask("create", make_context(remaining_ms=200))
    assert answer["Status"] == "FAILED"
    assert "TimeoutError: not done within" in answer["Reason"]


def test_deleting_works_even_if_nothing_else_does(ask: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONTROL_BUCKET")
    assert ask("delete")["Status"] == "SUCCESS"
