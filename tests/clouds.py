"""Local clouds for tests: their own place and port, clients, and the check that nothing is left of them."""

import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import boto3
import psutil
from tidegate_local import deploy, launcher, processes, settings
from tidegate_local.launcher import LocalCloud

ROOT = Path(__file__).resolve().parent.parent
_LEFT_OUT = shutil.ignore_patterns(".*", "tests", "bench", "docs", "__pycache__")


@dataclass(frozen=True)
class Cloud:
    """A running local cloud, with its settings."""

    fields: LocalCloud
    here: settings.Settings

    def client(self, service: str) -> Any:
        return self._session.client(service, endpoint_url=self.fields.endpoint_url)

    def resource(self, service: str) -> Any:
        return self._session.resource(service, endpoint_url=self.fields.endpoint_url)

    @property
    def _session(self) -> Any:
        return boto3.Session("test", "test", region_name=self.fields.region)

    def switch_schedule(self, *, on: bool) -> None:
        """Let dispatch's minute tick or not. A test that dispatches by itself must not race with it."""
        scheduler = self.client("scheduler")
        (listed,) = (
            each for each in scheduler.list_schedules()["Schedules"] if each["Name"].endswith("-dispatch-runs")
        )
        found = scheduler.get_schedule(Name=listed["Name"], GroupName=listed["GroupName"])
        kept = ("Name", "GroupName", "ScheduleExpression", "FlexibleTimeWindow", "Target", "Description")
        scheduler.update_schedule(**{name: found[name] for name in kept}, State="ENABLED" if on else "DISABLED")


def copy_of_checkout(place: Path, contracts: Mapping[str, str]) -> Path:
    """The checkout with these contracts, by table, in place of its own."""
    shutil.copytree(ROOT, place, ignore=_LEFT_OUT)
    for shared in (".venv", ".venv-sam", ".tidegate"):
        (place / shared).symlink_to(ROOT / shared)
    shutil.rmtree(place / "tables")
    (place / "tables").mkdir()
    for table, text in contracts.items():
        (place / "tables" / f"{table}.yaml").write_text(text, encoding="utf-8")
    return place


@contextmanager
def cloud_with(contracts: Mapping[str, str], folder: Path, **changes: Any) -> Iterator[Cloud]:
    """A local cloud of its own below `folder`, with these contracts by table; `changes` are of its settings."""
    here = replace(own_settings(folder / "state"), **changes)
    checkout = copy_of_checkout(folder / "checkout", contracts)
    with patch.object(launcher, "deploy", partial(deploy.deploy, checkout=checkout)):
        try:
            yield Cloud(launcher.start(here), here)
        finally:
            launcher.down(here=here)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def own_settings(state_dir: Path) -> settings.Settings:
    """A place and a port of its own; jars and the class archive are shared with the checkout."""
    usual = settings.current()
    return replace(usual, state_dir=state_dir, port=free_port())


def assert_nothing_is_left(here: settings.Settings) -> None:
    assert processes.running(here.pids_dir) == []
    assert not here.run_dir.exists()
    named = [
        each for each in psutil.process_iter(["cmdline"]) if str(here.state_dir) in " ".join(each.info["cmdline"] or [])
    ]
    assert named == []
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", here.port))
