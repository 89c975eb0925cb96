"""Record what an event tells of: once, whatever the order and number of its events."""

from datetime import datetime
from typing import Any

from tidegate.arrivals import CREATED, LATE_AFTER, REPEATED_AFTER, Arrival, is_known_version, read_event
from tidegate.contracts import Contracts
from tidegate.ports import Ledger


def record_event(
    event: Any, *, ledger: Ledger, contracts: Contracts, landing_bucket: str, now: datetime
) -> tuple[Arrival | None, bool]:
    """Record one event. Returns its arrival (None for S3's test message) and whether it was new.

    A late event may tell of a version that reconciling has found; one on time is never asked about, which would cost a
    read an arrival. A very old event, of a version that is no newer than what was claimed of its key, is taken for a
    repeated one: its arrival may have been forgotten.

    Raises NotAnArrival for what is no event of the landing bucket, Throttled.
    """
    arrival = read_event(event, contracts, landing_bucket)
    if arrival is None:
        return None, False
    if now - arrival.event_time > LATE_AFTER and _is_known(arrival, ledger, now):
        return arrival, False
    return arrival, ledger.record_arrival(arrival, now)


def _is_known(arrival: Arrival, ledger: Ledger, now: datetime) -> bool:
    """Whether the ledger has, or had, what a late event tells of."""
    if arrival.event_name == CREATED and is_known_version(arrival, ledger.versions(arrival.bucket, arrival.key)):
        return True
    if now - arrival.event_time <= REPEATED_AFTER:
        return False
    head = ledger.head(arrival.bucket, arrival.key)
    return head is not None and arrival.sequencer <= head.sequencer
