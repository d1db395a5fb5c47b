import datetime as dt
import decimal
import json
import math
import os
import pickle
import resource
import signal
import stat
import struct
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from acclimate import persist
from acclimate.errors import ModelFileError, UserInputError


@dataclass(frozen=True, eq=False)
class Point:
    x: torch.Tensor
    label: str = "p"


@dataclass(frozen=True)
class Never:
    """Fails the test if a file can build it."""

    n: int

    def __post_init__(self):
        raise AssertionError("a class that was not allowed was built")


def names(folder):
    return [path.name for path in folder.iterdir()]


def write(path, value):
    tree, tensors = persist.pack(value)
    return persist.write(path, {"model": tree}, tensors)


def read(path, classes=(Point,)):
    manifest, tensors = persist.read(path)
    return persist.unpack(manifest["model"], tensors, {c.__name__: c for c in classes})


def test_what_was_packed_comes_back(tmp_path):
    value = {
        "point": Point(torch.arange(6.0).reshape(2, 3), "é\n"),
        "list": [1, 2.5, None, True, math.inf],
        "tuple": ("a", ("b",)),
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(True),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "nothing": {},
    }
    write(tmp_path / "m", value)
    back = read(tmp_path / "m")
    assert torch.equal(back["point"].x, value["point"].x)
    assert back["point"].label == "é\n"
    assert (back["list"], back["tuple"], back["nothing"]) == (value["list"], value["tuple"], {})
    assert back["empty"].shape == (0, 3)
    assert back["scalar"].item() is True
    assert back["half"].dtype == torch.bfloat16


@pytest.mark.parametrize(
    "series",
    [
        pl.Series([1, -2, 3], dtype=pl.Int8),
        pl.Series([2**64 - 1], dtype=pl.UInt64),
        pl.Series(["a", "é", "", None]),
        pl.Series(["a", "b", "a"], dtype=pl.Categorical),
        pl.Series(["a", "b"], dtype=pl.Enum(["b", "a"])),
        pl.Series([dt.date(2020, 1, 1)]),
        pl.Series([dt.datetime(2020, 1, 1, 12)]),
        pl.Series([decimal.Decimal("1.20")]),
        pl.Series([b"\x00\xff"]),
        pl.Series([], dtype=pl.String),
    ],
    ids=lambda s: str(s.dtype),
)
def test_series_of_any_type_come_back_equal(tmp_path, series):
    write(tmp_path / "m", [series])
    (back,) = read(tmp_path / "m")
    assert back.dtype == series.dtype
    assert back.equals(series)


def test_one_object_gives_one_file_byte_for_byte(tmp_path):
    value = {"p": Point(torch.arange(5)), "s": pl.Series(["x", "y"])}
    assert write(tmp_path / "a", value) == write(tmp_path / "b", value)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_only_what_can_be_read_back_is_written():
    with pytest.raises(TypeError, match=r"model\.f: cannot save a function"):
        persist.pack({"f": write})
    with pytest.raises(TypeError, match="the key 1; keys must be strings"):
        persist.pack({1: "a"})


# -- damage
# ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "m.acc"
    write(path, {"p": Point(torch.arange(40.0)), "ids": pl.Series(["a", "b"]), "n": torch.arange(3)})
    return path


def sections(data: bytes) -> dict[str, int]:
    header = 8 + struct.unpack("<Q", data[:8])[0]
    return {
        "nothing": 0,
        "length": 5,
        "brace": 8,
        "header": header // 2,
        "tensors": header,
        "last byte": len(data) - 1,
    }


@pytest.mark.parametrize("where", ["nothing", "length", "brace", "header", "tensors", "last byte"])
def test_a_file_cut_off_anywhere_is_refused(good, tmp_path, where):
    data = good.read_bytes()
    path = tmp_path / "cut.acc"
    path.write_bytes(data[: sections(data)[where]])
    with pytest.raises(ModelFileError, match=r"cut\.acc"):
        read(path)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_flipped_bit_is_noticed_or_changes_nothing(good, tmp_path, data):
    clean = good.read_bytes()
    header = sections(clean)["tensors"]
    # Half of the flips hit the header, which is where the parser's own surprises are.
    byte = data.draw(st.one_of(st.integers(0, header - 1), st.integers(0, len(clean) - 1)))
    bit = data.draw(st.integers(0, 7))
    torn = bytearray(clean)
    torn[byte] ^= 1 << bit
    path = tmp_path / "flipped.acc"
    path.write_bytes(torn)
    try:
        value = read(path)
    except ModelFileError:
        return
    # Such as the letter case of an exponent: other bytes, the same content under the same hash.
    assert byte < header
    assert torch.equal(value["p"].x, torch.arange(40.0))
    assert value["ids"].to_list() == ["a", "b"]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_random_bytes_are_refused(tmp_path, data):
    path = tmp_path / "noise.acc"
    path.write_bytes(data)
    with pytest.raises(ModelFileError):
        read(path)


