"""`as_of(table, valid[, known])` in a query, and what is so now: both become a condition on the table's bounds.

A row is so at `v` if valid_from <= v < valid_to, and believed at `k` if known_from <= k < known_to; a null bound is an
open end. The query itself is left as it is written, but for the calls: the engine knows its own SQL best.
"""

# ruff: noqa: PLC0415 - sqlglot is imported by the query that needs it, so that --help stays fast

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlglot import Token

BOUND_KEY = "tidegate.bound"
"""The key of a column's metadata that says which bound of an interval it holds."""
_BOUNDS = ("valid_from", "valid_to", "known_from", "known_to")
_MAY_CALL = re.compile(r"\bas_of\s*\(", re.IGNORECASE)
_TYPES: Mapping[str, str] = {
    **{"string": "Utf8", "long": "Int64", "integer": "Int32", "short": "Int16", "byte": "Int8"},
    **{"double": "Float64", "float": "Float32", "date": "Date32", "boolean": "Boolean"},
    **{"timestamp": 'Timestamp(Microsecond, Some("UTC"))', "timestamp_ntz": "Timestamp(Microsecond, None)"},
}
"""Delta's types, as the engine's `arrow_cast` names them."""
_TIMES = frozenset({"timestamp", "timestamp_ntz", "date"})


class NotAsOf(Exception):
    """`as_of` can't be used so; the message says what to write instead."""


@dataclass(frozen=True)
class Bound:
    """A column that bounds intervals."""

    column: str
    type: str
    """As Delta's schema names it."""

    @property
    def quoted(self) -> str:
        return quoted(self.column)

    def cast(self, moment: str) -> str:
        """`moment`, a SQL expression, as a value of the column's type."""
        decimal = re.fullmatch(r"decimal\((\d+), ?(\d+)\)", self.type)
        arrow = f"Decimal128({decimal[1]}, {decimal[2]})" if decimal else _TYPES.get(self.type)
        if arrow is None:
            raise NotAsOf(f"as_of knows no values of type {self.type}, as column {self.column} has.")
        # The line break ends a comment that the expression may close with.
        return f"arrow_cast(({moment}\n), '{arrow}')"


@dataclass(frozen=True)
class _Call:
    begin: int
    end: int
    table: str
    moments: tuple[str, ...]
    is_named: bool
    """The query gives it a name."""


def quoted(name: str) -> str:
    """A name as the engine takes it literally."""
    return '"' + name.replace('"', '""') + '"'


def rewrite(sql: str, fields_of: Callable[[str], Any]) -> str:
    """The query with each `as_of(...)` replaced by the filtered table. Raises :class:`NotAsOf`.

    `fields_of` answers with the fields of a table's Delta schema.
    """
    if not _MAY_CALL.search(sql):
        return sql
    for call in reversed(_calls(sql)):
        condition = _as_of_condition(bounds_of(fields_of(call.table)), call)
        name = "" if call.is_named else f" AS {quoted(call.table)}"
        rows = f"(SELECT * FROM {quoted(call.table)} WHERE {condition}){name}"  # noqa: S608 - quoted or parsed
        sql = sql[: call.begin] + rows + sql[call.end :]
    return sql


def now_condition(fields: Any) -> str:
    """What is so now, as is believed now. Of scd2 rows: the newest. Raises :class:`NotAsOf`."""
    bounds = bounds_of(fields)
    if "known_to" not in bounds:
        return f"{bounds['valid_to'].quoted} IS NULL"
    believed = f"{bounds['known_to'].quoted} IS NULL"
    if bounds["valid_from"].type not in _TIMES:
        # Of a period of numbers nobody knows which is now.
        return believed
    return f"{believed} AND {_within(bounds['valid_from'], bounds['valid_to'], 'now()')}"


def bounds_of(fields: Any) -> dict[str, Bound]:
    """The columns that hold the bounds of a table's intervals: two or four. Raises :class:`NotAsOf`."""
    found = {field.metadata[BOUND_KEY]: _bound(field) for field in fields if BOUND_KEY in (field.metadata or {})}
    if not found:
        found = {field.name: _bound(field) for field in fields if field.name in _BOUNDS}
    if not {"valid_from", "valid_to"} <= found.keys():
        names = ", ".join(field.name for field in fields)
        raise NotAsOf(f"as_of needs a table that is merged by scd2 or bitemporal; this one has the columns {names}.")
    return found


