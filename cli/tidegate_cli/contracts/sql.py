"""SQL in a contract: read by sqlglot, held to what a row by itself can answer, and kept in its own words.

What reaches Spark is the user's text, never what sqlglot would write for it: a parser that reads a little more than
Spark does must not change what is computed. Spark itself looks at each expression again before it reads a row.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlglot import Token, TokenType, exp
from sqlglot.dialects.spark import Spark
from sqlglot.errors import ParseError, TokenError

from tidegate_cli.contracts import functions
from tidegate_cli.contracts.findings import did_you_mean

VIEW = "arrivals"
_SPARK = Spark()
# It says in its log what the findings say better.
logging.getLogger("sqlglot").setLevel(logging.CRITICAL)
_SYNTAX = (
    "and or not in is like ilike rlike regexp between case when then else select where from as on distinct all using"
    " over filter within array map struct interval"
)
_BEFORE_PARENTHESES = frozenset(_SYNTAX.split())
"""Words that may stand before `(` and call nothing. Array, map and struct are functions as well, and allowed."""
_NOT_IN_SPARK = {
    TokenType.DCOLON: "CAST(... AS type)",
    TokenType.DQMARK: "coalesce(..., ...)",
    **dict.fromkeys((TokenType.DARROW, TokenType.HASH_ARROW, TokenType.DHASH_ARROW), "get_json_object(..., '$.name')"),
}
"""Signs that sqlglot takes from other dialects, and what Spark has instead."""
_MOMENT = re.compile(r"\s*(now|today|tomorrow|yesterday)\b", re.IGNORECASE)
_PARAMETER = "has a parameter ({}), and nothing fills it; write the value"
_NO_CONDITIONS = (
    *(exp.Literal, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod, exp.DPipe, exp.Concat, exp.Neg, exp.Null),
    *(exp.Upper, exp.Lower, exp.Abs, exp.Length),
)
"""What is no condition whatever stands in it. Spark's analyzer finds the rest."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with a text, and in which of its lines (from 1)."""

    message: str
    row: int = 1


class InvalidSql(ValueError):
    """A text that can't be read. The message says what to write."""

    def __init__(self, message: str, row: int = 1) -> None:
        super().__init__(message)
        self.row = row


@dataclass(frozen=True)
class Scope:
    """The columns that an expression may name."""

    types: Mapping[str, str]
    unknown: Callable[[str], str]
    """What to say of a name that is not among them."""
    view: str = ""
    """The name that may stand before a column: `arrivals.id`."""

    def find(self, name: str) -> str | None:
        """The column as the contract spells it; Spark doesn't see case."""
        return next((column for column in self.types if column.lower() == name.lower()), None)


def tokens_of(text: str) -> list[Token]:
    """The words and signs of a text, without comments. Raises :class:`InvalidSql`."""
    if "${" in text:
        row = text[: text.index("${")].count("\n") + 1
        raise InvalidSql(_PARAMETER.format("${...}"), row)
    try:
        tokens = _SPARK.tokenize(text)
    except TokenError:
        raise InvalidSql("is not SQL: a quote or a comment is opened and not closed") from None
    while tokens and tokens[-1].token_type is TokenType.SEMICOLON:
        tokens.pop()
    if not tokens:
        raise InvalidSql("is empty; write a SQL expression")
    if second := next((token for token in tokens if token.token_type is TokenType.SEMICOLON), None):
        raise InvalidSql("is more than one statement; write one", second.line)
    return tokens


def parse(tokens: Sequence[Token], text: str, into: type[exp.Expr]) -> exp.Expr:
    """The one expression that the tokens are. Raises :class:`InvalidSql`."""
    try:
        found = _SPARK.parser().parse_into(into, list(tokens), text)
    except ParseError as error:
        raise _in_plain_words(error) from None
    except (IndexError, KeyError, AttributeError, TypeError, ValueError, RecursionError) as fault:
        # sqlglot's own faults, met by fuzzing: the text is wrong, or nested too deeply to be told.
        raise InvalidSql(f"is not SQL that can be read; look at what begins with {tokens[0].text!r}") from fault
    if len(found) != 1 or found[0] is None:
        raise InvalidSql(f"is not SQL: {tokens[0].text!r} is not expected there", tokens[0].line)
    return found[0]


def _in_plain_words(error: ParseError) -> InvalidSql:
    # parse_into wraps the error that says where; its own has no position.
    cause = error.__cause__ if isinstance(error.__cause__, ParseError) else error
    first = next((each for each in (*error.errors, *cause.errors) if each.get("line")), {})
    said, at = str(first.get("description") or ""), str(first.get("highlight") or "")
    near = f" beside {at!r}" if at else ""
    if said.startswith("Required keyword"):
        return InvalidSql(f"is not SQL: something is missing{near}", first.get("line") or 1)
    if expected := re.match(r"Expect(?:ed|ing) (\S+)", said):
        return InvalidSql(f"is not SQL: {expected[1]} is missing{near}", first.get("line") or 1)
    if said.startswith("Invalid expression"):
        return InvalidSql(f"is not SQL: {at!r} is not expected there", first.get("line") or 1)
    return InvalidSql(f"is not SQL{near}" + (f": {said}" if said else ""), first.get("line") or 1)


