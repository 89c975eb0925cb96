"""The campaign's results are what it is for, so they stand in the summary of every test run."""

from collections.abc import Iterator
from typing import Any

import pytest
from campaign.crew import carry_out
from campaign.scenarios import SCENARIOS

_lines: list[str] = []


@pytest.fixture(scope="session")
def summary() -> Iterator[list[str]]:
    """Lines for the end of the test run."""
    yield _lines


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each scenario makes of the stack with nothing going wrong: its calls, and the rights that they need."""
    folder = tmp_path_factory.mktemp("watch")
    answers = carry_out([{"task": "find points", "scenario": name} for name in SCENARIOS], folder)
    assert {name: answer["wrong"] for name, answer in zip(SCENARIOS, answers, strict=True) if answer["wrong"]} == {}
    return answers


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _lines:
        terminalreporter.section("crash campaign and rerun matrix")
        for line in _lines:
            terminalreporter.write_line(line)
