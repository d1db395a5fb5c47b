"""What was acknowledged survives SIGKILL: a short set; ``benchmarks/serving_crash.py`` is the long one."""

import contextlib
import random
import sqlite3
import subprocess
import sys

import pytest

from acclimate.serving.events import Event
from acclimate.serving.store.opening import open_store
from served import made_model
from serving_crash import N_ITEMS, Found, Told, judge, lane, tear


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("crash") / "model.acc"
    made_model(N_ITEMS).save(path)
    return path


@pytest.mark.parametrize(("workers", "kills"), [(1, 6), (2, 2)])
def test_no_acknowledged_event_is_lost_or_doubled_when_the_server_is_killed(model, tmp_path, workers, kills):
    found = lane(model, tmp_path / "lane", kills, workers=workers, seed=workers, clients=3)
    assert found.wrong() == {name: [] for name in found.wrong()}
    assert found.kills == kills
    assert found.acknowledged > 0
    assert found.repeats > 0


def test_the_judge_sees_what_is_lost_doubled_altered_misplaced_or_back(tmp_path):
    store = open_store(str(tmp_path / "events.sqlite"))
    told = Told("p")
    told.sent = [Event(f"p-{i}", "p", str(i), 1.0, 0.0) for i in range(6)]
    told.acknowledged = {"p-0", "p-1", "p-2", "p-3", "p-4"}
    told.undone = told.maybe_undone = {"p-4"}
    kept = [Event(f"p-{i}", "u:p", str(i), 1.0, 0.0) for i in (1, 0, 4)]
    store.append("default", [*kept, Event("p-3", "u:p", "77", 1.0, 0.0)]).result()
    store.append("default", [Event("stranger", "u:q", "1", 1.0, 0.0)]).result()
    store.close()
    found = Found()
    judge(found, tmp_path / "events.sqlite", [told])
    assert found.lost == ["p-2"]
    assert found.altered == ["p-3", "1 events of nobody"]
    assert found.misplaced == ["1", "4"]
    assert found.came_back == ["p-4"]
    assert not found.sound


WRITER = """
import os, sys
from acclimate.serving.events import Event
from acclimate.serving.store.opening import open_store
store = open_store(sys.argv[1])
for n in range(int(sys.argv[2])):
    store.append("default", [Event(f"p-{10 * n + i}", "u:p", str(i), 1.0, 0.0) for i in range(10)]).result()
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("acknowledged", [True, False])
def test_a_log_is_torn_only_where_nobody_was_told(tmp_path, acknowledged):
    told = Told("p", acknowledged={f"p-{i}" for i in range(30 if acknowledged else 20)})
    ways = set()
    for seed in range(12):
        path = tmp_path / f"{seed}.sqlite"
        subprocess.run([sys.executable, "-c", WRITER, str(path), "3"], check=False, timeout=60)
        before = path.with_name(path.name + "-wal").read_bytes()
        how = tear(path, random.Random(seed), [told])
        after = path.with_name(path.name + "-wal").read_bytes()
        assert (how is None) == (before == after) or how == "cut after the last commit"
        ways.add(how)
        store = open_store(str(path))
        ids = {event.id for event in store.export("default", "u:p")}
        store.close()
        assert ids >= told.acknowledged
        assert how != "last commit torn" or len(ids) == 20
        with contextlib.closing(sqlite3.connect(path)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    torn = (
        {"noise after the last commit", "cut after the last commit"} if acknowledged else {"last commit torn"}
    )
    assert ways == {None} | torn
