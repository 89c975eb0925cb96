"""The job as a step runs it: `spark-submit`, the package in a zip file, nothing else of the project on the path."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyspark
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def submit(tmp_path: Path, spark_settings: Callable[[Path], tuple[dict[str, str], str]]) -> Any:
    properties, java_home = spark_settings(tmp_path / "spark")
    archive = tmp_path / "tidegate_spark.zip"
    with zipfile.ZipFile(archive, "w") as package:
        for path in (ROOT / "spark" / "tidegate_spark").rglob("*.py"):
            package.write(path, path.relative_to(ROOT / "spark"))
    conf_dir = tmp_path / "conf"
    conf_dir.mkdir()
    (conf_dir / "spark-defaults.conf").write_text("".join(f"{k} {v}\n" for k, v in properties.items()))

    def run(work_uri: str) -> subprocess.CompletedProcess[str]:
        home = Path(pyspark.__file__).parent
        return subprocess.run(
            [
                *(str(home / "bin" / "spark-submit"), "--deploy-mode", "client", "--name", "tidegate run-1 g0"),
                *("--py-files", archive.as_uri(), (ROOT / "spark" / "main.py").as_uri(), "--work", work_uri),
            ],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "JAVA_HOME": java_home,
                "SPARK_HOME": str(home),
                "SPARK_CONF_DIR": str(conf_dir),
                "SPARK_LOCAL_IP": "127.0.0.1",
                # Without `site` no editable package is found: what the zip lacks, is missing.
                "PYSPARK_PYTHON": sys.executable,
                "PYSPARK_DRIVER_PYTHON": sys.executable,
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    return run


def test_main_runs_from_a_zip_file_under_spark_submit(lake: Any, submit: Any) -> None:
    # GIVEN two tables, one with a batch that can't be merged
    for table in ("good", "bad"):
        lake.contract(table, {"id": "int", "name": "string"})
    file = lake.land("name,id\nann,1\n")
    work = lake.work(lake.batch("good", 1, [file]), lake.batch("bad", 5, [file], predecessor=4))
    # WHEN
    done = submit(work.as_uri())
    # THEN the exit code says that not all is merged, and the receipts which
    receipts = [json.loads(path.read_bytes()) for path in lake.receipts(work)]
    assert done.returncode == 1, done.stderr[-3000:]
    assert [receipt["outcome"] for receipt in receipts] == ["merged", "failed"]
    assert receipts[1]["error"]["type"] == "WrongPredecessor"
    assert lake.rows("good") == [(1, "ann")]
    # AND every line of its log is JSON, with what it is about
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.strip()]
    [wrote] = [line for line in lines if line.get("table") == "good" and line["message"] == "Wrote the receipt"]
    assert (wrote["run_id"], wrote["pass"], wrote["batch"]) == ("run-1", 0, 1)
