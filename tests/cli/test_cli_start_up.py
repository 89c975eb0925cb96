"""`--help` costs a fraction of a second: what only some verbs need is imported by those."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("boto3", "deltalake", "pandas", "pydantic", "tidegate_local.launcher")


def test_composing_the_command_imports_nothing_heavy() -> None:
    script = f"import sys, tidegate_cli.main; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
