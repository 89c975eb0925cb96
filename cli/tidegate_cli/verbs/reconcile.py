"""`tidegate reconcile`: make arrivals of objects that no event told of, without waiting for the day's round."""

# ruff: noqa: PLC0415 - boto3 is imported by the verb that needs it, so that --help stays fast

from __future__ import annotations

from typing import Annotated, Any

import typer

from tidegate_cli.connection import Connection, find
from tidegate_cli.output import CliError, complain, print_json, say
from tidegate_cli.verbs.options import JsonOption, ProfileOption, RegionOption, StackOption

COUNTS = ("seen", "known", "recorded", "ignored", "young")


def reconcile(
    *,
    prefix: Annotated[str, typer.Option("--prefix", help="Look at keys that begin so, such as flights/2013-01/.")] = "",
    as_json: JsonOption = False,
    stack: StackOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
) -> None:
    """Compare the landing bucket with the ledger; what is in the one and not in the other becomes an arrival."""
    done = compare(find(stack, region, profile), prefix, quiet=as_json)
    if as_json:
        print_json(done)
        return
    say(f"{done['seen']:,} versions of objects are in the landing bucket{_below(prefix)}.")
    say(f"  {done['known']:,} were known, or are replaced by newer ones that are")
    say(f"  {done['recorded']:,} are recorded now, and merged when their tables are due")
    say(f"  {done['ignored']:,} are recorded as ignored, with the reason")
    if done["young"]:
        say(f"  {done['young']:,} landed just now: their events may be on their way")


def compare(connection: Connection, prefix: str, *, quiet: bool = False) -> dict[str, int]:
    """Ask reconcile_arrivals again and again, each time for a part; what it has counted in all.

    No call takes longer than a minute or two, and what an interrupted command has recorded stays recorded.

    Raises :class:`CliError`.
    """
    from tidegate_cli.adapters.lambda_functions import invoke

    if not connection.reconcile_function:
        raise CliError("This local cloud is of an earlier release. Start it again: `tidegate local down`, then `up`.")
    done = dict.fromkeys(COUNTS, 0)
    after: Any = None
    while True:
        question = {"reconcile": "now", "prefix": prefix, "after": after}
        answer = invoke(connection, connection.reconcile_function, question)
        done = {name: count + int(answer[name]) for name, count in done.items()}
        after = answer["after"]
        if after is None:
            return done
        if not quiet:
            complain(f"{done['seen']:,} versions looked at, up to {after['key']}")


def _below(prefix: str) -> str:
    return f" below {prefix}" if prefix else ""
