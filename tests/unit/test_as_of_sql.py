"""as_of in the text of a query: found where a table can stand, and nowhere else."""

from __future__ import annotations

import pytest
from tidegate_spark.as_of_sql import find_calls, replace_calls


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("select * from as_of(t, '2026')", ("t", "'2026'")),
        ("SELECT * FROM AS_OF ( db.t , DATE '2026-01-01', now() ) x", ("db.t", "DATE '2026-01-01'", "now()")),
        ("select * from a join as_of(t, f(1, 2), ')') b on true", ("t", "f(1, 2)", "')'")),
        ("select * from a, as_of(t, 'it\\'s, (so')", ("t", "'it\\'s, (so'")),
        ("select * from (as_of(`my, (table`, 1))", ("`my, (table`", "1")),
        ("select * from -- the past\n as_of(t /* , */, 1)", ("t /* , */", "1")),
        ("select * from as_of(t, array(1, 2)[0])", ("t", "array(1, 2)[0]")),
        ("select * from as_of()", ("",)),
    ],
)
def test_a_call_is_found_with_its_arguments(text: str, arguments: tuple[str, ...]) -> None:
    (call,) = find_calls(text)
    assert call.arguments == arguments
    assert text[call.begin : call.end] == call.text


@pytest.mark.parametrize(
    "text",
    [
        "select 'from as_of(t, 1)' from t",
        'select "from as_of(t, 1)" from t',
        "select `from as_of(t, 1)` from t",
        "select 1 -- from as_of(t, 1)",
        "select 1 /* from as_of(t, 1) */",
        "select r'\\' from t where x = ' from as_of(t, 1) '",
        "select as_of from t",
        "select * from as_of",
        "select * from as_offer(t, 1)",
        "select * from db.as_of(t, 1)",
        "select * from as_of(t, 1",
    ],
)
def test_what_only_looks_like_a_call_is_left_alone(text: str) -> None:
    assert find_calls(text) == []


def test_each_call_is_replaced_and_nothing_else() -> None:
    text = "select 'as_of(x)' from as_of(a, 1) l join as_of(b, 2) r -- as_of(c)"
    replaced = replace_calls(text, [(call, f"<{call.arguments[0]}>") for call in find_calls(text)])
    assert replaced == "select 'as_of(x)' from <a> l join <b> r -- as_of(c)"
