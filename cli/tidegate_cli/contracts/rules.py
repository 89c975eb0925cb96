"""What must hold between the fields of a contract, and between contracts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import combinations

from tidegate.contracts import Freshness
from tidegate.freshness_check import check_freshness
from tidegate.quiet_hours import QuietHours, parse_quiet_hours
from tidegate.rates import SLOW_START_UP_S, USUAL_START_UP_S, Rates
from tidegate.stack_limits import TICK_S, StackLimits

from tidegate_cli.contracts import durations, freshness, landing, sql, strategies, transform, types
from tidegate_cli.contracts.findings import Path, Remark, did_you_mean, one_of
from tidegate_cli.contracts.model import Contract
from tidegate_cli.contracts.strategies import are_columns
from tidegate_cli.contracts.transform import METADATA_COLUMNS, source_columns

RESERVED_PREFIX = "_tidegate"
RESERVED = frozenset({"_metadata", "_change_type", "_commit_version", "_commit_timestamp"})
"""Names that Spark and Delta give to columns of their own."""
_COLUMN = re.compile(r"[^\W\d]\w*")
_BY_MANIFESTS = ("hive", "presto", "redshift")
"""Readers that know no Delta and read the files which a manifest lists."""
_WEEK_S = 7 * 86400


def remarks(contract: Contract) -> Iterator[Remark]:
    """Everything that is wrong within one contract whose fields are each right."""
    yield from _format(contract)
    yield from _columns(contract)
    yield from _transform(contract)
    yield from _captures(contract)
    yield from strategies.remarks(contract)
    yield from _conditions(contract)
    yield from _partitions(contract)
    yield from _clusters(contract)
    yield from _readers(contract)
    yield from _maintenance(contract)
    yield from _freshness(contract)


def _format(contract: Contract) -> Iterator[Remark]:
    form = contract.format
    if form.type == "csv" and form.quote in form.delimiter:
        yield Remark(("format", "delimiter"), f"{form.delimiter!r} is the quote, too; give each its own character")


def _columns(contract: Contract) -> Iterator[Remark]:
    given = source_columns(contract)
    for field, names in (("columns", contract.columns), ("reads", contract.reads)):
        seen: dict[str, str] = {}
        for name, ddl in names.items():
            path = (field, name)
            yield from _name(path, name, ddl)
            if name.lower() in seen:
                yield Remark(
                    path, f"differs from {seen[name.lower()]!r} by case alone, which Spark does not see; rename one"
                )
            seen.setdefault(name.lower(), name)
            is_given = given.get(name) == ddl and (field == "reads" or name not in contract.reads)
            if contract.format.type == "csv" and is_given and not types.parse(ddl).is_text_like:
                yield Remark(path, f"{ddl} cannot be written in CSV; use string, or json or parquet as the format")
    by_lower_case = {name.lower(): name for name in contract.columns}
    for name in contract.reads:
        twin = by_lower_case.get(name.lower())
        if twin is not None and twin != name:
            yield Remark(("reads", name), f"differs from the column {twin!r} by case alone; write it as {twin!r}")
        elif name in METADATA_COLUMNS:
            yield Remark(("reads", name), "is filled by Tidegate and not read; move it to columns")
        elif twin is not None and contract.transform is None:
            yield Remark(("reads", name), "is among columns, too; remove it here, or let a transform make the column")


def _name(path: Path, name: str, ddl: str) -> Iterator[Remark]:
    if not _COLUMN.fullmatch(name):
        fixed = re.sub(r"\W+", "_", name).strip("_") or "column"
        fixed = f"c_{fixed}" if fixed[0].isdigit() else fixed
        yield Remark(path, f"cannot be a column's name; letters, digits and '_', such as {fixed!r}")
    if name.lower().startswith(RESERVED_PREFIX):
        yield Remark(path, "is reserved: Tidegate keeps the origin of each row in _tidegate; use another name")
    if name.lower() in RESERVED:
        yield Remark(path, "is reserved by Spark and Delta; use another name")
    wanted = METADATA_COLUMNS.get(name.lower())
    if wanted is not None and name.lower() != name:
        yield Remark(path, f"is filled by Tidegate under the name {name.lower()!r}; write it so")
    elif wanted is not None and ddl != wanted:
        yield Remark(path, f"is filled by Tidegate and of type {wanted}; write `{name}: {wanted}`, or use another name")


def _transform(contract: Contract) -> Iterator[Remark]:
    if contract.transform is not None:
        for problem in transform.problems(contract):
            yield Remark(("transform",), problem.message, row=problem.row)


def _captures(contract: Contract) -> Iterator[Remark]:
    captures = landing.parse(contract.landing).captures
    given = source_columns(contract)
    for name in captures:
        if name in given:
            if not types.parse(given[name]).is_text_like:
                field = "reads" if name in contract.reads else "columns"
                yield Remark((field, name), f"comes from the path, which holds no {given[name]}; write string")
        elif name in contract.columns:
            yield Remark(
                ("landing",),
                f"{{{name}}} is made by the transform, so its value in the path is not read; write * here, or add"
                f" `{name}: string` to reads",
                "warning",
            )
        else:
            yield Remark(
                ("landing",),
                f"{{{name}}} is not among the columns, so its value is not kept (write * if that is meant)"
                + did_you_mean(name, given),
                "warning",
            )
    if not given.keys() - set(captures):
        what = "come from the path" if set(contract.columns) <= set(captures) else "are made, or come from the path"
        yield Remark(("columns",), f"all {what}; name those that the files hold")


def _conditions(contract: Contract) -> Iterator[Remark]:
    if contract.merge.delete_when is not None and contract.merge.strategy in strategies.FIELDS["delete_when"][0]:
        given = source_columns(contract)

        def not_given(name: str) -> str:
            if name in contract.columns:
                return f"{name!r} is not in what arrives, and deletes are told before the transform; add it to reads"
            hint = did_you_mean(name, given) or f"; if files have it, add it to reads: `{name}: string`"
            return f"{name!r} is no column of arrivals{hint}"

        for problem in sql.condition(contract.merge.delete_when, sql.Scope(given | METADATA_COLUMNS, not_given)):
            yield Remark(("merge", "delete_when"), problem.message, row=problem.row)
    names: set[str] = set()
    for position, expectation in enumerate(contract.expectations):
        if expectation.name in names:
            yield Remark(("expectations", position, "name"), f"{expectation.name!r} stands there twice; rename one")
        names.add(expectation.name)
        scope = sql.Scope(contract.columns | METADATA_COLUMNS, lambda name: strategies.not_a_column(name, contract))
        for problem in sql.condition(expectation.check, scope):
            yield Remark(("expectations", position, "check"), problem.message, row=problem.row)


def _partitions(contract: Contract) -> Iterator[Remark]:
    yield from are_columns(contract, ("partition_by",), contract.partition_by)
    for position, name in enumerate(contract.partition_by):
        if name not in contract.columns:
            continue
        path = ("partition_by", position)
        if not types.parse(contract.columns[name]).is_text_like:
            yield Remark(path, f"{name!r} is {contract.columns[name]}, which cannot name a folder; use another column")
        if name in METADATA_COLUMNS:
            yield Remark(path, f"{name!r} differs from file to file, so each would make a folder; use another column")
        if name == contract.merge.sequence_by:
            yield Remark(path, f"{name!r} grows with each change, so each merge would make new folders", "warning")
        tells_apart = (*contract.merge.keys, *(contract.merge.snapshot.scope if contract.merge.snapshot else ()))
        if contract.merge.strategy != "append" and contract.merge.keys and name not in tells_apart:
            yield Remark(
                path,
                f"{name!r} is not among merge.keys, so a merge cannot skip files by it: the row of a key"
                " may stand in any folder, and every merge searches the whole table; add it to the keys if it"
                " never changes for a key",
                "warning",
            )
    if len(set(contract.partition_by)) == len(contract.columns):
        yield Remark(("partition_by",), "names all columns, and Delta needs one that is not; remove one")


def _clusters(contract: Contract) -> Iterator[Remark]:
    if contract.cluster_by and contract.partition_by:
        yield Remark(("cluster_by",), "excludes partition_by; remove one of the two")
    yield from are_columns(contract, ("cluster_by",), contract.cluster_by)
    for position, name in enumerate(contract.cluster_by):
        kind = types.parse(contract.columns[name]).kind if name in contract.columns else ""
        if kind in (*types.NESTED, "binary", "boolean"):
            yield Remark(
                ("cluster_by", position),
                f"{name!r} is {contract.columns[name]}, by which files are not told apart; use another column",
            )


def _readers(contract: Contract) -> Iterator[Remark]:
    for position, name in enumerate(contract.readers):
        if name in contract.readers[:position]:
            yield Remark(("readers", position), f"{name!r} stands there twice; remove one")
    by_manifests = [name for name in _BY_MANIFESTS if name in contract.readers]
    if not by_manifests:
        return
    for name, ddl in contract.columns.items():
        if "timestamp_ntz" in ddl:
            yield Remark(
                ("columns", name),
                f"{ddl} may not be read by {one_of(by_manifests)}, which read files without knowing Delta; timestamp"
                " is safer",
                "warning",
            )


def _maintenance(contract: Contract) -> Iterator[Remark]:
    vacuum = contract.maintenance.vacuum
    if vacuum != "off" and durations.parse(vacuum, least="1h", most="3650d") < _WEEK_S:
        yield Remark(
            ("maintenance", "vacuum"),
            f"{vacuum} is less than the 7d that Delta asks for: a query that takes longer may lose its files, and time"
            f" travel reaches back {vacuum} alone",
            "warning",
        )


def duplicates(contracts: Sequence[Contract]) -> Iterator[tuple[int, int]]:
    """Pairs of positions whose contracts have one table's name."""
    for (i, one), (j, other) in combinations(enumerate(contracts), 2):
        if one.table == other.table:
            yield i, j


