"""What a store does when machine, disk or server fail: nothing acknowledged is lost, nothing is doubled."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from pathlib import Path

import psycopg
import pytest

from acclimate.errors import ConflictError, StoreError
from acclimate.serving.events import Event
from acclimate.serving.store.opening import open_store
from acclimate.serving.store.rows import rows_of
from acclimate.serving.store.sqlite import open_sqlite
from acclimate.serving.store.turns import FileTurns
from postgres import start as start_postgres

HERE = Path(__file__).parent
WRITER = HERE / "store_writer.py"


def event(name, user="u:1", item="a", value=None):
    return Event(str(name), user, item, value, 1.0)


def writer(where, name, calls=0, size=1, **popen):
    return subprocess.Popen(
        [sys.executable, str(WRITER), str(where), name, str(calls), str(size)],
        stdout=subprocess.PIPE,
        **popen,
    )


def acknowledged(process):
    """Ids that a writer said were acknowledged, up to its end; a line that was cut short says nothing."""
    said = process.stdout.read().decode()
    lines = said.split("\n")[:-1]
    return [i for line in lines if line != "ready" and not line.startswith("failed") for i in line.split()]


def stored(store, name):
    return [e.id for e in store.export("t", f"u:{name}")]


def run(program, *arguments, **environment):
    """Runs Python code in a process of its own; what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program), *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class TestKilled:
    def test_killed_at_any_moment_nothing_acknowledged_is_lost_and_nothing_doubled(self, tmp_path):
        where, chance = tmp_path / "e.sqlite", random.Random(7)
        for kill in range(8):
            name, size = f"w{kill}", chance.choice([1, 3, 40])
            # Every other time the indexes are folded so often that it is killed while they are.
            often = {"FOLD": "60"} if kill % 2 else {}
            process = writer(where, name, size=size, env={**os.environ, **often})
            assert process.stdout.readline() == b"ready\n"
            time.sleep(chance.uniform(0.01, 0.25))
            process.send_signal(signal.SIGKILL)
            told = acknowledged(process)
            process.wait()
            process.stdout.close()
            store = open_store(where)
            found = stored(store, name)
            assert set(told) <= set(found)
            assert Counter(found).most_common(1)[0][1] == 1 if found else not told
            # Calls are stored whole.
            assert set(Counter(i.rsplit("-", 1)[0] for i in found).values()) <= {size}
            if found:
                again = [event(found[0], f"u:{name}", "item0", 0.0)]
                assert store.append("t", again).result() == ["duplicate"]
            store.close()
        with sqlite3.connect(where) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()

    def test_one_of_two_killed_while_it_holds_the_lock_does_not_stop_the_other(self, tmp_path):
        where = tmp_path / "e.sqlite"
        store = open_store(where)
        process = writer(where, "dies", size=100)
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.2)
        process.kill()
        told = acknowledged(process)
        process.wait()
        process.stdout.close()
        assert store.append("t", [event("after")]).result(5) == ["stored"]
        assert set(told) <= set(stored(store, "dies"))
        store.close()


class TestTornLog:
    def test_a_log_cut_anywhere_gives_back_a_prefix_of_the_calls(self, tmp_path):
        where = tmp_path / "e.sqlite"
        store = open_store(where)
        for call in range(12):
            store.append("t", [event(f"{call}-{k}") for k in range(5)]).result()
        log = where.with_name("e.sqlite-wal").read_bytes()
        file = where.read_bytes()
        store.close()
        chance = random.Random(3)
        sizes = set()
        for case in range(25):
            copy = tmp_path / f"c{case}"
            copy.mkdir()
            (copy / "e.sqlite").write_bytes(file)
            kept = len(log) - int(len(log) * chance.random() ** 2)
            torn = log[:kept] + bytes(chance.randrange(256) for _ in range(chance.choice([0, 300])))
            (copy / "e.sqlite-wal").write_bytes(torn)
            try:
                opened = open_store(copy / "e.sqlite")
            except StoreError as error:
                pytest.fail(f"a log of {kept} of {len(log)} bytes: {error}")
            found = [e.id for e in opened.export("t", "u:1")]
            whole, rest = divmod(len(found), 5)
            assert rest == 0
            assert found == [f"{call}-{k}" for call in range(whole) for k in range(5)]
            assert opened.append("t", [event("11-4"), event("new")]).result()[1] == "stored"
            sizes.add(whole)
            opened.close()
        assert len(sizes) > 3


