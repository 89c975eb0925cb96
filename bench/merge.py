"""Merges of Tidegate beside plain Delta, Iceberg, Hudi and delta-rs: the same data, one machine, one at a time.

    make bench-merge                                         # 10M rows, 20 merges: some hours on two cores
    make bench-merge ARGS="--rows 1000000 --merges 3"        # a quarter of an hour, for ratios
    make bench-merge ARGS="--systems Tidegate 'delta-rs alone' --works random"

Each system merges each work's batches in a process of its own, one after the other; a full scan of all columns
follows each merge, and what compaction it needs every fifth, so that nobody wins by leaving the work to the reader.
All systems must have the same rows in the end. What is done is kept in `.tidegate/bench/merge` and not done again:
an interrupted run goes on where it was (`--again` starts anew). Writes docs/benchmarks.json and docs/benchmarks.svg
with `--publish`. Nothing else should run meanwhile: read the ratios, not the seconds.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / ".tidegate" / "bench" / "merge"
WORKS = ("random", "recent", "new", "orders", "lineitem")
COMPACT_AFTER = 5
SECONDS_A_MERGE = {"Hudi": 60, "Tidegate": 6, "delta-rs": 5}  # of 10M rows, for the forecast; others 20


def main() -> None:
    arguments = parse()
    if arguments.one:
        work, system, answer = arguments.one
        Path(answer).write_text(json.dumps(measure(work, system, arguments), indent=1), encoding="utf-8")
        return
    if arguments.again:
        shutil.rmtree(PLACE, ignore_errors=True)
    results, failed = (all_done(arguments), 0) if arguments.done else run_all(arguments)
    print(table(results))
    disagreements = check_same(results)
    if arguments.publish:
        publish(results, ROOT / "docs")
    if disagreements or failed:
        raise SystemExit("\n".join(disagreements) or f"{failed} runs failed; the command does them again")


def run_all(arguments: argparse.Namespace) -> tuple[list[dict[str, Any]], int]:
    """What was asked for, run unless it is done; and how many runs failed."""
    todo = [(work, system) for work in arguments.works for system in arguments.systems]
    fetch_jars()
    print(f"{len(todo)} runs; about {forecast(todo, arguments):.0f} minutes if none is done yet", flush=True)
    results = []
    for number, (work, system) in enumerate(todo, start=1):
        found = done(work, system, arguments) or run_one(work, system, arguments)
        print(f"[{number}/{len(todo)}] {work:9} {system:24} {told(found)}", flush=True)
        if "failed" not in found:
            results.append(found)
    print()
    return results, len(todo) - len(results)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of the table before the merges")
    parser.add_argument("--changes", type=int, default=None, help="rows of a batch; 1 %% of the table if not given")
    parser.add_argument("--merges", type=int, default=20, help="batches of a work, each merged once")
    parser.add_argument("--scale", type=float, default=None, help="TPC-H's scale factor; by --rows if not given")
    parser.add_argument("--works", nargs="+", default=list(WORKS), choices=WORKS)
    parser.add_argument("--systems", nargs="+", default=None, help="names as in the table; all if not given")
    parser.add_argument("--again", action="store_true", help="forget what was measured")
    parser.add_argument("--publish", action="store_true", help="write docs/benchmarks.json and .svg")
    parser.add_argument(
        "--done", action="store_true", help="run nothing: show, or publish, all that was measured with so many rows"
    )
    parser.add_argument("--limit", type=int, default=7200, help="seconds until a run is given up")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.changes = arguments.changes or arguments.rows // 100
    arguments.scale = arguments.scale or max(0.01, arguments.rows / 6_000_000)
    from merge_tidegate import HISTORIES, SYSTEMS  # noqa: PLC0415 - heavy, and not for --help

    arguments.systems = arguments.systems or [name for name in SYSTEMS if name not in HISTORIES]
    if arguments.again and arguments.done:
        parser.error("--again forgets what --done shows")
    if unknown := set(arguments.systems) - set(SYSTEMS):
        parser.error(f"no such system: {', '.join(sorted(unknown))}; there are {', '.join(SYSTEMS)}")
    return arguments


def measure(work_name: str, system_name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """In a process of its own: load, then merge, compact and scan."""
    from merge_data import prepare  # noqa: PLC0415
    from merge_tidegate import SYSTEMS  # noqa: PLC0415

    work = prepare(
        work_name,
        PLACE / "data" / work_name,
        rows=arguments.rows,
        changes=arguments.changes,
        merges=arguments.merges,
        scale=arguments.scale,
    )
    folder = PLACE / "tables" / f"{work_name}-{slug(system_name)}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    system = SYSTEMS[system_name](work, folder, PLACE / "jars")
    seconds: dict[str, list[float]] = {"load": [], "merge": [], "compact": [], "scan": []}
    plans = []

    def timed(phase: str, action: Any) -> Any:
        began = time.monotonic()
        answer = action()
        seconds[phase].append(round(time.monotonic() - began, 3))
        return answer

    timed("load", system.load)
    system.scan()
    for number in range(1, work.batches + 1):
        plans.append(timed("merge", lambda n=number: system.merge(n)))
        if number % COMPACT_AFTER == 0:
            timed("compact", system.compact)
        rows = timed("scan", system.scan)
    size = sum(path.stat().st_size for path in folder.rglob("*.parquet"))
    shutil.rmtree(folder)
    return {
        "work": work_name,
        "system": system_name,
        "asked": asked(arguments),
        "seconds": seconds,
        "rows": rows,
        "plans": plans,
        "bytes_written": size,
        "peak_mb_of_python": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }


def run_one(work: str, system: str, arguments: argparse.Namespace) -> dict[str, Any]:
    answer = answer_of(work, system, arguments.merges)
    answer.parent.mkdir(parents=True, exist_ok=True)
    part = answer.with_suffix(".part")
    command = [sys.executable, __file__, "--one", work, system, str(part)]
    for name in ("rows", "changes", "merges", "scale"):
        command += [f"--{name}", str(getattr(arguments, name))]
    with answer.with_suffix(".log").open("w") as log:
        try:
            ended = subprocess.run(command, stdout=log, stderr=log, timeout=arguments.limit, check=False).returncode
        except subprocess.TimeoutExpired:
            return {"failed": f"given up after {arguments.limit} s"}
    if ended:
        return {"failed": f"see {answer.with_suffix('.log').relative_to(ROOT)}"}
    part.replace(answer)
    found: dict[str, Any] = json.loads(answer.read_text())
    return found


def done(work: str, system: str, arguments: argparse.Namespace) -> dict[str, Any] | None:
    path = answer_of(work, system, arguments.merges)
    found: dict[str, Any] | None = json.loads(path.read_text()) if path.is_file() else None
    return found if found is not None and found["asked"] == asked(arguments) else None


def all_done(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Of these works and systems whatever was measured with so many rows, however many batches."""
    found = [json.loads(path.read_text()) for path in sorted((PLACE / "results").glob("*.json"))]
    wanted = asked(arguments) | {"merges": None}
    mine = [
        each
        for each in found
        if each["work"] in arguments.works
        and each["system"] in arguments.systems
        and each["asked"] | {"merges": None} == wanted
    ]
    systems = arguments.systems
    return sorted(mine, key=lambda each: (WORKS.index(each["work"]), batches(each), systems.index(each["system"])))


