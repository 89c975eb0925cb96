"""What runs cost, in the ledger: an item a run in its month's partition, and one beside it with its tables' shares."""

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from tidegate.adapters.ledger_calls import PENDING_INDEX, LedgerCalls
from tidegate.adapters.ledger_items import (
    RECORDS_KEPT,
    Item,
    checked,
    cost_key,
    costs_pk,
    epoch,
    iso,
    moment,
    share_key,
)
from tidegate.costs import ClusterCost, RunEstimate, TableCost
from tidegate.run_costs import WORDS_KEPT, ClusterAccount, RunCost

OPEN_PK = "cost"
"""The partition of the index that has the costs which are not final."""


class CostsInLedger(LedgerCalls):
    """The part of `tidegate.ports.Ledger` that is about costs."""

    def begin_cost(self, cost: RunCost) -> bool:
        estimate = cost.estimate
        return self._update(
            cost_key(cost.run_id, cost.began_at),
            "SET #kind = :kind, run_id = :run, began_at = :began, attempt = :attempt, planned_at = :planned,"
            " #estimate = :estimate, #reason = :reason, tries = :none, is_final = :open,"
            " pending_pk = :open_pk, pending_sk = :planned, expires_at = :expires REMOVE #unknown, ended_at",
            {
                ":kind": "cost",
                ":run": cost.run_id,
                ":began": iso(cost.began_at),
                ":attempt": cost.attempt,
                ":planned": iso(cost.planned_at),
                ":estimate": _estimate_value(estimate) if estimate is not None else None,
                ":reason": cost.reason[:WORDS_KEPT],
                ":none": 0,
                ":open": False,
                ":open_pk": OPEN_PK,
                ":expires": epoch(cost.began_at + RECORDS_KEPT),
            },
            condition="attribute_not_exists(attempt) OR attempt <= :attempt",
            names=("kind", "estimate", "reason", "unknown"),
        )

    def record_cost(self, cost: RunCost, next_try: datetime) -> bool:
        sets = {
            "#kind": "cost",
            "run_id": cost.run_id,
            "began_at": iso(cost.began_at),
            "attempt": cost.attempt,
            "planned_at": iso(cost.planned_at),
            "#clusters": {name: _account_value(each) for name, each in cost.clusters.items()},
            "control_plane_usd": cost.control_plane_usd,
            "accounted_at": iso(cost.accounted_at) if cost.accounted_at else None,
            "ended_at": iso(cost.ended_at) if cost.ended_at else None,
            "is_final": cost.is_final,
            "#unknown": cost.unknown,
            "tries": cost.tries,
            "expires_at": epoch(cost.began_at + RECORDS_KEPT),
        }
        if not cost.is_final:
            sets |= {"pending_pk": OPEN_PK, "pending_sk": iso(next_try)}
        values = {f":{name.strip('#')}": value for name, value in sets.items()}
        # Of two that account at once, one may still have seen the cluster live: what is final stays.
        return self._update(
            cost_key(cost.run_id, cost.began_at),
            "SET "
            + ", ".join(f"{name} = :{name.strip('#')}" for name in sets)
            + (" REMOVE pending_pk, pending_sk" if cost.is_final else ""),
            values | {":open": False},
            condition="attribute_not_exists(attempt) OR (attempt = :attempt AND is_final = :open)",
            names=("kind", "clusters", "unknown"),
        )

    def record_shares(self, cost: RunCost, by_table: Mapping[str, TableCost]) -> None:
        self._update(
            share_key(cost.run_id, cost.began_at),
            "SET #kind = :kind, run_id = :run, #tables = :tables, expires_at = :expires",
            {
                ":kind": "shares",
                ":run": cost.run_id,
                ":tables": {table: [each.usd, each.arrivals] for table, each in by_table.items()},
                ":expires": epoch(cost.began_at + RECORDS_KEPT),
            },
            names=("kind", "tables"),
        )

    def cost_of(self, run_id: str, began_at: datetime) -> RunCost | None:
        item = self._get(cost_key(run_id, began_at))
        return read_cost(item) if item else None

    def open_costs(self, now: datetime) -> Iterator[RunCost]:
        items = self._query(
            IndexName=PENDING_INDEX,
            KeyConditionExpression="pending_pk = :open AND pending_sk <= :now",
            ExpressionAttributeValues={":open": OPEN_PK, ":now": iso(now)},
        )
        return (read_cost(item) for item in items)

    def costs_of_day(self, day: date) -> Iterator[RunCost]:
        return (read_cost(item) for item in self._of_day("cost", day))

    def costs_of_month(self, day: date) -> Iterator[RunCost]:
        return (read_cost(item) for item in self._of_month("cost", day))

    def shares_of_day(self, day: date) -> Iterator[dict[str, TableCost]]:
        return (read_shares(item) for item in self._of_day("shares", day))

    def shares_of_month(self, day: date) -> Iterator[dict[str, TableCost]]:
        return (read_shares(item) for item in self._of_month("shares", day))

    def _of_day(self, kind: str, day: date) -> Iterator[Item]:
        return self._query(
            KeyConditionExpression="pk = :month AND begins_with(sk, :day)",
            ExpressionAttributeValues={":month": costs_pk(kind, day), ":day": f"{day:%d}#"},
        )

    def _of_month(self, kind: str, day: date) -> Iterator[Item]:
        return self._query(
            KeyConditionExpression="pk = :month", ExpressionAttributeValues={":month": costs_pk(kind, day)}
        )


def _estimate_value(estimate: RunEstimate) -> list[Decimal]:
    return [estimate.least_usd, estimate.expected_usd, estimate.most_usd, Decimal(str(estimate.seconds))]


def _read_estimate(value: list[Decimal], reason: str) -> RunEstimate:
    least, expected, most, seconds = value
    return RunEstimate(least, expected, most, float(seconds), reason)


def _account_value(account: ClusterAccount) -> list[Any]:
    cost = account.cost
    return [cost.ec2_usd, cost.emr_usd, cost.ebs_usd, account.instance_s, account.is_final]


@checked
def read_cost(item: Item) -> RunCost:
    estimate, reason = item.get("estimate"), item.get("reason", "it was not estimated")
    return RunCost(
        run_id=item["run_id"],
        began_at=moment(item["began_at"]),
        attempt=int(item["attempt"]),
        planned_at=moment(item["planned_at"]),
        estimate=_read_estimate(estimate, reason) if estimate else None,
        reason=reason,
        clusters={name: _read_account(value) for name, value in item.get("clusters", {}).items()},
        control_plane_usd=Decimal(item.get("control_plane_usd", 0)),
        accounted_at=moment(item["accounted_at"]) if item.get("accounted_at") else None,
        ended_at=moment(item["ended_at"]) if item.get("ended_at") else None,
        is_final=bool(item.get("is_final", False)),
        unknown=item.get("unknown"),
        tries=int(item.get("tries", 0)),
    )


def _read_account(value: list[Any]) -> ClusterAccount:
    return ClusterAccount(ClusterCost(*value[:3]), int(value[3]), bool(value[4]))


@checked
def read_shares(item: Item) -> dict[str, TableCost]:
    return {table: TableCost(usd, int(arrivals)) for table, (usd, arrivals) in item["tables"].items()}
