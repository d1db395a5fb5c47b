"""Writes the figures of the serving benchmarks into the pages that speak of them.

    python benchmarks/speed_tables.py

A table stands between `<!-- measured: name -->` and `<!-- end -->`; what is in between is replaced. A test
compares the pages with the results, so that they never say anything else.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from harness import RESULTS

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "docs" / "explanation" / "serving-speed.md", ROOT / "README.md")
_BLOCK = re.compile(r"(<!-- measured: ([a-z-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
_ABSENT = "Not measured yet.\n"


def results(name: str) -> dict[str, Any] | None:
    """What a benchmark found; None if it has not been run."""
    path = RESULTS / f"{name}.json"
    found: dict[str, Any] | None = json.loads(path.read_text()) if path.is_file() else None
    return found


def compute() -> str:
    return _by_size("compute_ms", 3)


def latency() -> str:
    return "\n".join(
        f"{title}, milliseconds:\n\n{_by_size(metric, 2)}"
        for title, metric in (("Half of all answers within", "http_p50_ms"), ("99 %", "http_p99_ms"))
    )


def throughput() -> str:
    return _by_size("requests/s", 0)


def checked() -> str:
    return _by_size("mismatches", 0)


def ingest() -> str:
    found = results("serving_ingest")
    if found is None:
        return _ABSENT
    lines = []
    for who, setting in dict.fromkeys((r["row"], r["setting"]) for r in found["rows"]):
        cells = {r["metric"]: r for r in found["rows"] if (r["row"], r["setting"]) == (who, setting)}
        rate = cells["events/s"]
        figures = [f"{rate['value']:,.0f}", f"{rate['target']:,.0f}"]
        figures += [f"{cells[name]['value']:.1f}" for name in ("p50_ms", "p99_ms")]
        lines.append([who, setting, *figures, f"{cells['wrong']['value']:.0f}"])
    head = ["store x workers", "a request", "events/s", "to reach", "p50 ms", "p99 ms", "wrong"]
    return f"A sync takes {found['machine']['fsync_ms']:.2f} ms here.\n\n" + _table(head, lines)


def crash() -> str:
    found = results("serving_crash")
    if found is None:
        return _ABSENT
    names = list(dict.fromkeys(r["row"] for r in found["rows"]))
    lines = []
    for metric in dict.fromkeys(r["metric"] for r in found["rows"]):
        of = {r["row"]: r for r in found["rows"] if r["metric"] == metric}
        lines.append([metric, *(f"{of[name]['value']:,.0f}" for name in names)])
    return _table(["", *names], lines)


def machine() -> str:
    found = results("serving_latency")
    if found is None:
        return _ABSENT
    about = found["machine"]
    return f"{about['cpu']}, {about['cores']} cores, Python {about['python']}; commit `{found['commit']}`.\n"


def summary() -> str:
    found = results("serving_latency")
    if found is None:
        return _ABSENT
    of = {(r["row"], r["metric"], r["setting"]): r["value"] for r in found["rows"]}
    sizes = list(dict.fromkeys(r["setting"] for r in found["rows"]))
    wanted = (
        ("adapt to 5 events and scan, ms", "ours", "compute_ms", 2),
        ("the same with `faiss` flat, ms", "faiss flat", "compute_ms", 2),
        ("`implicit`: recalculate and search, ms", "implicit", "compute_ms", 2),
        ("over HTTP, half within, ms", "ours", "http_p50_ms", 2),
        ("over HTTP, 99 % within, ms", "ours", "http_p99_ms", 2),
        ("requests a second", "ours", "requests/s", 0),
    )
    lines = [
        [words, *(f"{of[row, metric, size]:,.{digits}f}" for size in sizes)]
        for words, row, metric, digits in wanted
    ]
    return _table(["items", *sizes], lines)


TABLES = {f.__name__: f for f in (summary, machine, compute, latency, throughput, checked, ingest, crash)}


def rendered(page: str) -> str:
    """The page with what the results say now."""
    return _BLOCK.sub(lambda m: f"{m[1]}{TABLES[m[2]]()}{m[4]}", page)


def _by_size(metric: str, digits: int) -> str:
    found = results("serving_latency")
    if found is None:
        return _ABSENT
    of = {(r["row"], r["setting"]): r for r in found["rows"] if r["metric"] == metric}
    sizes = list(dict.fromkeys(setting for _, setting in of))
    lines = []
    for row in dict.fromkeys(row for row, _ in of):
        cells = [of.get((row, size)) for size in sizes]
        lines.append([row, *("" if c is None else f"{c['value']:,.{digits}f}" for c in cells)])
    targets = {r["setting"]: r["target"] for r in of.values() if r.get("target")}
    if targets:
        lines.append(["to reach", *(f"{targets[size]:g}" if size in targets else "" for size in sizes)])
    return _table(["items", *sizes], lines)


def _table(head: list[str], lines: list[list[str]]) -> str:
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, rule, *lines))


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(rendered(path.read_text()))