class TestFullDisk:
    def test_a_full_file_fails_its_calls_and_goes_on_once_there_is_room(self, tmp_path):
        store = open_sqlite(tmp_path / "e.sqlite")
        store.append("t", [event("first")]).result()

        def limit(pages):
            def apply(ledger):
                ledger._connection.execute(f"PRAGMA max_page_count={pages}")

            return apply

        store._writer.submit(limit(1)).result()
        failures = stored_calls = 0
        for call in range(40):
            future = store.append("t", [event(f"{call}-{k}", item="x" * 500) for k in range(100)])
            error = future.exception(10)
            if error is None:
                # The failure closed the connection, and with it went the limit.
                stored_calls += 1
                break
            failures += 1
            assert type(error) is StoreError
            assert "disk is full" in str(error)
            assert "Nothing of this call was stored" in str(error)
        assert failures > 0
        assert len(store.export("t", "u:1")) == 1 + 100 * stored_calls == store.count()
        store.close()

    @pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
    def test_a_file_that_may_not_grow_loses_nothing_acknowledged_and_recovers(self, tmp_path):
        said = run(
            """
            import resource, signal, sys
            from acclimate.errors import StoreError
            from acclimate.serving.events import Event
            from acclimate.serving.store.opening import open_store

            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            store = open_store(sys.argv[1])
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
            good, bad = [], 0
            for call in range(400):
                events = [Event(f"{call}-{k}", "u:1", "x" * 200, None, 0.0) for k in range(20)]
                error = store.append("t", events).exception(20)
                if error is None:
                    good.append(call)
                else:
                    assert type(error) is StoreError, error
                    assert "Nothing of this call was stored" in str(error), error
                    bad += 1
                    assert len(store.view("t", "u:1", 500).events) == min(500, 20 * len(good))
                    if bad == 5:
                        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            assert bad >= 5, bad
            assert good[-1] == 399, good[-1]
            wanted = [f"{call}-{k}" for call in good for k in range(20)]
            assert [e.id for e in store.export("t", "u:1")] == wanted
            assert store.count() == len(wanted)
            store.close()
            print(len(wanted))
            """,
            tmp_path / "e.sqlite",
        )
        store = open_store(tmp_path / "e.sqlite")
        assert len(store.export("t", "u:1")) == int(said)
        store.close()

    def test_a_file_system_that_is_full_loses_nothing_acknowledged_and_recovers(self, tmp_path):
        mount = tmp_path / "small"
        mount.mkdir()
        if (
            os.geteuid() != 0
            or subprocess.run(
                ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(mount)],
                capture_output=True,
                check=False,
            ).returncode
        ):
            pytest.skip("only an administrator can mount a small file system")
        try:
            store = open_store(mount / "e.sqlite")
            good, failed = [], 0
            for call in range(200):
                error = store.append(
                    "t", [event(f"{call}-{k}", item="x" * 300) for k in range(20)]
                ).exception(20)
                if error is None:
                    good += [f"{call}-{k}" for k in range(20)]
                else:
                    assert type(error) is StoreError
                    failed += 1
                    if failed == 3:
                        assert [e.id for e in store.export("t", "u:1")] == good
                        subprocess.run(["mount", "-o", "remount,size=50m", str(mount)], check=True)
            assert failed >= 3
            assert [e.id for e in store.export("t", "u:1")] == good
            assert good[-1] == "199-19"
            store.close()
        finally:
            subprocess.run(["umount", str(mount)], check=True)


