# ruff: noqa: E501 - what is said is quoted as one line
"""SQL in contracts: what a row by itself can answer is taken as it is written, everything else is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tidegate_cli.contracts import sql, transform
from tidegate_cli.contracts.check import check_texts
from tidegate_cli.contracts.compile import compile_contract

TYPES = {
    **{"a": "int", "b": "string", "ok": "boolean", "t": "timestamp", "s": "struct<x:int,y:struct<z:int>>"},
    **{"arr": "array<int>", "m": "map<string,int>", "user_id": "int", "order": "int"},
}
SCOPE = sql.Scope(TYPES, lambda name: f"{name!r} is no column", "arrivals")

GOOD_CONDITIONS = [
    *("a > 1", "ok", "NOT ok", "A = 1", "a == 1", "a <=> 1", "a <> 1", "a % 2 = 0", "a div 2 = 1", "a & 1 = 1"),
    *("a BETWEEN 1 AND 2", "a IN (1, 2)", "b IS NOT NULL AND NOT (b IN ('x'))", "b LIKE 'x!_%' ESCAPE '!'"),
    *("b LIKE ANY ('a%', 'b%')", "b RLIKE '^x'", "b ILIKE 'x'", "b IS DISTINCT FROM 'x'", 'b = "x"', "b = 'it''s'"),
    *("CASE WHEN a > 1 THEN ok ELSE false END", "if(a > 1, true, ok)", "isnull(a)", "nvl(a, 0) > 0"),
    *("CAST(b AS DECIMAL(10,2)) > 1", "try_cast(b AS int) IS NULL", "cast(b as varchar(3)) = 'x'"),
    *(
        "t > DATE '2020-01-01'",
        "t >= timestamp'2020-01-01 00:00:00'",
        "t > t - INTERVAL 1 DAY",
        "unix_timestamp(t) > 1",
    ),
    *("extract(YEAR FROM t) > 2000", "trim(BOTH 'x' FROM b) = ''", "make_date(2020, 1, 1) < t", "to_date(b) < t"),
    *("s.x > 1", "s.y.z > 1", "arrivals.a > 1", "arrivals.s.x > 1", "m['q'] = 1", "arr[0] > 1", "`order` > 1"),
    *("exists(arr, x -> x > 1)", "aggregate(arr, 0, (acc, x) -> acc + x) > 10", "filter(arr, (x, i) -> i > 0) = arr"),
    *("struct(a, b) = struct(a, b)", "named_struct('x', a).x = 1", "array(1, 2)[0] = a", "map('k', a)['k'] = 1"),
    *("a > 1;", "a -- why\n > 1", "a /* why */ > 1", "sha2(b, 256) = ''", "get_json_object(b, '$.x') = 'y'"),
]


@pytest.mark.parametrize("text", GOOD_CONDITIONS)
def test_a_condition_on_one_row_is_taken(text: str) -> None:
    assert list(sql.condition(text, SCOPE)) == []


CHANGES = (
    "gives something else each time, and a batch that is done again must give the same rows; for the time of an arrival"
    " name the column _arrived_at, for its file _source_file"
)
MANY = "looks at many rows; do that in a follow-up, after the merge"
BY_ITSELF = "a row is judged by itself: joins and totals belong in a follow-up, after the merge"
BAD_CONDITIONS = [
    ("", "is empty; write a SQL expression"),
    ("a = (", "is not SQL: something is missing beside '('"),
    ("a > 1 AND", "is not SQL: something is missing beside 'AND'"),
    ("(a > 1", "is not SQL: ) is missing beside '1'"),
    ("a > 1)", "is not SQL: ')' is not expected there"),
    ("a b", "is not SQL: 'b' is not expected there"),
    ("CASE", "is not SQL: END is missing beside 'CASE'"),
    ("'abc", "is not SQL: a quote or a comment is opened and not closed"),
    ("DROP TABLE x", "is not SQL: 'DROP' is not expected there"),
    ("a > 1; DROP TABLE x", "is more than one statement; write one"),
    ("SELECT a > 1", "is not SQL: 'SELECT' is not expected there"),
    ("b", "is a column of type string and no condition; write what it must be"),
    ("a + 1", "is a value and no condition; write what it must be, such as `amount > 0`"),
    ("'x'", "is a value and no condition; write what it must be, such as `amount > 0`"),
    ("upper(b)", "is a value and no condition; write what it must be, such as `amount > 0`"),
    ("1 = 1", "names no column, so it is the same for every row; write a condition on columns"),
    ("x = 1 OR X = 2", "'x' is no column"),
    ("uppr(b) = 'A'", "uppr() is not a function of Spark 3.5; did you mean 'upper'?"),
    ("my_db.upper(b) = 'A'", "calls upper() of a database; only Spark's own functions can be called"),
    ("rand() > a", f"rand() {CHANGES}"),
    ("`rand`() > a", f"rand() {CHANGES}"),
    ("RAND () > a", f"rand() {CHANGES}"),
    ("exists(arr, x -> x > rand())", f"rand() {CHANGES}"),
    ("uuid() = b", f"uuid() {CHANGES}"),
    ("t > now()", f"now() {CHANGES}"),
    ("t > current_timestamp", f"current_timestamp {CHANGES}"),
    ("t > current_timestamp()", f"current_timestamp() {CHANGES}"),
    ("t > CURRENT_DATE", f"current_date {CHANGES}"),
    ("b = user", f"user {CHANGES}"),
    ("t > timestamp 'now'", f"'now' {CHANGES}"),
    ("t > DATE ' Today '", f"'Today' {CHANGES}"),
    ("a > unix_timestamp()", f"unix_timestamp() without a value {CHANGES}"),
    ("a > monotonically_increasing_id()", f"monotonically_increasing_id() {CHANGES}"),
    ("b = input_file_name()", f"input_file_name() {CHANGES}"),
    ("b = aes_encrypt(b, 'k')", f"aes_encrypt() {CHANGES}"),
    (
        "java_method('java.lang.System', 'exit', a) = ''",
        "java_method() may end the merge, or run any code; use an expectation with on_fail: fail",
    ),
    ("raise_error(b) = 'x'", "raise_error() may end the merge, or run any code; use an expectation with on_fail: fail"),
    ("count(*) > a", f"count() {MANY}"),
    ("max(a) > 1", f"max() {MANY}"),
    ("explode(arr) = 1", "explode() makes several rows of one; do that in a follow-up, after the merge"),
    ("lag(a) = 1", "lag() looks at other rows; do that in a follow-up, after the merge"),
    ("typeof(a) = 'int'", "typeof() has no use for a row by itself; remove it"),
    ("abs(a) OVER (PARTITION BY b) > 1", f"has OVER, which looks at other rows; {BY_ITSELF}"),
    ("a IN (SELECT 1)", f"has a SELECT within it; {BY_ITSELF}"),
    ("EXISTS (SELECT 1) AND ok", f"has a SELECT within it; {BY_ITSELF}"),
    ("abs(DISTINCT a) = 1", f"has DISTINCT, which looks at other rows; {BY_ITSELF}"),
    ("struct(*) = s", "has a * where a value must stand; name the columns"),
    ("ELSE a", "is not SQL: 'ELSE' is not expected there"),
    ("a[ FROM @ ->", None),
    ("(" * 2000 + "ok" + ")" * 2000, None),
    ("b::int > 1", "has '::', which Spark 3.5 has not; write CAST(... AS type)"),
    ("ok ?? true", "has '??', which Spark 3.5 has not; write coalesce(..., ...)"),
    ("b ->> 'x' = 'y'", "has '->>', which Spark 3.5 has not; write get_json_object(..., '$.name')"),
    ("upper(b:x) = 'y'", "is not SQL: ) is missing beside ':'"),
    ("a = ${secret}", "has a parameter (${...}), and nothing fills it; write the value"),
    ("b = '${secret}'", "has a parameter (${...}), and nothing fills it; write the value"),
    ("a = :p", "has a parameter (:p), and nothing fills it; write the value"),
    ("a = ?", "has a parameter (?), and nothing fills it; write the value"),
]


@pytest.mark.parametrize(("text", "said"), BAD_CONDITIONS)
def test_any_other_says_why_it_is_refused(text: str, said: str | None) -> None:
    messages = [problem.message for problem in sql.condition(text, SCOPE)]
    if said is None:  # nobody can say what was meant
        assert messages[0].startswith("is not SQL")
    else:
        assert messages == [said]


def test_a_column_may_have_the_name_of_a_function() -> None:
    scope = sql.Scope({"user": "string", "current_date": "date"}, str)
    assert list(sql.condition("user = 'x' AND current_date > DATE '2020-01-01'", scope)) == []


@given(st.text(alphabet="ab()'\"`$?:*+-<> ,.\n;=1[]{}/\\x", max_size=25))
def test_no_text_breaks_the_reader(text: str) -> None:
    for problem in sql.condition(text, SCOPE):
        assert problem.message


def contract(select: str | None, **more: Any) -> dict[str, Any]:
    written: dict[str, Any] = {
        "table": "t",
        "landing": "t/{day}/*.json",
        "format": {"type": "json"},
        "columns": {
            "id": "bigint",
            "day": "date",
            "name": "string",
            "amount": "decimal(12,2)",
            "_arrived_at": "timestamp",
        },
        "reads": {"name": "string", "cents": "bigint", "test": "boolean", "s": "struct<x:int>"},
        "transform": select,
        "merge": {"strategy": "upsert", "keys": ["id"]},
        "freshness": "15m",
    }
    return {name: value for name, value in (written | more).items() if value is not None}


def said(select: str | None, **more: Any) -> list[str]:
    checked = check_texts([("t.yaml", json.dumps(contract(select, **more)).encode())])
    return [str(finding).removeprefix("t.yaml:1: ").removeprefix("transform: ") for finding in checked.findings]


def compiled(select: str, **more: Any) -> dict[str, Any]:
    checked = check_texts([("t.yaml", json.dumps(contract(select, **more)).encode())])
    assert checked.findings == ()
    return compile_contract(checked.contracts[0])


class TestTransform:
    def test_each_column_gets_its_expression_in_the_users_words(self) -> None:
        made = compiled(
            "select arrivals.id, upper( trim(name) ) AS NAME, cents/100 amount -- of cents\n"
            "from arrivals where not coalesce(arrivals.test, false) and _arrived_at > date '2020-01-01';"
        )
        assert made["transform"] == {
            "select": ["`id` AS `id`", "`day` AS `day`", "upper( trim(name) ) AS `name`", "cents/100 AS `amount`"],
            "where": "not coalesce(test, false) and _arrived_at > date '2020-01-01'",
        }
        assert made["computed"] == ["amount"]
        assert made["captures"] == ["day"]

    def test_file_and_time_of_an_arrival_can_be_named_anywhere(self) -> None:
        made = compiled(
            "SELECT _source_file AS name, 0 AS amount FROM arrivals",
            merge={"strategy": "cdc", "keys": ["id"], "delete_when": "_source_file LIKE '%.del'"},
            expectations=[{"name": "is_named", "check": "_source_file IS NOT NULL"}],
        )
        assert made["transform"]["select"][2] == "_source_file AS `name`"

    def test_a_star_is_what_arrives_and_the_table_keeps(self) -> None:
        star = compiled("SELECT *, CAST(cents AS decimal(12,2)) AS amount FROM arrivals")
        assert compiled("SELECT arrivals.*, 0 AS amount FROM arrivals")["computed"] == ["amount"]
        named = compiled("SELECT CAST(cents AS decimal(12,2)) AS amount FROM `arrivals`")
        assert star["transform"] == named["transform"]
        assert star["transform"]["where"] is None

    def test_commas_and_froms_in_brackets_and_operators_do_not_divide_it(self) -> None:
        made = compiled(
            "SELECT if(id IS DISTINCT FROM 1, concat(name, ',', 'FROM'), 'x') AS name,"
            " extract(YEAR FROM day) + s.x AS amount FROM arrivals WHERE id IS NOT DISTINCT FROM 2",
            columns={"id": "bigint", "day": "date", "name": "string", "amount": "decimal(12,2)"},
        )
        assert made["transform"]["select"][2:] == [
            "if(id IS DISTINCT FROM 1, concat(name, ',', 'FROM'), 'x') AS `name`",
            "extract(YEAR FROM day) + s.x AS `amount`",
        ]
        assert made["transform"]["where"] == "id IS NOT DISTINCT FROM 2"

    def test_a_made_column_is_not_read_unless_reads_names_it(self) -> None:
        # GIVEN a transform that makes the column `day` of the path's, and another of nothing
        made = compiled("SELECT to_date(day, 'yyyy-MM') AS day, 0 AS amount FROM arrivals", reads={"day": "string"})
        # THEN the path's day is read as it is named in reads
        assert (made["captures"], made["computed"]) == (["day"], ["amount"])
        assert made["reads"] == [{"name": "day", "type": "string"}]

    def test_a_made_column_may_be_of_any_type_under_csv(self) -> None:
        assert (
            said(
                "SELECT split(name, ' ') AS names FROM arrivals",
                format={"type": "csv"},
                columns={"id": "int", "day": "date", "names": "array<string>"},
                reads={"name": "string"},
            )
            == []
        )

    HOW = "write SELECT ... FROM arrivals, with a WHERE if rows are to be left out"
    REFUSED = (
        ("SELECT id, 1 FROM arrivals", "gives 1 no name; write `... AS name`"),
        ("SELECT upper(name) FROM arrivals", "gives upper ( name ) no name; write `... AS name`"),
        ("SELECT stack(1, 2) AS (id, name) FROM arrivals", "gives one value several names; write one item for each"),
        ("SELECT name, upper(name) AS Name FROM arrivals", "makes 'Name' twice; remove one"),
        (
            "SELECT cents FROM arrivals",
            "makes 'cents', which is no column of the table; add it to columns with its type, or remove it",
        ),
        ("SELECT 1 AS amont FROM arrivals", "makes 'amont', which is no column of the table; did you mean 'amount'?"),
        (
            "SELECT date '2020-01-01' AS _arrived_at FROM arrivals",
            "makes '_arrived_at', which Tidegate fills; use another name",
        ),
        (
            "SELECT amount * 2 AS amount FROM arrivals",
            "'amount' is made by the transform; if files have it, too, add it to reads: `amount: string`",
        ),
        ("SELECT nam AS amount FROM arrivals", "'nam' is no column of arrivals; did you mean 'name'?"),
        (
            "SELECT zzz AS amount FROM arrivals",
            "'zzz' is no column of arrivals; if files have it, add it to reads: `zzz: string`",
        ),
        ("SELECT rand() AS amount FROM arrivals", f"rand() {CHANGES}"),
        ("SELECT sum(cents) AS amount FROM arrivals", f"sum() {MANY}"),
        ("SELECT id FROM arrivals WHERE rand() > 1", f"rand() {CHANGES}"),
        ("SELECT id FROM arrivals WHERE id IN (SELECT id FROM arrivals)", f"has a SELECT within it; {BY_ITSELF}"),
        ("SELECT id FROM", "is not SQL: table is missing beside 'FROM'"),
        ("SELECT id, FROM arrivals", "cannot be taken apart into its columns; " + HOW),
        ("SELECT 1 AS id", "does not read from arrivals alone; " + HOW),
        ("SELECT id FROM orders", "does not read from arrivals alone; " + HOW),
        ("SELECT id FROM db.arrivals", "does not read from arrivals alone; " + HOW),
        ("SELECT id FROM (SELECT * FROM arrivals)", "does not read from arrivals alone; " + HOW),
        ("SELECT a.id FROM arrivals a", "calls arrivals 'a'; write FROM arrivals alone"),
        ("SELECT id FROM arrivals TABLESAMPLE (5 ROWS)", "does not read arrivals as it is; " + HOW),
        ("SELECT id FROM arrivals VERSION AS OF 1", "does not read arrivals as it is; " + HOW),
        ("SELECT id FROM arrivals UNION SELECT id FROM arrivals", "puts several SELECTs together; " + HOW),
        ("WITH x AS (SELECT 1) SELECT id FROM arrivals", "begins with 'WITH'; " + HOW),
        ("DELETE FROM arrivals", "begins with 'DELETE'; " + HOW),
        ("id", "begins with 'id'; " + HOW),
        ("SELECT id FROM arrivals; SELECT 1", "is more than one statement; write one"),
        ("SELECT id, FROM arrivals WHERE (", "is not SQL: something is missing beside '('"),
        (
            "SELECT * EXCEPT (id) FROM arrivals",
            "has a * with EXCEPT or the like, which Spark 3.5 has not; name the columns",
        ),
        ("SELECT s.* FROM arrivals", "has s.*, whose names are not known; name the fields"),
        ("SELECT ALL id FROM arrivals", "has ALL, which says nothing; remove it"),
        (
            "SELECT name:x FROM arrivals",
            "has ':', which Spark 3.5 has not; write get_json_object(..., '$.name') AS name",
        ),
        (" ", "is empty; write SELECT ... FROM arrivals, or the name of a .sql file, or remove it"),
    )

    @pytest.mark.parametrize(("select", "expected"), REFUSED)
    def test_what_is_refused_says_what_to_write(self, select: str, expected: str) -> None:
        assert said(select) == [expected]

    CLAUSES = (
        ("SELECT id FROM arrivals JOIN x ON true", "JOIN"),
        ("SELECT id FROM arrivals, x", "JOIN"),
        ("SELECT id FROM arrivals LATERAL VIEW explode(array(1)) e AS name", "LATERAL VIEW"),
        ("SELECT id FROM arrivals GROUP BY id", "GROUP BY"),
        ("SELECT id FROM arrivals HAVING true", "HAVING"),
        ("SELECT id FROM arrivals ORDER BY id", "ORDER BY"),
        ("SELECT id FROM arrivals SORT BY id", "SORT BY"),
        ("SELECT id FROM arrivals CLUSTER BY id", "CLUSTER BY"),
        ("SELECT id FROM arrivals DISTRIBUTE BY id", "DISTRIBUTE BY"),
        ("SELECT id FROM arrivals LIMIT 5", "LIMIT"),
        ("SELECT id FROM arrivals LIMIT 5 OFFSET 1", "LIMIT"),
        ("SELECT DISTINCT id FROM arrivals", "DISTINCT"),
        ("SELECT id FROM arrivals WINDOW w AS (PARTITION BY id)", "WINDOW"),
        ("SELECT /*+ BROADCAST(arrivals) */ id FROM arrivals", "a hint"),
    )

    @pytest.mark.parametrize(("select", "clause"), CLAUSES)
    def test_clauses_that_need_other_rows(self, select: str, clause: str) -> None:
        assert said(select)[0] == (
            f"has {clause}, and each row is transformed by itself; {self.HOW}, and do the rest in a follow-up, after the merge"
        )

    def test_under_partial_updates_nothing_is_made(self) -> None:
        merge = {"strategy": "cdc", "keys": ["id"], "partial_updates": True}
        assert said("SELECT upper(name) AS name, id FROM arrivals WHERE NOT test", merge=merge) == [
            "makes 'name', and under partial_updates a change may lack what that is made of; land the column as it is,"
            " or remove partial_updates"
        ]


EXPRESSIONS = st.sampled_from(
    [
        *("id", "name", "concat(name, ', ', 'FROM x WHERE y')", "CASE WHEN id > 1 THEN 'a' ELSE 'b, c' END"),
        *("extract(YEAR FROM day)", "id IS DISTINCT FROM 1", "array(1, 2)[0]", "s.x", "(id + 1) * 2", "'it''s'"),
        *("transform(array(id), (x, i) -> x + i)[0]", '"a, b"', "`name`", "name /* , FROM */ || 'x'"),
    ]
)


@given(st.lists(EXPRESSIONS, min_size=1, max_size=6), st.sampled_from([" AS ", " "]), st.none() | EXPRESSIONS)
def test_a_select_is_taken_apart_where_it_was_put_together(items: list[str], word: str, where: str | None) -> None:
    text = "SELECT " + ",\n".join(f"{item}{word}c{n}" for n, item in enumerate(items)) + " FROM arrivals"
    select = transform.parse(text if where is None else f"{text}\nWHERE {where}")
    assert [item.name for item in select.items] == [f"c{n}" for n in range(len(items))]
    assert [sql.without_view(select.text, item.tokens, SCOPE) for item in select.items] == items
    assert (sql.without_view(select.text, select.where_tokens, SCOPE) if select.where else None) == where


@given(st.text(alphabet="SELECT FROM arrivals WHERE ab,()'*;.:\n", max_size=40))
def test_no_text_breaks_the_taking_apart(text: str) -> None:
    try:
        transform.parse("SELECT " + text)
    except sql.InvalidSql as invalid:
        assert str(invalid)


class TestReads:
    def test_what_they_may_not_name(self) -> None:
        reads = {"ID": "bigint", "name": "string", "_source_file": "string", "_tidegate_x": "int", "a b": "int"}
        assert said(None, reads=reads) == [
            "reads._tidegate_x: is reserved: Tidegate keeps the origin of each row in _tidegate; use another name",
            "reads.a b: cannot be a column's name; letters, digits and '_', such as 'a_b'",
            "reads.ID: differs from the column 'id' by case alone; write it as 'id'",
            "reads.name: is among columns, too; remove it here, or let a transform make the column",
            "reads._source_file: is filled by Tidegate and not read; move it to columns",
        ]

    def test_metadata_columns_have_their_types(self) -> None:
        columns = {"id": "bigint", "day": "date", "_source_file": "binary", "_Arrived_At": "timestamp"}
        assert said(None, reads={}, columns=columns) == [
            "columns._source_file: is filled by Tidegate and of type string; write `_source_file: string`, or use another name",
            "columns._Arrived_At: is filled by Tidegate under the name '_arrived_at'; write it so",
        ]

    def test_a_capture_that_the_transform_makes_is_not_read(self) -> None:
        assert said("SELECT date '2020-01-01' AS day, 0 AS amount FROM arrivals") == [
            "warning: landing: {day} is made by the transform, so its value in the path is not read; write * here, or add"
            " `day: string` to reads"
        ]

    def test_files_must_bring_something(self) -> None:
        assert said(
            "SELECT 1 AS id, 'x' AS name FROM arrivals",
            columns={"id": "int", "name": "string", "day": "date"},
            reads={},
        ) == ["columns: all are made, or come from the path; name those that the files hold"]


class TestConditions:
    def test_delete_when_is_told_on_what_arrives(self) -> None:
        def delete(condition: str) -> list[str]:
            merge = {"strategy": "cdc", "keys": ["id"], "delete_when": condition}
            return said("SELECT cents AS amount FROM arrivals", merge=merge)

        assert delete("test AND cents = 0 AND name IS NULL") == []
        assert delete("amount = 0") == [
            "merge.delete_when: 'amount' is not in what arrives, and deletes are told before the transform; add it to reads"
        ]
        assert delete("op = 'D'") == [
            "merge.delete_when: 'op' is no column of arrivals; if files have it, add it to reads: `op: string`"
        ]

    def test_expectations_are_told_on_the_table(self) -> None:
        def expect(*expectations: dict[str, str]) -> list[str]:
            return said(None, reads={"cents": "bigint"}, expectations=list(expectations))

        good = {"name": "id_is_positive", "check": "id > 0 AND _arrived_at > date '2000-01-01'"}
        assert expect(good) == []
        assert expect(good, good) == ["expectations.name: 'id_is_positive' stands there twice; rename one"]
        assert expect({"name": "a", "check": "cents > 0"}) == [
            "expectations.check: 'cents' is not a column: it is among reads, which the table doesn't keep; move it to columns"
        ]
        assert expect({"name": "Id ok", "check": "id > 0"}) == [
            "expectations.name: 'Id ok' cannot be an expectation's name; small letters, digits and '_', such as 'id_ok'"
        ]
        assert expect({"name": "parse", "check": "id > 0"}) == [
            "expectations.name: 'parse' is what Tidegate's own check is called; write another name, such as 'parse_is_good'"
        ]
        assert expect({"name": "a"}) == ["expectations: 'check' is missing; write `check: \"amount > 0\"` or the like"]
        assert expect({"name": "a", "check": "id > 0", "onfail": "warn"}) == [
            "expectations.onfail: is not a field of a contract; did you mean 'on_fail'?"
        ]
        assert expect({"name": "a", "check": "id > 0", "on_fail": "drop"}) == [
            "expectations.on_fail: 'drop' is not known; write quarantine, warn or fail"
        ]


class TestLines:
    YAML = b"""\
