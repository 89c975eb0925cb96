"""What a changed contract does to a table that is there: before the deploy, from the two compiled contracts alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tidegate_cli.contracts import widening

Compiled = Mapping[str, Any]
"""A table's entry in what `tidegate tables compile` writes, of this release or an older one."""
Verdict = Literal["goes", "refused"]
_ADDS = ("add_columns", "widen")
INSTEAD = (
    "give the contract another table name and land its files again (docs/contract-reference.md#changing-a-contract)"
)


@dataclass(frozen=True)
class Change:
    """One difference, and what comes of it."""

    table: str
    field: str
    message: str
    verdict: Verdict = "goes"

    def __str__(self) -> str:
        words = [self.table, *(["refused"] if self.verdict == "refused" else []), *([self.field] if self.field else [])]
        return ": ".join([*words, self.message])


@dataclass(frozen=True)
class _Difference:
    field: str
    message: str
    verdict: Verdict = "goes"


def changes(old: Sequence[Compiled], new: Sequence[Compiled]) -> list[Change]:
    """What differs between two deployments, table by table."""
    before, after = ({entry["table"]: entry for entry in entries} for entries in (old, new))
    found: list[Change] = []
    for table in sorted(before.keys() | after.keys()):
        if table not in before:
            found.append(Change(table, "", _new_table(after[table], [before[name] for name in before.keys() - after])))
        elif table not in after:
            found.append(Change(table, "", "has no contract any more: its table stays as it is, its files are ignored"))
        else:
            for difference in _of_table(before[table], after[table]):
                found.append(Change(table, difference.field, difference.message, difference.verdict))
    return found


def _new_table(new: Compiled, gone: Sequence[Compiled]) -> str:
    for old in gone:
        if old["landing_regex"] == new["landing_regex"]:
            return (
                f"is a new table in place of {old['table']!r}; files that {old['table']!r} has merged must land again"
                " (docs/contract-reference.md#changing-a-contract)"
            )
    return "is a new table; files that have landed before, and matched no table, are taken by a replay"


def _of_table(old: Compiled, new: Compiled) -> Iterator[_Difference]:
    if old["merge"]["strategy"] != new["merge"]["strategy"]:
        yield _refused("merge.strategy", old["merge"]["strategy"], new["merge"]["strategy"], "remembers other things")
        return
    for field, why in _FIXED.items():
        before, after = _value(old, field), _value(new, field)
        if before != after:
            yield _refused(field, before, after, why)
    yield from _columns(old, new)
    yield from _read_sequence(old, new)
    for field, consequence in _GOES.items():
        before, after = _value(old, field), _value(new, field)
        if before != after:
            yield _Difference(field, consequence(before, after))
    yield from _expectations(old, new)


_FIXED = {
    "merge.keys": "the rows that are there were told apart by the old ones",
    "merge.sequence_by": "the rows that are there were put in order by the old one",
    "merge.partial_updates": "the rows that are there don't say which change set which column",
    "merge.track_columns": "the versions that are there began by the old ones",
    "merge.valid_from": "the periods that are there are those of the old one",
    "merge.valid_to": "the periods that are there are those of the old one",
    "merge.snapshot.scope": "the snapshots that are there were of the old one",
    "merge.snapshot.complete": "the snapshots that are there were made up otherwise",
    "merge.snapshot.marker": "snapshots that wait for the old one would never be complete",
    "merge.snapshot.keep_history": "the table has, or lacks, the columns of a history",
    "partition_by": "the files that are there lie in folders of the old one",
}
"""Fields by which the table that is there was made, and why that can't be changed."""
_DEFAULTS: Mapping[str, Any] = {
    "merge.delete_when": None,
    "merge.partial_updates": False,
    "merge.ignore_null_updates": False,
    "merge.snapshot.scope": [],
    "merge.snapshot.complete": "file",
    "merge.snapshot.marker": "_SUCCESS",
    "merge.snapshot.keep_history": False,
    "reads": [],
    "cluster_by": [],
    "change_data_feed": False,
    "tombstones_s": 30 * 86400,
    "transform": None,
}
"""What an older release means that has no such field. Maintenance was off then."""


def _value(entry: Compiled, field: str) -> Any:
    value: Any = entry
    for part in field.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return _DEFAULTS.get(field) if value is None else value


def _from_now_on(before: Any, after: Any) -> str:  # noqa: ARG001
    return f"holds for what is merged from now on; for the rows that are there, {INSTEAD}"


def _readers(before: Any, after: Any) -> str:
    more, less = [name for name in after if name not in before], [name for name in before if name not in after]
    words = [*(f"{name} comes" for name in more), *(f"{name} goes" for name in less)] or ["another order"]
    return f"{', '.join(words)}: what the table uses of Delta is changed with its next merge"


