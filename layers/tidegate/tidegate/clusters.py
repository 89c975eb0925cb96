"""What Tidegate knows of an EMR cluster."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Cluster:
    """A cluster as EMR lists it. `is_ours`: it carries this stack's tag, not only a name that looks like ours."""

    cluster_id: str
    name: str
    state: str
    created_at: datetime
    is_ours: bool


@dataclass(frozen=True)
class RunCluster:
    """One of a run's clusters. `ended_at` is when it was terminated, if it is and EMR says."""

    cluster_id: str
    has_ended: bool
    ended_at: datetime | None = None


@dataclass(frozen=True)
class EndReason:
    """Why a cluster ended, or is ending: EMR's StateChangeReason. `was_ready`: it had been up before."""

    code: str
    message: str
    state: str
    was_ready: bool = False

    def __str__(self) -> str:
        return f"{self.code or 'no code'}: {self.message or 'no message'}"
