"""From files to checked contracts: everything that is wrong, in one pass, one line each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tidegate_cli.contracts import rules, transform, unsupported, yaml_file
from tidegate_cli.contracts.findings import Finding, Remark, did_you_mean, one_of
from tidegate_cli.contracts.formats import FORMATS
from tidegate_cli.contracts.merge import Merge, Snapshot
from tidegate_cli.contracts.model import Batch, Contract, Expectation, Maintenance

EXAMPLES: dict[str, str] = {
    "table": "flights",
    "landing": "flights/*.csv",
    "format": "{type: csv}",
    "columns": "{flight_id: string}",
    "merge": "{strategy: upsert, keys: [flight_id]}",
    "freshness": "15m",
    "type": "csv",
    "strategy": "upsert",
    "name": "amount_is_positive",
    "check": '"amount > 0"',
}
"""What a missing field may look like."""

_PARTS: dict[tuple[str, ...], type[BaseModel]] = {
    (): Contract,
    ("merge",): Merge,
    ("merge", "snapshot"): Snapshot,
    ("expectations",): Expectation,
    ("maintenance",): Maintenance,
    ("batch",): Batch,
}
_FORMATS: dict[Any, type[BaseModel]] = {get_args(part.model_fields["type"].annotation)[0]: part for part in FORMATS}
_WRITE_A_FORMAT = "write " + one_of(f"{{type: {name}}}" for name in _FORMATS)
_KINDS = {
    "string_type": "must be text; put it in quotes",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "list_type": "must be a list, such as [a, b]",
    "dict_type": "must have fields, such as {name: value}",
    "model_type": "must have fields, such as {name: value}",
    "model_attributes_type": "must have fields, such as {name: value}",
    "too_short": "must not be empty",
}


@dataclass(frozen=True)
class Checked:
    """The contracts of a folder, and what was found. With an error among the findings, use none of them."""

    contracts: tuple[Contract, ...]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "error")


def check_folder(folder: Path) -> Checked:
    """Check every `*.yaml` of a folder, also against each other. Raises FileNotFoundError."""
    if not folder.is_dir():
        raise FileNotFoundError(folder)
    strays = sorted(folder.glob("*.yml"))
    findings = [Finding(str(path), 1, "", f"is not read; name it {path.stem}.yaml") for path in strays]
    paths = sorted(folder.glob("*.yaml"))
    if not paths and not strays:
        findings.append(Finding(str(folder), 1, "", "holds no contract; write one as <table>.yaml"))
    checked = check_texts([(str(path), _read(path)) for path in paths])
    return Checked(checked.contracts, (*findings, *checked.findings))


def _read(path: Path) -> bytes | OSError:
    try:
        return path.read_bytes()
    except OSError as error:
        return error


def check_texts(
    files: Sequence[tuple[str, bytes | OSError]], read: Callable[[Path], bytes | OSError] = _read
) -> Checked:
    """Check contracts by their files' names and contents. `read` gives the `.sql` files beside them."""
    findings: list[Finding] = []
    found: list[tuple[yaml_file.Document, Contract]] = []
    for file, content in files:
        if isinstance(content, OSError):
            findings.append(Finding(file, 1, "", f"cannot be read: {content.strerror}"))
            continue
        document, problems = yaml_file.parse(file, content)
        findings += problems
        if document is None:
            continue
        contract, problems = _check_document(document, read)
        findings += sorted(problems, key=lambda finding: finding.line)
        if contract is not None:
            found.append((document, contract))
    findings += _between(found)
    return Checked(tuple(contract for _, contract in found), tuple(findings))


def _check_document(
    document: yaml_file.Document, read: Callable[[Path], bytes | OSError]
) -> tuple[Contract | None, list[Finding]]:
    findings = [_at(document, remark) for remark in unsupported.take_out(document.data)]
    if remark := _take_in_sql(document, read):
        return None, [*findings, _at(document, remark)]
    refused = {finding.field for finding in findings}
    try:
        contract = Contract.model_validate(document.data)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            finding = _finding(document, detail)
            if finding.field not in refused:
                findings.append(finding)
        return None, findings
    findings += [_at(document, remark) for remark in rules.remarks(contract)]
    return contract, findings


def _at(document: yaml_file.Document, remark: Remark) -> Finding:
    return document.finding(remark.path, remark.message, severity=remark.severity, row=remark.row)