@pytest.fixture(scope="module")
def failing_sync(tmp_path_factory):
    """A library that makes fsync fail while a file exists."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("install a C compiler (Debian: gcc) on Linux to run this test")
    library = tmp_path_factory.mktemp("shim") / "failing_sync.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", str(library), str(HERE / "failing_sync.c"), "-ldl"], check=True
    )
    return library


class TestFailedSync:
    PROGRAM = """
        import pathlib, sys, os, signal
        from acclimate.errors import StoreError
        from acclimate.serving.events import Event
        from acclimate.serving.store.opening import open_store

        path, flag, ending = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
        store = open_store(path)
        told = []
        for call in range(60):
            if call in (20, 40):
                flag.touch()
            if call in (25, 47):
                flag.unlink()
            future = store.append("t", [Event(f"{call}-{k}", "u:1", "x", None, 0.0) for k in range(3)])
            error = future.exception(20)
            failing = flag.exists()
            assert (error is not None) == failing, (call, error)
            if error is None:
                told += [f"{call}-{k}" for k in range(3)]
            else:
                assert type(error) is StoreError and "Check the disk" in str(error), error
            assert [e.id for e in store.view("t", "u:1", 500).events] == told, call
            if failing:
                try:
                    store.check()
                except StoreError:
                    pass
                else:
                    raise AssertionError("the check did not see that the disk fails")
        store.check()
        print(" ".join(told), flush=True)
        if ending == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        store.close()
        """

    @pytest.mark.parametrize("ending", ["close", "kill"])
    def test_what_could_not_be_synced_is_an_error_and_does_not_come_back(
        self, tmp_path, failing_sync, ending
    ):
        where = tmp_path / "e.sqlite"
        environment = {"LD_PRELOAD": str(failing_sync), "FAIL_SYNC": str(tmp_path / "flag")}
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(self.PROGRAM), str(where), str(tmp_path / "flag"), ending],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == (-signal.SIGKILL if ending == "kill" else 0), done.stderr
        store = open_store(where)
        assert [e.id for e in store.export("t", "u:1")] == done.stdout.split()
        assert len(done.stdout.split()) == 3 * (60 - 5 - 7)
        store.close()

    def test_a_write_that_failed_once_does_not_come_back_after_a_crash(self, tmp_path, failing_sync):
        # The log holds all of it, with good checksums; that its fsync failed is known to nobody any more.
        program = """
            import os, pathlib, signal, sys
            from acclimate.serving.events import Event
            from acclimate.serving.store.opening import open_store

            store = open_store(sys.argv[1])
            store.append("t", [Event("good", "u:1", "x", None, 0.0)]).result()
            assert len(store.view("t", "u:1", 9).events) == 1  # readers keep the log where it is
            pathlib.Path(os.environ["FAIL_SYNC_ONCE"]).touch()
            error = store.append("t", [Event("bad", "u:1", "x", None, 0.0)]).exception()
            print(type(error).__name__, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
            """
        environment = {"LD_PRELOAD": str(failing_sync), "FAIL_SYNC_ONCE": str(tmp_path / "flag")}
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "e.sqlite")],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stdout == "StoreError\n", done.stderr
        store = open_store(tmp_path / "e.sqlite")
        assert [e.id for e in store.export("t", "u:1")] == ["good"]
        assert store.append("t", [event("bad", item="another")]).result() == ["stored"]
        store.close()


class TestTwoProcesses:
    @pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
    def test_two_processes_on_one_store_lose_and_double_nothing(self, kind, tmp_path, request):
        where = tmp_path / "e.sqlite"
        if kind == "postgres":
            where = request.getfixturevalue("server").new_database()
        open_store(where).close()
        often = {**os.environ, "FOLD": "100"}
        processes = [writer(where, name, calls=150, size=7, env=often) for name in ("one", "two")]
        told = [acknowledged(process) for process in processes]
        assert [process.wait() for process in processes] == [0, 0]
        for process in processes:
            process.stdout.close()
        store = open_store(where)
        for name, ids in zip(("one", "two"), told, strict=True):
            assert len(ids) == 150 * 7
            assert stored(store, name) == [f"{name}-{call}-{k}" for call in range(150) for k in range(7)]
        assert store.count() == 2 * 150 * 7
        store.close()

    def test_two_processes_that_write_all_the_time_both_get_their_turn(self, tmp_path):
        where = tmp_path / "e.sqlite"
        open_store(where).close()
        processes = [writer(where, name) for name in ("one", "two")]
        for process in processes:
            assert process.stdout.readline() == b"ready\n"
        counts = []
        readers = [
            threading.Thread(target=lambda p=p: counts.append(len(acknowledged(p)))) for p in processes
        ]
        for reader in readers:
            reader.start()
        time.sleep(1.5)
        for process in processes:
            process.kill()
        for reader in readers:
            reader.join()
        for process in processes:
            process.wait()
            process.stdout.close()
        assert min(counts) * 8 > max(counts), counts

    def test_the_same_events_from_both_sides_are_stored_once(self, tmp_path):
        stores = [open_store(tmp_path / "e.sqlite") for _ in range(2)]
        pairs = [[store.append("t", [event(n)]) for store in stores] for n in range(200)]
        outcomes = Counter(future.result()[0] for pair in pairs for future in pair)
        assert outcomes == {"stored": 200, "duplicate": 200}
        assert stores[0].count() == len(stores[1].export("t", "u:1")) == 200
        for store in stores:
            store.close()

    def test_opening_a_store_twice_does_not_give_up_its_locks(self, tmp_path):
        # Closing any descriptor of a file gives up all locks of the process on it. Another process would then
        # take itself for the last one, and remove the log that this one goes on writing to.
        where = tmp_path / "e.sqlite"
        one = open_store(where)
        one.append("t", [event("a")]).result()
        assert len(one.view("t", "u:1", 9).events) == 1
        two = open_store(where)
        count = (
            "import sys; from acclimate.serving.store.opening import open_store; "
            "store = open_store(sys.argv[1]); print(store.count()); store.close()"
        )
        assert run(count, where) == "1\n"
        assert one.append("t", [event("b")]).result() == ["stored"]
        assert run(count, where) == "2\n"
        one.close()
        two.close()

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_a_fork_is_told_to_open_the_store_again(self, tmp_path):
        said = run(
            """
            import os, sys
            from acclimate.errors import StoreError
            from acclimate.serving.events import Event
            from acclimate.serving.store.opening import open_store

            store = open_store(sys.argv[1])
            said = [Event("a", "u:1", "x", None, 0.0)]
            store.append("t", said).result()
            child = os.fork()
            if not child:
                wrong = 0
                for call in (lambda: store.append("t", said).result(5), lambda: store.view("t", "u:1", 9)):
                    try:
                        call()
                    except StoreError as error:
                        wrong += "Open it again in this one" not in str(error)
                    else:
                        wrong += 1
                store.close()
                again = open_store(sys.argv[1])
                wrong += again.append("t", [Event("b", "u:1", "x", None, 0.0)]).result(5) != ["stored"]
                again.close()
                os._exit(wrong)
            assert os.waitpid(child, 0)[1] == 0
            assert store.append("t", said).result(5) == ["duplicate"]
            print(len(store.view("t", "u:1", 9).events))
            store.close()
            """,
            tmp_path / "e.sqlite",
        )
        assert said == "2\n"

    def test_the_log_is_copied_into_the_file_while_nobody_else_writes(self, tmp_path, monkeypatch):
        # With others writing meanwhile it never ends, and so the log would grow for as long as they do.
        monkeypatch.setattr("acclimate.serving.store.sqlite.TIDY_GROUPS", 1)
        store = open_store(tmp_path / "e.sqlite")
        held = []

        def watch(ledger):
            def statement(text):
                if "wal_checkpoint" in text:
                    held.append(ledger._holding)

            ledger._connection.set_trace_callback(statement)

        store._writer.submit(watch).result()
        for n in range(5):
            store.append("t", [event(n)]).result()
        store.erase("t", "u:1").result()
        store.close()
        assert len(held) >= 6
        assert all(held)

    def test_a_process_that_was_stopped_in_its_turn_is_not_waited_for_for_ever(self, tmp_path, monkeypatch):
        monkeypatch.setattr("acclimate.serving.store.turns.PATIENCE_SECONDS", 0.3)
        store = open_store(tmp_path / "e.sqlite")
        stopped = FileTurns(tmp_path / "e.sqlite")
        stopped.take()
        for name in "ab":
            with pytest.raises(StoreError, match=r"Another process has held.*Nothing.*let it go on"):
                store.append("t", [event(name)]).result(10)
        with pytest.raises(StoreError, match="Another process has held"):
            open_store(tmp_path / "e.sqlite")
        assert store.view("t", "u:1", 9).events == ()
        stopped.give()
        assert store.append("t", [event("a")]).result(10) == ["stored"]
        stopped.close()
        store.close()


class TestLocked:
    def test_a_lock_held_by_another_program_is_waited_for_and_then_said(self, tmp_path, monkeypatch):
        monkeypatch.setattr("acclimate.serving.store.sqlite_file.BUSY_SECONDS", 1.0)
        store = open_store(tmp_path / "e.sqlite")
        other = sqlite3.connect(tmp_path / "e.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        error = store.append("t", [event("a")]).exception(10)
        assert type(error) is StoreError
        assert "Another program" in str(error)
        assert time.monotonic() - started < 1.8, "waited twice"
        assert store.view("t", "u:1", 9).events == ()
        other.execute("ROLLBACK")
        assert store.append("t", [event("a")]).result(10) == ["stored"]
        other.close()
        store.close()

    def test_a_file_that_was_taken_away_is_an_error_not_an_empty_store(self, tmp_path):
        store = open_store(tmp_path / "e.sqlite")
        store.close()
        for path in tmp_path.iterdir():
            path.unlink()
        again = open_store(tmp_path / "e.sqlite")
        assert again.count() == 0
        again.close()


class TestCommitted:
    def test_what_fails_after_the_commit_does_not_make_an_error_of_it(self, tmp_path, caplog):
        store = open_store(tmp_path / "e.sqlite")
        store.append("t", [event("a")]).result()
        recent = store._reader._recent

        def fail(before, entries):
            del recent.wrote
            raise MemoryError

        recent.wrote = fail
        assert store.append("t", [event("b")]).result() == ["stored"]
        assert "MemoryError" in caplog.text
        assert stored(store, "1") == ["a", "b"]
        assert store.append("t", [event("b"), event("c")]).result() == ["duplicate", "stored"]
        store.close()


class TestErased:
    def test_no_byte_of_the_erased_stays_in_any_file(self, tmp_path, monkeypatch):
        monkeypatch.setattr("acclimate.serving.store.sqlite.FOLD", 1500)
        where, chance = tmp_path / "e.sqlite", random.Random(1)
        store = open_store(where)
        users = [f"u:person-{k:04d}-end" for k in range(600)]

        def some(n):
            for _ in range(n // 100):
                batch = []
                for _ in range(100):
                    user = chance.choice(users)
                    batch.append(
                        event(f"{chance.getrandbits(64):016x}:{user}", user, f"thing-of:{user}", 2.0)
                    )
                store.append("t", batch).result()
            return batch

        last = some(20_000)
        gone = chance.sample(users, 60)
        for n, user in enumerate(gone):
            users.remove(user)
            mine = store.export("t", user)
            if n % 2:
                store.undo("t", user, mine[0].id).result()
            assert store.erase("t", user).result() == len(mine) - n % 2
            if n % 20 == 0:
                assert not any(user.encode() in path.read_bytes() for path in tmp_path.iterdir())
            last = some(100)
        files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert last[0].user.encode() in files
        assert [user for user in gone if user.encode() in files] == []
        store.close()
        files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert [user for user in gone if user.encode() in files] == []

    def test_an_undone_event_leaves_nothing_to_read(self, tmp_path):
        store = open_store(tmp_path / "e.sqlite")
        store.append("t", [event("its-id", item="its-item", value=3.0), event("other-id")]).result()
        store.undo("t", "u:1", "its-id").result()
        store.close()
        files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert b"other-id" in files
        assert b"its-i" not in files

    def test_erasing_goes_on_while_others_read(self, tmp_path):
        store, other = (open_store(tmp_path / "e.sqlite") for _ in range(2))
        store.append("t", [event(n, user=f"u:secret{n}") for n in range(50)]).result()
        stop = threading.Event()

        def read():
            while not stop.is_set():
                other.view("t", "u:secret1", 100)

        reader = threading.Thread(target=read)
        reader.start()
        for n in range(50):
            assert store.erase("t", f"u:secret{n}").result(10) == 1
            assert other.view("t", f"u:secret{n}", 10).erased
        stop.set()
        reader.join()
        store.close()
        other.close()
        assert b"u:secret" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())

    def test_a_program_that_reads_without_end_holds_up_neither_erasing_nor_writing(
        self, tmp_path, monkeypatch, caplog
    ):
        monkeypatch.setattr("acclimate.serving.store.sqlite.FORGET_SECONDS", 0.2)
        store = open_store(tmp_path / "e.sqlite")
        store.append("t", [event("a", user="u:secret")]).result()
        reader = sqlite3.connect(tmp_path / "e.sqlite", isolation_level=None)
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM events").fetchone() == (1,)
        started = time.monotonic()
        assert store.erase("t", "u:secret").result(60) == 1
        for n in range(5):
            assert store.append("t", [event(n)]).result(60) == ["stored"]
        assert time.monotonic() - started < 5
        assert "stays in its log until it does" in caplog.text
        reader.close()
        time.sleep(0.3)
        for name in ("x", "y"):  # what can wait is done after the first of them was answered
            store.append("t", [event(name)]).result()
        assert not any(
            b"u:secret" in path.read_bytes() for path in tmp_path.iterdir() if "shm" not in path.name
        )
        store.close()


@pytest.fixture(scope="module")
def server():
    started = start_postgres()
    yield started
    started.remove()


@pytest.mark.postgres
class TestPostgresGone:
    def test_a_crash_of_the_server_under_load_loses_nothing_acknowledged(self, server):
        store = open_store(server.new_database())
        told, failed, stop = [], Counter(), threading.Event()

        def load(name):
            call = 0
            while not stop.is_set():
                events = [event(f"{name}-{call}-{k}", f"u:{name}") for k in range(4)]
                try:
                    assert len(store.append("t", events).result(30)) == 4
                    told.extend(e.id for e in events)
                except StoreError as error:
                    failed[type(error).__name__] += 1
                    time.sleep(0.01)
                call += 1

        threads = [threading.Thread(target=load, args=(f"w{n}",)) for n in range(6)]
        for thread in threads:
            thread.start()
        for mode in ("immediate", "fast", "immediate"):
            time.sleep(0.4)
            server.restart(mode)
        time.sleep(0.5)
        before = len(told)
        time.sleep(0.3)
        stop.set()
        for thread in threads:
            thread.join()
        assert len(told) > before, "the store did not recover"
        found = [i for n in range(6) for i in stored(store, f"w{n}")]
        assert Counter(found).most_common(1)[0][1] == 1
        assert set(told) <= set(found)
        assert store.count() == len(found)
        assert set(failed) <= {"StoreError", "LostError"}
        store.close()

    def test_while_the_server_is_down_errors_come_soon_and_say_so(self, server, monkeypatch):
        monkeypatch.setattr("acclimate.serving.store.postgres.PATIENCE_SECONDS", 0.5)
        store = open_store(server.new_database())
        store.append("t", [event("a")]).result()
        server.stop("immediate")
        try:
            started = time.monotonic()
            for call in (
                lambda: store.append("t", [event("b")]).result(),
                lambda: store.view("t", "u:1", 9),
                store.count,
                store.check,
                lambda: store.append("t", [event("c")]).result(),
            ):
                with pytest.raises(StoreError, match="Check that the server runs") as error:
                    call()
                assert not isinstance(error.value, ConflictError)
            assert time.monotonic() - started < 5
        finally:
            server.start()
        assert store.append("t", [event("b")]).result(10) == ["stored"]
        assert [e.id for e in store.view("t", "u:1", 9).events] == ["a", "b"]
        store.close()

    @pytest.mark.parametrize("when", ["before the commit", "after the commit"])
    def test_a_commit_whose_answer_was_lost_is_looked_up(self, server, when):
        store = open_store(server.new_database())
        left = [when]

        def cut(ledger):
            if left:
                ledger._connection = _Cut(ledger._connection, left.pop())
            ledger.insert(rows_of("t", [event("a")]))
            return "done"

        assert store._writer.submit(cut).result(20) == "done"
        assert left == []
        assert [e.id for e in store.export("t", "u:1")] == ["a"]
        assert store.append("t", [event("a"), event("b")]).result(20) == ["duplicate", "stored"]
        assert store.count() == 2
        store.close()

    def test_another_servers_commit_is_not_taken_for_one_that_a_crash_undid(self, server):
        # After a crash PostgreSQL gives the same transaction numbers again.
        url = server.new_database()
        store = open_store(url)
        store.append("t", [event("first")]).result()
        left = [True]

        def crash():
            server.restart("immediate")
            with psycopg.connect(url, autocommit=True) as other:
                for _ in range(50):
                    other.execute("SELECT pg_current_xact_id()")

        def cut(ledger):
            if left:
                left.pop()
                ledger._connection = _Cut(ledger._connection, crash)
            ledger.insert(rows_of("t", [event("a")]))
            return "done"

        assert store._writer.submit(cut).result(20) == "done"
        assert [e.id for e in store.export("t", "u:1")] == ["first", "a"]
        store.close()

    def test_a_read_that_takes_too_long_is_not_tried_again(self, server, monkeypatch):
        monkeypatch.setattr("acclimate.serving.store.postgres.SETTINGS", "-c statement_timeout=1s")
        store = open_store(server.new_database())
        assert store.count() == 0
        started = time.monotonic()
        with pytest.raises(StoreError, match="did not answer in time"):
            store._reader._read("SELECT pg_sleep(20)", ())
        assert time.monotonic() - started < 1.8
        assert store.count() == 0
        store.close()


class _Cut:
    """A connection whose other end dies just before or just after its next commit."""

    def __init__(self, connection, when):
        self._connection, self._when = connection, when

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def execute(self, statement, *values):
        if statement != "COMMIT":
            return self._connection.execute(statement, *values)
        if callable(self._when):
            self._when()
            return self._connection.execute(statement)
        if self._when == "after the commit":
            self._connection.execute(statement)
        with psycopg.connect(self._connection.info.dsn) as other:
            other.execute("SELECT pg_terminate_backend(%s)", (self._connection.info.backend_pid,))
        return self._connection.execute(statement)
