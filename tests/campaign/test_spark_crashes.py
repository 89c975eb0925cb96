"""The real job on real Delta tables dies at each of its calls around reading, the commit and the receipt."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from campaign.one_process_cloud import ROOT

pytestmark = pytest.mark.spark
SHARES = ("tests", "spark", "layers/tidegate", "local")


@pytest.mark.timeout(1800)
def test_a_job_that_dies_anywhere_is_done_again_and_commits_once(summary: list[str], tmp_path: Path) -> None:
    # GIVEN a process with Spark. WHEN its job dies before each of its calls, and each batch is done again
    path = os.pathsep.join(str(ROOT / each) for each in SHARES)
    worker = subprocess.run(
        [sys.executable, "-m", "campaign.spark_worker", str(tmp_path)],
        capture_output=True, text=True, timeout=1500, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, check=False,
    )  # fmt: skip
    assert worker.returncode == 0, worker.stderr[-3000:]
    deaths = [json.loads(line) for line in worker.stdout.splitlines()]
    wrong = {death["point"]: death["wrong"] for death in deaths if death["wrong"]}
    # THEN the table has each batch once
    summary.append(
        f"crashes of the job with real Spark: points tried / survived: {len(deaths)} / {len(deaths) - len(wrong)}"
    )
    summary.extend(f"  NOT SURVIVED {point}: {str(why)[:600]}" for point, why in wrong.items())
    assert wrong == {}
    assert len(deaths) >= 10
    # AND they were on both sides of the commit
    assert {death["is_committed"] for death in deaths} == {True, False}
