"""The contract's reference page and its JSON Schema, both made from the model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tidegate_cli.contracts import types, unsupported
from tidegate_cli.contracts.findings import field_of
from tidegate_cli.contracts.model import (
    ENCODINGS,
    READERS,
    Batch,
    Contract,
    CsvFormat,
    JsonFormat,
    Merge,
    ParquetFormat,
)

_HEAD = """\
# The contract

<!-- Made by `tidegate tables reference --out docs/contract-reference.md`; a test keeps it up to date. -->

One YAML file a table, in `tables/`. `tidegate tables check` says what is wrong with it, by file and line, and
what to write instead; `sam build` compiles it and fails on a wrong one.

```yaml
table: orders
landing: orders/{day}/*.csv      # below the landing bucket
format: {type: csv}
columns:
  day: date                      # from the path
  order_id: string
  amount: decimal(12,2)
  updated_at: timestamp
merge:
  strategy: upsert
  keys: [day, order_id]
  sequence_by: updated_at
partition_by: [day]
freshness: 15m
```

An editor that knows YAML schemas completes and checks contracts with what `tidegate tables schema` prints.
"""

_RULES = """\
## Landing patterns

- `*` stands for any characters but `/`, also for none. `{name}` stands for at least one. There is no `**`: a
  pattern has as many parts as the keys that it matches.
- The first part is a folder without `*` or `{name}`. A `{name}` doesn't touch a `*` or another `{name}`.
- A capture that is also a column fills it for every row of the file, and the file itself must not have that
  column. The others are not kept.
- No key may match two contracts: `tidegate tables check` refuses such a pair and names a key that would.
- Folder markers (names that end in `/`), empty files and keys without a contract are recorded as ignored.

## Column types

Spark SQL's:
{simple},
`decimal(p,s)`, `array<type>`, `map<type,type>` and `struct<name:type,...>`. CSV holds none of the last three,
and no `binary`.

Names are letters, digits and `_`; two that differ by case alone are refused, and so are those that begin with
`_tidegate`, the column in which each row keeps where it came from.

## Freshness

| written | means |
| --- | --- |
| `asap` | whenever something lands and no run is going on |
| `15m`, `2h`, `1d` | at most this long after it has landed; from `1m` to `31d` |
| `by 06:00 Europe/Berlin` | what has landed before that time of day is queryable by then |

## What a merge may skip

A merge reads only those files of the table that may hold a key of its batch. It tells by `keys` alone: a
partition column that is not among them can't help, because the row of a key may have moved to another folder.
`tidegate tables check` warns of that.
"""


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
        _HEAD,
        "## Fields\n\n" + _table(Contract),
        f"Known readers: {', '.join(f'`{name}`' for name in READERS)}.\n",
        "## `merge`\n\n" + _table(Merge),
        "## `format`\n",
        *(_format(part) for part in (CsvFormat, JsonFormat, ParquetFormat)),
        f"Encodings: {', '.join(f'`{name}`' for name in ENCODINGS)}.\n",
        "## `batch`\n\n" + _doc(Batch) + "\n\n" + _table(Batch),
        _RULES.replace("{simple}", simple),
        "## Not supported yet\n\n" + _not_yet(),
    ]
    return "\n".join(part.rstrip() + "\n" for part in parts)


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
    if value is None or value in ("", []):
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
    for path, (values, instead) in unsupported.VALUES.items():
        for value in sorted(values):
            yield f"- `{field_of(path)}: {value}`: {instead}"
