"""The transform: one SELECT over the arrivals, taken apart into an expression for each column of the table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import Token, TokenType, exp

from tidegate_cli.contracts import sql
from tidegate_cli.contracts.findings import did_you_mean
from tidegate_cli.contracts.sql import InvalidSql, Problem, Scope

if TYPE_CHECKING:
    from tidegate_cli.contracts.model import Contract

METADATA_COLUMNS: dict[str, str] = {"_source_file": "string", "_arrived_at": "timestamp"}
"""Columns that Tidegate fills where a contract names them, and their types. SQL may name them anyway."""
FILE_NAME = re.compile(r"[^\s()]+\.sql", re.IGNORECASE)
"""A transform that is the name of a file; no SELECT is one word."""
_WRITE = "write SELECT ... FROM arrivals, with a WHERE if rows are to be left out"
_CLAUSES = {
    **{"joins": "JOIN", "laterals": "LATERAL VIEW", "group": "GROUP BY", "having": "HAVING", "qualify": "QUALIFY"},
    **{"order": "ORDER BY", "sort": "SORT BY", "cluster": "CLUSTER BY", "distribute": "DISTRIBUTE BY"},
    **{"limit": "LIMIT", "offset": "OFFSET", "distinct": "DISTINCT", "with": "WITH", "with_": "WITH"},
    **{"windows": "WINDOW", "hint": "a hint", "pivots": "PIVOT", "sample": "TABLESAMPLE", "into": "INTO"},
}
_PUNCTUATION = {
    **dict.fromkeys((TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE), 1),
    **dict.fromkeys((TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE), -1),
}


@dataclass(frozen=True)
class Item:
    """One projection: `upper(name) AS name`."""

    name: str
    tokens: tuple[Token, ...]
    """Of its expression, without the name."""
    tree: exp.Expr

    @property
    def row(self) -> int:
        return self.tokens[0].line

    @property
    def is_bare(self) -> bool:
        """The column of that name as it arrives, and nothing else."""
        return (
            isinstance(self.tree, exp.Column)
            and self.tree.name.lower() == self.name.lower()
            and ([part.name.lower() for part in self.tree.parts[:-1]] in ([], [sql.VIEW]))
        )


@dataclass(frozen=True)
class Select:
    """A SELECT that has the right form; its names are not looked at yet."""

    text: str
    items: tuple[Item, ...]
    where_tokens: tuple[Token, ...] = ()
    where: exp.Expr | None = None

    @property
    def by_name(self) -> dict[str, Item]:
        return {item.name.lower(): item for item in self.items}


def parse(text: str) -> Select:
    """Take a SELECT apart. `*` is left out: what no item names stays as it arrives. Raises :class:`InvalidSql`."""
    tokens = sql.tokens_of(text)
    if tokens[0].token_type is not TokenType.SELECT:
        raise InvalidSql(f"begins with {tokens[0].text!r}; {_WRITE}", tokens[0].line)
    if len(tokens) > 1 and tokens[1].token_type is TokenType.ALL:
        raise InvalidSql("has ALL, which says nothing; remove it", tokens[1].line)
    tree = sql.parse(tokens, text, exp.Select)
    if not isinstance(tree, exp.Select):
        raise InvalidSql(f"puts several SELECTs together; {_WRITE}")
    _check_clauses(tree)
    _check_from(tree)
    start, where = _clause_positions(tokens)
    pieces = list(_pieces(tokens[1:start]))
    if len(pieces) != len(tree.expressions):
        raise InvalidSql(f"cannot be taken apart into its columns; {_WRITE}")
    items = tuple(
        _item(piece, expression)
        for piece, expression in zip(pieces, tree.expressions, strict=True)
        if not _is_star(expression)
    )
    condition = tree.args.get("where")
    return Select(text, items, tuple(tokens[where + 1 :]) if condition else (), condition.this if condition else None)


def _check_clauses(tree: exp.Select) -> None:
    for name, value in tree.args.items():
        if value and name in _CLAUSES:
            raise InvalidSql(
                f"has {_CLAUSES[name]}, and each row is transformed by itself; {_WRITE}, and do the rest in a"
                " follow-up, after the merge"
            )


def _check_from(tree: exp.Select) -> None:
    clause = tree.args.get("from") or tree.args.get("from_")
    source = clause.this if clause else None
    if not isinstance(source, exp.Table) or source.name.lower() != sql.VIEW or source.db:
        raise InvalidSql(f"does not read from {sql.VIEW} alone; {_WRITE}")
    if source.alias:
        raise InvalidSql(f"calls {sql.VIEW} {source.alias!r}; write FROM {sql.VIEW} alone")
    if any(value for name, value in source.args.items() if name != "this"):
        raise InvalidSql(f"does not read {sql.VIEW} as it is; {_WRITE}")


def _clause_positions(tokens: Sequence[Token]) -> tuple[int, int]:
    """Where FROM and WHERE stand, outside of brackets: `extract(year FROM day)` has one, too."""
    depth, found = 0, {TokenType.FROM: len(tokens), TokenType.WHERE: len(tokens)}
    for at, token in enumerate(tokens):
        depth += _PUNCTUATION.get(token.token_type, 0)
        # `a IS DISTINCT FROM b` has one outside of brackets.
        is_operator = at > 0 and tokens[at - 1].token_type is TokenType.DISTINCT
        if depth == 0 and token.token_type in found and not is_operator:
            found[token.token_type] = min(found[token.token_type], at)
    return found[TokenType.FROM], found[TokenType.WHERE]


def _pieces(tokens: Sequence[Token]) -> Iterator[tuple[Token, ...]]:
    depth, start = 0, 0
    for at, token in enumerate(tokens):
        depth += _PUNCTUATION.get(token.token_type, 0)
        if depth == 0 and token.token_type is TokenType.COMMA:
            yield tuple(tokens[start:at])
            start = at + 1
    yield tuple(tokens[start:])


def _is_star(expression: exp.Expr) -> bool:
    star = expression.this if isinstance(expression, exp.Column) else expression
    if not isinstance(star, exp.Star):
        return False
    if isinstance(expression, exp.Column) and [part.name.lower() for part in expression.parts[:-1]] != [sql.VIEW]:
        raise InvalidSql(f"has {expression.sql(dialect='spark')}, whose names are not known; name the fields")
    if any(star.args.values()):
        raise InvalidSql("has a * with EXCEPT or the like, which Spark 3.5 has not; name the columns")
    return True


def _item(tokens: tuple[Token, ...], expression: exp.Expr) -> Item:
    if isinstance(expression, exp.Aliases):
        raise InvalidSql("gives one value several names; write one item for each", tokens[0].line)
    if isinstance(expression, exp.Alias):
        if not isinstance(expression.args["alias"], exp.Identifier):
            raise InvalidSql(
                "has ':', which Spark 3.5 has not; write get_json_object(..., '$.name') AS name", tokens[0].line
            )
        has_as = tokens[-2].token_type is TokenType.ALIAS
        return Item(expression.alias, tokens[: -2 if has_as else -1], expression.this)
    if isinstance(expression, exp.Column | exp.Dot):
        return Item(expression.name, tokens, expression)
    shown = " ".join(token.text for token in tokens[:6]) + (" ..." if len(tokens) > 6 else "")
    raise InvalidSql(f"gives {shown} no name; write `... AS name`", tokens[0].line)


def computed(contract: Contract) -> frozenset[str]:
    """Columns of the table that the transform makes, and that files and paths need not have."""
    if contract.transform is None:
        return frozenset()
    try:
        items = parse(contract.transform).by_name
    except InvalidSql:  # `problems` says so
        return frozenset()
    return frozenset(
        name
        for name in contract.columns
        if name.lower() in items and not items[name.lower()].is_bare and name not in contract.reads
    )


def source_columns(contract: Contract) -> dict[str, str]:
    """What files and paths give, and of which types."""
    left_out = {*computed(contract), *contract.reads, *METADATA_COLUMNS}
    return {name: ddl for name, ddl in contract.columns.items() if name not in left_out} | contract.reads


def _scope(contract: Contract) -> Scope:
    made = computed(contract)
    types = source_columns(contract) | METADATA_COLUMNS

    def unknown(name: str) -> str:
        if name.lower() in {column.lower() for column in made}:
            return f"{name!r} is made by the transform; if files have it, too, add it to reads: `{name}: string`"
        hint = did_you_mean(name, types) or f"; if files have it, add it to reads: `{name}: string`"
        return f"{name!r} is no column of arrivals{hint}"

    return Scope(types, unknown, sql.VIEW)


def problems(contract: Contract) -> Iterator[Problem]:
    """Everything that is wrong with a contract's transform."""
    try:
        select = parse(contract.transform or "")
    except InvalidSql as invalid:
        yield Problem(str(invalid), invalid.row)
        return
    yield from _names(select, contract)
    scope = _scope(contract)
    parts = [(item.tokens, item.tree) for item in select.items]
    if select.where is not None:
        parts.append((select.where_tokens, select.where))
    for tokens, tree in parts:
        yield from sql.calls(tokens, scope)
        yield from (Problem(each.message, tokens[0].line) for each in sql.shape(tree))
        yield from sql.columns(tree, scope)


