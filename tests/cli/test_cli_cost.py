"""`tidegate cost`, and what `tidegate status` says of costs."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from tidegate.costs import ClusterCost, RunEstimate, TableCost
from tidegate.run_costs import ClusterAccount, RunCost
from tidegate_cli.adapters.dynamodb import Ledger, ledger_of
from tidegate_cli.connection import Connection
from tidegate_cli.exit_codes import ExitCode
from tidegate_cli.main import run
from tidegate_cli.spending import cost_report
from tidegate_cli.verbs import cost as verb
from tidegate_cli.verbs import status

from tests.cli.conftest import arrival, put
from tests.cli.test_cli_ledger import RUN

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
TWO = RunEstimate(Decimal(1), Decimal(2), Decimal(3), 3600, "two dollars")


def a_cost(run_id: str, began_at: datetime, usd: str | None = None, **changes: Any) -> RunCost:
    """Estimated at two dollars; accounted for good at `usd`."""
    cost = RunCost(run_id, began_at, 0, began_at, TWO, TWO.reason)
    if usd is not None:
        account = ClusterAccount(ClusterCost(Decimal(usd)), 120, is_final=True)
        cost = replace(cost, clusters={"j-1": account}, accounted_at=began_at, ended_at=began_at, is_final=True)
    return replace(cost, **changes)


def report(*costs: RunCost, **options: Any) -> Any:
    fields: dict[str, Any] = {"shares": []}
    return cost_report(NOW, NOW.date(), costs=costs, **fields | options)


class TestReport:
    def test_a_day_is_a_part_of_its_month(self) -> None:
        found = report(a_cost("a", NOW, "1.5"), a_cost("b", NOW - timedelta(days=1), "4"), a_cost("c", NOW))
        assert (found.of_day.usd, found.of_day.runs, found.of_day.not_final) == (3.5, 2, 1)
        assert (found.of_month.usd, found.of_month.runs) == (7.5, 3)

    def test_tables_with_their_share_and_what_an_arrival_costs(self) -> None:
        shares = [{"flights": TableCost(Decimal(3), 6), "weather": TableCost(Decimal(1), 0)}]
        found = report(a_cost("a", NOW, "4"), shares=shares)
        assert [(row.table, row.share, row.usd_per_arrival) for row in found.tables] == [
            ("flights", 0.75, 0.5),
            ("weather", 0.25, None),
        ]

    @pytest.mark.parametrize(("budget", "state"), [(0, None), (100, "within"), (11, "at_risk"), (9, "over")])
    def test_against_the_months_budget(self, budget: float, state: str | None) -> None:
        assert report(a_cost("a", NOW, "10"), monthly_budget_usd=budget).budget == state

    def test_a_month_that_is_over_is_held_against_it_as_a_whole(self) -> None:
        cost = a_cost("a", datetime(2026, 2, 3, tzinfo=UTC), "10")
        found = cost_report(NOW, date(2026, 2, 1), costs=[cost], shares=[], monthly_budget_usd=11, daily_budget_usd=1)
        # No pace is reckoned any more: ten of eleven dollars were spent
        assert (found.budget, found.of_day, found.ceiling) == ("within", None, None)
        assert "by day 28 of 28" in str(found.budget_reason)
        december = cost_report(NOW, date(2025, 12, 1), costs=[], shares=[], monthly_budget_usd=11)
        assert "by day 31 of 31" in str(december.budget_reason)

    def test_the_ceiling_in_dispatchs_words(self) -> None:
        held = report(a_cost("a", NOW, "10"), daily_budget_usd=15)
        assert str(held.ceiling).startswith("$10.00 of the day's $15.00 are spent and a run costs $10.00")
        assert report(a_cost("a", NOW, "10"), daily_budget_usd=21).ceiling is None
        assert report(a_cost("a", NOW, "10")).ceiling is None
        # AND the first run of a day may always start
        assert report(daily_budget_usd=0.01).ceiling is None

    def test_the_newest_runs_come_first(self) -> None:
        costs = [a_cost(f"r-{hour}", NOW - timedelta(hours=hour), "1") for hour in (3, 1, 30, 2)]
        assert [row.run_id for row in report(*costs, run_limit=3).runs] == ["r-1", "r-2", "r-3"]
        assert [row.run_id for row in report(*costs, run_limit=9, today_alone=True).runs] == ["r-1", "r-2", "r-3"]


class TestCommand:
    @pytest.fixture(autouse=True)
    def at(self, aws: Any, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
        self.connection = replace(connection, daily_budget_usd=5.0, monthly_budget_usd=100.0)
        for module in (verb, status):
            monkeypatch.setattr(module, "find", lambda *_: self.connection)
        self.now = datetime.now(UTC)
        self.month = f"{self.now:%Y-%m}"
        ledger = ledger_of(connection)
        for cost in (a_cost("run-1", self.now, "4.25"), a_cost("run-2", self.now, unknown="EMR is silent")):
            ledger.begin_cost(cost)
            ledger.record_cost(cost, self.now)
        ledger.record_shares(a_cost("run-1", self.now), {"flights": TableCost(Decimal("4.25"), 1000)})
        old = datetime(2020, 2, 3, tzinfo=UTC)
        ledger.begin_cost(a_cost("run-0", old))
        ledger.record_cost(a_cost("run-0", old, "7"), old)

    def test_it_shows_today_the_month_tables_runs_and_budgets(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["cost"]) == ExitCode.OK
        shown = " ".join(capsys.readouterr().out.split())
        assert "Today $6.25, 2 runs, 1 not accounted for good, of $5.00" in shown
        assert f"{self.month} $6.25, 2 runs" in shown
        assert "$6.25 of $100.00 by day" in shown
        assert "No run starts any more today: $6.25 of the day's $5.00 are spent" in shown
        assert "run-2 counts with its estimate: EMR is silent" in shown
        assert "flights $4.2500 100% 1,000 $4,250.00" in shown
        assert "run-1 " in shown
        assert "$4.2500 for 120 s of instances, estimated at $2.0000" in shown

    def test_as_json_with_numbers(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["cost", "--json", "--runs", "1", "--today"]) == ExitCode.OK
        shown = json.loads(capsys.readouterr().out)
        assert (shown["month"], shown["of_day"]["usd"], shown["of_month"]["runs"]) == (self.month, 6.25, 2)
        assert shown["tables"] == [
            {"table": "flights", "usd": 4.25, "share": 1.0, "arrivals": 1000, "usd_per_arrival": 0.00425}
        ]
        assert len(shown["runs"]) == 1

    def test_another_month(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["cost", "--month", "2020-02"]) == ExitCode.OK
        shown = capsys.readouterr().out
        assert "2020-02     $7.00, 1 run\n" in shown
        assert "Today" not in shown

    @pytest.mark.parametrize("arguments", [["--month", "november"], ["--month", "2020-02", "--today"]])
    def test_what_is_no_month_is_said(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["cost", *arguments]) == ExitCode.USAGE
        assert "month" in capsys.readouterr().err

    def test_status_shows_what_runs_cost_and_who_waits_for_the_ceiling(
        self, aws: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(status, "deployed_promises", lambda _: {"flights": {"kind": "asap"}})
        put(aws, **RUN | {"started_at": self.now.isoformat(), "ended_at": None, "state": "running"})
        put(aws, **arrival("flights/a.csv", event_time=self.now.isoformat()))
        assert run(["status"]) == ExitCode.OK
        shown = " ".join(capsys.readouterr().out.split())
        assert "No run starts any more today: flights wait; $6.25 of the day's $5.00 are spent" in shown
        assert "$4.2500" in shown
        assert run(["status", "--json"]) == ExitCode.OK
        assert json.loads(capsys.readouterr().out)["costs_usd"] == {"run-1": 4.25}

    def test_without_a_ceiling_status_reads_no_day(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.connection = replace(self.connection, daily_budget_usd=0.0)

        def asked(*_: Any) -> Any:
            raise AssertionError("nobody needs it")

        monkeypatch.setattr(Ledger, "costs_of_day", asked)
        monkeypatch.setattr(status, "deployed_promises", lambda _: {})
        assert run(["status"]) == ExitCode.OK
