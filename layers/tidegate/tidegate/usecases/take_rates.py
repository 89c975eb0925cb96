"""What the ledger has learned of start-ups and merges: what dispatch, sizing and a warm cluster's run reckon with."""

from collections.abc import Sequence
from datetime import datetime

from tidegate.ports import Ledger
from tidegate.rates import ASSUMED, Rates, estimate_rates


def take_rates(ledger: Ledger, tables: Sequence[str], now: datetime) -> Rates:
    """The stack's rates, for `tables` alone: the others' are as all of these together. Raises Throttled."""
    if not tables:
        return ASSUMED
    return estimate_rates(ledger.start_ups(), ledger.merges_of(tables), now)
