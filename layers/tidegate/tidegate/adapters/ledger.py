"""The ledger in DynamoDB. Two Lambdas doing the same thing at once is the normal case: every write is conditional."""

from tidegate.adapters.ledger_arrivals import ArrivalsInLedger
from tidegate.adapters.ledger_batches import BatchesInLedger
from tidegate.adapters.ledger_costs import CostsInLedger
from tidegate.adapters.ledger_history import HistoryInLedger
from tidegate.adapters.ledger_rounds import RoundsInLedger
from tidegate.adapters.ledger_runs import RunsInLedger
from tidegate.adapters.ledger_scaling import ScalingInLedger
from tidegate.adapters.ledger_tables import TablesInLedger


class DynamoLedger(
    ArrivalsInLedger,
    TablesInLedger,
    BatchesInLedger,
    RunsInLedger,
    RoundsInLedger,
    HistoryInLedger,
    ScalingInLedger,
    CostsInLedger,
):
    """Keeps to `tidegate.ports.Ledger`: one table, its parts each in a file of their own."""
