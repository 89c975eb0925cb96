"""The commands by which docs/operations.md gets the table back exist, and bring it back: on moto."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from tidegate.adapters.ledger import DynamoLedger
from tidegate.arrivals import Arrival

from tests.adapters.conftest import LEDGER
from tests.adapters.test_ledger_contract import NOW, arrival

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"


def commands() -> list[list[list[str]]]:
    """Those of each code block of "Get the table back first", in words."""
    section = PAGE.read_text(encoding="utf-8").split("### Get the table back first", 1)[1].split("\n## ", 1)[0]
    blocks = re.findall(r"```\n(.*?)```", section, re.DOTALL)
    return [
        [shlex.split(line.replace("arn of ledger-then's backup", "arn")) for line in block.splitlines()]
        for block in blocks
    ]


def run(client: Any, words: list[str], fillers: dict[str, str]) -> Any:
    """One `aws dynamodb` command, by the parameters of the operation of its name."""
    assert words[:2] == ["aws", "dynamodb"]
    operation = words[2].replace("-", "_")
    shape = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[operation]).input_shape
    names = {re.sub(r"(?<!^)(?=[A-Z])", "-", member).lower(): member for member in shape.members}
    request: dict[str, Any] = {}
    for flag, value in zip(words[3::2], words[4::2], strict=True):
        name = names[flag.removeprefix("--")]
        fields = dict(part.split("=") for part in value.split(",") if "=" in part)
        plain = {key: text == "true" if text in {"true", "false"} else text for key, text in fields.items()}
        request[name] = plain or fillers.get(value, value)
    return getattr(client, operation)(**request)


@pytest.fixture
def before(dynamodb: Any) -> Arrival:
    found = arrival()
    DynamoLedger(LEDGER).record_arrival(found, NOW)
    return found


def check_it_is_back(client: Any, before: Arrival) -> None:
    for words in commands()[2]:
        run(client, words, {"<LedgerTable>": LEDGER})
    assert list(DynamoLedger(LEDGER).pending()) == [before]
    assert client.describe_time_to_live(TableName=LEDGER)["TimeToLiveDescription"] == {
        "AttributeName": "expires_at", "TimeToLiveStatus": "ENABLED",
    }  # fmt: skip
    backups = client.describe_continuous_backups(TableName=LEDGER)["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"


def test_a_table_that_was_deleted_comes_back_under_its_name(dynamodb: Any, before: Arrival) -> None:
    # GIVEN the backup that DynamoDB makes of a table that is deleted; moto makes none by itself
    dynamodb.create_backup(TableName=LEDGER, BackupName=f"{LEDGER}$DeletedTableBackup")
    dynamodb.delete_table(TableName=LEDGER)
    find, restore = commands()[0]
    (backup,) = run(dynamodb, find, {"<LedgerTable>": LEDGER})["BackupSummaries"]
    run(dynamodb, restore, {"<LedgerTable>": LEDGER, "<arn>": backup["BackupArn"]})
    check_it_is_back(dynamodb, before)


def test_an_earlier_moment_comes_back_under_the_same_name(dynamodb: Any, before: Arrival) -> None:
    fillers = {"<LedgerTable>": LEDGER, "<time>": NOW.isoformat()}
    for words in commands()[1]:
        answer = run(dynamodb, words, fillers)
        if "BackupDetails" in answer:
            fillers["<arn>"] = answer["BackupDetails"]["BackupArn"]
    assert dynamodb.list_tables()["TableNames"] == [LEDGER]
    check_it_is_back(dynamodb, before)
