"""record_arrivals: events of the queue become items of the ledger."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import record_arrivals

Call = Callable[..., Any]
KEY = "flights/2013-01/part-0001.csv"


def states(account: Any) -> list[tuple[str, str]]:
    return sorted((item["key"], item["state"]) for item in account.items("arrival"))


def test_a_file_that_landed_is_pending_for_its_table(run: Call, account: Any, golden: Call) -> None:
    assert run(record_arrivals, golden("record_arrivals.created")) == {"batchItemFailures": []}
    (item,) = account.items("arrival")
    assert (item["table"], item["state"], item["version_id"]) == (
        "flights",
        "pending",
        "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
    )
    assert item["sk"] == "0055aed6dcd90281e5".rjust(40, "0")
    assert item["captures"] == {"month": "2013-01"}


def test_each_version_is_recorded_once_however_often_its_event_comes(run: Call, account: Any, golden: Call) -> None:
    # GIVEN an overwrite, and the first event a second time
    for _ in range(2):
        assert run(record_arrivals, golden("record_arrivals.overwritten")) == {"batchItemFailures": []}
    assert states(account) == [(KEY, "pending"), (KEY, "pending")]


def test_keys_are_recorded_letter_for_letter(run: Call, account: Any, golden: Call) -> None:
    event = golden("record_arrivals.odd_keys")
    run(record_arrivals, event)
    sent = {json.loads(record["body"])["detail"]["object"]["key"] for record in event["Records"]}
    assert {key for key, _ in states(account)} == sent
    assert {state for _, state in states(account)} == {"pending"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("folder_marker", "a folder marker, not a file"),
        ("empty_file", "the file is empty"),
        ("no_contract", "no contract's landing pattern matches the key: add one in tables/"),
        ("deleted", "Object Deleted: what was merged from the object stays in its table"),
    ],
)
def test_what_is_not_merged_is_recorded_with_its_reason(
    run: Call, account: Any, golden: Call, name: str, reason: str
) -> None:
    assert run(record_arrivals, golden(f"record_arrivals.{name}")) == {"batchItemFailures": []}
    (item,) = account.items("arrival")
    assert (item["state"], item["reason"]) == ("ignored", reason)
    # Not among the pending ones, but where a replay finds it until it is forgotten.
    assert item["pending_pk"].startswith("ignored#")
    assert "expires_at" in item


def test_s3s_test_message_is_nothing(run: Call, account: Any, golden: Call) -> None:
    assert run(record_arrivals, golden("record_arrivals.test_event")) == {"batchItemFailures": []}
    assert account.items("arrival") == []


@pytest.mark.parametrize("body", ["no json", "[]", "null", '{"detail-type": "Object Created"}', '"text"', "7"])
def test_a_message_that_is_no_event_goes_back_alone(run: Call, account: Any, golden: Call, body: str) -> None:
    # GIVEN a good event, and beside it one that isn't S3's and one that isn't an event
    event = golden("record_arrivals.not_s3")
    event["Records"].append(event["Records"][0] | {"messageId": "broken", "body": body})
    # THEN the two go back to the queue, and after five times to the dead-letter queue
    failures = run(record_arrivals, event)["batchItemFailures"]
    assert [each["itemIdentifier"][-6:] for each in failures] == ["950001", "broken"]
    assert states(account) == [(KEY, "pending")]


def test_a_batch_of_nothing_but_broken_messages_goes_back_without_a_crash(run: Call, golden: Call) -> None:
    event = golden("record_arrivals.not_s3")
    event["Records"] = event["Records"][1:]
    assert len(run(record_arrivals, event)["batchItemFailures"]) == 1


def test_an_event_of_another_bucket_goes_back(
    run: Call, account: Any, golden: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANDING_BUCKET", "mine")
    assert len(run(record_arrivals, golden("record_arrivals.created"))["batchItemFailures"]) == 1
    assert account.items("arrival") == []


def test_what_was_recorded_is_counted_and_logged_by_its_arrival(
    run: Call, golden: Call, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    run(record_arrivals, golden("record_arrivals.created"))
    run(record_arrivals, golden("record_arrivals.created"))
    run(record_arrivals, golden("record_arrivals.deleted"))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    counted = [name for line in lines if "_aws" in line for name in line if name.startswith("Arrivals")]
    assert counted == ["ArrivalsRecorded", "ArrivalsRepeated", "ArrivalsIgnored"]
    # AND logged is what is not everyday: lines for all of them would cost as much as the rest of the function
    assert vars(caplog.records[0])["arrival"] == f"tidegate-landing/{KEY}#{'0055aed6dcd90281e5'.rjust(40, '0')}"
    said = [(record.getMessage(), vars(record)["state"]) for record in caplog.records if record.levelname == "INFO"]
    assert said == [("arrival was known", "pending"), ("arrival recorded", "ignored")]
