"""What scaling knows of runs, in the ledger: a state a run, and an item a look."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

from tidegate.adapters.ledger_calls import LedgerCalls
from tidegate.adapters.ledger_items import epoch, scaling_key
from tidegate.scaling import ScalingState
from tidegate.scaling_record import ScalingLook, decode_state, encode_state, look_as_item, read_look

LOOKS_KEPT = timedelta(days=30)


class ScalingInLedger(LedgerCalls):
    """The part of `tidegate.ports.Ledger` that is about scaling."""

    def scaling_state(self, run_id: str) -> tuple[ScalingState | None, str]:
        text = str((self._get(scaling_key(run_id)) or {}).get("scaling", ""))
        return decode_state(text), text

    def record_scaling(self, run_id: str, look: ScalingLook, state: ScalingState, seen: str) -> bool:
        expires_at = epoch(look.at + LOOKS_KEPT)
        is_first = self._update(
            scaling_key(run_id),
            "SET #kind = :kind, scaling = :state, expires_at = :expires",
            {
                ":kind": "scaling",
                ":state": encode_state(state),
                ":expires": expires_at,
                **({":seen": seen} if seen else {}),
            },
            condition="scaling = :seen" if seen else "attribute_not_exists(scaling)",
            names=("kind",),
        )
        if is_first:
            found = {
                name: Decimal(str(value)) if isinstance(value, float) else value
                for name, value in look_as_item(look).items()
            }
            self._put(
                {**scaling_key(run_id, look.at), "kind": "look", "expires_at": expires_at, **found},
                "attribute_not_exists(pk)",
            )
        return is_first

    def scaling_looks(self, run_id: str) -> Iterator[ScalingLook]:
        items = self._query(
            KeyConditionExpression="pk = :run AND begins_with(sk, :look)",
            ExpressionAttributeValues={":run": scaling_key(run_id)["pk"], ":look": "look#"},
        )
        return (read_look(item) for item in items)
