import json
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from acclimate.cli import app, main
from acclimate.cli.options import literal
from acclimate.cli.reading import as_typed
from acclimate.data import catalog, synthetic_world
from acclimate.model import load

TITLES = ["Heat (1995)", "Alien (1979)", "Sabrina (1954)", "Sabrina (1995)", "E=mc2", "Jaws (1975)"]


def write_tables(folder: Path) -> None:
    """``old.csv`` (users 0 to 79), ``new.csv`` (60 to 119), ``all.csv``, ``films.csv`` and ``clicks.csv``."""
    for explicit, name in ((True, "all"), (False, "clicks")):
        data = synthetic_world(120, 30, events=(12, 22), explicit=explicit, seed=1).dataset
        inter = data.interactions
        table = pl.DataFrame(
            {
                "user_id": inter.users().numpy(),
                "item_id": inter.items.numpy() + 100,
                **({"rating": inter.values.numpy()} if explicit else {}),
            }
        )
        table.write_csv(folder / f"{name}.csv")
        if explicit:
            table.filter(pl.col("user_id") < 80).write_csv(folder / "old.csv")
            table.filter(pl.col("user_id") >= 60).write_csv(folder / "new.csv")
            titles = [*TITLES, *(f"Film {i}" for i in range(len(TITLES), 30))]
            pl.DataFrame(
                {"item_id": range(100, 130), "title": titles, "genres": data.items.to_frame()["genre"]}
            ).write_csv(folder / "films.csv")


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    write_tables(folder)
    # Subprocesses with a fresh interpreter are slow; everything is fitted once here.
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("fit", "old.csv", "--items", "films.csv", "-l", "bias", "-o", "ratings.acc", "-q")
        run("fit", "clicks.csv", "--items", "films.csv", "-l", "item-knn", "-o", "clicks.acc", "-q")
    return folder


@pytest.fixture
def here(tables, monkeypatch):
    monkeypatch.chdir(tables)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("ACCLIMATE_DATA", str(tables / "sets"))
    return tables


def run(*words) -> int:
    """The exit code of a command."""
    try:
        app([str(word) for word in words], prog_name="acclimate")
    except SystemExit as done:
        return int(done.code or 0)
    return 0


@pytest.fixture
def ask(here, capsys):
    """Runs a command that must succeed and gives what it printed."""

    def ask(*words):
        code = run(*words)
        out, err = capsys.readouterr()
        assert code == 0, err
        return json.loads(out) if "--json" in words else out

    return ask


# -- fit
# ------------------------------------------------------------------------------------------------------------


def test_fit_writes_a_model_and_says_how_to_use_it(here, tmp_path, capsys):
    assert run("fit", "all.csv", "-l", "bias", "-o", tmp_path / "m.acc", "--items", "films.csv") == 0
    out, err = capsys.readouterr()
    model = load(tmp_path / "m.acc")
    assert model.provenance.learner == "bias"
    assert "bias, fitted in" in out
    assert f"acclimate recommend {tmp_path}/m.acc --event" in err.replace("\n", "").replace(
        " --event", " --event"
    )


def test_fit_says_the_same_to_programs(ask, tmp_path):
    said = ask("fit", "old.csv", "-l", "bias", "-o", tmp_path / "m.acc", "--set", "damping=7", "--json")
    assert said["learner"] == "bias"
    assert said["recipe"].startswith("Bias(damping=7")
    assert said["users"] == 80
    assert said["bytes"] == (tmp_path / "m.acc").stat().st_size


def test_one_seed_gives_one_file(ask, tmp_path):
    words = ("fit", "old.csv", "-l", "ridge", "--set", "epochs=2", "--json", "-q")
    one, same, other = (
        ask(*words, "--seed", seed, "-o", tmp_path / name)["sha256"]
        for seed, name in ((3, "a"), (3, "b"), (4, "c"))
    )
    assert one == same
    assert one != other


def test_a_model_can_forget_its_users(ask, tmp_path):
    ask("fit", "old.csv", "-l", "bias", "-o", tmp_path / "m.acc", "--no-histories")
    assert load(tmp_path / "m.acc").data.n_users == 0


