"""`tidegate local`: hands over to the local cloud, and turns its errors into one line."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
import tidegate_local
from tidegate_cli.exit_codes import ExitCode
from tidegate_cli.main import run


class FakeLauncher(ModuleType):
    """Notes what it is asked for; refuses when told to."""

    class LocalCloudError(Exception):
        """As the launcher's own."""

    def __init__(self) -> None:
        super().__init__("tidegate_local.launcher")
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.refusal: str | None = None

    def up(self, **options: Any) -> str:
        return self._note("up", options)

    def down(self) -> str:
        return self._note("down", {})

    def status(self) -> str:
        return self._note("status", {})

    def fault(self, texts: list[str], *, clear: bool) -> str:
        return self._note("fault", {"texts": texts, "clear": clear})

    def _note(self, verb: str, options: dict[str, Any]) -> str:
        self.asked.append((verb, options))
        if self.refusal:
            raise self.LocalCloudError(self.refusal)
        return f"{verb} is done"


@pytest.fixture
def launcher(monkeypatch: pytest.MonkeyPatch) -> FakeLauncher:
    fake = FakeLauncher()
    monkeypatch.setitem(sys.modules, "tidegate_local.launcher", fake)
    monkeypatch.setattr(tidegate_local, "launcher", fake, raising=False)
    return fake


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["up"], ("up", {"detach": False, "port": None, "yarn": False})),
        (["up", "--detach", "--port", "5000"], ("up", {"detach": True, "port": 5000, "yarn": False})),
        (["down"], ("down", {})),
        (["status"], ("status", {})),
        (["fault"], ("fault", {"texts": [], "clear": False})),
        (
            ["fault", '{"fault": "no_capacity"}', "--clear"],
            ("fault", {"texts": ['{"fault": "no_capacity"}'], "clear": True}),
        ),
    ],
)
def test_each_verb_is_handed_over(
    words: list[str], asked: tuple[str, Any], launcher: FakeLauncher, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["local", *words]) == ExitCode.OK
    assert capsys.readouterr().out == f"{words[0]} is done\n"
    assert launcher.asked == [asked]


def test_a_refusal_is_one_line(launcher: FakeLauncher, capsys: pytest.CaptureFixture[str]) -> None:
    launcher.refusal = "Port 4566 is taken; --port names another."
    assert run(["local", "up"]) == ExitCode.FAILED
    assert capsys.readouterr().err == "Error: Port 4566 is taken; --port names another.\n"


def test_a_port_that_is_none_is_refused(launcher: FakeLauncher, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["local", "up", "--port", "70000"]) == ExitCode.USAGE
    assert "65535" in capsys.readouterr().err
    assert launcher.asked == []
