"""Options that several verbs share."""

from __future__ import annotations

from typing import Annotated

import typer

StackOption = Annotated[
    str | None,
    typer.Option(
        "--stack",
        envvar="TIDEGATE_STACK",
        help="A deployed stack. Without it, the local cloud that runs.",
        rich_help_panel="Which Tidegate",
    ),
]
RegionOption = Annotated[
    str | None, typer.Option("--region", help="The stack's AWS region.", rich_help_panel="Which Tidegate")
]
ProfileOption = Annotated[
    str | None, typer.Option("--profile", help="The AWS profile to use.", rich_help_panel="Which Tidegate")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
