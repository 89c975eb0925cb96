"""Replays: which arrivals an input asks to merge again, and whether one of them is meant."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from tidegate.errors import InvalidRunInput, UnknownTable

ReplayState = Literal["merged", "failed", "quarantined", "ignored"]
REPLAY_STATES: tuple[ReplayState, ...] = get_args(ReplayState)
EXAMPLE = '{"replay": {"table": "flights", "from": "2026-03-01T00:00:00Z", "state": "failed"}}'

MAXIMUM_LISTS = 500
"""Batches that one replay may become. Their names are kept on the table's item, of which DynamoDB takes 400 KB."""


@dataclass(frozen=True)
class Replay:
    """What is to be merged again: arrivals to which every field that is given applies. Times are of the event."""

    table: str | None = None
    prefix: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    state: ReplayState | None = None

    def wants(self, key: str, event_time: datetime) -> bool:
        """Whether an object's key and time are among those that are asked for."""
        return (
            (self.prefix is None or key.startswith(self.prefix))
            and (self.since is None or event_time >= self.since)
            and (self.until is None or event_time < self.until)
        )

    def wants_state(self, state: ReplayState) -> bool:
        return self.state in (None, state)


def read_replay(value: Any, tables: Collection[str]) -> Replay:
    """Check the `replay` of an input: an object with at least one of table, prefix, from, to, state.

    Raises InvalidRunInput, UnknownTable.
    """
    names = (
        {"from": "since", "to": "until"} | {each.name: each.name for each in fields(Replay)[:2]} | {"state": "state"}
    )
    if not isinstance(value, Mapping) or not value:
        raise InvalidRunInput(f"replay must be an object with at least one of {', '.join(sorted(names))}: {EXAMPLE}")
    for name, given in value.items():
        if name not in names:
            raise InvalidRunInput(f"unknown field {name!r} in replay; there are {', '.join(sorted(names))}: {EXAMPLE}")
        if not isinstance(given, str) or not given:
            raise InvalidRunInput(f"{name} in replay must be a text: {EXAMPLE}")
    if "table" in value and value["table"] not in tables:
        known = ", ".join(sorted(tables)) or "none"
        raise UnknownTable(f"no contract has table {value['table']!r}; there are {known}")
    if "state" in value and value["state"] not in REPLAY_STATES:
        raise InvalidRunInput(f"state {value['state']!r} in replay is none of {', '.join(REPLAY_STATES)}")
    times = {names[name]: _time(name, value[name]) for name in ("from", "to") if name in value}
    return Replay(table=value.get("table"), prefix=value.get("prefix"), state=value.get("state"), **times)


def _time(name: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidRunInput(f"{name} in replay is {text!r}, which is no ISO 8601 time: {EXAMPLE}") from error
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
