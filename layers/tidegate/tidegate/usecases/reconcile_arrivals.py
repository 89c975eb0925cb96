"""Compare what the landing bucket lists with what the ledger knows, and record what is missing.

Objects from before the deployment, and events that never came, become arrivals. The work is done in pages: what is
missing of a page is recorded, then the page is counted as done. Whoever dies in between leaves a page that is looked at
again, in which everything is known by then.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from itertools import groupby

from tidegate.contracts import Contracts
from tidegate.ports import Head, Ledger, Objects
from tidegate.reconciling import (
    MOST_VERSIONS,
    Counts,
    Marker,
    Round,
    Version,
    is_round_due,
    missing_arrivals,
    says_all,
)

THREADS = 16


@dataclass(frozen=True)
class ReconcilePorts:
    """What reconciling needs from outside."""

    ledger: Ledger
    objects: Objects
    bucket: str


def go_on_with_round(
    *, ports: ReconcilePorts, contracts: Contracts, now: datetime, has_time: Callable[[], bool]
) -> tuple[Counts, Round | None]:
    """Begin the day's round, or go on with one that is not through, while `has_time`. Else there is nothing to do.

    What this call has counted, and the round as it leaves it; None if another call has taken the round over, which does
    no harm.

    Raises Throttled.
    """
    latest, done = ports.ledger.reconcile_round(), Counts()
    if latest is None or is_round_due(latest, now):
        begun = Round(started_at=now)
        if not ports.ledger.save_round(begun, latest):
            return done, None
        latest = begun
    if latest.is_done:
        return done, latest
    for keys, after in _pages(ports, "", latest.after):
        counts = _look_at(keys, ports, contracts, now)
        done = done.plus(counts)
        following = latest.next_step(counts, after)
        if not ports.ledger.save_round(following, latest):
            return done, None
        latest = following
        if not has_time():
            break
    return done, latest


def look_below(
    prefix: str,
    after: Marker | None,
    *,
    ports: ReconcilePorts,
    contracts: Contracts,
    now: datetime,
    has_time: Callable[[], bool],
) -> tuple[Counts, Marker | None]:
    """Compare what lies below a prefix, from a marker on, while `has_time`. At least one page, so that repeating ends.

    What was counted, and where the next call goes on; None if all was looked at.

    Raises Throttled.
    """
    done = Counts()
    for keys, following in _pages(ports, prefix, after):
        done, after = done.plus(_look_at(keys, ports, contracts, now)), following
        if not has_time():
            break
    return done, after


def _pages(
    ports: ReconcilePorts, prefix: str, after: Marker | None
) -> Iterator[tuple[list[list[Version]], Marker | None]]:
    """Keys, each with all of its versions, and where to go on after them; None with the last ones.

    A listing may break off amid the versions of a key, which then waits for the rest of them.
    """
    marker, carried = after, list[Version]()
    while True:
        listed = ports.objects.versions_page(ports.bucket, prefix, marker)
        marker, versions = listed.next, [*carried, *listed.versions]
        carried = [version for version in versions if marker is not None and version.key == marker.key]
        if marker is not None and len(carried) >= MOST_VERSIONS:
            marker, carried = Marker(marker.key), []  # the rest of them is older still
        whole = versions[: len(versions) - len(carried)]
        keys = [list(group) for _, group in groupby(whole, lambda version: version.key)]
        if not carried:
            yield keys, marker
        elif keys:
            yield keys, Marker(keys[-1][0].key)
        if marker is None:
            return


def _look_at(keys: list[list[Version]], ports: ReconcilePorts, contracts: Contracts, now: datetime) -> Counts:
    heads = ports.ledger.heads(ports.bucket, [versions[0].key for versions in keys])

    def look(versions: list[Version]) -> Counts:
        head = heads.get(versions[0].key)
        if says_all(head, versions, contracts):
            return Counts(seen=len(versions), known=len(versions))
        return _record_missing(versions, head, ports, contracts, now)

    with ThreadPoolExecutor(THREADS) as pool:
        return reduce(Counts.plus, pool.map(look, keys), Counts())


def _record_missing(
    versions: list[Version], head: Head | None, ports: ReconcilePorts, contracts: Contracts, now: datetime
) -> Counts:
    known = ports.ledger.versions(ports.bucket, versions[0].key)
    missing, counts = missing_arrivals(ports.bucket, versions, known, head, contracts=contracts, now=now)
    for arrival in missing:
        if not ports.ledger.record_arrival(arrival, now):
            counts = counts.plus(Counts(known=1))  # somebody else reconciles too
        elif arrival.state == "pending":
            counts = counts.plus(Counts(recorded=1))
        else:
            counts = counts.plus(Counts(ignored=1))
    return counts