def condition(text: str, scope: Scope) -> Iterator[Problem]:
    """What is wrong with a text that must be a condition on one row."""
    try:
        tokens = tokens_of(text)
        tree = parse(tokens, text, exp.Condition)
    except InvalidSql as invalid:
        yield Problem(str(invalid), invalid.row)
        return
    problems = [*calls(tokens, scope), *shape(tree), *columns(tree, scope)]
    yield from sorted(problems, key=lambda problem: problem.row)
    if problems:
        return
    bare = tree.unnest()
    if isinstance(bare, _NO_CONDITIONS):
        yield Problem("is a value and no condition; write what it must be, such as `amount > 0`")
    elif (
        isinstance(bare, exp.Column) and len(bare.parts) == 1 and scope.types[scope.find(bare.name) or ""] != "boolean"
    ):
        found = scope.find(bare.name) or ""
        yield Problem(f"is a column of type {scope.types[found]} and no condition; write what it must be")
    elif tree.find(exp.Column) is None:
        yield Problem("names no column, so it is the same for every row; write a condition on columns")


def calls(tokens: Sequence[Token], scope: Scope) -> Iterator[Problem]:
    """Functions that a row by itself can't answer, and moments that pass. By the words: sqlglot renames functions."""
    for at, token in enumerate(tokens):
        before = tokens[at - 1] if at else None
        after = tokens[at + 1] if at + 1 < len(tokens) else None
        if token.token_type is TokenType.STRING:
            is_typed = before is not None and before.text.lower() in (
                "date",
                "timestamp",
                "timestamp_ntz",
                "timestamp_ltz",
            )
            if is_typed and (moment := _MOMENT.match(token.text)):
                yield Problem(f"'{moment[1]}' {functions.FORBIDDEN['now']}", token.line)
            continue
        if token.token_type is TokenType.PLACEHOLDER:
            yield Problem(_PARAMETER.format(token.text), token.line)
            continue
        if instead := _NOT_IN_SPARK.get(token.token_type):
            yield Problem(f"has {token.text!r}, which Spark 3.5 has not; write {instead}", token.line)
            continue
        if token.token_type is TokenType.COLON and after is not None:
            yield Problem(_PARAMETER.format(f":{after.text}"), token.line)
            continue
        name = token.text.lower()
        is_call = after is not None and after.token_type is TokenType.L_PAREN and re.fullmatch(r"\w+", name)
        if is_call:
            if before is not None and before.token_type is TokenType.DOT:
                yield Problem(f"calls {name}() of a database; only Spark's own functions can be called", token.line)
            elif problem := _call(name, tokens, at):
                yield Problem(problem, token.line)
        elif _is_called_by_name(token, before, scope):
            yield Problem(f"{name} {functions.FORBIDDEN[name]}", token.line)


def _call(name: str, tokens: Sequence[Token], at: int) -> str | None:
    before = tokens[at - 1].text.lower() if at else ""
    if name in ("any", "some", "all") and before in ("like", "ilike"):
        return None
    if name in ("unix_timestamp", "to_unix_timestamp") and tokens[at + 2].token_type is TokenType.R_PAREN:
        return f"{name}() without a value {functions.FORBIDDEN['now']}"
    if name in functions.FORBIDDEN:
        return f"{name}() {functions.FORBIDDEN[name]}"
    if name in functions.ALLOWED or name in _BEFORE_PARENTHESES:
        return None
    return f"{name}() is not a function of Spark 3.5{did_you_mean(name, functions.ALLOWED)}"


def _is_called_by_name(token: Token, before: Token | None, scope: Scope) -> bool:
    if token.token_type is TokenType.IDENTIFIER or token.text.lower() not in functions.WITHOUT_PARENTHESES:
        return False
    # After AS or a dot it names something.
    names = before is not None and before.token_type in (TokenType.DOT, TokenType.ALIAS)
    return not names and scope.find(token.text) is None


def shape(tree: exp.Expr) -> Iterator[Problem]:
    """Parts of SQL that need more than a row."""
    for kind, what in {
        exp.Query: "has a SELECT within it",
        exp.Window: "has OVER, which looks at other rows",
        exp.Distinct: "has DISTINCT, which looks at other rows",
    }.items():
        if tree.find(kind) is not None:
            yield Problem(f"{what}; a row is judged by itself: joins and totals belong in a follow-up, after the merge")
            return
    if (found := tree.find(exp.Parameter, exp.SessionParameter)) is not None:
        yield Problem(_PARAMETER.format(found.sql(dialect="spark")))
    # count(*) has been refused by its name.
    if any(not isinstance(star.parent, exp.Count) for star in tree.find_all(exp.Star)):
        yield Problem("has a * where a value must stand; name the columns")


def columns(tree: exp.Expr, scope: Scope) -> Iterator[Problem]:
    """Names that are no columns, each once."""
    said: set[str] = set()
    for column in tree.find_all(exp.Column):
        first, *rest = [part.name for part in column.parts]
        name, row = first, column.parts[0].meta.get("line", 1)
        if scope.find(first) is None and first.lower() == scope.view and rest:
            name = rest[0]
        is_call = name.lower() in functions.WITHOUT_PARENTHESES and not column.parts[0].args.get("quoted")
        if scope.find(name) is None and name.lower() not in said and not is_call:
            said.add(name.lower())
            yield Problem(scope.unknown(name), row)


def in_own_words(text: str) -> str:
    """A condition as it is written, without what stands around it."""
    tokens = tokens_of(text)
    return text[tokens[0].start : tokens[-1].end + 1]


def without_view(text: str, tokens: Sequence[Token], scope: Scope) -> str:
    """The tokens as they stand in the text, `arrivals.` left out: the job computes on rows that have no name."""
    kept, start = [], tokens[0].start
    for at, token in enumerate(tokens[:-1]):
        is_view = token.text.lower() == scope.view and scope.find(token.text) is None
        follows_dot = at > 0 and tokens[at - 1].token_type is TokenType.DOT
        if is_view and not follows_dot and tokens[at + 1].token_type is TokenType.DOT:
            kept.append(text[start : token.start])
            start = tokens[at + 1].end + 1
    return "".join((*kept, text[start : tokens[-1].end + 1]))