table: t
landing: t/*.json
format: {type: json}
columns: {id: bigint}
transform: |
  SELECT id
  FROM arrivals
  WHERE idd > 1
merge: {strategy: append}
expectations:
  - name: a
    check: |
      id >
      0 AND
      rand() > 1
  - {name: b, check: "x > 0"}
freshness: asap
"""

    def test_a_finding_stands_at_the_line_of_its_sql(self) -> None:
        assert [(finding.line, finding.field) for finding in check_texts([("t.yaml", self.YAML)]).findings] == [
            (8, "transform"),
            (15, "expectations.check"),
            (16, "expectations.check"),
        ]

    def test_in_a_file_of_its_own_too(self, tmp_path: Path) -> None:
        # GIVEN a contract that names a file beside it
        text = self.YAML.replace(self.YAML[self.YAML.index(b"|\n") : self.YAML.index(b"merge")], b"sql/t.sql\n")
        folder = tmp_path / "sql"
        folder.mkdir()
        (folder / "t.sql").write_text("-- why\nSELECT id\nFROM arrivals\nWHERE idd > 1")
        # WHEN it is checked THEN the finding names that file and its line
        first, *_ = check_texts([(str(tmp_path / "t.yaml"), text)]).findings
        assert str(first) == f"{folder / 't.sql'}:4: transform: 'idd' is no column of arrivals; did you mean 'id'?"

    @pytest.mark.parametrize(
        ("name", "content", "expected"),
        [
            (
                "t.sql",
                FileNotFoundError(2, "No such file or directory"),
                "'t.sql' cannot be read beside the contract: No such file or directory",
            ),
            ("../t.sql", b"", "'../t.sql' must lie beside the contract or below; write its name alone"),
            ("/t.sql", b"", "'/t.sql' must lie beside the contract or below; write its name alone"),
            ("t.sql", b"SELECT '\xe9' FROM arrivals", "'t.sql' is not UTF-8; save the file in that encoding"),
        ],
    )
    def test_a_file_that_cannot_be_taken(self, name: str, content: bytes | OSError, expected: str) -> None:
        text = json.dumps(contract(name)).encode()
        checked = check_texts([("t.yaml", text)], read=lambda _: content)
        assert [str(finding) for finding in checked.findings] == [f"t.yaml:1: transform: {expected}"]


def test_the_text_of_a_select_is_no_file_name() -> None:
    assert transform.FILE_NAME.fullmatch("orders.sql")
    assert not transform.FILE_NAME.fullmatch("SELECT * FROM x.sql")
