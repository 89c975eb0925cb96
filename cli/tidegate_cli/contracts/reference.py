"""The contract's reference page and its JSON Schema, both made from the model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tidegate_cli.contracts import functions, strategies, types, unsupported
from tidegate_cli.contracts import reference_texts as texts
from tidegate_cli.contracts.findings import field_of
from tidegate_cli.contracts.formats import ENCODINGS, FORMATS
from tidegate_cli.contracts.merge import Merge, Snapshot
from tidegate_cli.contracts.model import READERS, Batch, Contract, Expectation, Maintenance


def json_schema() -> dict[str, Any]:
    """JSON Schema of a contract's YAML."""
    schema = Contract.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Tidegate contract"
    size = {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": "^[0-9]+ ?([KMGT]i?)?B$"}]}
    limits = schema["$defs"]["Batch"]["properties"]["max_bytes"]
    schema["$defs"]["Batch"]["properties"]["max_bytes"] = {
        key: value for key, value in limits.items() if key not in ("type", "minimum", "ge")
    } | size
    return schema


def markdown() -> str:
    """The reference page."""
    simple = ", ".join(f"`{name}`" for name in types.SIMPLE)
    parts = [
        texts.HEAD,
        "## Fields\n\n" + _table(Contract),
        f"Known readers: {', '.join(f'`{name}`' for name in READERS)}.\n",
        "## `merge`\n\n" + _table(Merge),
        "Which field belongs to which strategy:\n\n" + _strategies(),
        "### `snapshot`\n\n" + _doc(Snapshot) + "\n\n" + _table(Snapshot),
        "## `format`\n",
        *(_format(part) for part in FORMATS),
        f"Encodings of CSV: {', '.join(f'`{name}`' for name in ENCODINGS)}.\n",
        texts.TRANSFORM.replace("{functions}", ", ".join(f"`{name}`" for name in sorted(functions.ALLOWED))),
        "## `expectations`\n\n" + _doc(Expectation) + "\n\n" + _table(Expectation) + "\n" + texts.EXPECTATIONS,
        texts.EVOLUTION,
        "## `maintenance`\n\n" + _doc(Maintenance) + "\n\n" + _table(Maintenance),
        "## `batch`\n\n" + _doc(Batch) + "\n\n" + _table(Batch),
        texts.RULES.replace("{simple}", simple),
        "## Not supported yet\n\n" + _not_yet(),
    ]
    return "\n".join(part.rstrip() + "\n" for part in parts)


def _strategies() -> str:
    names = get_args(Merge.model_fields["strategy"].annotation)
    lines = [f"| field | {' | '.join(f'`{name}`' for name in names)} |", f"| --- {'| --- ' * len(names)}|"]
    for field, (belongs, _) in strategies.FIELDS.items():
        word = "needed" if field in ("keys", "valid_from", "valid_to") else "may"
        cells = [word if name in belongs else "" for name in names]
        lines.append(f"| `{field}` | {' | '.join(cells)} |")
    with_history = {"snapshot": " with `keep_history`"}
    added = "; ".join(
        f"`{strategy}`{with_history.get(strategy, '')}: {', '.join(f'`{name}`' for name in columns)}"
        for strategy, columns in strategies.ADDED.items()
    )
    return (
        "\n".join(lines) + f"\n\nColumns that a strategy adds by itself, so `columns` has none of that name: {added}.\n"
    )


def _format(part: type[BaseModel]) -> str:
    (name,) = get_args(part.model_fields["type"].annotation)
    return f"### `type: {name}`\n\n{_doc(part)}\n\n{_table(part)}"


def _table(part: type[BaseModel]) -> str:
    rows = [row for name, info in part.model_fields.items() if (row := _row(name, info))]
    if not rows:
        return ""
    return "\n".join(["| field | holds | default | says |", "| --- | --- | --- | --- |", *rows]) + "\n"


def _row(name: str, info: FieldInfo) -> str:
    kind = info.annotation
    if name == "type" and get_origin(kind) is Literal:
        return ""
    description = info.description or _doc(kind)
    return f"| `{name}` | {_kind(kind)} | {_default(info)} | {' '.join(description.split())} |"


def _doc(kind: Any) -> str:
    return " ".join(str(kind.__doc__).split())


def _kind(kind: Any) -> str:
    simple = {str: "text", bool: "true or false", int: "number", list: "list of text", dict: "name: type"}
    origin = get_origin(kind) or kind
    if origin is Annotated:
        return _kind(get_args(kind)[0])
    if origin is list and isinstance(get_args(kind)[0], type) and issubclass(get_args(kind)[0], BaseModel):
        return "list, see below"
    if origin is Literal:
        return " or ".join(f"`{word}`" for word in get_args(kind))
    if origin in simple:
        return simple[origin]
    members = [member for member in get_args(kind) if member is not type(None)]
    return _kind(members[0]) if len(members) == 1 else "see below"


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, BaseModel):
        return "see below"
    if value is None or value in ("", [], {}):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list):
        return f"`[{', '.join(value)}]`"
    return f"`{value}`"


def _not_yet() -> str:
    return "\n".join(["Refused by name, never ignored:", "", *_not_yet_lines()]) + "\n"


def _not_yet_lines() -> Iterator[str]:
    for path, instead in unsupported.FIELDS.items():
        yield f"- `{field_of(path)}`: {instead}"