def asked(arguments: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(arguments, name) for name in ("rows", "changes", "merges", "scale")}


def answer_of(work: str, system: str, merges: int) -> Path:
    return PLACE / "results" / f"{work}-{merges}-{slug(system)}.json"


def batches(found: dict[str, Any]) -> int:
    return len(found["seconds"]["merge"])


def slug(system: str) -> str:
    return system.lower().replace(",", "").replace(" ", "-")


def fetch_jars() -> None:
    """Iceberg's and Hudi's, from Maven Central, once; their sha256 is pinned."""
    from merge_systems import HUDI, ICEBERG  # noqa: PLC0415
    from tidegate_local.jars import fetch_pinned  # noqa: PLC0415

    fetch_pinned([ICEBERG, HUDI], PLACE / "jars", PLACE, say=print)


def forecast(todo: list[tuple[str, str]], arguments: argparse.Namespace) -> float:
    """Minutes, roughly."""
    a_merge = [next((s for name, s in SECONDS_A_MERGE.items() if name in system), 20) for _, system in todo]
    size = max(0.2, arguments.rows / 10_000_000)
    return sum(60 + (seconds + 4) * arguments.merges * size for seconds in a_merge) / 60


def told(found: dict[str, Any]) -> str:
    if "failed" in found:
        return f"FAILED: {found['failed']}"
    seconds = found["seconds"]
    return (
        f"merge {median_merge(found):6.2f} s (median of {len(seconds['merge'])}), scan "
        f"{statistics.median(seconds['scan']):5.2f} s, all {total(found):7.1f} s"
    )


