"""What an arrival, a batch and a run use up of the control plane: everything but the cluster.

Counted by `bench/control_plane_cost.py`; docs/costs.md has the table, and a test holds the two together. What comes by
the clock (dispatch, looks at clusters, alarms) is nobody's run and is not in it.
"""

from collections.abc import Mapping
from decimal import Decimal

A_RUN_USES: Mapping[str, tuple[str, str, str]] = {
    # By the names of the price sheet: for an arrival, for a batch, for the run itself.
    "DynamoDB write unit": ("5", "9.333", "14"),
    "EventBridge event": ("1", "1", "0"),
    "SQS request": ("1.2", "0", "0"),
    "Lambda GB-second": ("0.01071", "0.1209", "0.3559"),
    "DynamoDB read unit": ("0.1567", "15.33", "17.5"),
    "CloudWatch Logs GB": ("1.629e-08", "4.53e-07", "9.074e-06"),
    "X-Ray trace": ("0.0005", "0", "0.3"),
    "Lambda invocation": ("0.01", "0", "5"),
    "Glue request": ("0", "2", "0"),
    "S3 PUT, COPY or LIST": ("0", "3", "1"),
    "S3 GET or HEAD": ("0", "5", "1"),
    "Step Functions transition": ("0", "0", "12"),
}


def usage_of_run(*, arrivals: int, batches: int, runs: int = 1) -> dict[str, Decimal]:
    """How much of each one run, or so many, have used that merged so many batches of so many arrivals.

    By the sheet's names.
    """
    return {
        name: Decimal(an_arrival) * arrivals + Decimal(a_batch) * batches + Decimal(a_run) * runs
        for name, (an_arrival, a_batch, a_run) in A_RUN_USES.items()
    }
