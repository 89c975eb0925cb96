"""docs/catalog.md says what is so."""

import json
import re
from pathlib import Path

import yaml
from tidegate.announcements import COUNTED, DETAIL_TYPE, SOURCE

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "catalog.md").read_text(encoding="utf-8")
GOLDEN = json.loads((ROOT / "events" / "table_updated.json").read_text(encoding="utf-8"))


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_the_event_on_the_page_is_the_golden_one() -> None:
    (shown,) = map(json.loads, blocks("json"))
    assert shown == {name: GOLDEN[name] for name in ("source", "detail-type", "detail")}
    assert (shown["source"], shown["detail-type"], tuple(shown["detail"]["rows"])) == (SOURCE, DETAIL_TYPE, COUNTED)


def test_the_rule_on_the_page_matches_it_and_no_other_tables() -> None:
    from ministack import app  # noqa: F401 - its services expect to be imported after it
    from ministack.services import eventbridge

    (text,) = blocks("yaml")
    rule = yaml.safe_load(text.replace("!GetAtt ", ""))["FlightsUpdated"]["Properties"]
    pattern = json.dumps(rule["EventPattern"])

    def matches(table: str) -> bool:
        event = {"Source": GOLDEN["source"], "DetailType": GOLDEN["detail-type"],
                 "Detail": json.dumps(GOLDEN["detail"] | {"table": table}), "Account": "1", "Region": "r",
                 "Resources": [], "Time": GOLDEN["time"]}  # fmt: skip
        return bool(eventbridge._matches_pattern(pattern, event))

    assert matches("flights")
    assert not matches("planes")
