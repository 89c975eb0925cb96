"""reconcile_arrivals on golden events."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import reconcile_arrivals
import record_arrivals

Call = Callable[..., Any]
KEY = "flights/2013-01/part-0001.csv"


@pytest.fixture
def old(account: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An account whose objects landed a week ago, so to speak."""
    from tidegate import reconciling

    week = timedelta(days=7)
    is_young = reconciling._is_young
    monkeypatch.setattr(reconciling, "_is_young", lambda version, now: is_young(version, now + week))
    return account


def land(account: Any, key: str = KEY, body: bytes = b"id\n1\n") -> str:
    answer: str = account.s3.put_object(Bucket="tidegate-landing", Key=key, Body=body)["VersionId"]
    return answer


def test_the_schedule_records_what_no_event_told_of(run: Call, old: Any, golden: Call) -> None:
    versions = [land(old), land(old), land(old, "nobody/asked.csv")]
    answer = run(reconcile_arrivals, golden("reconcile_arrivals.scheduled"))
    assert answer == {"seen": 3, "known": 0, "recorded": 2, "ignored": 1, "young": 0, "is_done": True}
    items = sorted(old.items("arrival"), key=lambda item: item["sk"])
    assert {item["version_id"] for item in items} == set(versions)
    assert {(item["state"], item["table"]) for item in items if item["key"] == KEY} == {("pending", "flights")}
    # AND the round is through: the next hour has nothing to do
    assert run(reconcile_arrivals, golden("reconcile_arrivals.scheduled"))["seen"] == 0


def test_by_hand_it_looks_below_a_prefix_and_says_where_to_go_on(run: Call, old: Any, golden: Call) -> None:
    land(old)
    land(old, "airlines/a.csv")
    answer = run(reconcile_arrivals, golden("reconcile_arrivals.now"))
    assert (answer["recorded"], answer["after"], answer["is_done"]) == (1, None, True)
    assert [item["key"] for item in old.items("arrival")] == [KEY]
    assert old.items("round") == []


def test_what_its_event_told_of_is_known(run: Call, old: Any, golden: Call) -> None:
    version = land(old)
    event = golden("record_arrivals.created")
    body = json.loads(event["Records"][0]["body"])
    body["detail"]["object"]["version-id"] = version
    event["Records"][0]["body"] = json.dumps(body)
    run(record_arrivals, event)
    assert run(reconcile_arrivals, golden("reconcile_arrivals.now"))["known"] == 1
    assert len(old.items("arrival")) == 1


def test_an_event_that_comes_after_all_changes_nothing(run: Call, old: Any, golden: Call) -> None:
    version = land(old)
    run(reconcile_arrivals, golden("reconcile_arrivals.now"))
    event = golden("record_arrivals.created")
    body = json.loads(event["Records"][0]["body"])
    body["detail"]["object"]["version-id"] = version
    body["time"] = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    event["Records"][0]["body"] = json.dumps(body)
    assert run(record_arrivals, event) == {"batchItemFailures": []}
    assert len(old.items("arrival")) == 1


def test_what_landed_just_now_is_left_to_its_event(run: Call, account: Any, golden: Call) -> None:
    land(account)
    assert run(reconcile_arrivals, golden("reconcile_arrivals.now"))["young"] == 1
    assert account.items("arrival") == []


def test_a_call_that_runs_out_of_time_stops_after_a_page(
    run: Call, old: Any, golden: Call, make_context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tidegate.adapters.objects import S3Objects

    keys = [f"flights/2013-01/{name}.csv" for name in "abc"]
    for key in keys:
        land(old, key)
    init = S3Objects.__init__

    def with_small_pages(self: Any) -> None:
        init(self)
        listing = self._client.list_object_versions
        self._client.list_object_versions = lambda **request: listing(MaxKeys=1, **request)

    monkeypatch.setattr(S3Objects, "__init__", with_small_pages)
    late = make_context(remaining_ms=20_000)
    calls = [run(reconcile_arrivals, golden("reconcile_arrivals.scheduled"), late)]
    while not calls[-1]["is_done"]:
        calls.append(run(reconcile_arrivals, golden("reconcile_arrivals.scheduled"), late))
    assert len(calls) > 1
    assert sorted(item["key"] for item in old.items("arrival")) == keys


def test_what_was_found_is_counted(run: Call, old: Any, golden: Call, capsys: pytest.CaptureFixture[str]) -> None:
    land(old)
    run(reconcile_arrivals, golden("reconcile_arrivals.now"))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert [line["ArrivalsReconciled"] for line in lines if "_aws" in line] == [[1.0]]
