"""Spark's types as the catalog has them, which is as Hive writes them."""

import re

_HIVE_NAMES = {
    "byte": "tinyint",
    "short": "smallint",
    "integer": "int",
    "long": "bigint",
    "real": "float",
    "numeric": "decimal",
    "dec": "decimal",
    # Hive's timestamp has no zone either; what Spark's means, every engine takes from Delta's log.
    "timestamp_ntz": "timestamp",
    "timestamp_ltz": "timestamp",
    "void": "string",
    "null": "string",
}
_PIECE = re.compile(r"`(?:[^`]|``)*`|[<>(),:]|[^<>(),:`]+")


def catalog_type(spark_type: str) -> str:
    """A type as Spark's `simpleString` writes it, in Hive's words, without spaces.

    A type that Hive doesn't know keeps its name: the catalog takes any text, and engines that know Delta never read it.
    """
    pieces = [piece.strip() for piece in _PIECE.findall(spark_type)]
    pieces = [piece for piece in pieces if piece]
    parts: list[str] = []
    opened: list[str] = []
    for position, piece in enumerate(pieces):
        follows = pieces[position + 1] if position + 1 < len(pieces) else ""
        if piece == "<":
            opened.append(parts[-1] if parts else "")
        elif piece == ">" and opened:
            opened.pop()
        # In a struct, a word before a colon is a field's name; every other word is a type's.
        is_field = follows == ":" and bool(opened) and opened[-1] == "struct"
        is_word = piece not in {"<", ">", "(", ")", ",", ":"}
        parts.append(_HIVE_NAMES.get(piece.lower(), piece.lower()) if is_word and not is_field else piece)
    return "".join(parts)
