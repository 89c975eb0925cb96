"""All policies by name: each is a function from a situation to the record of what came of it."""

from collections.abc import Callable, Mapping

from tidegate_lab.outcome import Record
from tidegate_lab.policies.always_on import always_on
from tidegate_lab.policies.cluster_a_file import cluster_a_file
from tidegate_lab.policies.hourly_cron import hourly_cron, thrifty_cron
from tidegate_lab.policies.serverless import serverless
from tidegate_lab.policies.situation import Situation
from tidegate_lab.policies.tidegate_runs import (
    tidegate_late_claim,
    tidegate_lingers,
    tidegate_runs,
    tidegate_unlearned,
)

Policy = Callable[[Situation], Record]

POLICIES: Mapping[str, Policy] = {
    "hourly_cron": hourly_cron,
    "thrifty_cron": thrifty_cron,
    "cluster_a_file": cluster_a_file,
    "always_on": always_on,
    "serverless": serverless,
    "tidegate": tidegate_runs,
}
WHAT_IF: Mapping[str, Policy] = {
    "tidegate_late_claim": tidegate_late_claim,
    "tidegate_lingers": tidegate_lingers,
    "tidegate_unlearned": tidegate_unlearned,
}
"""Not what the product does: what it could do."""
