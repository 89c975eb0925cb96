"""Record what an event tells of: once, whatever the order and number of its events."""

from datetime import datetime
from typing import Any

from tidegate.arrivals import REPEATED_AFTER, Arrival, read_event
from tidegate.contracts import Contracts
from tidegate.ports import Ledger


def record_event(
    event: Any, *, ledger: Ledger, contracts: Contracts, landing_bucket: str, now: datetime
) -> tuple[Arrival | None, bool]:
    """Record one event. Returns its arrival (None for S3's test message) and whether it was new.

    A very old event, of a version that is no newer than what was claimed of its key, is taken for a repeated one: its
    arrival may have been forgotten.

    Raises NotAnArrival for what is no event of the landing bucket, Throttled.
    """
    arrival = read_event(event, contracts, landing_bucket)
    if arrival is None:
        return None, False
    if now - arrival.event_time > REPEATED_AFTER:
        head = ledger.head(arrival.bucket, arrival.key)
        if head is not None and arrival.sequencer <= head.sequencer:
            return arrival, False
    return arrival, ledger.record_arrival(arrival, now)