def test_columns_are_named_where_they_are_not_found(ask, here, tmp_path):
    pl.read_csv("old.csv").rename({"user_id": "wer", "item_id": "was"}).write_csv(tmp_path / "odd.csv")
    said = ask(
        "fit",
        tmp_path / "odd.csv",
        "-l",
        "bias",
        "-o",
        tmp_path / "m.acc",
        "--columns",
        "user=wer,item=was",
        "--json",
    )
    assert said["users"] == 80


def test_a_public_set_is_read_by_its_name(ask, here, tmp_path, monkeypatch):
    folder = tmp_path / "sets" / "ml-100k"
    folder.mkdir(parents=True)
    pl.read_csv("all.csv").write_parquet(folder / "ratings.parquet")
    pl.read_csv("films.csv").write_parquet(folder / "items.parquet")
    monkeypatch.setenv("ACCLIMATE_DATA", str(tmp_path / "sets"))
    said = ask("fit", "ml-100k", "-l", "popularity", "-o", tmp_path / "m.acc", "--json")
    assert (said["data"], said["users"]) == ("ml-100k", 120)
    assert "ml-100k *" in ask("data", "list")
    assert ask("data", "get", "ml-100k", "--json", "-q") == {"name": "ml-100k", "folder": str(folder)}


# -- recommend, explain
# ---------------------------------------------------------------------------------------------


def test_recommend_answers_by_title_and_by_id_alike(ask):
    by_title = ask("recommend", "ratings.acc", "-e", "heat=5", "-e", "Alien=1", "-k", 3, "--json")
    assert by_title == ask("recommend", "ratings.acc", "-e", "100=5", "-e", "101=1", "-k", 3, "--json")
    (answer,) = by_title["lists"]
    assert answer["user_id"] is None
    assert [item["rank"] for item in answer["items"]] == [1, 2, 3]
    assert {"item_id", "title", "score", "rank", "deviation"} == set(answer["items"][0])
    model = load("ratings.acc")
    assert [i["item_id"] for i in answer["items"]] == model.recommend(events=[(100, 5), (101, 1)], k=3)[
        "item_id"
    ].to_list()


def test_recommend_shows_titles_in_a_table(ask):
    text = ask("recommend", "ratings.acc", "-u", 3, "-u", 5, "-k", 2)
    assert "For user 3" in text
    assert "For user 5" in text
    titles = load("ratings.acc").titles(load("ratings.acc").recommend(3, k=2)["item_id"])
    assert all(title in text for title in titles)
    assert max(map(len, text.splitlines())) <= 80


def test_nobody_known_gets_the_prior(ask):
    text = ask("recommend", "ratings.acc", "-k", 1)
    assert "For a newcomer of whom nothing is known" in text


def test_a_user_who_did_more_since_is_adapted_again(ask):
    before = ask("recommend", "ratings.acc", "-u", 3, "--json")
    assert ask("recommend", "ratings.acc", "-u", 3, "-e", "heat=1", "--json") != before


def test_unknown_users_are_newcomers_only_if_asked_for(ask, capsys):
    assert run("recommend", "ratings.acc", "-u", 999) == 2
    assert "--allow-unknown" in capsys.readouterr().err
    answer = ask("recommend", "ratings.acc", "-u", 999, "--allow-unknown", "--json")["lists"][0]
    assert answer["user_id"] == 999
    assert answer["items"] == ask("recommend", "ratings.acc", "--json")["lists"][0]["items"]


def test_candidates_and_seen_items_can_be_chosen(ask):
    answer = ask(
        "recommend",
        "ratings.acc",
        "-e",
        "heat=5",
        "--only",
        "heat",
        "--only",
        "alien",
        "--keep-seen",
        "--json",
    )
    assert {item["item_id"] for item in answer["lists"][0]["items"]} == {100, 101}


def test_choices_need_no_value_and_titles_may_hold_an_equals_sign(ask):
    one = ask("recommend", "clicks.acc", "-e", "heat", "-e", "E=mc2", "--json")
    assert one == ask("recommend", "clicks.acc", "-e", "100=1", "-e", "104", "--json")


