"""Column types: what Spark SQL calls them, in one spelling."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tidegate_cli.contracts.findings import did_you_mean

SIMPLE = (
    *("string", "boolean", "tinyint", "smallint", "int", "bigint", "float", "double"),
    *("date", "timestamp", "timestamp_ntz", "binary"),
)
SYNONYMS = {
    **{"byte": "tinyint", "short": "smallint", "integer": "int", "long": "bigint", "real": "float"},
    **{"timestamp_ltz": "timestamp", "dec": "decimal", "numeric": "decimal"},
}
"""Other names that Spark SQL itself has."""
NESTED = ("array", "map", "struct")
MEANT = {
    **dict.fromkeys(("text", "str", "varchar", "char", "uuid", "json", "object"), "string"),
    **dict.fromkeys(("int64", "uint32", "uint64", "serial"), "bigint"),
    **dict.fromkeys(("int32", "uint16", "mediumint"), "int"),
    **dict.fromkeys(("float64", "number"), "double"),
    **dict.fromkeys(("datetime", "timestamptz"), "timestamp"),
    **{"bool": "boolean", "float32": "float", "int16": "smallint", "int8": "tinyint", "bytes": "binary"},
    **{"list": "array<...>", "dict": "map<string,...>", "row": "struct<...>"},
}
"""What people write who come from elsewhere, and what it is called here."""
MAX_PRECISION = 38

_TOKEN = re.compile(r"\s*(?:([^\s<>(),:`]+)|`([^`]+)`|([<>(),:]))")


class InvalidType(ValueError):
    """A type that Spark SQL does not know; the message says what to write."""


@dataclass(frozen=True)
class ColumnType:
    """A type in its one spelling, such as `decimal(10,2)` or `array<struct<a:int>>`."""

    ddl: str

    @property
    def kind(self) -> str:
        """The outermost word: `decimal`, `struct`, `int`."""
        return re.split(r"[(<]", self.ddl, maxsplit=1)[0]

    @property
    def is_nested(self) -> bool:
        return self.kind in NESTED

    @property
    def is_text_like(self) -> bool:
        """Whether a value can be written as one word of text: in CSV, or in a path."""
        return not self.is_nested and self.kind != "binary"


def parse(text: str) -> ColumnType:
    """Read a type. Raises :class:`InvalidType`."""
    parser = _Parser(text)
    ddl = parser.type()
    parser.end()
    return ColumnType(ddl)


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, bool]] = []
        at = 0
        stripped = text.rstrip()
        while at < len(stripped):
            match = _TOKEN.match(stripped, at)
            if match is None:
                raise InvalidType(f"{text!r} is not a type: cannot read {stripped[at:]!r}")
            word, quoted, sign = match.groups()
            self.tokens.append((word or quoted or sign, sign is None))
            at = match.end()
        self.at = 0

    def type(self) -> str:
        name = self.word("a type").lower()
        name = SYNONYMS.get(name, name)
        if name == "decimal":
            return self.decimal()
        if name in SIMPLE:
            return name
        if name == "array":
            self.sign("<")
            element = self.type()
            self.sign(">")
            return f"array<{element}>"
        if name == "map":
            self.sign("<")
            key = self.type()
            self.sign(",")
            value = self.type()
            self.sign(">")
            return f"map<{key},{value}>"
        if name == "struct":
            return self.struct()
        if name in MEANT:
            raise InvalidType(f"{name!r} is not a Spark SQL type; write {MEANT[name]!r}")
        hint = did_you_mean(name, [*SIMPLE, *SYNONYMS, "decimal", *NESTED])
        raise InvalidType(f"{name!r} is not a Spark SQL type{hint or '; see docs/contract-reference.md'}")

    def decimal(self) -> str:
        if not self.peek("("):
            return "decimal(10,0)"
        self.sign("(")
        precision = self.number("the precision")
        scale = 0
        if self.peek(","):
            self.sign(",")
            scale = self.number("the scale")
        self.sign(")")
        if not 1 <= precision <= MAX_PRECISION or not 0 <= scale <= precision:
            raise InvalidType(
                f"decimal({precision},{scale}) is not a type: write decimal(p,s) with p from 1 to"
                f" {MAX_PRECISION} and s from 0 to p"
            )
        return f"decimal({precision},{scale})"

    def struct(self) -> str:
        self.sign("<")
        fields: dict[str, str] = {}
        while True:
            name = self.word("a field's name")
            if name.lower() in fields:
                raise InvalidType(f"{self.text!r} is not a type: field {name!r} stands in it twice")
            if self.peek(":"):
                self.sign(":")
            shown = name if re.fullmatch(r"\w+", name) else f"`{name}`"
            fields[name.lower()] = f"{shown}:{self.type()}"
            if not self.peek(","):
                break
            self.sign(",")
        self.sign(">")
        return f"struct<{','.join(fields.values())}>"

    def peek(self, sign: str) -> bool:
        return self.at < len(self.tokens) and self.tokens[self.at] == (sign, False)

    def sign(self, sign: str) -> None:
        if not self.peek(sign):
            raise InvalidType(f"{self.text!r} is not a type: {self.found()} where {sign!r} should stand")
        self.at += 1

    def word(self, what: str) -> str:
        if self.at < len(self.tokens) and self.tokens[self.at][1]:
            self.at += 1
            return self.tokens[self.at - 1][0]
        raise InvalidType(f"{self.text!r} is not a type: {self.found()} where {what} should stand")

    def number(self, what: str) -> int:
        word = self.word(what)
        if not word.isdecimal():
            raise InvalidType(f"{self.text!r} is not a type: {what} must be a number")
        return int(word)

    def found(self) -> str:
        return f"{self.tokens[self.at][0]!r} stands" if self.at < len(self.tokens) else "it ends"

    def end(self) -> None:
        if self.at < len(self.tokens):
            raise InvalidType(f"{self.text!r} is not a type: {self.found()} after its end")
