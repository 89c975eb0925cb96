"""Finds `as_of(...)` where a table can stand in Spark SQL. No SQL is understood beyond its words and brackets:

strings, quoted names and comments are skipped as Spark reads them, so that nothing in them is taken for a call.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*|/\*.*?\*/)
    |(?P<text>[rR]'[^']*'|[rR]"[^"]*"|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`(?:``|[^`])*`)
    |(?P<word>\w+)
    |(?P<sign>.)""",
    re.DOTALL | re.VERBOSE,
)
_BEFORE_A_TABLE = frozenset({"from", "join", ",", "lateral", "("})
_OPEN, _CLOSE = frozenset("(["), frozenset(")]")


@dataclass(frozen=True)
class Call:
    """One `as_of(...)`: where it is in the text, and its arguments as they stand there."""

    begin: int
    end: int
    text: str
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    begin: int
    end: int


def find_calls(text: str) -> list[Call]:
    """The calls in a query, in the order in which they stand. One that never ends is left to Spark to complain of."""
    tokens = list(_tokens(text))
    calls = []
    for at, token in enumerate(tokens[:-1]):
        before = tokens[at - 1].text.lower() if at else ""
        if token.text.lower() == "as_of" and tokens[at + 1].text == "(" and before in _BEFORE_A_TABLE:
            call = _call(text, token, tokens[at + 2 :])
            if call is not None:
                calls.append(call)
    return calls


def replace_calls(text: str, replacements: Sequence[tuple[Call, str]]) -> str:
    """The text with each call replaced."""
    for call, replacement in sorted(replacements, key=lambda each: each[0].begin, reverse=True):
        text = text[: call.begin] + replacement + text[call.end :]
    return text


def _call(text: str, name: _Token, rest: Sequence[_Token]) -> Call | None:
    depth, begin, arguments = 0, None, []
    for token in rest:
        begin = token.begin if begin is None else begin
        is_end = depth == 0 and token.text in _CLOSE
        if is_end or (depth == 0 and token.text == ","):
            arguments.append(text[begin : token.begin].strip())
            begin = token.end
        if is_end:
            return Call(name.begin, token.end, text[name.begin : token.end], tuple(arguments))
        depth += (token.kind == "sign" and token.text in _OPEN) - (token.kind == "sign" and token.text in _CLOSE)
    return None


def _tokens(text: str) -> Iterator[_Token]:
    for found in _TOKEN.finditer(text):
        kind = found.lastgroup or "sign"
        if kind != "space":
            yield _Token(kind, found[0], found.start(), found.end())
