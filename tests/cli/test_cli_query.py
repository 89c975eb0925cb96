"""`tidegate query`: what is shown, what is hidden, and what is said about SQL that is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tidegate_cli.adapters.lake import InvalidQuery, Lake, UnknownTable
from tidegate_cli.exit_codes import ExitCode
from tidegate_cli.main import run
from tidegate_cli.output import CliError
from tidegate_cli.verbs import query as verb


class TestLake:
    def test_a_star_does_not_show_where_rows_came_from(self, lake: Path) -> None:
        result = Lake(str(lake)).query("select * from flights order by flight_id")
        assert result.columns == ("month", "flight_id", "delay")
        assert result.rows == (("2013-01", "a", 5), ("2013-01", "b", None), ("2013-02", "c", -2))

    def test_who_names_the_origin_sees_it(self, lake: Path) -> None:
        result = Lake(str(lake)).query("select _tidegate['source'] as source from flights limit 1")
        assert result.rows == (("landing/a.csv",),)

    def test_distinct_and_joins_do_not_see_the_origin_either(self, lake: Path) -> None:
        sql = "select * from (select distinct * from flights) a join FLIGHTS b on a.flight_id = b.flight_id"
        assert Lake(str(lake)).query(sql).columns == ("month", "flight_id", "delay") * 2

    @pytest.mark.parametrize(
        ("sql", "said"),
        [
            ("select dely from flights", "No field named dely. Did you mean 'flights.delay'?"),
            ("select * from flights where", "Expected: an expression"),
            ("drop table flights", "only queries that read"),
            ("insert into flights select * from flights", "only queries that read"),
            ("", "only queries that read"),
            ("select 1; select 2", "single SQL statement"),
            ("select sum(month) from flights", "No function matches the given name and argument types"),
            ("select 1 / 0", "Divide by zero"),
            ("select interval '1 day' as x", "column x is an interval"),
        ],
    )
    def test_a_wrong_query_says_why_in_a_few_words(self, sql: str, said: str, lake: Path) -> None:
        with pytest.raises(InvalidQuery) as caught:
            Lake(str(lake)).query(sql)
        assert said in str(caught.value)
        assert "DataFusion" not in str(caught.value)
        assert "_tidegate" not in str(caught.value)

    @pytest.mark.parametrize("table", ["flightz", '"../flights"', "nosuch"])
    def test_an_unknown_table_is_named(self, table: str, lake: Path) -> None:
        with pytest.raises(UnknownTable):
            Lake(str(lake)).query(f"select * from {table}")

    def test_a_query_without_tables_needs_none(self, tmp_path: Path) -> None:
        assert Lake(str(tmp_path / "empty")).query("(select 1 as one)").rows == ((1,),)

    def test_a_lake_that_cannot_be_reached_is_one_line_in_plain_text(self, tmp_path: Path) -> None:
        # GIVEN a log that is no log
        log = tmp_path / "flights" / "_delta_log"
        log.mkdir(parents=True)
        (log / "00000000000000000000.json").write_text("no json")
        # WHEN somebody reads the table through a connection THEN it is said without colors or arrows
        with pytest.raises(CliError, match="Table flights cannot be read") as caught:
            Lake(str(tmp_path), {"aws_region": "us-east-1"}).query("select * from flights")
        assert "\x1b" not in str(caught.value)

    def test_history_is_oldest_first(self, lake: Path) -> None:
        assert [commit.version for commit in Lake(str(lake)).history("flights")] == [0]


@pytest.fixture
def at_lake(lake: Path, connection: Any, aws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3

    boto3.client("s3", "us-east-1").put_object(Bucket="lake", Key="flights/_delta_log/0.json", Body=b"{}")
    monkeypatch.setattr(verb, "find", lambda *_: connection)
    monkeypatch.setattr(Lake, "of", classmethod(lambda cls, _: cls(str(lake))))


@pytest.mark.usefixtures("at_lake")
class TestCommand:
    SQL = "select flight_id, delay from flights order by 1"

    def test_a_table(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["query", self.SQL]) == ExitCode.OK
        lines = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert lines == [["flight_id", "delay"], ["a", "5"], ["b", "null"], ["c", "-2"], ["3", "rows"]]

    def test_csv(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["query", self.SQL, "--format", "csv"]) == ExitCode.OK
        assert capsys.readouterr().out == "flight_id,delay\na,5\nb,\nc,-2\n"

    @pytest.mark.parametrize("option", [["--json"], ["--format", "json"]])
    def test_json(self, option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["query", self.SQL, *option]) == ExitCode.OK
        rows = json.loads(capsys.readouterr().out)
        assert rows[:2] == [{"flight_id": "a", "delay": 5}, {"flight_id": "b", "delay": None}]

    def test_two_columns_of_one_name_both_reach_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        run(["query", "select a.delay, b.delay from flights a, flights b limit 1", "--json"])
        (row,) = json.loads(capsys.readouterr().out)
        assert list(row) == ["delay", "delay_2"]

    @pytest.mark.parametrize(
        ("sql", "said"),
        [
            ("select * from flightz", "There is no table 'flightz' in the lake; did you mean 'flights'?"),
            ("select * from zzz", "There is no table 'zzz' in the lake (tables: flights)."),
            ("selec 1", "The query can't be run: only queries that read are run"),
        ],
    )
    def test_what_is_wrong_is_said(self, sql: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["query", sql]) == ExitCode.USAGE
        assert said in capsys.readouterr().err