def _bound(field: Any) -> Bound:
    return Bound(field.name, str(getattr(field.type, "type", field.type)))


def _as_of_condition(bounds: Mapping[str, Bound], call: _Call) -> str:
    if len(call.moments) > 1 and "known_from" not in bounds:
        raise NotAsOf(
            f"the scd2 table {call.table} doesn't know what was believed when: write as_of({call.table}, valid). "
            "bitemporal tables do."
        )
    valid, known = (*(_moment(text) for text in call.moments), None, None)[:2]
    parts = []
    if valid is not None:
        parts.append(_within(bounds["valid_from"], bounds["valid_to"], valid))
    if known is not None:
        parts.append(_within(bounds["known_from"], bounds["known_to"], known))
    elif "known_to" in bounds:
        parts.append(f"{bounds['known_to'].quoted} IS NULL")
    return " AND ".join(parts) or "true"


def _within(begin: Bound, end: Bound, moment: str) -> str:
    value = begin.cast(moment)
    return f"({begin.quoted} IS NULL OR {begin.quoted} <= {value}) AND ({end.quoted} IS NULL OR {value} < {end.quoted})"


def _moment(text: str) -> str | None:
    """The expression, if it is one and a constant; None for NULL: any valid time, or what is believed now."""
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    try:
        parsed = sqlglot.parse(text)
    except SqlglotError:
        parsed = []
    found = parsed[0] if len(parsed) == 1 else None
    if not isinstance(found, exp.Condition) or found.find(exp.Column, exp.Query, exp.Star):
        raise NotAsOf(f"as_of takes constants after the table, such as '2026-01-31', not {text.strip() or 'nothing'}.")
    return None if isinstance(found, exp.Null) else text


def _calls(sql: str) -> list[_Call]:
    from sqlglot import TokenType
    from sqlglot.errors import SqlglotError
    from sqlglot.tokens import Tokenizer

    before_a_table = {TokenType.FROM, TokenType.JOIN, TokenType.COMMA, TokenType.L_PAREN, TokenType.LATERAL}
    names = {TokenType.ALIAS, TokenType.VAR, TokenType.IDENTIFIER}
    try:
        tokens = Tokenizer().tokenize(sql)
    except SqlglotError as error:
        raise NotAsOf(f"the query can't be read: {error}") from None
    calls = []
    for at, token in enumerate(tokens[:-1]):
        is_call = token.token_type is TokenType.VAR and token.text.lower() == "as_of"
        if not is_call or tokens[at + 1].token_type is not TokenType.L_PAREN:
            continue
        if not at or tokens[at - 1].token_type not in before_a_table:
            raise NotAsOf("as_of(table, valid, known) stands where a table can: after FROM or JOIN.")
        end, ranges = _arguments(tokens, at + 2)
        follows = tokens[end + 1].token_type if end + 1 < len(tokens) else None
        first, *moments = (tokens[low:high] for low, high in ranges)
        if len(first) != 1 or first[0].token_type not in names or len(moments) > 2:
            shown = sql[token.start : tokens[end].end + 1]
            raise NotAsOf(f"as_of takes a table's name, a valid time and perhaps a known time, not {shown}.")
        texts = tuple(sql[part[0].start : part[-1].end + 1] if part else "" for part in moments)
        table = first[0].text if first[0].token_type is TokenType.IDENTIFIER else first[0].text.lower()
        calls.append(_Call(token.start, tokens[end].end + 1, table, texts, follows in names))
    return calls


def _arguments(tokens: list[Token], at: int) -> tuple[int, list[tuple[int, int]]]:
    """Where the call's bracket closes, and from where to where each argument goes: positions of tokens."""
    from sqlglot import TokenType

    opening, closing = {TokenType.L_PAREN, TokenType.L_BRACKET}, {TokenType.R_PAREN, TokenType.R_BRACKET}
    depth, begin, found = 0, at, []
    for here in range(at, len(tokens)):
        kind = tokens[here].token_type
        if depth == 0 and (kind in closing or kind is TokenType.COMMA):
            found.append((begin, here))
            begin = here + 1
            if kind in closing:
                return here, found
        depth += (kind in opening) - (kind in closing)
    raise NotAsOf("as_of( is never closed: a bracket is missing.")
