"""`tidegate prices`: what it shows, what it asks AWS, and that it writes a whole sheet or nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.stub import Stubber
from tidegate.adapters.clients import CONFIG
from tidegate.prices import LAUNCH_TYPES, load_prices
from tidegate_cli.adapters import prices as adapter
from tidegate_cli.adapters.prices import PriceSource
from tidegate_cli.exit_codes import ExitCode
from tidegate_cli.main import run
from tidegate_cli.output import CliError

BUNDLED = load_prices("us-east-1")
SINCE, UNTIL = datetime(2026, 12, 26, tzinfo=UTC), datetime(2027, 1, 2, tzinfo=UTC)


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def client(service: str) -> Any:
    anyones: Any = boto3.client  # its stubs don't know these services
    return anyones(service, region_name="us-east-1", config=CONFIG)


def product(usd: str) -> str:
    return json.dumps({
        "product": {"attributes": {"usagetype": "BoxUsage"}},
        "terms": {"OnDemand": {"t": {"priceDimensions": {"p": {"beginRange": "0", "pricePerUnit": {"USD": usd}}}}}},
    })  # fmt: skip


class AnAccount:
    """Answers for EC2 and EMR at twice the packaged hours, and with no rates."""

    def __init__(self, offered: tuple[str, ...] = LAUNCH_TYPES) -> None:
        self.offered = offered

    def products(self, service: str, attributes: Mapping[str, str]) -> list[str]:
        instance_type = attributes.get("instanceType")
        if instance_type not in self.offered:
            return []
        prices = BUNDLED.instance(instance_type)
        of_service = {"AmazonEC2": prices.on_demand_hour, "ElasticMapReduce": prices.emr_hour}[service]
        return [product(f"{2 * of_service.value:f}")]

    def spot_prices(self, *_: Any) -> list[Mapping[str, Any]]:
        return []


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Callable[[AnAccount], None]:
    def use(answers: AnAccount) -> None:
        monkeypatch.setattr(adapter, "price_source", lambda *_: answers)

    return use


def test_the_packages_prices_are_shown_with_their_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["prices", "show"]) == ExitCode.OK
    shown = capsys.readouterr().out
    assert "Prices of us-east-1, 2026-11-26, in US dollars, from the package." in shown
    assert "0.1632" in shown
    assert "spot (assumed, 2026-11-26): A round figure" in shown


def test_prices_are_shown_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["prices", "show", "--json"]) == ExitCode.OK
    shown = json.loads(capsys.readouterr().out)
    assert shown["instances"]["m7g.xlarge"]["on_demand_hour"] == {"value": "0.1632", "source": "ec2"}
    assert shown["sources"]["ec2"]["as_of"] == "2026-01-19"


@pytest.mark.parametrize(
    ("region", "words", "code"),
    [
        ("eu-central-1", "run `tidegate prices refresh --region eu-central-1`, which makes one", ExitCode.FAILED),
        ("../secrets", "'../secrets' is no AWS region", ExitCode.USAGE),
    ],
)
def test_a_region_without_prices_says_what_to_do(
    region: str, words: str, code: ExitCode, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["prices", "show", "--region", region]) == code
    assert words in capsys.readouterr().err


def test_a_refresh_writes_a_sheet_that_goes_before_the_packages(
    account: Callable[[AnAccount], None], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    account(AnAccount())
    assert run(["prices", "refresh"]) == ExitCode.OK
    said = capsys.readouterr().out
    assert "m7g.xlarge on demand hour: 0.1632 -> 0.3264 (+100.0 %)" in said
    assert "SQS request: kept, it has no price" in said
    assert "24 figures changed. The sheet of us-east-1 is prices/us-east-1.json now" in said
    assert [file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*") if file.is_file()] == [
        "prices/us-east-1.json"
    ]
    assert load_prices("us-east-1", Path("prices")).instance("m7g.xlarge").on_demand_hour.value == Decimal("0.3264")
    assert run(["prices", "show"]) == ExitCode.OK
    assert "from prices/us-east-1.json." in capsys.readouterr().out


def test_a_second_refresh_finds_nothing_new(
    account: Callable[[AnAccount], None], capsys: pytest.CaptureFixture[str]
) -> None:
    account(AnAccount())
    run(["prices", "refresh"])
    capsys.readouterr()
    assert run(["prices", "refresh", "--json"]) == ExitCode.OK
    said = json.loads(capsys.readouterr().out)
    assert (said["changes"], said["gone"], said["file"]) == ([], [], "prices/us-east-1.json")


def test_a_region_gets_its_first_sheet(
    account: Callable[[AnAccount], None], capsys: pytest.CaptureFixture[str]
) -> None:
    account(AnAccount(tuple(name for name in LAUNCH_TYPES if name != "m6a.xlarge")))
    assert run(["prices", "refresh", "--region", "eu-central-1", "--prices", "mine"]) == ExitCode.OK
    assert "m6a.xlarge: left out as not offered in eu-central-1" in capsys.readouterr().out
    made = load_prices("eu-central-1", Path("mine"))
    assert made.not_offered == {"m6a.xlarge"}
    assert made.source(made.rates["SQS request"]).basis == "assumed"


def test_a_sheet_that_can_not_be_read_is_written_anew(
    account: Callable[[AnAccount], None], capsys: pytest.CaptureFixture[str]
) -> None:
    account(AnAccount())
    Path("prices").mkdir()
    Path("prices/us-east-1.json").write_text("{", encoding="utf-8")
    assert run(["prices", "show"]) == ExitCode.FAILED
    assert "prices/us-east-1.json is no JSON" in capsys.readouterr().err
    assert run(["prices", "refresh"]) == ExitCode.OK
    assert "It is written anew." in capsys.readouterr().err
    assert load_prices("us-east-1", Path("prices")).region == "us-east-1"


def test_a_sheet_of_an_older_release_gets_what_it_lacks(account: Callable[[AnAccount], None]) -> None:
    account(AnAccount())
    run(["prices", "refresh"])
    file = Path("prices/us-east-1.json")
    older = json.loads(file.read_text(encoding="utf-8"))
    del older["rates"]["X-Ray trace"], older["instances"]["m7g.xlarge"]
    file.write_text(json.dumps(older), encoding="utf-8")
    assert run(["prices", "show"]) == ExitCode.FAILED
    assert run(["prices", "refresh"]) == ExitCode.OK
    made = load_prices("us-east-1", Path("prices"))
    assert made.rate_usd("X-Ray trace") == BUNDLED.rate_usd("X-Ray trace")
    assert made.instance("m7g.xlarge").ebs_gb.value == 79


def test_nothing_is_written_if_aws_has_nothing(
    account: Callable[[AnAccount], None], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    account(AnAccount(()))
    assert run(["prices", "refresh", "--region", "us-east-9"]) == ExitCode.USAGE
    assert "is that the code of a region? Nothing was written." in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_that_can_not_be_written_is_said(
    account: Callable[[AnAccount], None], capsys: pytest.CaptureFixture[str]
) -> None:
    account(AnAccount())
    Path("taken").write_text("", encoding="utf-8")
    assert run(["prices", "refresh", "--prices", "taken"]) == ExitCode.USAGE
    assert "taken/us-east-1.json cannot be written" in capsys.readouterr().err


def test_all_pages_of_products_are_read() -> None:
    pricing = client("pricing")
    asked = {
        "ServiceCode": "AmazonEC2", "FormatVersion": "aws_v1",
        "Filters": [{"Type": "TERM_MATCH", "Field": "instanceType", "Value": "m7g.xlarge"}],
    }  # fmt: skip
    with Stubber(pricing) as stub:
        stub.add_response("get_products", {"PriceList": ["a", "b"], "NextToken": "2"}, asked)
        stub.add_response("get_products", {"PriceList": ["c"]}, {**asked, "NextToken": "2"})
        found = list(PriceSource(pricing, None).products("AmazonEC2", {"instanceType": "m7g.xlarge"}))
        stub.assert_no_pending_responses()
    assert found == ["a", "b", "c"]


def test_all_pages_of_the_spot_history_are_read() -> None:
    ec2 = client("ec2")
    asked = {
        "InstanceTypes": ["m7g.xlarge"], "ProductDescriptions": ["Linux/UNIX"], "StartTime": SINCE, "EndTime": UNTIL,
    }  # fmt: skip
    with Stubber(ec2) as stub:
        stub.add_response(
            "describe_spot_price_history", {"SpotPriceHistory": [{"SpotPrice": "0.07"}], "NextToken": "2"}, asked
        )
        stub.add_response("describe_spot_price_history", {"SpotPriceHistory": [{"SpotPrice": "0.08"}]},
                          {**asked, "NextToken": "2"})  # fmt: skip
        found = list(PriceSource(None, ec2).spot_prices(["m7g.xlarge"], SINCE, UNTIL))
    assert [each["SpotPrice"] for each in found] == ["0.07", "0.08"]


class Body:
    """Of a response that never was on a wire."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, **_: Any) -> Any:
        yield self._content