def _names(select: Select, contract: Contract) -> Iterator[Problem]:
    seen: set[str] = set()
    known = {name.lower() for name in contract.columns}
    for item in select.items:
        name = item.name
        if name.lower() in seen:
            yield Problem(f"makes {name!r} twice; remove one", item.row)
        seen.add(name.lower())
        if name.lower() not in known:
            hint = did_you_mean(name, contract.columns) or "; add it to columns with its type, or remove it"
            yield Problem(f"makes {name!r}, which is no column of the table{hint}", item.row)
        elif name in METADATA_COLUMNS and not item.is_bare:
            yield Problem(f"makes {name!r}, which Tidegate fills; use another name", item.row)
        elif contract.merge.partial_updates and not item.is_bare:
            yield Problem(
                f"makes {name!r}, and under partial_updates a change may lack what that is made of; land the column"
                " as it is, or remove partial_updates",
                item.row,
            )


def compile_transform(contract: Contract) -> dict[str, object] | None:
    """An expression for each column of the table, and the condition. The contract has no problems."""
    if contract.transform is None:
        return None
    select, scope = parse(contract.transform), _scope(contract)
    items = select.by_name
    made = []
    for name in contract.columns:
        if name in METADATA_COLUMNS:
            continue
        item = items.get(name.lower())
        quoted = f"`{name}`"
        is_made = item is not None and not item.is_bare
        made.append(f"{sql.without_view(select.text, item.tokens, scope) if item and is_made else quoted} AS {quoted}")
    where = sql.without_view(select.text, select.where_tokens, scope) if select.where is not None else None
    return {"select": made, "where": where}
