"""What the campaign's tests share: each scenario, watched with nothing going wrong."""

from typing import Any

import pytest
from campaign.crew import carry_out
from campaign.scenarios import SCENARIOS


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each scenario makes of the stack with nothing going wrong: its calls, and the rights that they need."""
    folder = tmp_path_factory.mktemp("watch")
    answers = carry_out([{"task": "find points", "scenario": name} for name in SCENARIOS], folder)
    assert {name: answer["wrong"] for name, answer in zip(SCENARIOS, answers, strict=True) if answer["wrong"]} == {}
    return answers