def _take_in_sql(document: yaml_file.Document, read: Callable[[Path], bytes | OSError]) -> Remark | None:
    """Put the text of a `.sql` file in place of its name, or say why that can't be done."""
    name, field = document.data.get("transform"), ("transform",)
    if not isinstance(name, str) or not transform.FILE_NAME.fullmatch(name.strip()):
        return None
    relative = PurePosixPath(name.strip())
    if relative.is_absolute() or ".." in relative.parts or "\\" in name:
        return Remark(field, f"{name!r} must lie beside the contract or below; write its name alone")
    path = Path(document.file).parent / relative
    content = read(path)
    if isinstance(content, OSError):
        return Remark(field, f"{name!r} cannot be read beside the contract: {content.strerror}")
    try:
        document.data["transform"] = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return Remark(field, f"{name!r} is not UTF-8; save the file in that encoding")
    document.elsewhere[field] = str(path)
    return None


def _finding(document: yaml_file.Document, detail: ErrorDetails) -> Finding:
    kind, location = detail["type"], detail["loc"]
    if kind == "missing":
        name = str(location[-1])
        around = document.known_part(location[:-1])
        example = f"; write `{name}: {EXAMPLES[name]}` or the like" if name in EXAMPLES else ""
        return document.finding(around, _dotted((*around, name)) + f" is missing{example}")
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        tag = (*document.known_part(location), "type")
        if document.known_part(tag) != tag:
            return document.finding(tag[:-1], f"type is missing; {_WRITE_A_FORMAT}")
        written = document.data["format"]["type"]
        hint = did_you_mean(str(written), _FORMATS) or f"; write {one_of(_FORMATS)}"
        return document.finding(tag, f"{written!r} is not a format{hint}")
    path = document.known_part(location)
    return document.finding(path, _message(document, detail, path))


def _message(document: yaml_file.Document, detail: ErrorDetails, path: tuple[str | int, ...]) -> str:
    kind = detail["type"]
    context = detail.get("ctx", {})
    if kind == "extra_forbidden":
        known = _fields_around(document, path)
        hint = did_you_mean(str(path[-1]), known) or f"; known here: {', '.join(known)}"
        return f"is not a field of a contract{hint}"
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        written = _value_at(document.data, path)
        words = [word.strip("'\"") for word in str(context["expected"]).replace(" or ", ", ").split(", ")]
        return f"{written!r} is not known{did_you_mean(str(written), words) or f'; write {one_of(words)}'}"
    if kind in ("greater_than_equal", "less_than_equal", "too_long"):
        return _out_of_bounds(kind, context)
    if path == ("format",):
        return f"must have fields; {_WRITE_A_FORMAT}"
    return _KINDS.get(kind, str(detail["msg"]))


def _out_of_bounds(kind: str, context: dict[str, Any]) -> str:
    if kind == "too_long":
        return f"holds {context['actual_length']}, and {context['max_length']} is the most; remove the others"
    bound = context.get("ge", context.get("le"))
    return f"must be at {'least' if kind.startswith('greater') else 'most'} {bound}"


def _fields_around(document: yaml_file.Document, path: tuple[str | int, ...]) -> list[str]:
    around = tuple(part for part in path[:-1] if isinstance(part, str))
    if around == ("format",):
        return list(_FORMATS[document.data["format"]["type"]].model_fields)
    return list(_PARTS.get(around, Contract).model_fields)


def _value_at(data: Any, path: tuple[str | int, ...]) -> Any:
    for part in path:
        data = data[part]
    return data


def _dotted(path: tuple[str | int, ...]) -> str:
    return repr(str(path[-1]))


def _between(found: Sequence[tuple[yaml_file.Document, Contract]]) -> list[Finding]:
    contracts = [contract for _, contract in found]
    findings = []
    for i, j in rules.duplicates(contracts):
        first, second = found[i][0], found[j][0]
        where = f"{first.file}:{first.lines['table',]}"
        findings.append(second.finding(("table",), f"{contracts[j].table!r} is the table of {where}; rename one"))
    for i, j, key in rules.overlaps(contracts):
        first, second = found[i][0], found[j][0]
        where = f"{first.file}:{first.lines['landing',]}"
        findings.append(
            second.finding(
                ("landing",),
                f"{key!r} would belong to {contracts[i].table!r} ({where}) as well; let their folders differ",
            )
        )
    return findings
