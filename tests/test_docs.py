"""The documentation is complete, and what it says to type works.

Every file's ``python`` blocks run in order in one namespace, in a folder that holds the tables of
:func:`write_tables`; its ``console`` blocks run there too, in between. A fence that follows the comment
``<!-- not run: why -->`` is only checked: Python must compile, commands and their options must exist. A page
that says ``<!-- needs real data -->`` runs where ACCLIMATE_DATA names a folder of real data sets.
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
import typer.main

import acclimate
from acclimate import cli
from acclimate.data import synthetic_world

ROOT = Path(__file__).parent.parent
DOCS = [path for path in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in path.parts]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS]
FENCE = re.compile(
    r"(?P<skip><!-- not run: [^>]+ -->\n)?^```(?P<language>python|console)\n(?P<code>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
COMMAND = typer.main.get_command(cli.app)
TITLES = """\
Heat; Alien; Blade Runner; Fargo; Jaws; Vertigo; Psycho; Casablanca; Amadeus; Brazil; Chinatown; Gandhi;
Platoon; Rocky; Tootsie; Network; Annie Hall; The Sting; Patton; Ben-Hur; Gigi; Marty; Rebecca; Cavalcade;
Wings; Top Hat; Shane; High Noon; Giant; Laura; Gilda; Notorious; Rope; Suspicion; Spellbound; Saboteur;
Charade; Sabrina; Ninotchka; Camille; Stagecoach; Red River; Rio Bravo; Hatari; El Dorado; Hondo;
McLintock; True Grit; Bullitt; The Birds; Marnie; Topaz; Frenzy; Dracula; The Mummy; Freaks; King Kong;
Gojira; Them; Tarantula
"""
FILMS = re.split(r";\s+", TITLES.strip())


@dataclass(frozen=True)
class Block:
    """A fenced block: where it starts, what it is, and whether it is run."""

    line: int
    language: str
    code: str
    run: bool


def blocks_of(text: str) -> list[Block]:
    return [
        Block(text.count("\n", 0, m.start("code")) + 1, m["language"], m["code"], m["skip"] is None)
        for m in FENCE.finditer(text)
    ]


def write_tables(folder: Path) -> None:
    """``ratings.csv``, ``movies.csv``, ``users.csv`` of one synthetic world, ``clicks.csv`` of another."""
    world = synthetic_world(150, len(FILMS), events=(14, 30), seed=4).dataset
    inter = world.interactions
    events = pl.DataFrame(
        {
            "user_id": world.user_ids.decode(inter.users()),
            "item_id": world.item_ids.decode(inter.items),
            "rating": inter.values.numpy(),
            "timestamp": inter.times.numpy(),
        }
    )
    events.write_csv(folder / "ratings.csv")
    movies = world.items.to_frame().select(genres="tags")
    movies = movies.with_columns(
        pl.col("genres").list.join("|"), title=pl.Series(FILMS), item_id=world.item_ids.ids
    )
    movies.write_csv(folder / "movies.csv")
    world.users.to_frame().with_columns(user_id=world.user_ids.ids).write_csv(folder / "users.csv")
    chosen = synthetic_world(150, len(FILMS), events=(14, 30), explicit=False, seed=4).dataset
    pl.DataFrame(
        {
            "user_id": chosen.user_ids.decode(chosen.interactions.users()),
            "item_id": chosen.item_ids.decode(chosen.interactions.items),
            "timestamp": chosen.interactions.times.numpy(),
        }
    ).write_csv(folder / "clicks.csv")


def commands(block: Block) -> list[list[str]]:
    """The ``acclimate`` commands of a console block, lines continued with a backslash joined."""
    lines = block.code.replace("\\\n", " ").splitlines()
    typed = [shlex.split(line[2:], comments=True) for line in lines if line.startswith("$ ")]
    return [words[1:] for words in typed if words and words[0] == "acclimate"]


def leaves(command=COMMAND, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], object]:
    """Every command that does something, by the words to type."""
    if not hasattr(command, "commands"):
        return {path: command}
    return {
        words: leaf
        for name, sub in command.commands.items()
        if not sub.hidden
        for words, leaf in leaves(sub, (*path, name)).items()
    }


def type_command(words: list[str]) -> int:
    """Does what typing ``acclimate ...`` does; the exit code."""
    try:
        COMMAND.main(args=words, prog_name="acclimate")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(bool(done.code))
    return 0


def parse_command(words: list[str]) -> int:
    """As :func:`type_command`, but nothing is done once the command and its options are understood."""
    with pytest.MonkeyPatch.context() as patch:
        for leaf in leaves().values():
            patch.setattr(leaf, "callback", lambda **options: None)
        return type_command(words)


def pages():
    for page in PAGES:
        real = "<!-- needs real data -->" in page.read_text()
        yield pytest.param(page, id=str(page.relative_to(ROOT)), marks=pytest.mark.data if real else ())


@pytest.mark.parametrize("page", list(pages()))
def test_what_a_page_says_to_type_works(page, tmp_path, monkeypatch, request):
    text = page.read_text()
    blocks = blocks_of(text)
    assert len(re.findall("^```(python|console)", text, re.MULTILINE)) == len(blocks)
    if request.node.get_closest_marker("data"):
        request.getfixturevalue("real_data")
    else:
        # Nothing a page does may reach the data or the cache of whoever runs the tests.
        monkeypatch.setenv("ACCLIMATE_DATA", str(tmp_path / "data"))
    write_tables(tmp_path)
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "page"}
    for block in blocks:
        if block.language == "python":
            code = compile("\n" * (block.line - 1) + block.code, str(page), "exec")
            if block.run:
                exec(code, namespace)
        for words in commands(block) if block.language == "console" else ():
            code = type_command(words) if block.run else parse_command(words)
            assert code == 0, f"line {block.line}: acclimate {shlex.join(words)} exits with {code}"


def test_every_public_name_is_in_the_reference():
    text = "\n".join(path.read_text() for path in DOCS if "reference" in path.parts)
    missing = [name for name in acclimate.__all__ if not re.search(rf"\bac\.{name}\b", text)]
    assert missing == []


def test_every_package_has_its_reference():
    text = "\n".join(path.read_text() for path in DOCS if "reference" in path.parts)
    packages = {path.parent.name for path in Path(acclimate.__file__).parent.glob("*/__init__.py")}
    # The command line is described command by command.
    assert (
        packages - {"cli"} - set(re.findall(r"automodule:: acclimate\.(\w+)$", text, re.MULTILINE)) == set()
    )


@pytest.mark.parametrize("words", list(leaves()), ids=" ".join)
def test_every_command_is_in_the_reference_with_its_options(words):
    # The directive prints the arguments and options as the command itself knows them.
    text = (ROOT / "docs" / "reference" / "cli.md").read_text()
    name = " ".join(words)
    assert re.search(rf"^## acclimate {name}$.*?^```{{command}} {name}$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_files_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"


@pytest.mark.parametrize("words", [["fit", "ratings.csv", "--no-such-option"], ["no-such-command"], ["fit"]])
def test_a_command_that_cannot_be_typed_is_found(words):
    assert parse_command(words) == 2


def test_blocks_are_found_with_their_lines():
    text = (
        "a\n\n```python\nx = 1\n```\n\n<!-- not run: needs a network -->\n```console\n$ acclimate demo\n```\n"
    )
    first, second = blocks_of(text)
    assert (first.line, first.language, first.code, first.run) == (4, "python", "x = 1\n", True)
    assert (second.language, commands(second), second.run) == ("console", [["demo"]], False)
