"""Imports point down: a module knows its own floor and those below, nothing above."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import acclimate

PACKAGE = Path(acclimate.__file__).parent
FLOORS = (
    "errors tensors persist progress",
    "data",
    "encoders",
    "models",
    "evaluation",
    "learners",
    "transfer privacy compress explain testing compare",
    "model",
    "serving",
    "cli demo __main__",
)
FLOOR = {part: i for i, parts in enumerate(FLOORS) for part in parts.split()}
# What was learned is served; how to learn it is not: a server stays small, and cannot train by accident.
FORBIDDEN = {("serving", "learners"), ("serving", "compare")}


def part_of(path: Path) -> str:
    """The part of the package that a file belongs to, such as ``models``."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(source: str) -> Iterator[str]:
    """Every part of acclimate that a file imports, however it is spelt and wherever it stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import; write acclimate.…"
            module = node.module or ""
            names = [f"acclimate.{alias.name}" for alias in node.names] if module == "acclimate" else [module]
        else:
            continue
        for name in names:
            if name == "acclimate":
                yield ""  # the package itself re-exports from every floor
            elif name.startswith("acclimate."):
                yield name.split(".")[1]


def violations(part: str, source: str) -> list[str]:
    """What a file of ``part`` imports and must not."""
    wrong = []
    for other in imported(source):
        if other not in FLOOR:
            wrong.append(f"{part} imports {other or 'acclimate itself'}, which has no floor")
        elif FLOOR[other] > FLOOR[part]:
            wrong.append(f"{part} imports upward: {other}")
        elif (part, other) in FORBIDDEN:
            wrong.append(f"{part} must not import {other}")
    return wrong


def test_every_part_of_the_package_has_a_floor():
    parts = {part_of(path) for path in PACKAGE.rglob("*.py")} - {"__init__"}
    assert parts - FLOOR.keys() == set()


def test_imports_point_down():
    files = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]
    assert len(files) > 20
    wrong = {str(path.relative_to(PACKAGE)): violations(part_of(path), path.read_text()) for path in files}
    assert {name: lines for name, lines in wrong.items() if lines} == {}


@pytest.mark.parametrize(
    "spelling",
    [
        "import acclimate.learners.base",
        "import numpy, acclimate.learners as recipes",
        "from acclimate import learners",
        "from acclimate.learners import Run",
        "from acclimate.learners.base import Run",
        "def later():\n    from acclimate.learners import Run",
    ],
)
def test_an_upward_import_is_found_in_every_spelling(spelling):
    assert violations("models", spelling) == ["models imports upward: learners"]
    assert violations("cli", spelling) == []
    assert violations("learners", spelling) == []


def test_a_server_that_imports_a_learner_is_found():
    assert violations("serving", "from acclimate.learners import Run") == ["serving must not import learners"]
    assert violations("serving", "from acclimate.model import Model") == []


@pytest.mark.parametrize(
    "spelling", ["import acclimate", "from acclimate import read", "import acclimate as ac"]
)
def test_nothing_inside_imports_through_the_package_itself(spelling):
    assert len(violations("cli", spelling)) == 1