def overlaps(contracts: Sequence[Contract]) -> Iterator[tuple[int, int, str]]:
    """Pairs of positions whose landing patterns match one key, markers included, and such a key."""
    patterns = [_patterns(contract) for contract in contracts]
    for (i, ours), (j, theirs) in combinations(enumerate(patterns), 2):
        key = _common_key(ours, theirs)
        if key is not None:
            yield i, j, key


def _patterns(contract: Contract) -> list[landing.Landing]:
    pattern, rule = landing.parse(contract.landing), contract.merge.snapshot
    has_marker = contract.merge.strategy == "snapshot" and rule is not None and rule.complete != "file"
    return [pattern, landing.marker_of(pattern, rule.marker)] if has_marker and rule else [pattern]


def _common_key(ours: Iterable[landing.Landing], theirs: Sequence[landing.Landing]) -> str | None:
    keys = (landing.common_key(one, other) for one in ours for other in theirs)
    return next((key for key in keys if key is not None), None)


@dataclass(frozen=True)
class _Promise:
    table: str
    freshness: Freshness
    quiet_hours: QuietHours | None


def _freshness(contract: Contract) -> Iterator[Remark]:
    """What no usual start-up can keep is refused; what the slowest ones or quiet hours break is said.

    A cluster that is measured to start sooner doesn't count here: the check knows no stack.
    """
    hours = parse_quiet_hours(contract.quiet_hours) if contract.quiet_hours is not None else None
    promise = _Promise(contract.table, Freshness(**freshness.parse(contract.freshness)), hours)
    now, limits = datetime.now(UTC), StackLimits(tick_s=TICK_S)
    by_day = replace(promise, quiet_hours=None)
    usual = check_freshness(by_day, now, rates=Rates(start_up_s=USUAL_START_UP_S), limits=limits)
    cautious = check_freshness(promise, now, rates=Rates(start_up_s=SLOW_START_UP_S), limits=limits)
    if not usual.can_be_kept:
        yield Remark(("freshness",), usual.reason)
    elif not cautious.can_be_kept:
        yield Remark(("freshness",), f"will be missed now and then: {cautious.reason}", severity="warning")
