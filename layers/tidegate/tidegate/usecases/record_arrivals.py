"""Record what an event tells of: once, whatever the order and number of its events."""

from datetime import datetime
from typing import Any

from tidegate.arrivals import Arrival, read_event
from tidegate.contracts import Contracts
from tidegate.ports import Ledger


def record_event(
    event: Any, *, ledger: Ledger, contracts: Contracts, landing_bucket: str, now: datetime
) -> tuple[Arrival | None, bool]:
    """Record one event. Returns its arrival (None for S3's test message) and whether it was new.

    Raises NotAnArrival for what is no event of the landing bucket, Throttled.
    """
    arrival = read_event(event, contracts, landing_bucket)
    if arrival is None:
        return None, False
    return arrival, ledger.record_arrival(arrival, now)
