"""`tidegate simulate`: the table, the sentence, the picture; and one line for what is wrong."""

import json
from pathlib import Path

import pytest
from tidegate_cli.exit_codes import ExitCode
from tidegate_cli.main import run
from tidegate_lab.compare import Case, Estimate, Row, contracts_for, estimate, load_trace, rows_of, simulate_all
from tidegate_lab.goals import at, decision_ms
from tidegate_lab.registry import WHAT_IF
from tidegate_lab.traces import Arrival, trace_of, write_trace
from tidegate_lab.words import LEAST_FRESHNESS_S, prices_of_freshness, warnings, what_if_markdown

TABLES = Path(__file__).resolve().parents[2] / "tables"


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    path = tmp_path / "mine.jsonl"
    arrivals = [Arrival(900.0 * number, table, 1_000_000) for number in range(40) for table in ("flights", "orders")]
    write_trace(trace_of("mine", arrivals, 1.0), path)
    return path


def test_it_says_which_freshness_costs_what(recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # GIVEN a recorded trace and the shipped contracts
    options = ["--tables", str(TABLES), "--repeats", "2", "--out", str(tmp_path / "out")]
    # WHEN two freshnesses are compared
    code = run(["simulate", "--trace", str(recorded), "--freshness", "5m,1h", *options])
    # THEN the table has each policy, a sentence has the price, and the picture is there in both forms
    said = capsys.readouterr()
    assert code == ExitCode.OK, said.err
    for policy in ("tidegate", "clairvoyant", "hourly_cron", "always_on", "serverless", "cluster_a_file"):
        assert f"{policy} " in said.out
    assert "5 min instead of 1 h costs you $" in said.out
    assert "5 min can't be kept" in said.err
    page = (tmp_path / "out" / "cost_against_freshness.html").read_text()
    assert "<script src=" not in page
    assert (tmp_path / "out" / "cost_against_freshness.png").read_bytes().startswith(b"\x89PNG")


def test_json_has_every_figure_with_its_interval(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--freshness", "1h", "--policy", "tidegate", "--repeats", "2", "--json"]
    assert run(["simulate", "--trace", str(recorded), *options]) == ExitCode.OK
    [row] = json.loads(capsys.readouterr().out)
    assert row["policy"] == "tidegate"
    assert row["of"]["bound_usd"]["mean"] < row["of"]["cost_usd"]["mean"]
    assert row["of"]["cost_usd"]["low"] <= row["of"]["cost_usd"]["mean"] <= row["of"]["cost_usd"]["high"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--trace", "weekly"], "there is no trace 'weekly'"),
        (["--freshness", "soon"], "'soon' is not a length of time"),
        (["--policy", "magic"], "There is no policy 'magic'"),
        (["--tables", "nowhere"], "There is no folder nowhere"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", *arguments]) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert says in said
    assert "Traceback" not in said


def test_a_recorded_trace_is_the_same_in_each_repeat(recorded: Path) -> None:
    assert load_trace(str(recorded), 7, 0, ()) == load_trace(str(recorded), 7, 1, ())


def test_contracts_give_their_limits_and_the_freshness_is_what_is_compared(recorded: Path) -> None:
    trace = load_trace(str(recorded), 7, 0, ())
    known = contracts_for(trace, 60).by_table["flights"]
    made = contracts_for(trace, 900, [known]).by_table
    assert made["flights"].max_files == known.max_files
    assert {contract.freshness.seconds for contract in made.values()} == {900}


def test_side_by_side_is_as_one_by_one() -> None:
    cases = [Case("bursty", "tidegate", 3600, seed, 1.0) for seed in range(2)]
    assert simulate_all(cases, processes=2) == simulate_all(cases, processes=1)
    assert [row.policy for row in rows_of(simulate_all(cases, processes=1))] == ["tidegate"]


def test_an_interval_is_around_its_mean_and_narrows() -> None:
    few, many = estimate([1.0, 3.0]), estimate([1.0, 3.0] * 50)
    assert few.low <= few.mean == many.mean == 2 <= few.high
    assert many.high - many.low < few.high - few.low
    assert estimate([5.0]) == Estimate(5, 5, 5)


def test_prices_are_between_neighbouring_freshnesses() -> None:
    def row(freshness_s: int, usd: float) -> Row:
        return Row("mine", "tidegate", freshness_s, {"cost_usd": Estimate(usd, usd, usd)})

    assert prices_of_freshness([row(900, 100), row(3600, 59), row(1800, 60)]) == [
        "mine: 30 min instead of 1 h costs you $1 a month.",
        "mine: 15 min instead of 30 min costs you $40 a month.",
    ]


def test_a_freshness_that_no_start_up_meets_is_named() -> None:
    assert warnings([LEAST_FRESHNESS_S]) == []
    assert len(warnings([LEAST_FRESHNESS_S - 1, 60, 3600])) == 2


def test_a_curve_is_read_between_its_points() -> None:
    assert [at([(1, 10), (3, 30)], x) for x in (0, 2, 3, 9)] == [10, 20, 30, 30]


def test_a_what_if_is_held_against_the_product_on_the_same_seeds() -> None:
    cases = [Case("bursty", policy, 3600, seed, 1.0) for policy in ("tidegate", *WHAT_IF) for seed in range(2)]
    results = simulate_all([*cases, Case("bursty", "tidegate", 3600, 2, 1.0)], processes=1)
    _, _, line = what_if_markdown(results).splitlines()
    usd = {
        policy: sum(each.outcome.cost_usd for each in results if each.case.policy == policy and each.case.seed < 2)
        for policy in ("tidegate", "tidegate_late_claim")
    }
    assert line.startswith(f"| bursty | 1 h | {usd['tidegate_late_claim'] / usd['tidegate'] - 1:+.0%}, late ")


def test_decisions_are_timed() -> None:
    assert decision_ms(tables=10, repeats=1) > 0
