import os
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
