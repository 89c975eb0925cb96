"""Faults on demand: a file `faults.json` in the run folder says what is to go wrong next.

A list of objects; each holds `fault` and, where it applies, which cluster and step (shell patterns
over their names) and how often it strikes::

    [{"fault": "no_capacity", "cluster": "tidegate-*", "times": 1},
     {"fault": "step_death", "step": "*flights*", "after_s": 2}]

* `no_capacity`: STARTING ends in TERMINATED_WITH_ERRORS and pending steps are CANCELLED.
* `bootstrap_failure`: BOOTSTRAPPING ends in TERMINATED_WITH_ERRORS.
* `step_death`: the step's process is killed `after_s` seconds (default 0) into its run, as by the kernel
  when memory runs out.
* `lost_nodes`: a cluster that is up ends in TERMINATED_WITH_ERRORS, and its running steps with it, as
  when Spot takes the nodes.

The file is read at each transition; it may be written, changed and removed while the cloud runs. What
is not JSON, or names no known fault, is logged and ignored. An entry that has struck `times` (default
1) times is used up; to have it again, write it with another `"note"`.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

logger = logging.getLogger("tidegate.local.emr")

NO_CAPACITY = "no_capacity"
BOOTSTRAP_FAILURE = "bootstrap_failure"
STEP_DEATH = "step_death"
LOST_NODES = "lost_nodes"
KINDS = frozenset({NO_CAPACITY, BOOTSTRAP_FAILURE, STEP_DEATH, LOST_NODES})


@dataclass
class Faults:
    """The planned faults and how often each has struck."""

    planned: Sequence[dict[str, Any]] = ()
    struck: Counter[str] = field(default_factory=Counter)

    def strike(self, kind: str, *, cluster: str, step: str = "") -> dict[str, Any] | None:
        """The first planned fault of `kind` that fits, used once more; None if there is none."""
        for fault in self.planned:
            key = json.dumps(fault, sort_keys=True)
            if (
                fault.get("fault") == kind
                and fnmatchcase(cluster, str(fault.get("cluster", "*")))
                and fnmatchcase(step, str(fault.get("step", "*")))
                and self.struck[key] < int(fault.get("times", 1))
            ):
                self.struck[key] += 1
                return fault
        return None

    def read(self, path: Path) -> None:
        """Take over what the file plans now."""
        try:
            planned = json.loads(path.read_text())
        except FileNotFoundError:
            self.planned = ()
            return
        except (OSError, ValueError) as trouble:
            logger.warning("%s is not readable and is ignored: %s", path, trouble)
            self.planned = ()
            return
        if not isinstance(planned, list):
            planned = [planned]
        known = [fault for fault in planned if isinstance(fault, dict) and fault.get("fault") in KINDS]
        if len(known) < len(planned):
            logger.warning("%s: faults other than %s are ignored.", path, ", ".join(sorted(KINDS)))
        self.planned = known