def zipped(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", "x")


class Bomb:
    def __reduce__(self):
        return (os._exit, (3,))


FOREIGN = {
    "empty": (lambda p: p.write_bytes(b""), "it is empty"),
    "zip": (zipped, "zip archive"),
    "torch": (lambda p: torch.save({"a": torch.ones(2)}, p), "zip archive, perhaps a PyTorch checkpoint"),
    "pickle": (lambda p: p.write_bytes(pickle.dumps(Bomb())), "a pickle, which could run code"),
    "text": (lambda p: p.write_text("user,item\n1,2\n"), "text that starts with 'user,item'"),
    "parquet": (lambda p: pl.DataFrame({"a": [1]}).write_parquet(p), "a Parquet table"),
    "safetensors": (lambda p: p.write_bytes(save({"w": torch.ones(2)})), "not a model of acclimate"),
    "folder": (lambda p: p.mkdir(), "is a folder"),
    "missing": (lambda p: None, "There is no model file at"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_not_a_model_file_is_named_for_what_it_is(tmp_path, kind):
    make, message = FOREIGN[kind]
    path = tmp_path / "foreign"
    make(path)
    with pytest.raises(ModelFileError, match=message):
        read(path)


def forged(path, manifest, tensors=None):
    """A file with a matching hash that pack did not write."""
    persist.write(path, manifest, tensors or {"t": torch.ones(2)})
    return path


def test_a_newer_format_asks_for_an_upgrade(tmp_path):
    path = forged(tmp_path / "new.acc", {"format": 2, "model": None})
    with pytest.raises(ModelFileError, match=r"has format 2; .* reads format 1\. Upgrade"):
        read(path)


def test_a_class_that_was_not_allowed_is_not_built(tmp_path):
    node = {"$": "object", "class": "Never", "fields": {"n": 1}}
    with pytest.raises(ModelFileError, match="holds a 'Never', which this installation does not know"):
        read(forged(tmp_path / "m", {"model": node}))


@pytest.mark.parametrize(
    "node",
    [
        {"$": "tensor", "name": "gone"},
        {"$": "tensor"},
        {"$": "object", "class": "Point"},
        {"$": "object", "class": "Point", "fields": {"y": 1}},
        {"$": "object", "class": "Point", "fields": [1]},
        {"$": "series", "name": "t"},
        {"$": "list"},
        {"$": "eval", "items": []},
        {"no": "kind"},
    ],
)
def test_a_manifest_that_describes_nothing_is_refused(tmp_path, node):
    with pytest.raises(ModelFileError):
        read(forged(tmp_path / "m", {"model": node}))


def test_a_manifest_nested_without_end_is_refused(tmp_path):
    deep = '{"$": "list", "items": [' * 20_000 + "]}" * 20_000
    header = json.dumps(
        {"__metadata__": {"acclimate": '{"format": 1, "sha256": "x", "model": ' + deep + "}"}}
    ).encode()
    path = tmp_path / "deep.acc"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(ModelFileError):
        read(path)


# -- publishing
# -----------------------------------------------------------------------------------------------------


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "m"
    path.write_text("old")

    def fail():
        with persist.publish(path) as file:
            file.write(b"half")
            assert path.read_text() == "old"
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["m"]
    with persist.publish(path) as file:
        file.write(b"new")
    assert path.read_text() == "new"


def test_a_published_file_has_ordinary_permissions(tmp_path):
    with persist.publish(tmp_path / "m") as file:
        file.write(b"x")
    assert stat.S_IMODE((tmp_path / "m").stat().st_mode) == 0o666 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_link_keeps_pointing_to_the_file_that_is_replaced(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with persist.publish(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "m"
    path.write_text("old")
    program = (
        "import resource, sys, torch\n"
        "from pathlib import Path\n"
        "from acclimate import persist\n"
        "from acclimate.errors import UserInputError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n"
        "    persist.write(Path(sys.argv[1]), {'model': None}, {'t': torch.ones(10_000)})\n"
        "except UserInputError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    assert "m cannot be written: File too large." in done.stdout
    assert path.read_text() == "old"
    assert names(tmp_path) == ["m"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 4096


def test_a_target_that_cannot_be_written_is_refused_before_anything_is_done(tmp_path):
    with pytest.raises(UserInputError, match=r"there is no folder .*gone\. Create it first"):
        persist.check_target(tmp_path / "gone" / "m")
    with pytest.raises(UserInputError, match="is a folder; name a file in it"):
        persist.check_target(tmp_path)
    persist.check_target(tmp_path / "m")
    assert names(tmp_path) == []


def test_an_interrupt_while_writing_leaves_no_file(tmp_path):
    def interrupt():
        with persist.publish(Path(tmp_path / "m")) as file:
            file.write(b"half")
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(1_000_000):
                pass

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert names(tmp_path) == []
