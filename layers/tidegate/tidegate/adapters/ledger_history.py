"""What was learned of start-ups and merges, in the ledger: one item for the stack and one a table."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from tidegate.adapters.ledger_calls import LedgerCalls
from tidegate.adapters.ledger_items import history_key
from tidegate.history import (
    MERGES_KEPT,
    START_UPS_KEPT,
    MergeSample,
    Sample,
    StartUpSample,
    decode_merges,
    decode_start_ups,
    encode_history,
    learn,
)

_TRIES = 4
"""Of two functions that learn at once one is first. A sample that is late so often is left out: others follow."""


class HistoryInLedger(LedgerCalls):
    """The part of `tidegate.ports.Ledger` that is about history."""

    def start_ups(self) -> tuple[StartUpSample, ...]:
        return decode_start_ups(_samples(self._get(history_key(None))))

    def merges_of(self, tables: Sequence[str]) -> dict[str, tuple[MergeSample, ...]]:
        items = self._get_all([history_key(table) for table in tables], consistent=False)
        return {item["pk"].removeprefix("table#"): decode_merges(_samples(item)) for item in items}

    def learn_start_up(self, sample: StartUpSample, now: datetime) -> None:
        self._learn(history_key(None), decode_start_ups, sample, now, START_UPS_KEPT)

    def learn_merge(self, table: str, sample: MergeSample, now: datetime) -> None:
        self._learn(history_key(table), decode_merges, sample, now, MERGES_KEPT)

    def _learn(
        self,
        key: Mapping[str, str],
        decode: Callable[[str], tuple[Sample, ...]],
        sample: Sample,
        now: datetime,
        limit: int,
    ) -> None:
        for _ in range(_TRIES):
            seen = _samples(self._get(key))
            learned = encode_history(learn(decode(seen), sample, now, succeeded=True, limit=limit))
            if learned == seen or self._update(
                key,
                "SET samples = :learned, #kind = :kind",
                {":learned": learned, ":kind": "history", **({":seen": seen} if seen else {})},
                condition="samples = :seen" if seen else "attribute_not_exists(samples)",
                names=("kind",),
            ):
                return


def _samples(item: Mapping[str, Any] | None) -> str:
    return str((item or {}).get("samples", ""))
