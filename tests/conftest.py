"""Which tests must share a process when several work side by side, and what the whole run has to tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

LINES = pytest.StashKey[list[str]]()
_HERE = Path(__file__).parent
_DEPLOYED = "local cloud"
_GROUPS = {
    # They deploy the template. One process has them all: two `sam build` of one checkout may meet.
    **dict.fromkeys(
        (f"local/test_{name}.py" for name in ("faults_whole_way", "launcher", "readme", "real_reruns", "whole_way")),
        _DEPLOYED,
    ),
    # It has processes of its own, as many as there are cores.
    **dict.fromkeys(
        (f"campaign/test_{name}.py" for name in ("costs", "crash_campaign", "rerun_matrix", "rights")), "campaign"
    ),
}
"""Modules that stay together in one process."""
_LONGEST_FIRST = (
    *(_DEPLOYED, "campaign", "spark/test_spark_convergence.py", "campaign/test_spark_crashes.py"),
    *("spark", "stand_in", "local", "template", "adapters"),
)
"""Groups and folders. What comes last is small, so that the processes end together."""


def _group_of(path: str) -> str:
    """Any other module is a group, so that what it sets up is set up once. A process has one Spark session at most."""
    place = path.removeprefix("tests/")
    return _GROUPS.get(place, place)


class _ByGroup(LoadScopeScheduling):
    """Gives a group to each process that is free.

    Not `--dist=loadgroup`: with pytest 9.2 it silently gives out test by test, and each process makes its own of
    all that is shared. https://github.com/pytest-dev/pytest-xdist/issues/1386
    """

    def _split_scope(self, nodeid: str) -> str:
        return _group_of(nodeid.partition("::")[0])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return _ByGroup(config, log) if config.getvalue("dist") == "loadscope" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    place = item.path.relative_to(_HERE)
    names = {_group_of(place.as_posix()), place.parts[0]}
    return next((turn for turn, name in enumerate(_LONGEST_FIRST) if name in names), len(_LONGEST_FIRST))


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
