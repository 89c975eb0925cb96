"""Which tests must share a process when several work side by side, and what the whole run has to tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

LINES = pytest.StashKey[list[str]]()
_HERE = Path(__file__).parent
_OWN_PROCESS = {"spark": "spark", "stand_in": "spark", "local": "local cloud", "campaign": "campaign"}
"""Folders whose tests share something that takes long to start: a Spark session, a local cloud."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        group = _OWN_PROCESS.get(item.path.relative_to(_HERE).parts[0])
        if group:
            item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def summary(pytestconfig: pytest.Config) -> list[str]:
    """Lines for the end of the test run: what a campaign found is what it is for."""
    return pytestconfig.stash.setdefault(LINES, [])


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Of a process beside others: its lines go to the one that prints."""
    answer: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if answer is not None:
        answer["lines"] = session.config.stash.get(LINES, [])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash.setdefault(LINES, []).extend(getattr(node, "workeroutput", {}).get("lines", []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if lines := terminalreporter.config.stash.get(LINES, []):
        terminalreporter.section("campaigns")
        for line in lines:
            terminalreporter.write_line(line)