_GOES: Mapping[str, Callable[[Any, Any], str]] = {
    "merge.delete_when": _from_now_on,
    "merge.ignore_null_updates": _from_now_on,
    "transform": _from_now_on,
    "reads": lambda *_: "other columns are read, also from files that have landed and are not merged yet",
    "format": lambda *_: "files are read otherwise, also those that have landed and are not merged yet",
    "landing": lambda before, after: (
        f"{before!r} becomes {after!r}: what is merged stays; files that matched no table before are taken by a replay"
    ),
    "cluster_by": lambda *_: "files are clustered anew as they are optimized",
    "readers": _readers,
    "evolution": lambda before, after: f"{before} becomes {after}",
    "change_data_feed": lambda _, after: (
        "is on from the next merge on; there is no feed of the versions before" if after else "is off from now on"
    ),
    "tombstones_s": lambda before, after: (
        f"deletes are remembered for {after // 86400} days, not {before // 86400}"
        + ("; those that are forgotten by now do not come back" if after > before else "")
    ),
    "maintenance": lambda *_: "holds from the next run on",
    "freshness": lambda *_: "holds from the deploy on",
    "quiet_hours": lambda *_: "hold from the deploy on",
    "batch": lambda *_: "holds for batches that are made from now on",
}
"""Fields that may change, and what comes of it."""


def _refused(field: str, before: Any, after: Any, why: str) -> _Difference:
    return _Difference(field, f"{_shown(before)} becomes {_shown(after)}, and {why}; {INSTEAD}", "refused")


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(value)}]"
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _columns(old: Compiled, new: Compiled) -> Iterator[_Difference]:
    before, after = ({column["name"]: column["type"] for column in entry["columns"]} for entry in (old, new))
    evolution = new.get("evolution", "strict")
    renamed = {name.lower(): name for name in after if name not in before}
    for name, ddl in before.items():
        field = f"columns.{name}"
        if name not in after:
            twin = renamed.pop(name.lower(), None)
            what = f"is now written {twin!r}" if twin else "is not in the contract any more"
            yield _Difference(
                field,
                f"{what}, and the table has it; write it as it was (null where files have none), or {INSTEAD}",
                "refused",
            )
        elif after[name] != ddl:
            yield _typed(field, ddl, after[name], evolution, _role(name, old))
    for name, ddl in after.items():
        if name in before or name not in renamed.values():
            continue
        field = f"columns.{name}"
        if evolution in _ADDS:
            yield _Difference(field, f"{ddl} is added with the next merge; rows that are there have null in it")
        else:
            yield _Difference(field, f"{ddl} is new; write evolution: add_columns, and it is added", "refused")


def _read_sequence(old: Compiled, new: Compiled) -> Iterator[_Difference]:
    """The sequence of snapshots may be read and not kept."""
    name = old["merge"].get("sequence_by")
    before, after = ({each["name"]: each["type"] for each in entry.get("reads") or ()} for entry in (old, new))
    if name in before and name in after and before[name] != after[name]:
        became = f"{before[name]} becomes {after[name]}"
        yield _Difference(f"reads.{name}", f"{became}, and it is the sequence, whose type stays; {INSTEAD}", "refused")


def _typed(field: str, old: str, new: str, evolution: str, role: str | None) -> _Difference:
    became = f"{old} becomes {new}"
    if not widening.is_wider(new, old):
        return _Difference(field, f"{became}: {widening.why_not(new, old)}; {INSTEAD}", "refused")
    if role is not None:
        return _Difference(field, f"{became}, and it is {role}, whose type stays; {INSTEAD}", "refused")
    if evolution != "widen":
        return _Difference(field, f"{became}; write evolution: widen, and the table is widened", "refused")
    return _Difference(field, f"{became}: the table is widened with its next merge")


def _role(name: str, entry: Compiled) -> str | None:
    """What else depends on the column's type."""
    merge = entry["merge"]
    if name in merge["keys"]:
        return "one of the keys"
    if name == merge.get("sequence_by"):
        return "the sequence"
    if name in (merge.get("valid_from"), merge.get("valid_to")):
        return "an end of the period"
    return "a partition column" if name in entry["partition_by"] else None


def _expectations(old: Compiled, new: Compiled) -> Iterator[_Difference]:
    before, after = ({each["name"]: each for each in entry.get("expectations") or ()} for entry in (old, new))
    for name in sorted(before.keys() | after.keys()):
        field = f"expectations.{name}"
        if name not in before:
            yield _Difference(field, "holds for rows that are merged from now on; those that are there are not checked")
        elif name not in after:
            yield _Difference(field, "is not checked any more; what is in quarantine for it is taken by a replay")
        elif before[name] != after[name]:
            yield _Difference(field, "is changed for rows that are merged from now on")