def test_explain_adds_up(ask):
    told = ask("explain", "ratings.acc", "-e", "heat=5", "-e", "alien=1", "-i", "jaws", "--json")
    assert told["title"] == "Jaws (1975)"
    assert told["method"] == "exact"
    assert [event["item_id"] for event in told["events"]] == [100, 101]
    parts = told["prior"] + sum(event["contribution"] for event in told["events"]) + told["rest"]
    assert parts == pytest.approx(told["total"], abs=1e-5)
    text = ask("explain", "ratings.acc", "-e", "heat=5", "-e", "alien=1", "-i", "jaws")
    assert "Why Jaws (1975)?" in text
    assert "with no event at all" in text
    assert re.search(r"[+-]\d\.\d{3}\s+Heat \(1995\) = 5", text)


# -- evaluate, compare
# ----------------------------------------------------------------------------------------------


def test_a_model_is_judged_on_people_it_has_not_seen(here, ask, capsys):
    said = ask("evaluate", "ratings.acc", "new.csv", "--shots", "0,3", "--json")
    # Users 60 to 79 were trained on; 80 to 119 are new.
    assert said["n_users"] == 40
    assert said["left_out"]["users_seen_in_training"] == 20
    assert said["checked_that_users_are_new"] is True
    run("evaluate", "ratings.acc", "new.csv", "--shots", "0,3", "--metrics", "mae")
    out, err = capsys.readouterr()
    assert "20 of 60 users were in the model's training data and are left out" in err.replace("\n", " ")
    assert "mae" in out


def test_a_model_is_not_judged_on_what_it_was_trained_on(here, capsys, tmp_path):
    assert run("evaluate", "ratings.acc", "old.csv") == 2
    assert "trained on this very data" in capsys.readouterr().err.replace("\n", " ")
    pl.read_csv("old.csv").head(900).write_csv(tmp_path / "part.csv")
    assert run("evaluate", "ratings.acc", tmp_path / "part.csv") == 2
    assert "were in the model's training data" in capsys.readouterr().err.replace("\n", " ")
    assert (
        run("evaluate", "ratings.acc", tmp_path / "part.csv", "--everybody-is-new", "--shots", "0", "-q") == 0
    )


