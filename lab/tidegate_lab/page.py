"""docs/lab.md: its tables and its picture are those that the command has just made; the words around them stay."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

PICTURE = "cost_against_freshness.png"


def with_parts(page: str, parts: Mapping[str, str]) -> str:
    """The page with each part between its marks, `<!-- name -->` and `<!-- end of name -->`.

    Raises ValueError for a part whose marks the page doesn't have.
    """
    for name, text in parts.items():
        mark = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end of {re.escape(name)} -->)", re.S)
        if not mark.search(page):
            raise ValueError(f"the page has no marks for {name}: <!-- {name} --> and <!-- end of {name} -->")
        page = mark.sub(lambda found, text=text: f"{found[1]}{text}{found[2]}", page)  # type: ignore[misc]
    return page


def write_page(docs: Path, made: Path, parts: Mapping[str, str]) -> None:
    """Put parts into docs/lab.md, and the picture beside the others."""
    page = docs / "lab.md"
    page.write_text(with_parts(page.read_text(), parts))
    shutil.copy(made / PICTURE, docs / "images" / PICTURE)
