"""YAML with the line of every field: a finding names the line where something has to be changed.

PyYAML's nodes are read by hand. Its constructors would lose the lines, keep only the last of two equal
keys, and read the column name `on` as true and `06:00` as 360.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from tidegate_cli.contracts.findings import Finding, Path, field_of

_TRUE = frozenset({"true", "yes", "on"})


@dataclass(frozen=True)
class Document:
    """A file's content, and the line (from 1) of each of its fields."""

    file: str
    data: dict[str, Any]
    lines: Mapping[Path, int]
    texts: Mapping[Path, int] = field(default_factory=dict)
    """The first line of each text that is written after `|`, which keeps its line breaks."""
    elsewhere: dict[Path, str] = field(default_factory=dict)
    """Fields whose text was taken from a file of its own, and that file's name."""

    def known_part(self, path: Path) -> Path:
        """The longest way along `path` that stands in the file; parts that don't are left out."""
        found: Path = ()
        for part in path:
            if (*found, part) in self.lines:
                found = (*found, part)
        return found

    def finding(self, path: Path, message: str, *, row: int = 1, **more: Any) -> Finding:
        """A finding at the line of `path`, or of the nearest field around it; within a text, at its line `row`."""
        if path in self.elsewhere:
            return Finding(self.elsewhere[path], row, field_of(path), message, **more)
        if path in self.texts:
            return Finding(self.file, self.texts[path] + row - 1, field_of(path), message, **more)
        return Finding(self.file, self.lines[self.known_part(path)], field_of(path), message, **more)


def parse(file: str, content: bytes) -> tuple[Document | None, list[Finding]]:
    """Read a contract's YAML. Without a document the findings say why there is none."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        return None, [Finding(file, line, "", "is not UTF-8; save the file in that encoding")]
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(part for part in (error.context, error.problem) if part)
        return None, [Finding(file, mark.line + 1 if mark else 1, "", f"is not YAML: {problem}")]
    except yaml.YAMLError as error:
        return None, [Finding(file, 1, "", f"is not YAML: {' '.join(str(error).split())}")]
    if root is None:
        return None, [Finding(file, 1, "", "is empty; a contract begins with `table: <name>`")]
    if not isinstance(root, yaml.MappingNode):
        return None, [Finding(file, 1, "", "holds no fields; a contract begins with `table: <name>`")]
    reader = _Reader(file)
    data = reader.mapping(root, ())
    return Document(file, data, reader.lines, reader.texts), reader.findings


@dataclass
class _Reader:
    file: str
    lines: dict[Path, int] = field(default_factory=lambda: {(): 1})
    texts: dict[Path, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    _open: set[int] = field(default_factory=set)

    def value(self, node: yaml.Node, path: Path) -> Any:
        if isinstance(node, yaml.ScalarNode):
            if node.style == "|":
                self.texts[path] = node.start_mark.line + 2
            return _scalar(node)
        if id(node) in self._open:  # an alias to something around itself
            self._refuse(node, path, "refers to itself; write its content out")
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self.mapping(node, path)
            return self._sequence(node, path)
        finally:
            self._open.discard(id(node))

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._refuse(key, path, "a field's name must be a word")
                continue
            here = (*path, key.value)
            if key.value in data:
                first = self.lines[here]
                self._refuse(key, here, f"stands here a second time, after line {first}; remove one of them")
                continue
            self.lines[here] = key.start_mark.line + 1
            data[key.value] = self.value(value, here)
        return data

    def _sequence(self, node: yaml.Node, path: Path) -> list[Any]:
        items = []
        for position, item in enumerate(node.value):
            here = (*path, position)
            self.lines[here] = item.start_mark.line + 1
            items.append(self.value(item, here))
        return items

    def _refuse(self, node: yaml.Node, path: Path, message: str) -> None:
        self.findings.append(Finding(self.file, node.start_mark.line + 1, field_of(path), message))


def _scalar(node: yaml.ScalarNode) -> Any:
    kind = node.tag.rpartition(":")[2]
    text: str = node.value
    try:
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() in _TRUE
        if kind == "int":
            return int(text.replace("_", ""))
        if kind == "float":
            return float(text)
    except ValueError:
        return text
    return text
