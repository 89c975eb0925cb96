"""The set-up, the locks and CI say the same."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_set_up_installs_the_uv_that_is_locked() -> None:
    setup = (ROOT / "local" / "setup.py").read_text()
    locked = (ROOT / "locks" / "dev.txt").read_text()
    pinned = re.search(r'UV = "(uv==[\d.]+)"', setup)
    assert pinned
    assert f"\n{pinned[1]} " in locked


@pytest.mark.parametrize("lock", ["dev", "lambda", "sam", "cluster"])
def test_locks_pin_every_package_by_hash_and_name_no_host(lock: str) -> None:
    text = (ROOT / "locks" / f"{lock}.txt").read_text()
    assert "://" not in text
    for entry in re.split(r"\n(?=[a-z])", text):
        assert re.match(r"[a-z0-9._-]+(\[[a-z,]+\])?==\S+", entry), entry
        assert "--hash=sha256:" in entry


def test_ci_runs_the_readmes_own_command() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert "exec make test" in script
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_every_exact_pin_has_its_reason() -> None:
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    pins = [line for line in lines if re.match(r'\s+"[\w-]+==', line)]
    assert pins
    assert [line for line in pins if "#" not in line] == []
