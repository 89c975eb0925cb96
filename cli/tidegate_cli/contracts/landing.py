"""Landing patterns: which keys of the landing bucket belong to a table.

`*` is any run of characters but `/`, `{name}` is a run of at least one, kept as a capture.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

MAX_KEY_BYTES = 1024  # S3's own limit

_TOKEN = re.compile(r"\{([^{}/]*)\}|(\*)|(.)", re.DOTALL)


class InvalidLanding(ValueError):
    """A pattern that cannot be used; the message says what to write."""


@dataclass(frozen=True)
class Token:
    """One character, a `*` or a `{capture}`."""

    kind: Literal["character", "any", "capture"]
    text: str

    @property
    def regex(self) -> str:
        """What it matches, as a regular expression."""
        if self.kind == "character":
            return re.escape(self.text)
        return "[^/]*" if self.kind == "any" else f"(?P<{self.text}>[^/]+)"


@dataclass(frozen=True)
class Landing:
    """A pattern that follows the rules."""

    pattern: str
    tokens: tuple[Token, ...]

    @property
    def captures(self) -> tuple[str, ...]:
        return tuple(token.text for token in self.tokens if token.kind == "capture")

    @property
    def prefix(self) -> str:
        """What every key begins with, for listings."""
        literal = []
        for token in self.tokens:
            if token.kind != "character":
                break
            literal.append(token.text)
        return "".join(literal)

    @property
    def regex(self) -> str:
        """A regular expression for whole keys, with a named group for each capture."""
        return f"^{''.join(token.regex for token in self.tokens)}$"


def parse(pattern: str) -> Landing:
    """Read a pattern and hold it to the rules. Raises :class:`InvalidLanding`."""
    _check_path(pattern)
    tokens = tuple(_token(match) for match in _TOKEN.finditer(pattern))
    _check_tokens(tokens)
    return Landing(pattern, tokens)


def marker_of(landing: Landing, name: str) -> Landing:
    """The pattern of a marker file of that name in the folders of a pattern."""
    last = max(at for at, token in enumerate(landing.tokens) if token.text == "/")
    folder = landing.tokens[: last + 1]
    return Landing(
        f"{landing.pattern.rpartition('/')[0]}/{name}", (*folder, *(Token("character", sign) for sign in name))
    )


def _token(match: re.Match[str]) -> Token:
    capture, star, character = match.groups()
    if capture is not None:
        return Token("capture", capture)
    if star is not None:
        return Token("any", star)
    return Token("character", character)


def _check_path(pattern: str) -> None:
    if len(pattern.encode()) > MAX_KEY_BYTES:
        raise InvalidLanding(f"is longer than a key of S3 can be ({MAX_KEY_BYTES} bytes)")
    if pattern.startswith("s3://"):
        raise InvalidLanding("begins with s3://; write the path below the landing bucket, such as flights/*.csv")
    if pattern.startswith("/"):
        raise InvalidLanding(f"begins with '/', and keys do not; write {pattern.lstrip('/')!r}")
    segments = pattern.split("/")
    if segments[-1] == "":
        raise InvalidLanding(f"ends with '/', so it matches no file; write {pattern + '*'!r}")
    if "" in segments:
        raise InvalidLanding("has an empty part ('//'); write one '/'")
    if unsafe := {".", ".."}.intersection(segments):
        raise InvalidLanding(f"has the part {min(unsafe)!r}; write the path without it")
    if "**" in pattern:
        raise InvalidLanding("has '**', which is not supported; write one '*' for each folder: a/*/*.csv")
    if odd := re.search(r"[?\[\]\\]", pattern):
        raise InvalidLanding(f"has {odd[0]!r}; only '*' and '{{name}}' stand for other characters")
    if len(segments) < 2 or re.search(r"[*{]", segments[0]):
        raise InvalidLanding("must begin with a folder of its own, such as flights/*.csv")


def _check_tokens(tokens: tuple[Token, ...]) -> None:
    names = [token.text for token in tokens if token.kind == "capture"]
    for name in names:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise InvalidLanding(f"has the capture {{{name}}}; its name must be letters, digits and '_'")
        if names.count(name) > 1:
            raise InvalidLanding(f"has the capture {{{name}}} twice; give each its own name")
    if any(token.kind == "character" and token.text in "{}" for token in tokens):
        raise InvalidLanding("has a brace without its partner; a capture is {name} within one folder or file name")
    for left, right in pairwise(tokens):
        if left.kind != "character" and right.kind != "character" and "capture" in (left.kind, right.kind):
            raise InvalidLanding(
                f"{_shown(left)} touches {_shown(right)}: where one ends is a guess; put a character between"
            )


def _shown(token: Token) -> str:
    return "'*'" if token.kind == "any" else f"{{{token.text}}}"


def common_key(one: Landing, other: Landing) -> str | None:
    """A key that both patterns match, or None if there is no such key.

    Walks both patterns at once, breadth first, so that the key is a shortest one.
    """
    ours, theirs = _steps(one), _steps(other)
    start, end = (0, 0), (len(ours), len(theirs))
    seen = {start}
    queue = deque([(start, "")])
    while queue:
        (i, j), key = queue.popleft()
        if (i, j) == end:
            return key
        left = ours[i] if i < len(ours) else None
        right = theirs[j] if j < len(theirs) else None
        following: list[tuple[tuple[int, int], str]] = []
        if left == "*":
            following.append(((i + 1, j), ""))
        if right == "*":
            following.append(((i, j + 1), ""))
        if left is not None and right is not None:
            following += _both(left, right, i, j)
        for state, character in following:
            if state not in seen:
                seen.add(state)
                queue.append((state, key + character))
    return None


def _steps(landing: Landing) -> list[str]:
    """Characters, `?` for one character that is not `/`, `*` for any number of those."""
    steps: list[str] = []
    for token in landing.tokens:
        steps += {"character": [token.text], "any": ["*"], "capture": ["?", "*"]}[token.kind]
    return steps


def _both(left: str, right: str, i: int, j: int) -> list[tuple[tuple[int, int], str]]:
    """The states after one more character that suits both sides."""
    if left in "*?" and right in "*?":
        character = "x"
    elif left in "*?":
        character = right
    else:
        character = left
    suits = (left == character or (left in "*?" and character != "/")) and (
        right == character or (right in "*?" and character != "/")
    )
    after = (i if left == "*" else i + 1, j if right == "*" else j + 1)
    return [(after, character)] if suits else []