def answering(pricing: Any, *answers: tuple[int, dict[str, Any]]) -> list[int]:
    """Let the client get these answers instead of sending anything, the last of them again and again."""
    given: list[int] = []

    def answer(request: Any, **_: Any) -> AWSResponse:
        status, content = answers[min(len(given), len(answers) - 1)]
        given.append(status)
        raw: Any = Body(json.dumps(content).encode())
        return AWSResponse(request.url, status, {}, raw)

    pricing.meta.events.register("before-send.pricing", answer)
    return given


THROTTLED = (400, {"__type": "ThrottlingException", "message": "Rate exceeded"})


def test_throttling_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    pricing = client("pricing")
    given = answering(pricing, THROTTLED, THROTTLED, (200, {"PriceList": ["a"]}))
    assert list(PriceSource(pricing, None).products("AmazonEC2", {})) == ["a"]
    assert given == [400, 400, 200]


def test_throttling_that_does_not_end_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    pricing = client("pricing")
    given = answering(pricing, THROTTLED)
    with pytest.raises(
        CliError, match="pricing:GetProducts was throttled by AWS, and eight tries did not help"
    ) as said:
        list(PriceSource(pricing, None).products("AmazonEC2", {}))
    assert said.value.code == ExitCode.NOT_REACHABLE
    assert len(given) == 8


def test_rights_that_are_missing_are_said() -> None:
    pricing = client("pricing")
    with Stubber(pricing) as stub:
        stub.add_client_error("get_products", "AccessDeniedException", "not authorized to perform: pricing:GetProducts")
        with pytest.raises(CliError, match="AWS refused GetProducts") as said:
            list(PriceSource(pricing, None).products("AmazonEC2", {}))
    assert said.value.code == ExitCode.DENIED


def test_the_price_list_is_asked_where_it_answers() -> None:
    source = adapter.price_source("eu-north-1", None)
    assert source._pricing.meta.region_name == "us-east-1"
    assert source._ec2.meta.region_name == "eu-north-1"
    assert source._pricing.meta.config.retries == {"mode": "standard", "total_max_attempts": 8}