def test_a_model_without_histories_cannot_vouch_for_anybody(here, ask, capsys, tmp_path):
    ask("fit", "old.csv", "-l", "bias", "-o", tmp_path / "m.acc", "--no-histories", "-q")
    assert run("evaluate", tmp_path / "m.acc", "new.csv", "--shots", "0", "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["checked_that_users_are_new"] is False
    assert "nobody can check" in err.replace("\n", " ")


def test_what_only_orders_items_is_judged_on_choices(here, ask, tmp_path):
    ask("fit", "old.csv", "-l", "popularity", "-o", tmp_path / "m.acc", "-q")
    said = ask("evaluate", tmp_path / "m.acc", "new.csv", "--shots", "3", "--json", "-q")
    assert {result["metric"] for result in said["results"]} == {"ndcg@20", "recall@20"}
    said = ask("evaluate", "all.csv", "-l", "popularity", "--shots", "3", "--json", "-q")
    assert {result["metric"] for result in said["results"]} == {"ndcg@20", "recall@20"}


def test_a_learner_is_judged_on_people_held_out(ask):
    said = ask("evaluate", "all.csv", "-l", "bias", "--shots", "0,all", "--metrics", "mae,ndcg@5", "--json")
    assert said["trained_on_users"] == 84
    results = {(r["metric"], r["shots"]): r["mean"] for r in said["results"]}
    assert set(results) == {("mae", 0), ("mae", None), ("ndcg@5", 0), ("ndcg@5", None)}
    assert results["mae", None] < results["mae", 0]


def test_compare_prints_a_table_and_writes_what_was_asked_for(here, ask, tmp_path):
    text = ask(
        *(
            "compare",
            "all.csv",
            "-l",
            "bias,popularity",
            "--shots",
            "0,3",
            "--no-floors",
            "--metrics",
            "mae,ndcg@5",
        ),
        *("--out", tmp_path / "r.json", "--rows", tmp_path / "rows.parquet", "--plot", tmp_path / "c.png"),
    )
    assert max(map(len, text.splitlines())) <= 80
    assert "mae (lower is better)" in text
    said = json.loads((tmp_path / "r.json").read_text())
    assert [learner["name"] for learner in said["learners"]] == ["bias", "popularity"]
    assert pl.read_parquet(tmp_path / "rows.parquet").height == 2 * 2 * 24
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_compare_gives_programs_the_floors_too(ask):
    said = ask("compare", "clicks.csv", "-l", "item-knn", "--shots", "0,5", "--seeds", "0,1", "--json", "-q")
    assert {"popularity", "ease", "ials"} <= {learner["name"] for learner in said["learners"]}
    assert said["seeds"] == [0, 1]


# -- doctor, data
# ---------------------------------------------------------------------------------------------------


def test_doctor_says_what_a_table_holds(ask):
    assert "can be read" in ask("doctor", "all.csv")
    assert ask("doctor", "all.csv", "--items", "films.csv", "--json")["ok"] is True


def test_doctor_ends_with_two_where_a_table_cannot_be_read(here, capsys, tmp_path):
    (tmp_path / "odd.csv").write_text("a,b\n1,2\n3,4\n")
    assert run("doctor", tmp_path / "odd.csv", "--json") == 2
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_what_the_doctor_prescribes_is_understood(here, ask, capsys, tmp_path):
    rows = pl.read_csv("old.csv").rename({"user_id": "wer", "item_id": "was"}).with_columns(t=pl.lit("x"))
    rows.write_csv(tmp_path / "odd.csv")
    assert run("doctor", tmp_path / "odd.csv", "--json") == 2
    command = json.loads(capsys.readouterr().out)["command"]
    assert command.startswith("acclimate doctor ")
    assert ask(*command.split()[1:], "--json")["ok"] is True


@pytest.mark.data
def test_a_real_public_set_is_listed_and_diagnosed(real_data, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run("doctor", "ml-100k", "--json") == 0
    assert json.loads(capsys.readouterr().out)["statistics"]["events"] == 100_000


# -- demo
# -----------------------------------------------------------------------------------------------------------


def test_the_demo_compares_shows_a_newcomer_and_reuses_its_models(ask, tmp_path, monkeypatch, capsys):
    data = catalog.read("all.csv", items="films.csv", name="tiny")
    monkeypatch.setattr(catalog, "load", lambda name, progress: data)
    words = ("demo", "--folder", tmp_path / "demo")
    assert run(*words) == 0
    text, remarks = capsys.readouterr()
    assert max(len(line) for line in text.splitlines() if not line.startswith("acclimate ")) <= 80
    assert text.count("+ chose ") == 4
    assert "Reusing" not in remarks
    made = {path.name for path in (tmp_path / "demo").iterdir()}
    assert made == {f"{kind}.{end}" for kind in ("choices", "ratings") for end in ("acc", "json", "png")}
    before = load(tmp_path / "demo" / "choices.acc").recommend(events=["Heat (1995)"])
    assert run(*words) == 0
    again, remarks = capsys.readouterr()
    assert remarks.count("Reusing") == 2
    chosen = [[line for line in part.splitlines() if "+ chose" in line] for part in (text, again)]
    assert chosen[0] == chosen[1]
    assert load(tmp_path / "demo" / "choices.acc").recommend(events=["Heat (1995)"]).equals(before)
    commands = [line for line in again.splitlines() if line.startswith("acclimate ")]
    assert len(commands) == 7
    assert commands[-1] == f"acclimate serve {tmp_path}/demo/choices.acc"
    for command in commands[:3]:
        assert run(*shlex.split(command)[1:]) == 0, capsys.readouterr().err
    capsys.readouterr()
    # A damaged model is made anew rather than believed.
    (tmp_path / "demo" / "choices.acc").write_bytes(b"torn")
    said = ask(*words, "--json", "-q")
    assert len(said["newcomer"]["steps"]) == 5
    assert said["newcomer"]["steps"][1]["list"][0]["why"]["contribution"] != 0


# -- what holds for all
# ---------------------------------------------------------------------------------------------

COMMAND = "import sys; from acclimate.cli import main; sys.argv = ['acclimate', *sys.argv[1:]]; main()"


def start(*words, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "80", "OMP_NUM_THREADS": "1"},
        **options,
    )


def test_help_comes_without_loading_what_it_does_not_need():
    program = (
        "import sys\nfrom acclimate.cli import app\n"
        "try:\n    app(['fit', '--help'], prog_name='acclimate')\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('torch', 'polars', 'numpy', 'scipy', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "--learner" in done.stdout


@pytest.mark.parametrize(("kill", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_fit_leaves_the_old_model_and_nothing_else(tables, tmp_path, kill, code):
    (tmp_path / "m.acc").write_text("the old model")
    process = start(
        "fit", tables / "all.csv", "-l", "ridge", "--set", "epochs=100000", "-o", tmp_path / "m.acc"
    )
    assert process.stderr.readline().startswith("Read ")  # from here on it trains
    time.sleep(0.3)
    process.send_signal(kill)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in err
    assert out == ""
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("m.acc", "the old model")]


def test_a_full_disk_leaves_the_old_model_and_nothing_else(tables, tmp_path):
    (tmp_path / "m.acc").write_text("the old model")
    process = start(
        *("fit", tables / "all.csv", "-l", "bias", "-o", tmp_path / "m.acc"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192)),
    )
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "m.acc cannot be written: File too large." in err.replace("\n", " ").replace("  ", " ")
    assert "Traceback" not in err
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("m.acc", "the old model")]


def test_quiet_leaves_nothing_on_standard_error(here, capsys, tmp_path):
    assert run("fit", "old.csv", "-l", "bias", "-o", tmp_path / "m.acc", "-q") == 0
    assert capsys.readouterr().err == ""


@pytest.fixture
def script(monkeypatch):
    """Runs what the ``acclimate`` script runs."""
    before = signal.getsignal(signal.SIGTERM)

    def script(*words) -> int:
        monkeypatch.setattr(sys, "argv", ["acclimate", *map(str, words)])
        with pytest.raises(SystemExit) as done:
            main()
        return int(done.value.code or 0)

    yield script
    signal.signal(signal.SIGTERM, before)


def test_a_fault_of_ours_is_one_line_unless_debugging(here, script, monkeypatch, capsys):
    monkeypatch.setattr("acclimate.cli.answer.question", lambda *given, **also: 1 / 0)
    assert script("recommend", "ratings.acc") == 1
    err = capsys.readouterr().err
    assert "ZeroDivisionError" in err
    assert "Traceback" not in err
    monkeypatch.setenv("ACCLIMATE_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main()


def test_an_error_shows_where_it_arose_when_debugging(here, monkeypatch):
    monkeypatch.setenv("ACCLIMATE_DEBUG", "1")
    with pytest.raises(Exception, match="no model file"):
        run("recommend", "gone.acc")


def test_the_version_is_told(capsys):
    assert run("--version") == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("0.5", 0.5),
        ("1e-3", 0.001),
        ("true", True),
        ("None", None),
        ("1,80", (1, 80)),
        ("adam", "adam"),
    ],
)
def test_settings_are_read_as_what_they_look_like(text, value):
    assert literal(text) == value
    assert type(literal(text)) is type(value)


def test_arguments_are_shown_as_they_are_typed():
    arguments = {
        "columns": {"user": "uid", "time": None},
        "explicit": False,
        "header": True,
        "time_format": "%d %m",
    }
    assert as_typed(arguments) == "--columns user=uid,time= --no-explicit --header --time-format '%d %m'"


def test_the_script_computes_with_one_thread_unless_told_otherwise(script, monkeypatch, capsys):
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert script("--version") == 0
    assert os.environ["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert script("--version") == 0
    assert os.environ["OMP_NUM_THREADS"] == "7"
