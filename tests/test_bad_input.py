"""Whatever is wrong with what was typed or with a file: one message of one screen, exit code 2, nothing "
"half written."""

import os
import shutil

import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from acclimate import persist
from acclimate.cli import app
from acclimate.data import synthetic_world
from acclimate.errors import ModelFileError
from acclimate.model import Model, Provenance, file, load
from acclimate.models import Popularity

DATA = synthetic_world(40, 15, events=(5, 10), seed=2).dataset
MODEL = Model(
    Popularity.fit(DATA),
    DATA,
    Provenance("popularity", "Popularity()", "tiny", DATA.hash(), 40, 15, 1, 0, "0"),
)
ROWS = [f"u{u},i{i},{1 + (u + i) % 5},{1_600_000_000 + u}" for u in range(6) for i in range(5)]
HEADER = "user_id,item_id,rating,timestamp"


def table(*rows: str, header: str = HEADER) -> str:
    return "\n".join([header, *rows]) + "\n"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "model.acc"
    MODEL.save(path)
    return path


def run(*words) -> int:
    try:
        app([str(word) for word in words], prog_name="acclimate")
    except SystemExit as done:
        return int(done.code or 0)
    return 0


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """Runs a command that must fail, and gives its message as one line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("ACCLIMATE_DATA", str(tmp_path / "sets"))

    def refused(*words) -> str:
        before = sorted(path.name for path in tmp_path.iterdir())
        assert run(*words) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert "Traceback" not in err
        assert len(err.splitlines()) <= 24
        assert max(map(len, err.splitlines())) <= 80
        assert sorted(path.name for path in tmp_path.iterdir()) == before
        return " ".join(err.split())

    return refused


TABLES = {
    "empty": ("", "empty"),
    "only a header": (table(), "no rows"),
    "one user": (table(*(f"u1,i{i},3,1600000000" for i in range(5))), "1 user only"),
    "one item": (table(*(f"u{i},i1,{i % 5 + 1},1600000000" for i in range(5))), "1 item only"),
    "a column that is missing": (table(*ROWS, header="user_id,what,rating,timestamp"), "what"),
    "a rating that is a word": (table(*ROWS, "u1,i9,good,1600000000"), "'good'"),
    "a rating that is NaN": (table(*ROWS, "u1,i9,NaN,1600000000"), "line 32"),
    "a rating that is infinite": (table(*ROWS, "u1,i9,inf,1600000000"), "line 32"),
    "a time in words": (table(*ROWS, "u1,i9,3,yesterday"), "yesterday"),
    "a line with too few fields": (table(*ROWS, "u1"), "line 32"),
    "an id of a million letters and nothing else": (table("x" * 10**6), "line 2"),
}


@pytest.mark.parametrize("case", TABLES)
def test_a_table_that_cannot_be_used_is_refused(refused, tmp_path, case):
    text, message = TABLES[case]
    (tmp_path / "bad.csv").write_text(text)
    said = refused("fit", "bad.csv", "-l", "popularity")
    assert "bad.csv" in said
    assert message in said


def test_an_id_of_a_million_letters_is_refused_without_showing_it_whole(refused, tmp_path, good):
    long = "x" * 10**6
    (tmp_path / "long.csv").write_text(table(*ROWS, f"{long},i1,3,1600000000", f"u1,{long},3,1600000000"))
    assert "line 32" in refused("fit", "long.csv")
    shutil.copy(good, tmp_path / "m.acc")
    assert "Unknown item 'xxx" in refused("recommend", "m.acc", "-e", f"{long}=3")
    assert "Unknown user 'xxx" in refused("recommend", "m.acc", "-u", long)
    assert "xxx" in refused("recommend", "m.acc", "-e", f"i1={long}")
    assert "xxx" in refused("recommend", "m.acc", "--field", f"{long}=1")
    assert "xxx" in refused("fit", "long.csv", "-l", long)


def test_times_in_milliseconds_are_understood(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ms.csv").write_text(table(*(row + "000" for row in ROWS)))
    assert run("fit", "ms.csv", "-l", "popularity", "-o", "m.acc", "-q") == 0
    assert int(load("m.acc").data.interactions.times.max()) == 1_600_000_005


def test_what_reading_prescribes_is_said_as_options(refused, tmp_path):
    (tmp_path / "odd.csv").write_text(table(*ROWS, header="wer,was,rating,timestamp"))
    assert "--columns" in refused("fit", "odd.csv")
    (tmp_path / "bad.csv").write_text(table(*ROWS, "u1,i9,good,1600000000"))
    assert "On the command line: --on-bad-rows drop" in refused("fit", "bad.csv")


TYPED = {
    "no such file": (("fit", "gone.csv"), "gone.csv"),
    "no such file or set": (("fit", "ml-100"), "Did you mean 'ml-100k'"),
    "no such learner": (("fit", "ok.csv", "-l", "rigde"), "Did you mean 'ridge'"),
    "no such setting": (("fit", "ok.csv", "-l", "ridge", "--set", "epoch=3"), "Did you mean 'epochs'"),
    "a setting of the wrong type": (("fit", "ok.csv", "-l", "ridge", "--set", "epochs=many"), "found 'many'"),
    "a setting without a value": (
        ("fit", "ok.csv", "-l", "ridge", "--set", "epochs"),
        "--set takes name=value",
    ),
    "a setting without a learner": (("fit", "ok.csv", "--set", "epochs=1"), "name it with --learner"),
    "no such folder": (("fit", "ok.csv", "-o", "no/where/m.acc"), "there is no folder"),
    "a folder as the model": (("fit", "ok.csv", "-o", "."), "is a folder"),
    "no such device": (("fit", "ok.csv", "--device", "tpu9"), "--device tpu9"),
    "a seed below zero": (("fit", "ok.csv", "--seed", "-1"), "--seed"),
    "columns without names": (("fit", "ok.csv", "--columns", "user"), "--columns takes name=value"),
    "columns twice": (("fit", "ok.csv", "--columns", "user=a,user=b"), "'user' twice"),
    "a role that is none": (("fit", "ok.csv", "--columns", "person=user_id"), "person"),
    "a column that is none": (("fit", "ok.csv", "--columns", "user=wer"), "wer"),
    "a rule that is none": (("fit", "ok.csv", "--duplicates", "keep"), "'last'"),
    "event values in words": (
        ("fit", "ok.csv", "--event-values", "view=some"),
        "--event-values takes numbers",
    ),
    "items that are not there": (("fit", "ok.csv", "--items", "gone.csv"), "gone.csv"),
    "ratings for choices": (("fit", "clicks.csv", "-l", "bias"), "implicit events"),
    "no such metric": (
        ("evaluate", "ok.csv", "-l", "popularity", "--metrics", "mse"),
        "Unknown metric 'mse'",
    ),
    "no such protocol": (("compare", "ok.csv", "--protocol", "new-user"), "Did you mean 'new-users'"),
    "shots in words": (("compare", "ok.csv", "--shots", "few"), "--shots takes whole numbers"),
    "seeds in words": (("compare", "ok.csv", "--seeds", "a"), "--seeds takes whole numbers"),
    "no such candidates": (("compare", "ok.csv", "--candidates", "some"), "Unknown set of candidates 'some'"),
    "rows of no known kind": (("compare", "ok.csv", "--rows", "rows.xls"), "--rows writes .csv or .parquet"),
    "a plot of no known kind": (("compare", "ok.csv", "--plot", "plot.gif"), "--plot writes"),
    "results nowhere": (("compare", "ok.csv", "--out", "no/where/r.json"), "there is no folder"),
    "too few for a comparison": (("compare", "ok.csv", "-l", "popularity"), "new-users split"),
    "a model alone": (("evaluate", "m.acc"), "acclimate evaluate m.acc DATA"),
    "a model last": (("evaluate", "ok.csv", "m.acc"), "The model comes first"),
    "a model and a learner": (("evaluate", "m.acc", "ok.csv", "-l", "bias"), "already fitted"),
    "an order that is none": (
        ("evaluate", "m.acc", "ok.csv", "--order", "alphabet"),
        "--order is random or time",
    ),
    "data of other items": (("evaluate", "m.acc", "other.csv"), "None of the items"),
    "people with too little": (("evaluate", "m.acc", "ok.csv", "--everybody-is-new"), "Lower --query"),
    "no such model": (("recommend", "gone.acc"), "There is no model file at gone.acc"),
    "a table as a model": (("recommend", "ok.csv"), "it is text that starts with 'user_id,item_id"),
    "no such user": (("recommend", "m.acc", "-u", "zz"), "Unknown user 'zz'"),
    "no such item": (("recommend", "m.acc", "-e", "i99=3"), "Unknown item 'i99'"),
    "no such candidate": (("recommend", "m.acc", "--only", "i99"), "Unknown item 'i99'"),
    "an event without a number": (("recommend", "m.acc", "-e", "i1=high"), "found 'high' in 'i1=high'"),
    "a rating out of range": (("recommend", "m.acc", "-e", "i1=11"), "from 1 to 5"),
    "a rating that is not one": (("recommend", "m.acc", "-e", "i1=nan"), "finite number"),
    "no such field": (("recommend", "m.acc", "--field", "grup=g1"), "Did you mean 'group'"),
    "a field without a value": (("recommend", "m.acc", "--field", "group"), "--field takes name=value"),
    "a list of nothing": (("recommend", "m.acc", "-k", "0"), "-k"),
    "a reason for nothing": (("explain", "m.acc", "-e", "i1=3"), "--item"),
    "a reason for what is not there": (("explain", "m.acc", "-i", "i99"), "Unknown item 'i99'"),
    "no such command": (("recomend", "m.acc"), "recomend"),
    "no such option": (("recommend", "m.acc", "--users", "u1"), "--users"),
    "no such set": (("data", "get", "ml-100"), "ml-100k"),
    "a demo in a file": (("demo", "--folder", "ok.csv"), "The folder ok.csv cannot be made"),
}


@pytest.mark.parametrize("case", TYPED)
def test_what_was_typed_wrong_is_said_with_a_cure(refused, tmp_path, good, case):
    words, message = TYPED[case]
    (tmp_path / "ok.csv").write_text(table(*ROWS))
    (tmp_path / "other.csv").write_text(table(*(row.replace(",i", ",x") for row in ROWS)))
    clicks = [row.rsplit(",", 2)[0] for row in ROWS]
    (tmp_path / "clicks.csv").write_text(table(*clicks, header="user_id,item_id"))
    shutil.copy(good, tmp_path / "m.acc")
    assert message in refused(*words)


# -- model files
# ----------------------------------------------------------------------------------------------------


def damaged(good, how: str) -> bytes:
    data = good.read_bytes()
    if how == "torn":
        return data[: len(data) // 2]
    if how == "flipped":
        return data[:-40] + bytes([data[-40] ^ 1]) + data[-39:]
    if how == "empty":
        return b""
    return save({"weights": torch.ones(3)})


@pytest.mark.parametrize("how", ["torn", "flipped", "empty", "foreign"])
def test_a_damaged_model_is_refused_by_every_command_that_opens_one(refused, tmp_path, good, how):
    (tmp_path / "bad.acc").write_bytes(damaged(good, how))
    (tmp_path / "ok.csv").write_text(table(*ROWS))
    for words in (
        ("recommend", "bad.acc"),
        ("explain", "bad.acc", "-i", "i1"),
        ("evaluate", "bad.acc", "ok.csv"),
    ):
        assert "bad.acc" in refused(*words)


@pytest.mark.parametrize("eighth", range(8))
def test_a_model_cut_off_anywhere_is_refused(good, tmp_path, eighth):
    data = good.read_bytes()
    (tmp_path / "cut.acc").write_bytes(data[: len(data) * eighth // 8])
    with pytest.raises(ModelFileError, match=r"cut\.acc"):
        load(tmp_path / "cut.acc")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_model_with_a_flipped_bit_is_refused_or_the_same(good, tmp_path, data):
    clean = good.read_bytes()
    header = 8 + int.from_bytes(clean[:8], "little")
    byte = data.draw(st.one_of(st.integers(0, header - 1), st.integers(0, len(clean) - 1)))
    torn = bytearray(clean)
    torn[byte] ^= 1 << data.draw(st.integers(0, 7))
    (tmp_path / "flipped.acc").write_bytes(torn)
    try:
        model = load(tmp_path / "flipped.acc")
    except ModelFileError:
        return
    assert byte < header
    assert model.recommend("u3").equals(MODEL.recommend("u3"))


def forge(path, change, tensors_too=None):
    """A file whose hash is right although ``change`` altered its tree: what only ill will can make."""
    manifest, tensors = persist.read(path)
    manifest.pop("sha256")
    change(manifest)
    if tensors_too is not None:
        tensors_too(tensors)
    persist.write(path, manifest, tensors)


def fields(manifest, *path):
    node = manifest["model"]["items"]
    for name in path:
        node = node[name]["fields" if "fields" in node[name] else "items"]
    return node


FORGERIES = {
    "not a model": (lambda m: m.update(kind="state"), None, "holds 'state', not a model"),
    "no tree": (lambda m: m.pop("model"), None, "not a model"),
    "a tree that is a number": (lambda m: m.update(model=5), None, "another version"),
    "no data": (lambda m: m["model"]["items"].pop("data"), None, "another version"),
    "another class for the data": (
        lambda m: m["model"]["items"]["data"].update({"class": "Provenance"}),
        None,
        "does not fit",
    ),
    "a class that is not allowed": (
        lambda m: m["model"]["items"]["recommender"].update({"class": "Popen"}),
        None,
        "'Popen', which this installation does not know",
    ),
    "a recommender that is a table": (
        lambda m: m["model"]["items"].update(recommender=m["model"]["items"]["data"]["fields"]["items"]),
        None,
        "does not recommend",
    ),
    "a field too many": (lambda m: fields(m, "recommender").update(extra=1), None, "does not fit"),
    "a field of the wrong type": (
        lambda m: fields(m, "recommender").update(logits="x"),
        None,
        "another version",
    ),
    "ids that repeat": (
        lambda m: fields(m, "data").update(item_ids=fields(m, "data")["user_ids"]),
        None,
        "disagree about the number of items",
    ),
    "a range that is none": (lambda m: fields(m, "data").update(value_range=None), None, "another version"),
    "too few scores": (
        None,
        lambda t: t.update({"model.recommender.logits": torch.zeros(3)}),
        "another version",
    ),
    "scores that are no numbers": (
        None,
        lambda t: t["model.recommender.logits"].fill_(float("nan")),
        "does not answer",
    ),
    "histories that point nowhere": (
        None,
        lambda t: t["model.data.interactions.items"].fill_(10**6),
        "name items that it does not have",
    ),
    "ids that are not readable": (
        None,
        lambda t: t["model.data.item_ids"].fill_(7),
        "is not readable Arrow data",
    ),
}


@pytest.mark.parametrize("case", FORGERIES)
def test_a_forged_model_is_refused(good, tmp_path, case):
    change, tensors_too, message = FORGERIES[case]
    path = tmp_path / "forged.acc"
    shutil.copy(good, path)
    forge(path, change or (lambda manifest: None), tensors_too)
    with pytest.raises(ModelFileError, match=message):
        load(path)


def test_opening_a_file_executes_nothing_that_it_names(good, tmp_path, monkeypatch):
    class Popen:
        def __init__(self, **given):
            raise AssertionError("built")

    path = tmp_path / "forged.acc"
    shutil.copy(good, path)
    forge(path, lambda m: m["model"]["items"]["recommender"].update({"class": "Popen"}))
    with pytest.raises(ModelFileError, match="Pass its class"):
        load(path)
    assert "Popen" not in {**file.OURS}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_a_model_without_permission_is_refused(good, tmp_path, refused):
    shutil.copy(good, tmp_path / "m.acc")
    (tmp_path / "m.acc").chmod(0)
    assert "Permission denied" in refused("recommend", "m.acc")


def test_a_parquet_file_is_not_taken_for_a_model(refused, tmp_path):
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "t.parquet")
    assert "it is a Parquet table" in refused("recommend", "t.parquet")
