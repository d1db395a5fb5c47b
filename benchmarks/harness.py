"""What every benchmark shares: options, the machine, provenance, and results as JSON."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType

import torch

from acclimate.data import Dataset
from acclimate.learners import Learner, Run
from acclimate.learners.grids import tuned_floors
from acclimate.learners.tuned import Tuned
from acclimate.models import Scale
from acclimate.persist import publish

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Row:
    """One figure: which row of the table, in which setting, by which metric.

    Attributes:
        kind: ``ours``, ``floor`` or ``quoted`` (somebody else's figure, with ``source``).
        shots: support events shown, or None for all of a task's.
        low, high: 95 % bootstrap interval over users or requests, or the least and most of repetitions.
        n: users or requests.
        target: what is to be reached, where that was set beforehand.
    """

    row: str
    kind: str
    setting: str
    shots: int | None
    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    fit_seconds: float | None = None  # CPU seconds of one thread, the fastest of the seeds
    source: str | None = None
    target: float | None = None


@dataclass
class Result:
    """Everything a run found, and what it needs to be believed.

    Attributes:
        data: SHA-256 of each file read; empty where data were made, as ``settings["data"]`` then says.
        split: hash of the tasks; empty likewise.
    """

    benchmark: str
    data: dict[str, str]
    split: str
    seeds: list[int]
    machine: dict[str, object]
    settings: dict[str, str] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    def write(self) -> Path:
        """``results/<benchmark>.json``, replaced only as a whole."""
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{self.benchmark}.json"
        rows = [{k: v for k, v in asdict(row).items() if v is not None or k == "shots"} for row in self.rows]
        content = {**asdict(self), "commit": _commit(), "rows": rows}
        with publish(path) as file:
            file.write((json.dumps(content, indent=1) + "\n").encode())
        return path


def options(
    text: str | None,
    seeds: Sequence[int],
    rows: Sequence[str],
    more: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> argparse.Namespace:
    """The options all benchmarks have.

    Args:
        more: further options of which some of several words are chosen, by default all: name -> words.
    """
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, words in more.items():
        parser.add_argument(f"--{name}", nargs="+", choices=words, default=list(words))
    parser.add_argument("--rows", nargs="+", choices=rows, default=list(rows), help="which rows to measure")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(seeds))
    parser.add_argument("--device", default="cpu", help="where meta-training runs")
    parser.add_argument("--quick", action="store_true", help="one seed, short training; writes no result")
    given = parser.parse_args()
    if given.quick:
        given.seeds = given.seeds[:1]
    torch.set_num_threads(1)
    return given


def data_folder(name: str) -> Path:
    """The folder of a real data set, or an exit that says how to give one."""
    root = os.environ.get("ACCLIMATE_DATA")
    if not root or not (Path(root) / name / "ratings.parquet").is_file():
        print(f"skipped: set ACCLIMATE_DATA to a folder that holds {name}/ratings.parquet")
        sys.exit(0)
    return Path(root) / name


def hashes(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """SHA-256 of the named files."""
    return {f"{folder.name}/{n}": hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in names}


def tuned_floor(row: str, scale: Scale, train: Dataset, quick: bool) -> Learner:
    """A floor with the best settings of its grid on training users held out; with --quick, the first ones."""
    floor = next(floor for floor in tuned_floors(scale) if floor.name == row)
    if not isinstance(floor, Tuned):
        return floor
    return floor.candidates[0] if quick else floor.search(train, Run(progress=False))[0].learner


def machine(device: str) -> dict[str, object]:
    """What the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    cpu = next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
    name = torch.cuda.get_device_name() if device.startswith("cuda") else device
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "device": name,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _commit() -> str:
    """The commit measured, marked if anything but results has changed since."""
    git = ["git", "-C", str(Path(__file__).parent.parent)]

    def ask(*words: str) -> str:
        return subprocess.run([*git, *words], capture_output=True, text=True, check=False).stdout.strip()

    changed = ask("status", "--porcelain", "--", ".", ":!benchmarks/results")
    return (ask("rev-parse", "--short=12", "HEAD") or "unknown") + ("-dirty" if changed else "")
