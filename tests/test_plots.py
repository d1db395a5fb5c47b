"""Plots: files that open, hold every name, and are the same for the same comparison."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from acclimate.compare import Comparison, compare
from acclimate.data import synthetic_world
from acclimate.errors import UserInputError
from acclimate.evaluation import Metric, Outcome, cold_and_warm, learning_curve, recall
from acclimate.evaluation.plots import spread
from fakes import FitConstant, FitMeans, FitPopularity, FitShifted

FLOORS = (FitConstant(), FitMeans(), FitPopularity())


@pytest.fixture(scope="module")
def cold() -> Comparison:
    return compare([FitShifted()], synthetic_world(300, 60, events=(12, 40)).dataset, floors=FLOORS)


@pytest.fixture(scope="module")
def warm() -> Comparison:
    data = synthetic_world(300, 60, events=(12, 40)).dataset
    return compare([FitShifted()], data, "known-users", floors=FLOORS)


def texts(path: Path) -> str:
    """What an SVG says: matplotlib writes each string as a comment before its outlines."""
    parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
    root = ElementTree.parse(path, parser).getroot()
    return "\n".join(str(node.text) for node in root.iter() if node.tag is ElementTree.Comment)


def test_a_learning_curve_is_an_image_of_decent_size(cold: Comparison, tmp_path: Path) -> None:
    import matplotlib.image

    path = learning_curve(cold, tmp_path / "curve.png")
    height, width, _ = matplotlib.image.imread(path).shape
    assert (height, width) > (700, 1000)
    assert not [p for p in tmp_path.iterdir() if p != path]


def test_a_curve_names_the_metric_the_learners_and_where_its_numbers_come_from(
    cold: Comparison, tmp_path: Path
) -> None:
    said = texts(learning_curve(cold, tmp_path / "curve.svg"))
    for words in ("MAE from the first events on", "MAE (lower is better)", "shifted", "constant", "means"):
        assert f" {words} " in said
    assert "popularity" not in said  # predicts no rating
    assert "60 users, full catalogue without the support items, seed 0" in said
    ranked = texts(learning_curve(cold, str(tmp_path / "ranked.svg"), "ndcg@10"))
    assert " NDCG@10 (higher is better) " in ranked
    assert " popularity " in ranked


def test_cold_stands_beside_warm_on_one_scale(cold: Comparison, warm: Comparison, tmp_path: Path) -> None:
    said = texts(cold_and_warm(cold, warm, tmp_path / "both.svg"))
    assert said.count(" shifted ") == 2
    for words in ("New users", "Users seen in training", "MAE, cold beside warm"):
        assert f" {words} " in said
    ticks = [line.strip() for line in said.splitlines() if line.strip().startswith("0.")]
    assert ticks == ticks[: len(ticks) // 2] * 2
    assert "new-users" in said
    assert "known-users" in said


def test_one_comparison_gives_one_file(cold: Comparison, tmp_path: Path) -> None:
    for kind in ("svg", "png", "pdf"):
        one = learning_curve(cold, tmp_path / f"one.{kind}").read_bytes()
        two = learning_curve(cold, tmp_path / f"two.{kind}").read_bytes()
        assert one == two, kind


def test_the_whole_support_stands_after_all_numbers(tmp_path: Path) -> None:
    data = synthetic_world(200, 60, events=(12, 40)).dataset
    found = compare([FitShifted()], data, shots=(None, 5, 0), floors=[FitMeans()])
    said = texts(learning_curve(found, tmp_path / "all.svg")).split()
    assert said.index("0") < said.index("5") < said.index("all")


def test_a_metric_of_ones_own_has_a_curve_as_well(tmp_path: Path) -> None:
    def worst(outcome: Outcome) -> Tensor:
        error = (outcome.predictions - outcome.values).abs()
        return error.masked_fill(~outcome.asked, 0.0).amax(1).double()

    data = synthetic_world(100, 40, events=(12, 30)).dataset
    mine = Metric("worst-error", "rating", worst, higher_is_better=False)
    found = compare([FitShifted()], data, shots=(0, 5), metrics=[mine], floors=[FitMeans()])
    said = texts(learning_curve(found, tmp_path / "worst.svg"))
    assert " worst error (lower is better) " in said


def test_one_point_is_no_curve(tmp_path: Path) -> None:
    data = synthetic_world(100, 40, events=(12, 30)).dataset
    found = compare([FitMeans()], data, shots=(5,), floors=False)
    with pytest.raises(UserInputError, match="at least two numbers of shots; this comparison has 5"):
        learning_curve(found, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_a_metric_that_was_not_measured_is_named_with_those_that_were(
    cold: Comparison, tmp_path: Path
) -> None:
    with pytest.raises(
        UserInputError, match="nothing to plot for 'mrr@5'; measured were: mae, rmse, ndcg@10"
    ):
        learning_curve(cold, tmp_path / "a.png", "mrr@5")


def test_a_file_of_another_kind_or_in_no_folder_is_refused_and_nothing_is_left(
    cold: Comparison, tmp_path: Path
) -> None:
    with pytest.raises(UserInputError, match=r"saved as \.png, \.svg, \.pdf; found 'a\.jpeg'"):
        learning_curve(cold, tmp_path / "a.jpeg")
    with pytest.raises(UserInputError, match="cannot be written"):
        learning_curve(cold, tmp_path / "nowhere" / "a.png")
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_one_is_told_how_to_get_it(
    cold: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UserInputError, match=r"pip install 'acclimate\[plot\]'"):
        learning_curve(cold, tmp_path / "a.png")


def test_matplotlib_is_not_imported_before_something_is_plotted() -> None:
    code = "import sys, acclimate.compare; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@given(wanted=st.lists(st.floats(0, 1), min_size=1, max_size=15))
@settings(max_examples=200, deadline=None)
def test_labels_keep_their_order_their_distance_and_the_page(wanted: list[float]) -> None:
    wanted = sorted(wanted)
    step = 0.06
    places = spread(wanted, step, 0.0, 1.0)
    assert len(places) == len(wanted)
    assert (np.diff(places) >= step - 1e-9).all()
    assert min(places) >= -1e-9
    assert max(places) <= 1 + 1e-9
    if (np.diff(wanted) >= step).all():
        assert places == pytest.approx(wanted)


def test_labels_that_collide_move_apart_evenly() -> None:
    assert spread([0.5, 0.5], 0.1, 0, 1) == pytest.approx([0.45, 0.55])
    assert spread([0.0, 0.02, 0.9], 0.1, 0, 1) == pytest.approx([0.0, 0.1, 0.9])


def test_many_curves_still_fit(tmp_path: Path) -> None:
    class Many:
        metrics = (recall(10, 4),)

        def summary(self) -> pl.DataFrame:
            return pl.DataFrame(
                [
                    {
                        "learner": f"learner with a long name {i:02}",
                        "floor": i >= 9,
                        "shots": k,
                        "metric": "recall@10:4",
                        "mean": 0.2,
                        "low": None,
                        "high": None,
                    }
                    for i in range(18)
                    for k in (0, 1)
                ]
            )

        def caption(self) -> str:
            return "made"

    said = texts(learning_curve(Many(), tmp_path / "many.svg"))
    assert "recall@10, liked from 4 (higher is better)" in said
    assert said.count("learner with a long nam…") == 18
