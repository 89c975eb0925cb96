"""What was sent to EventBridge can be looked at."""

import json
from pathlib import Path
from typing import Any

from tidegate_local.event_log import read_events, recorded


def event(source: str, number: int) -> dict[str, Any]:
    return {
        "EventId": f"e-{number}", "Source": source, "DetailType": "Table Updated", "Detail": '{"table": "é"}',
        "Account": "000000000000", "Region": "us-east-1", "Resources": [], "Time": 1767225600,
    }  # fmt: skip


def test_events_are_kept_as_rules_see_them_and_go_on_their_way(tmp_path: Path) -> None:
    delivered: list[tuple[Any, ...]] = []
    file = tmp_path / "events.jsonl"
    assert read_events(file) == []
    dispatch = recorded(file, lambda *given: delivered.append(given))
    for number, source in enumerate(("tidegate", "aws.s3", "tidegate")):
        dispatch(event(source, number), "view")
    assert [each[0]["EventId"] for each in delivered] == ["e-0", "e-1", "e-2"]
    # THEN those of AWS's own services are left out
    first, second = read_events(file)
    assert (first["id"], second["id"]) == ("e-0", "e-2")
    golden = json.loads((Path(__file__).resolve().parents[2] / "events" / "table_updated.json").read_text())
    assert set(first) == set(golden)
    assert (first["time"], first["detail"]) == ("2026-01-01T00:00:00Z", {"table": "é"})
