"""The examples run, say something, and are quick."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))
EXPECTED = {"tiny_world", "compare_on_your_table", "newcomer", "own_recommender"}


def test_the_examples_are_there():
    assert {path.stem for path in EXAMPLES} >= EXPECTED


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs_from_anywhere_within_a_minute_without_a_warning(path, tmp_path):
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path)],
        cwd=tmp_path,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "MPLBACKEND": "Agg",
            "ACCLIMATE_DATA": str(tmp_path / "data"),
        },
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(done.stdout.splitlines()) > 5
    # Twice the promised minute: the machine may be busy with other tests.
    assert time.perf_counter() - start < 120
