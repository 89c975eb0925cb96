"""What is kept of scaling: the state from one look to the next, and every look, for whoever asks afterwards."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import Any, Literal

from tidegate.lost_units import UnitsKnown
from tidegate.run_size import CAPS
from tidegate.scaling import Action, ScalingLimits, ScalingState

LookAction = Action | Literal["relaunch"]
"""What comes of a look; `relaunch` ends a cluster that has no instances in time."""

_MOMENTS = ("busy_since", "idle_since", "seen_at")


@dataclass(frozen=True)
class ScalingLook:
    """One look at a running cluster: what was seen, and what was decided. Units of 4 vCPU; None is what is unknown."""

    at: datetime
    cluster_id: str
    action: LookAction
    reason: str
    maximum_units: int
    maximum_on_demand_units: int | None = None
    units_requested: float | None = None
    units_running: float | None = None
    memory_available_percent: float | None = None
    pending_ratio: float | None = None
    done_bytes: int | None = None
    total_bytes: int | None = None
    deadline: datetime | None = None
    late_by_s: float | None = None
    """How long after its deadline the run will be through, with the units that it has; negative if before."""


def encode_state(state: ScalingState) -> str:
    """As JSON. Not kept: the caps, which are the release's, and what is seen anew each time of cluster and run."""
    lost_since = state.units.lost_since
    document = {
        "cluster_id": state.cluster_id,
        "limits": asdict(state.limits),
        "units": {"had": state.units.had, "lost_since": lost_since.isoformat() if lost_since else None},
        "changes": [at.isoformat() for at in state.changes],
        **{name: at.isoformat() for name in _MOMENTS if (at := getattr(state, name)) is not None},
    }
    return json.dumps(document, separators=(",", ":"))


def decode_state(text: str) -> ScalingState | None:
    """What `encode_state` made; None for what can't be read, and then scaling begins anew."""
    try:
        document = json.loads(text)
        moments: dict[str, Any] = {
            name: datetime.fromisoformat(document[name]) for name in _MOMENTS if name in document
        }
        changes = tuple(datetime.fromisoformat(at) for at in document["changes"])
        state = ScalingState(document["cluster_id"], ScalingLimits(**document["limits"]), CAPS, changes=changes)
        return replace(state, **moments, units=_read_units(document.get("units", {})))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _read_units(found: Mapping[str, Any]) -> UnitsKnown:
    """An earlier release has written none."""
    had, lost_since = found.get("had"), found.get("lost_since")
    return UnitsKnown(
        None if had is None else float(had), None if lost_since is None else datetime.fromisoformat(lost_since)
    )


def look_as_item(look: ScalingLook) -> dict[str, Any]:
    """Without what is unknown; moments as text."""
    found = {each.name: getattr(look, each.name) for each in fields(look)}
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in found.items()
        if value is not None
    }


def read_look(item: Mapping[str, Any]) -> ScalingLook:
    """What `look_as_item` made, whatever kind of number it comes back as."""
    kinds: Mapping[str, Any] = {
        "at": datetime.fromisoformat, "deadline": datetime.fromisoformat, "maximum_units": int, "done_bytes": int,
        "total_bytes": int, "cluster_id": str, "action": str, "reason": str, "maximum_on_demand_units": int,
    }  # fmt: skip
    names = {each.name for each in fields(ScalingLook)}
    return ScalingLook(**{name: kinds.get(name, float)(item[name]) for name in names if item.get(name) is not None})
