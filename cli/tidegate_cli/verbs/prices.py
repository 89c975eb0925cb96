"""`tidegate prices`: what Tidegate takes AWS's prices to be, and how they are brought up to date."""

# ruff: noqa: PLC0415 - boto3 is imported by the verb that needs it, so that --help stays fast

from __future__ import annotations

import re
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from tidegate_cli.exit_codes import ExitCode
from tidegate_cli.output import CliError, complain, out, print_json, say
from tidegate_cli.verbs.options import JsonOption, ProfileOption

if TYPE_CHECKING:
    from tidegate.prices import PriceSheet

app = typer.Typer(no_args_is_help=True, help="Show the price sheet, and bring it up to date.")

DEFAULT_REGION = "us-east-1"
DEFAULT_FOLDER = Path("prices")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]+")

PricedRegionOption = Annotated[str, typer.Option("--region", help="The AWS region whose prices these are.")]
FolderOption = Annotated[
    Path, typer.Option("--prices", help="The folder with your own sheets, which go before the package's.")
]


@app.command()
def show(
    *,
    region: PricedRegionOption = DEFAULT_REGION,
    prices: FolderOption = DEFAULT_FOLDER,
    as_json: JsonOption = False,
) -> None:
    """Show the prices that costs are reckoned with, and where each comes from."""
    from tidegate.prices import InvalidPrices, NoPriceSheet, load_prices

    _check_region(region)
    try:
        sheet = load_prices(region, prices)
    except (InvalidPrices, NoPriceSheet) as error:
        raise CliError(f"{error}.") from None
    if as_json:
        print_json(_plain(sheet))
        return
    own = sheet_file(region, prices)
    say(f"Prices of {sheet.region}, {sheet.as_of}, in US dollars, from {own if own.is_file() else 'the package'}.")
    say("")
    out().print(_instances_table(sheet))
    say("")
    out().print(_rates_table(sheet))
    say("")
    for name, source in sorted(sheet.sources.items()):
        say(f"{name} ({source.basis}, {source.as_of}): {source.words}")
    if sheet.not_offered:
        say(f"Not offered in {sheet.region}: {', '.join(sorted(sheet.not_offered))}")


@app.command()
def refresh(
    *,
    region: PricedRegionOption = DEFAULT_REGION,
    prices: FolderOption = DEFAULT_FOLDER,
    as_json: JsonOption = False,
    profile: ProfileOption = None,
) -> None:
    """Ask AWS for the prices of a region, write them to PRICES/REGION.json, and say what has changed.

    Nothing in the account is changed. It takes the rights pricing:GetProducts and ec2:DescribeSpotPriceHistory.
    """
    from tidegate.prices import parse_prices, render_prices

    from tidegate_cli import price_list
    from tidegate_cli.adapters.prices import price_source

    _check_region(region)
    now = datetime.now(UTC)
    before, base = _base(region, prices)
    complain(f"Asking AWS for the prices of {region} ...")
    try:
        refreshed = price_list.refresh(base, price_list.ask(price_source(region, profile), region, now), now.date())
    except price_list.NothingFound as error:
        raise CliError(f"{error} Nothing was written.", ExitCode.USAGE) from None
    text = render_prices(refreshed.sheet)
    parse_prices(text, f"the new sheet of {region}")  # whole, or nothing is written
    file = sheet_file(region, prices)
    _write(file, text)
    changed = price_list.changes(before, refreshed.sheet)
    missing = price_list.gone(before, refreshed.sheet)
    if as_json:
        found = [{"what": each.what, "before": each.before, "after": each.after} for each in changed]
        print_json({"file": file, "changes": found, "gone": missing, "remarks": refreshed.remarks})
        return
    for line in (*changed, *(f"{what}: gone" for what in missing), *refreshed.remarks):
        say(str(line))
    say(f"{len(changed)} figures changed. The sheet of {region} is {file} now; commit it to keep it.")


def sheet_file(region: str, folder: Path) -> Path:
    """Where one's own sheet of a region is, or would be."""
    return folder / f"{region}.json"


def _check_region(region: str) -> None:
    if not _REGION.fullmatch(region):
        raise CliError(f"{region!r} is no AWS region; one is called us-east-1.", ExitCode.USAGE)


def _base(region: str, folder: Path) -> tuple[PriceSheet | None, PriceSheet]:
    """The sheet so far, if there is one, and the one to begin with: with the package's rates for what it lacks."""
    from tidegate.prices import BUNDLED_REGION, InvalidPrices, NoPriceSheet, load_prices

    from tidegate_cli.price_list import of_other_region, with_rates_of

    other = of_other_region(load_prices(BUNDLED_REGION, whole=False), region)
    for where in (folder, None):
        try:
            sheet = load_prices(region, where, whole=False)
        except NoPriceSheet:
            break
        except InvalidPrices as error:
            complain(f"{error}. It is written anew.")
        else:
            return sheet, with_rates_of(sheet, other)
    return None, other


def _write(file: Path, text: str) -> None:
    """All of it or nothing."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_text(text, encoding="utf-8")
        part.replace(file)
    except OSError as error:
        raise CliError(f"{file} cannot be written: {error}. --prices names another folder.", ExitCode.USAGE) from None


def _plain(sheet: PriceSheet) -> dict[str, Any]:
    return asdict(sheet) | {"not_offered": sorted(sheet.not_offered)}


def _instances_table(sheet: PriceSheet) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("instance type")
    for column in ("On-Demand hour", "EMR hour", "Spot share", "On-Demand with EMR", "Spot with EMR", "volumes GB"):
        table.add_column(column, justify="right")
    for name, prices in sorted(sheet.instances.items()):
        table.add_row(
            name,
            f"{prices.on_demand_hour.value:f}",
            f"{prices.emr_hour.value:f}",
            f"{prices.spot_ratio.value:.0%}",
            f"{prices.on_demand_hour.value + prices.emr_hour.value:.4f}",
            f"{prices.spot_hour_usd + prices.emr_hour.value:.4f}",
            f"{prices.ebs_gb.value:f}",
        )
    return table


def _rates_table(sheet: PriceSheet) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("one of")
    table.add_column("dollars", justify="right")
    table.add_column("source")
    for name, figure in sorted(sheet.rates.items()):
        table.add_row(name, f"{figure.value:f}", f"{figure.source} ({sheet.source(figure).basis})")
    return table
