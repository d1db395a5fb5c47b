"""The figures that the README quotes are the committed results of the benchmarks, digit for digit."""

import json
import re
from pathlib import Path

import pytest

import speed_tables

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def table(heading: str) -> dict[str, list[str]]:
    """Row name -> cells of the README's table below a heading."""
    below = README.split(f"### {heading}", 1)[1]
    lines = next(part for part in below.split("\n\n") if part.startswith("|")).splitlines()
    rows = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in lines[2:]]
    return {row[0]: row[1:] for row in rows}


def results(name: str) -> dict[str, object]:
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())


def figures(rows: list[dict[str, object]], row: str, **wanted: object) -> float:
    found = [r for r in rows if r["row"] == row and all(r[k] == v for k, v in wanted.items())]
    assert len(found) == 1, (row, wanted)
    return found[0]["value"]


def test_the_ranking_table_is_the_one_of_the_benchmark():
    rows, shown = results("b2_full_catalogue")["rows"], table("Choices")
    assert set(shown) == {r["row"] for r in rows}
    for row, cells in shown.items():
        for shots, cell in zip((0, 1, 3, 5, 10, 20), cells, strict=True):
            value = figures(rows, row, shots=shots, metric="ndcg@20")
            assert cell == f"{value:.4f}".removeprefix("0"), (row, shots)


def test_the_rating_table_is_the_one_of_the_benchmark():
    rows, shown = results("b1_four_states")["rows"], table("Ratings")
    assert set(shown) == {r["row"] for r in rows if r["metric"] == "mae" and r["setting"] == "UC"}
    for row, cells in shown.items():
        for state, cell in zip(("UC", "IC", "UIC"), cells, strict=True):
            value = figures(rows, row, setting=state, shots=None, metric="mae")
            assert cell == f"{value:.3f}".removeprefix("0"), (row, state)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "benchmarks" / "results").glob("*.json")), ids=lambda p: p.stem
)
def test_a_result_says_where_it_comes_from(path):
    result = json.loads(path.read_text())
    assert re.fullmatch(r"[0-9a-f]{12}", result["commit"]), "measured on a tree with uncommitted changes"
    assert result["seeds"]
    assert (result["data"] and result["split"]) or result["settings"]["data"]
    assert result["machine"]["cpu"]
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in result["data"].values())
    assert (ROOT / "benchmarks" / f"{result['benchmark']}.py").is_file()
    for row in result["rows"]:
        assert row["kind"] in ("ours", "floor", "quoted")
        assert row["kind"] != "quoted" or row["source"]
        assert row["kind"] == "quoted" or row["low"] <= row["value"] <= row["high"]


def test_every_table_of_speed_has_its_place():
    pages = "".join(page.read_text() for page in speed_tables.PAGES)
    assert set(re.findall(r"<!-- measured: ([a-z-]+) -->", pages)) == set(speed_tables.TABLES)


@pytest.mark.parametrize("page", speed_tables.PAGES, ids=lambda page: page.name)
def test_a_page_about_speed_says_what_was_measured(page):
    assert speed_tables.rendered(page.read_text()) == page.read_text(), "run benchmarks/speed_tables.py"
