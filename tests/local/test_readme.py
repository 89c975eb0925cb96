"""The README's commands do what it says, on the local cloud."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from clouds import Cloud
from tidegate_local.server import GAPS

pytestmark = pytest.mark.local_cloud
ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def blocks() -> list[str]:
    """The code blocks of the README, in order."""
    return re.findall(
        r"^```\w*\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def run(command: list[str], cloud: Cloud, given: str | None = None) -> str:
    environment = os.environ | {"TIDEGATE_HOME": str(cloud.here.state_dir), "COLUMNS": "200"}
    done = subprocess.run(command, cwd=ROOT, env=environment, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_file_of_ones_own_is_queryable_by_the_readmes_commands(local_cloud: Cloud) -> None:
    # GIVEN the block that puts a file and looks at it
    (block,) = [each for each in blocks() if "put_object" in each]
    script = re.search(r"<<'PY'\n(.*?)^PY$", block, re.DOTALL | re.MULTILINE)
    assert script is not None
    commands = re.findall(r"^\.venv/bin/tidegate (.*)$", block, re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["dispatch", "query", "status", "timings", "local"]
    # WHEN its commands run, but for the one that takes this cloud down
    local_json = str(local_cloud.here.state_dir / "local.json")
    run([sys.executable, "-"], local_cloud, script[1].replace(".tidegate/local.json", local_json))
    wait_until_pending(local_cloud)
    said = {}
    for command in commands[:-1]:
        words = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', command)]
        said[words[0]] = run([str(BIN / "tidegate"), *words], local_cloud)
    # THEN they say what a reader hopes for
    assert "has succeeded" in said["dispatch"]
    assert re.search(r"LH\s+Lufthansa", said["query"])
    assert re.search(r"airlines\s+\d+\s+\d+ ", said["status"])
    assert "is merged and queryable" in said["timings"]


def wait_until_pending(cloud: Cloud) -> None:
    """The event is on its way for a second or two: a reader's fingers are slower than this test."""
    for _ in range(100):
        tables = json.loads(run([str(BIN / "tidegate"), "status", "--json"], cloud))["tables"]
        if sum(table["pending_files"] for table in tables):
            return
        time.sleep(0.2)
    raise AssertionError("the file is not recorded")


def test_the_targets_that_the_readme_names_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = {line.split()[1] for block in blocks() for line in block.splitlines() if line.startswith("make ")}
    assert {"demo", "test", "local", "deploy", "check"} <= named
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_page_that_the_docs_link_to_exists() -> None:
    for page in [ROOT / "README.md", ROOT / "local" / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.relative_to(ROOT)}: {link}"


def test_the_local_clouds_page_names_every_gap_that_is_filled() -> None:
    page = (ROOT / "local" / "README.md").read_text(encoding="utf-8")
    names = [gap.removeprefix("tidegate_local.") for gap in GAPS]
    assert [name for name in names if f"`{name}.py`" not in page and f"`{name}/`" not in page] == []
