"""The campaign's results are what it is for, so they stand in the summary of every test run."""

from collections.abc import Iterator

import pytest

_lines: list[str] = []


@pytest.fixture(scope="session")
def summary() -> Iterator[list[str]]:
    """Lines for the end of the test run."""
    yield _lines


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _lines:
        terminalreporter.section("crash campaign and rerun matrix")
        for line in _lines:
            terminalreporter.write_line(line)
