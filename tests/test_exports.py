"""What is public is said once, in ``__all__``, and is what can be imported."""

import ast
import importlib
import tomllib
from pathlib import Path

import pytest

import acclimate

PACKAGE = Path(acclimate.__file__).parent
ROOT = Path(__file__).parent.parent


def module_name(path: Path) -> str:
    """``acclimate.models`` for its ``__init__.py``."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def declares_all(path: Path) -> bool:
    return any(
        isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__" for node in body(path)
    )


def body(path: Path) -> list[ast.stmt]:
    return ast.parse(path.read_text()).body


def public(names: set[str]) -> set[str]:
    return {name for name in names if not name.startswith("_")}


def defined(path: Path) -> set[str]:
    """Public names that a module defines."""
    names = set()
    for node in body(path):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return public(names)


def taken(path: Path) -> set[str]:
    """Public names that a module imports from inside its own package."""
    inside = f"{module_name(path)}."
    froms = [n for n in body(path) if isinstance(n, ast.ImportFrom) and f"{n.module}.".startswith(inside)]
    return public({alias.asname or alias.name for node in froms for alias in node.names})


def used(path: Path) -> set[str]:
    """Names that the code of a module reads."""
    return {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}


def order(name: str) -> tuple[int, str]:
    """Constants, classes, functions, each by the alphabet, as ruff sorts them."""
    return (0 if name.isupper() else 1 if name[:1].isupper() else 2), name


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py")) if declares_all(path)}
PACKAGES = [module_name(path) for path in sorted(PACKAGE.rglob("__init__.py")) if len(body(path)) > 1]


@pytest.mark.parametrize("name", PACKAGES)
def test_every_package_says_what_is_public(name):
    assert name in FILES


@pytest.mark.parametrize("name", FILES)
def test_all_is_sorted_without_repeats_and_every_name_resolves(name):
    module = importlib.import_module(name)
    assert list(module.__all__) == sorted(set(module.__all__), key=order)
    assert [public for public in module.__all__ if not hasattr(module, public)] == []


@pytest.mark.parametrize("name", [name for name in PACKAGES if name != "acclimate"])
def test_all_holds_what_the_package_defines_or_imports_for_others(name):
    path, exported = FILES[name], set(importlib.import_module(name).__all__)
    assert exported <= defined(path) | taken(path)
    assert defined(path) | (taken(path) - used(path)) <= exported


def test_every_public_name_of_the_package_can_be_imported_and_is_seen_by_dir():
    assert len(acclimate.__all__) > 10
    assert set(acclimate.__all__) <= set(dir(acclimate))
    for name in acclimate.__all__:
        assert getattr(acclimate, name) is not None


def test_type_checkers_and_users_see_the_same_names_at_the_top():
    for_checkers = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in ast.walk(ast.parse((PACKAGE / "__init__.py").read_text()))
        if isinstance(node, ast.ImportFrom) and node.module.startswith("acclimate")
        for alias in node.names
    }
    assert set(for_checkers) == set(acclimate.__all__)
    for name, (home, own) in for_checkers.items():
        module = importlib.import_module(home)
        there = getattr(module, own) if hasattr(module, own) else importlib.import_module(f"{home}.{own}")
        assert getattr(acclimate, name) is there


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        acclimate.no_such_name  # noqa: B018


def test_the_version_is_the_one_of_the_project_file():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert acclimate.__version__ == project["version"]