def total(found: dict[str, Any]) -> float:
    return sum(sum(found["seconds"][phase]) for phase in ("merge", "compact", "scan"))


def table(results: list[dict[str, Any]]) -> str:
    """Markdown: a line a work and system, with the ratio to Tidegate. A whole batch is merge, compaction and scan."""
    heads = ("work", "batches", "system", "merge, median s", "times Tidegate", "all of a batch, mean s",
             "times Tidegate", "last scan, s")  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    ours = {kind_of(found): found for found in results if found["system"] == "Tidegate"}
    for found in results:
        figures = (median_merge(found), total(found) / batches(found))
        own = ours.get(kind_of(found))
        base = (median_merge(own), total(own) / batches(own)) if own else (0.0, 0.0)
        ratios = [f"{figure / of:.2f}" if of else "-" for figure, of in zip(figures, base, strict=True)]
        cells = [f"{figures[0]:.2f}", ratios[0], f"{figures[1]:.2f}", ratios[1], f"{found['seconds']['scan'][-1]:.2f}"]
        lines.append(f"| {found['work']} | {batches(found)} | {found['system']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def kind_of(found: dict[str, Any]) -> tuple[str, int]:
    """What can be compared: the same batches of the same work."""
    return found["work"], batches(found)


def median_merge(found: dict[str, Any]) -> float:
    return statistics.median(found["seconds"]["merge"])


def check_same(results: list[dict[str, Any]]) -> list[str]:
    """All systems must end with the same rows; histories aside, which have more."""
    from merge_tidegate import HISTORIES  # noqa: PLC0415 - as in `parse`

    first: dict[tuple[str, int], dict[str, Any]] = {}
    wrong = []
    for found in (each for each in results if each["system"] not in HISTORIES):
        other = first.setdefault(kind_of(found), found)
        # Moments are written in as many ways as there are systems.
        if digits(found["rows"]) != digits(other["rows"]):
            wrong.append(f"{found['work']}: {found['system']} has {found['rows']}, {other['system']} {other['rows']}")
    return wrong


def digits(rows: list[str]) -> list[str]:
    return [value.split("+")[0].replace("T", " ") for value in rows]


def publish(results: list[dict[str, Any]], folder: Path) -> None:
    """The numbers, and a plot of the merges' medians."""
    (folder / "benchmarks.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    import matplotlib as mpl  # noqa: PLC0415 - group `bench` alone has it

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "tidegate"
    from matplotlib import pyplot as plt  # noqa: PLC0415

    kinds = list(dict.fromkeys(kind_of(found) for found in results))
    figure, axes = plt.subplots(1, len(kinds), figsize=(3.2 * len(kinds), 3.6), sharey=True, squeeze=False)
    for axis, kind in zip(axes[0], kinds, strict=True):
        shown = [found for found in reversed(results) if kind_of(found) == kind]
        medians = [median_merge(found) for found in shown]
        colors = ["#d1495b" if found["system"] == "Tidegate" else "#8d99ae" for found in shown]
        bars = axis.barh([found["system"] for found in shown], medians, color=colors)
        axis.bar_label(bars, fmt="%.1f", padding=2, fontsize=8)
        axis.set_title(f"{kind[0]}, {kind[1]} batches")
        axis.set_xlabel("seconds a merge")
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(x=0.18)
    figure.tight_layout()
    figure.savefig(folder / "benchmarks.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
