"""The set-up, the locks and CI say the same."""

import re
import runpy
import subprocess
import sys
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


@pytest.mark.parametrize("version", [(3, 9), (3, 12)])
def test_another_python_is_refused_with_what_to_do(
    version: tuple[int, int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # GIVEN a Python that PySpark 3.5 or the code does not run on
    setup = runpy.run_path(str(ROOT / "local" / "setup.py"))
    monkeypatch.setattr(sys, "version_info", (*version, 0))
    # WHEN the set-up begins THEN one sentence says what is wrong and what to do
    with pytest.raises(SystemExit) as ended:
        setup["check_python"]()
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert f"this is Python {version[0]}.{version[1]}" in said
    assert "PYTHON=" in said


def test_a_full_disk_is_refused_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    setup = runpy.run_path(str(ROOT / "local" / "setup.py"))
    setup["check_room"].__globals__["ROOM_BYTES"] = 2**60
    with pytest.raises(SystemExit):
        setup["check_room"]()
    assert "GiB are free" in capsys.readouterr().err


def test_a_set_up_that_is_done_is_silent() -> None:
    done = subprocess.run([sys.executable, ROOT / "local" / "setup.py"], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
