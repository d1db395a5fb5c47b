import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

pytest.register_assert_rewrite("acclimate.testing")
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets, or a skip that says how to give one."""
    folder = os.environ.get("ACCLIMATE_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("set ACCLIMATE_DATA to a folder of real data sets to run this test")
    return Path(folder)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Where ACCLIMATE_REQUIRE names a marker, a test that has it fails instead of skipping."""
    report = yield
    required = {
        name for name in os.environ.get("ACCLIMATE_REQUIRE", "").split() if item.get_closest_marker(name)
    }
    if report.skipped and required and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = (
            f"ACCLIMATE_REQUIRE asks for {', '.join(required)}, but it was skipped: {report.longrepr[2]}"
        )
    return report
