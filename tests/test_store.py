"""What a store promises, on every store there is."""

from __future__ import annotations

import dataclasses
import random
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from acclimate.errors import ConflictError, OverloadedError, StoreError, UserInputError
from acclimate.serving.events import Event, NewItem, Rules
from acclimate.serving.store.base import StoredKey
from acclimate.serving.store.migrations import MIGRATIONS, Migration
from acclimate.serving.store.opening import open_store
from acclimate.serving.store.recent import Recent
from postgres import database, postgres  # noqa: F401

KEY = StoredKey("k1", "ab" * 32, "shop", ("ingest", "recommend"), "the shop's", 12.5)


def event(name, user="u:1", item="a", value=None, time=1.0):
    return Event(str(name), user, item, value, time)


@pytest.fixture(
    params=["sqlite", "folding", pytest.param("postgres", marks=pytest.mark.postgres), "temporary"]
)
def where(request, tmp_path, monkeypatch):
    """Where a store may be; "folding" is an SQLite file whose indexes are brought up to date all the time."""
    if request.param == "temporary":
        return ":memory:"
    if request.param == "postgres":
        return request.getfixturevalue("database")
    if request.param == "folding":
        monkeypatch.setattr("acclimate.serving.store.sqlite.FOLD", 4)
    return tmp_path / "events.sqlite"


@pytest.fixture
def shared(where):
    if where == ":memory:":
        pytest.skip("a temporary store belongs to one process")
    return where


@pytest.fixture
def store(where):
    opened = open_store(where)
    yield opened
    opened.close()


def ids(view):
    return [event.id for event in view.events]


class TestAppending:
    def test_what_was_acknowledged_is_read_in_the_order_in_which_it_came(self, store):
        said = [event(n, item=f"i{n}", value=n / 2, time=100.0 - n) for n in range(5)]
        assert store.append("t", said).result() == ["stored"] * 5
        view = store.view("t", "u:1", 500)
        assert view.events == tuple(said)
        assert view.last > 0
        assert (view.erased, view.revision) == (False, 0)
        assert store.export("t", "u:1") == said
        assert store.count() == 5

    def test_a_view_holds_the_newest_events(self, store):
        store.append("t", [event(n) for n in range(7)]).result()
        assert ids(store.view("t", "u:1", 3)) == ["4", "5", "6"]
        assert ids(store.view("t", "u:1", 0)) == []
        assert len(store.export("t", "u:1")) == 7

    def test_nobody_and_no_events_are_no_error(self, store):
        assert store.append("t", []).result() == []
        view = store.view("t", "u:nobody", 10)
        assert (view.events, view.last, view.erased) == ((), 0, False)

    def test_a_retry_is_a_duplicate_and_changes_nothing(self, store):
        said = [event("a", value=3.5), event("b", item="é€😀")]
        store.append("t", said).result()
        before = store.view("t", "u:1", 9)
        assert store.append("t", said).result() == ["duplicate", "duplicate"]
        assert store.append("t", [said[1], event("c")]).result() == ["duplicate", "stored"]
        assert store.append("t", [said[0]._replace(time=99.0)]).result() == ["duplicate"]
        assert ids(store.view("t", "u:1", 9)) == ["a", "b", "c"]
        assert store.view("t", "u:1", 9).events[:2] == before.events
        assert store.count() == 3

    def test_an_event_said_twice_in_one_call_is_stored_once(self, store):
        assert store.append("t", [event("a"), event("a")]).result() == ["stored", "duplicate"]
        assert store.count() == 1

    @pytest.mark.parametrize("other", [{"user": "u:2"}, {"item": "b"}, {"value": 1.0}, {"value": None}])
    def test_an_id_used_for_another_event_stores_nothing_of_its_call(self, store, other):
        store.append("t", [event("a", value=2.0)]).result()
        with pytest.raises(ConflictError, match=r"'a' was used before"):
            store.append("t", [event("new"), event("a", value=2.0)._replace(**other)]).result()
        assert ids(store.view("t", "u:1", 9)) == ["a"]
        assert store.append("t", [event("new")]).result() == ["stored"]

    def test_one_call_contradicting_itself_stores_nothing(self, store):
        with pytest.raises(ConflictError):
            store.append("t", [event("a", item="x"), event("a", item="y")]).result()
        assert store.count() == 0

    def test_a_conflict_hurts_only_its_own_call_of_a_group(self, store):
        store.append("t", [event("used")]).result()
        calls = [[event(f"{n}-{k}") for k in range(3)] for n in range(40)]
        calls[17].append(event("used", item="other"))
        futures = [store.append("t", call) for call in calls]
        assert isinstance(futures[17].exception(), ConflictError)
        assert all(f.result() == ["stored"] * 3 for n, f in enumerate(futures) if n != 17)
        assert store.count() == 1 + 39 * 3
        assert len(store.view("t", "u:1", 500).events) == 1 + 39 * 3

    def test_of_two_waiting_calls_with_one_id_the_first_wins(self, store):
        futures = [store.append("t", [event("a", item=item)]) for item in ("x", "x", "y")]
        assert futures[0].result() == ["stored"]
        assert futures[1].result() == ["duplicate"]
        assert isinstance(futures[2].exception(), ConflictError)

    def test_writes_take_effect_in_the_order_they_were_called(self, store):
        futures = [
            store.append("t", [event("a")]),
            store.undo("t", "u:1", "a"),
            store.append("t", [event("b")]),
        ]
        futures += [store.erase("t", "u:1"), store.append("t", [event("a", item="z")])]
        assert [f.result() for f in futures] == [["stored"], True, ["stored"], 1, ["stored"]]
        assert store.export("t", "u:1") == [event("a", item="z")]

    def test_any_text_and_any_finite_value_come_back_as_they_were(self, store):
        said = [
            Event("'; DROP TABLE events; --", "u:☃", "😀" * 50, -0.5, -1e300),
            Event("%s $1 ? \\ \n\t", "u:☃", "", 1e-310, 1e18),
            Event("", "u:☃", "x" * 5000, 0.1 + 0.2, 0.0),
        ]
        store.append("tenänt", said).result()
        assert store.export("tenänt", "u:☃") == said

    @pytest.mark.parametrize(
        "bad",
        [
            event("a\0b"),
            event("a", item="\0"),
            event("a", user="u:\0"),
            event("\ud800"),
            event("a", item="\udfff"),
            event("a", user="\ud800"),
            event("a", value=float("nan")),
            event("a", value=float("inf")),
            event("a", time=float("-inf")),
        ],
    )
    def test_what_no_database_can_hold_is_refused_at_once(self, store, bad):
        with pytest.raises(UserInputError):
            store.append("t", [event("fine"), bad])
        assert store.append("t", [event("after")]).result() == ["stored"]
        assert store.count() == 1

    def test_a_large_call_is_stored_whole(self, store):
        said = [event(n, user=f"u:{n % 7}", item=str(n % 50), value=float(n)) for n in range(1237)]
        assert store.append("t", said).result() == ["stored"] * 1237
        assert store.append("t", said).result() == ["duplicate"] * 1237
        assert store.export("t", "u:3") == [e for e in said if e.user == "u:3"]

    def test_a_write_that_waits_cannot_be_cancelled(self, store):
        future = store.append("t", [event("a")])
        assert not future.cancel()
        assert future.result() == ["stored"]


class TestTenants:
    def test_tenants_share_nothing(self, store):
        store.append("t", [event("a", item="x")]).result()
        assert store.append("s", [event("a", item="y")]).result() == ["stored"]
        assert store.view("t", "u:1", 9).events[0].item == "x"
        assert store.view("s", "u:1", 9).events[0].item == "y"
        assert store.undo("s", "u:1", "b").result() is False
        assert store.erase("s", "u:1").result() == 1
        assert store.view("t", "u:1", 9).erased is False
        assert ids(store.view("t", "u:1", 9)) == ["a"]
        store.add_items("s", [NewItem("n", {})]).result()
        assert store.settings("t").revision == 0

    def test_no_pair_of_tenant_and_user_is_mistaken_for_another(self, store):
        store.append("a", [event("1", user="bu:1")]).result()
        assert store.view("ab", "u:1", 9).events == ()


class TestUndo:
    def test_an_undone_event_is_gone_and_its_id_stays_used(self, store):
        store.append("t", [event("a", value=2.0), event("b")]).result()
        before = store.view("t", "u:1", 9)
        assert store.undo("t", "u:1", "a").result() is True
        after = store.view("t", "u:1", 9)
        assert ids(after) == ["b"]
        assert after.last > before.last
        assert [e.id for e in store.export("t", "u:1")] == ["b"]
        assert store.count() == 1
        assert store.append("t", [event("a", value=2.0)]).result() == ["duplicate"]
        with pytest.raises(ConflictError):
            store.append("t", [event("a", value=3.0)]).result()
        with pytest.raises(ConflictError):
            store.append("t", [event("a", value=2.0, user="u:2")]).result()
        assert ids(store.view("t", "u:1", 9)) == ["b"]

    def test_what_is_not_there_cannot_be_undone(self, store):
        store.append("t", [event("a")]).result()
        assert store.undo("t", "u:2", "a").result() is False
        assert store.undo("t", "u:1", "zz").result() is False
        assert store.undo("t", "u:1", "a").result() is True
        assert store.undo("t", "u:1", "a").result() is False
        assert store.count() == 0

    def test_undoing_older_events_leaves_as_many_as_were_asked_for(self, store):
        store.append("t", [event(n) for n in range(10)]).result()
        for n in (9, 8, 5):
            store.undo("t", "u:1", str(n)).result()
        assert ids(store.view("t", "u:1", 4)) == ["3", "4", "6", "7"]


class TestErase:
    def test_everything_goes_and_the_person_is_marked(self, store):
        store.append("t", [event("a"), event("b"), event("c", user="u:2")]).result()
        store.undo("t", "u:1", "b").result()
        assert store.erase("t", "u:1").result() == 1
        view = store.view("t", "u:1", 9)
        assert (view.events, view.last, view.erased) == ((), 0, True)
        assert store.export("t", "u:1") == []
        assert ids(store.view("t", "u:2", 9)) == ["c"]
        assert store.count() == 1

    def test_the_erased_start_anew_and_their_ids_are_free(self, store):
        store.append("t", [event("a"), event("b")]).result()
        last = store.view("t", "u:1", 9).last
        store.undo("t", "u:1", "b").result()
        store.erase("t", "u:1").result()
        assert (
            store.append("t", [event("a", item="other"), event("b", user="u:2")]).result() == ["stored"] * 2
        )
        view = store.view("t", "u:1", 9)
        assert (ids(view), view.erased) == (["a"], True)
        # A number is never given twice: what was derived from the erased events must not be taken for these.
        assert view.last > last

    def test_nobody_can_be_erased(self, store):
        assert store.erase("t", "u:ghost").result() == 0
        assert store.view("t", "u:ghost", 9).erased is True
        assert store.erase("t", "u:ghost").result() == 0


class TestSettings:
    def test_items_and_rules_come_back_under_a_revision_that_grows(self, store):
        assert store.settings("t").revision == 0
        assert store.settings("t").rules == Rules()
        items = [NewItem("z", {"genres": ["a", "b"], "year": 1999}), NewItem("b", {"title": "Ü"})]
        assert store.add_items("t", items).result() == 1
        rules = Rules(pin={"z": 1}, bury=("q", "r"), exploration=0.25)
        assert store.set_rules("t", rules).result() == 2
        assert store.add_items("t", [NewItem("c", {}), NewItem("z", {"year": 2000})]).result() == 3
        settings = store.settings("t")
        assert settings.revision == store.view("t", "u:1", 1).revision == 3
        assert settings.rules == rules
        # In the order in which they were first added, so that a place in the catalogue stays what it was.
        assert [(i.item, i.fields) for i in settings.items] == [
            ("z", {"year": 2000}),
            ("b", {"title": "Ü"}),
            ("c", {}),
        ]

    def test_fields_that_are_not_json_are_refused(self, store):
        for fields in ({"x": float("nan")}, {"x": object()}):
            with pytest.raises(UserInputError):
                store.add_items("t", [NewItem("a", fields)])
        assert store.settings("t").revision == 0

    def test_keys_are_kept(self, store):
        other = dataclasses.replace(KEY, id="k2", created=99.0, scopes=())
        store.add_key(other)
        store.add_key(KEY)
        assert store.keys() == [KEY, other]
        assert store.key("k1") == KEY
        assert store.key("nope") is None
        with pytest.raises(ConflictError):
            store.add_key(dataclasses.replace(KEY, name="again"))
        assert store.remove_key("k1") is True
        assert store.remove_key("k1") is False
        assert store.keys() == [other]


class TestTwoAtOnce:
    def test_a_reopened_store_holds_what_was_acknowledged(self, shared):
        with_all = open_store(shared)
        with_all.append("t", [event("a"), event("b")]).result()
        with_all.undo("t", "u:1", "a").result()
        with_all.erase("t", "u:9").result()
        with_all.add_key(KEY)
        with_all.close()
        again = open_store(shared)
        assert again.append("t", [event("a"), event("b"), event("c")]).result() == ["duplicate"] * 2 + [
            "stored"
        ]
        assert ids(again.view("t", "u:1", 9)) == ["b", "c"]
        assert again.view("t", "u:9", 9).erased
        assert again.keys() == [KEY]
        assert again.count() == 2
        again.close()

    def test_what_one_acknowledged_the_other_reads_at_once(self, shared):
        one, two = open_store(shared), open_store(shared)
        for n in range(30):
            writer, reader = (one, two) if n % 2 else (two, one)
            writer.append("t", [event(n)]).result()
            assert ids(reader.view("t", "u:1", 500)) == [str(k) for k in range(n + 1)]
        assert one.append("t", [event(29)]).result() == two.append("t", [event(0)]).result() == ["duplicate"]
        two.undo("t", "u:1", "28").result()
        assert "28" not in ids(one.view("t", "u:1", 500))
        one.set_rules("t", Rules(exploration=0.5)).result()
        assert two.view("t", "u:1", 1).revision == 1
        one.erase("t", "u:1").result()
        assert two.view("t", "u:1", 9).events == ()
        assert two.append("t", [event(3, item="new")]).result() == ["stored"]
        one.close()
        two.close()

    def test_two_writers_number_what_they_write_in_one_order(self, shared):
        one, two = open_store(shared), open_store(shared)
        futures = [(one, two)[n % 2].append("t", [event(n)]) for n in range(400)]
        assert all(f.result() == ["stored"] for f in futures)
        assert one.view("t", "u:1", 500).events == two.view("t", "u:1", 500).events
        seen = ids(one.view("t", "u:1", 500))
        assert sorted(seen, key=int) == [str(n) for n in range(400)]
        # Each one's own calls kept their order.
        for part in (0, 1):
            mine = [int(name) for name in seen if int(name) % 2 == part]
            assert mine == sorted(mine)
        assert one.count() == 400
        one.close()
        two.close()

    def test_threads_may_read_while_others_write(self, store):
        stop = threading.Event()

        def read():
            seen = 0
            while not stop.is_set():
                view = store.view("t", "u:1", 500)
                assert [int(e.id) for e in view.events] == list(range(len(view.events)))
                assert len(view.events) >= seen
                seen = len(view.events)
            return seen

        with ThreadPoolExecutor(3) as pool:
            readers = [pool.submit(read) for _ in range(3)]
            for n in range(200):
                store.append("t", [event(n)]).result()
            stop.set()
            assert all(reader.result() > 0 for reader in readers)


class TestManyReaders:
    def test_what_was_acknowledged_is_read_also_where_another_thread_learns_of_it_meanwhile(self, tmp_path):
        one, two = (open_store(tmp_path / "e.sqlite") for _ in range(2))
        one.append("t", [event("a")]).result()
        for _ in range(2):
            assert ids(one.view("t", "u:1", 9)) == ["a"]
        two.append("t", [event("b")]).result()
        recent = one._reader._recent
        looked = recent.of

        def looked_up_just_before(person, top):
            found = looked(person, top)
            recent.of = looked
            # Another thread of the same process, at this very moment.
            assert one.view("t", "u:2", 9).events == ()
            return found

        recent.of = looked_up_just_before
        assert ids(one.view("t", "u:1", 9)) == ["a", "b"]
        one.close()
        two.close()


class TestAnyHistory:
    """Whatever is done, by however many processes' worth of stores, a simple model in memory agrees."""

    @pytest.mark.parametrize("seed", range(6))
    def test_a_store_is_a_list_of_what_happened(self, shared, seed):
        chance = random.Random(seed)
        stores = [open_store(shared) for _ in range(2)]
        log: list[tuple[str, Event]] = []  # tenant and event, in order
        used: dict[tuple[str, str], tuple] = {}
        erased: set[tuple[str, str]] = set()
        lasts: dict[tuple[str, str], list] = {}

        def append(store, tenant):
            said = [
                event(chance.randrange(60), f"u:{chance.randrange(4)}", chance.choice("xy"))
                for _ in range(chance.choice([1, 1, 2, 5]))
            ]
            expected, fresh = [], {}
            for e in said:
                same = (e.user, e.item, e.value)
                before = fresh.get((tenant, e.id)) or used.get((tenant, e.id))
                if before not in (None, same):
                    with pytest.raises(ConflictError):
                        store.append(tenant, said).result(20)
                    return
                expected.append("duplicate" if before else "stored")
                fresh[tenant, e.id] = same
            assert store.append(tenant, said).result(20) == expected
            used.update(fresh)
            log.extend((tenant, e) for e, status in zip(said, expected, strict=True) if status == "stored")

        def undo(store, tenant):
            user, name = f"u:{chance.randrange(4)}", str(chance.randrange(60))
            mine = [pair for pair in log if pair[0] == tenant and (pair[1].user, pair[1].id) == (user, name)]
            assert store.undo(tenant, user, name).result(20) is bool(mine)
            for pair in mine:
                log.remove(pair)

        def erase(store, tenant):
            user = f"u:{chance.randrange(4)}"
            mine = [pair for pair in log if pair[0] == tenant and pair[1].user == user]
            assert store.erase(tenant, user).result(20) == len(mine)
            for pair in mine:
                log.remove(pair)
            for key in [key for key, same in used.items() if key[0] == tenant and same[0] == user]:
                del used[key]
            erased.add((tenant, user))

        for step in range(150):
            store, tenant = chance.choice(stores), chance.choice(["t", "s"])
            chance.choices([append, undo, erase], [8, 2, 0.4])[0](store, tenant)
            if step == 100:
                stores[0].close()
                stores[0] = open_store(shared)
            reader, limit = chance.choice(stores), chance.choice([1, 3, 500])
            for who in ("t", "s"):
                for n in range(4):
                    user = f"u:{n}"
                    mine = [e for t, e in log if (t, e.user) == (who, user)]
                    view = reader.view(who, user, limit)
                    assert list(view.events) == mine[-limit:]
                    assert view.erased is ((who, user) in erased)
                    assert reader.export(who, user) == mine
                    # One number never stands for two histories.
                    before = lasts.setdefault((who, user), [])
                    if not before or before[-1][0] != view.last:
                        assert view.last == 0 or view.last > max((number for number, _ in before), default=0)
                        before.append((view.last, mine))
                    assert before[-1] == (view.last, mine)
            assert reader.count() == len(log)
        for store in stores:
            store.close()


class TestRecent:
    """The index in memory, where threads and processes come in an order that other tests meet by chance."""

    LOG = tuple((n, b"k%d" % n, b"p%d" % (n % 2)) for n in range(1, 9))

    def tail(self, after, top):
        return [entry for entry in self.LOG if after < entry[0] <= top]

    def test_rows_are_taken_in_once_whoever_comes_first(self):
        recent = Recent(0)
        assert recent.read(0, 4, self.tail)
        recent.wrote(2, self.LOG[2:4])  # a reader was quicker than the writer that wrote them
        assert recent.of(b"p1", 4) == (0, [1, 3])
        recent.wrote(4, self.LOG[4:6])
        assert recent.read(0, 6, self.tail)
        assert recent.of(b"p1", 6) == (0, [1, 3, 5])

    def test_a_snapshot_sees_nothing_younger_than_itself(self):
        recent = Recent(0)
        recent.read(0, 8, self.tail)
        assert recent.of(b"p1", 4) == (0, [1, 3])

    def test_a_snapshot_older_than_what_was_dropped_is_sent_back(self):
        recent = Recent(0)
        recent.read(0, 4, self.tail)
        assert recent.read(4, 6, self.tail)
        assert recent.read(6, 8, self.tail)
        base, numbers = recent.of(b"p1", 8)
        assert base > 0
        assert numbers == [n for n in (1, 3, 5, 7) if n > base]
        assert recent.read(base - 1, 8, self.tail) is False

    def test_what_others_wrote_and_folded_meanwhile_is_not_taken_in(self):
        recent = Recent()
        recent.read(0, 2, self.tail)
        asked = []
        assert recent.read(6, 8, lambda after, top: asked.append((after, top)) or self.tail(after, top))
        assert asked == [(6, 8)]
        assert recent.of(b"p1", 8) == (6, [7])
        assert not recent.holds_any([b"k1"])
        assert recent.read(2, 4, self.tail) is False

    def test_what_was_before_an_erasure_is_not_looked_for(self):
        recent = Recent(10)
        recent.wrote(10, [(11, b"a", b"p"), (12, None, b"p"), (13, b"b", b"p"), (14, None, b"p")])
        assert recent.of(b"p", 11) == (10, [11])
        assert recent.of(b"p", 12) == (0, [])
        assert recent.of(b"p", 13) == (0, [13])
        assert recent.of(b"p", 14) == (0, [])


class TestLimits:
    def test_more_than_may_wait_is_refused_and_nothing_of_it_stored(self, where):
        store = open_store(where, waiting=50)
        busy, gate = threading.Event(), threading.Event()
        store._writer.submit(lambda ledger: (busy.set(), gate.wait(30)))
        busy.wait(30)
        futures = [store.append("t", [event(f"{n}-{k}") for k in range(10)]) for n in range(5)]
        with pytest.raises(OverloadedError, match="Try again"):
            store.append("t", [event(f"more-{k}") for k in range(10)])
        gate.set()
        assert [f.result() for f in futures] == [["stored"] * 10] * 5
        assert store.count() == 50
        # A call larger than the limit is taken when nothing else waits: it could never be sent otherwise.
        assert len(store.append("t", [event(f"big-{k}") for k in range(60)]).result()) == 60
        store.close()

    def test_closing_finishes_what_waits_and_then_refuses(self, where):
        store = open_store(where)
        store.view("t", "u:1", 1)
        futures = [store.append("t", [event(n)]) for n in range(100)]
        store.close()
        assert all(f.done() and f.result() == ["stored"] for f in futures)
        with pytest.raises(StoreError, match="closed"):
            store.append("t", [event("late")])
        with pytest.raises(StoreError, match="closed"):
            store.view("t", "u:1", 1)
        store.close()

    def test_where_the_writing_thread_fails_nobody_waits_for_ever(self, where, caplog):
        store = open_store(where)
        busy, gate = threading.Event(), threading.Event()

        def fail():
            busy.set()
            gate.wait(30)
            raise RuntimeError("a fault of ours")

        store._writer._ledger.tidy = fail
        assert store.append("t", [event("a")]).result(20) == ["stored"]
        busy.wait(30)
        waits = store.append("t", [event("b")])
        gate.set()
        with pytest.raises(StoreError, match=r"a fault of ours.*Nothing of this call was stored.*Restart"):
            waits.result(20)
        with pytest.raises(StoreError, match="stopped writing"):
            store.append("t", [event("c")])
        assert ids(store.view("t", "u:1", 9)) == ["a"]
        assert "stopped writing" in caplog.text
        store.close()

    def test_where_rolling_back_fails_too_the_others_do_not_suffer(self, where, caplog):
        store = open_store(where)
        ledger, busy, gate = store._writer._ledger, threading.Event(), threading.Event()
        rollback = ledger.rollback

        def fail():
            ledger.rollback = rollback
            rollback()
            raise StoreError("the connection was lost while it was rolled back")

        store._writer.submit(lambda ledger: (busy.set(), gate.wait(30)))
        busy.wait(30)
        ledger.rollback = fail
        before = store.append("t", [event("a")])
        bad = store._writer.submit(lambda ledger: 1 / 0)
        after = store.append("t", [event("b")])
        gate.set()
        assert before.result(20) == after.result(20) == ["stored"]
        with pytest.raises(StoreError, match="ZeroDivisionError"):
            bad.result(20)
        assert "a write failed" in caplog.text
        store.close()

    def test_a_healthy_store_passes_its_check(self, store):
        store.check()
        assert store.count() == 0


class TestMigrations:
    NEXT = Migration(
        MIGRATIONS[-1].version + 1,
        sqlite=("ALTER TABLE items ADD COLUMN colour TEXT",),
        postgres=("ALTER TABLE acclimate_items ADD COLUMN colour text",),
    )

    def open_with(self, where, migrations):
        if str(where).startswith("postgresql"):
            from acclimate.serving.store.postgres import open_postgres

            return open_postgres(where, migrations=migrations)
        from acclimate.serving.store.sqlite import open_sqlite

        return open_sqlite(where, migrations=migrations)

    def test_an_older_store_is_brought_up_and_a_newer_one_refused(self, shared):
        old = open_store(shared)
        old.append("t", [event("a")]).result()
        old.close()
        for _ in range(2):  # the second time there is nothing left to do
            new = self.open_with(shared, (*MIGRATIONS, self.NEXT))
            assert ids(new.view("t", "u:1", 9)) == ["a"]
            new.close()
        with pytest.raises(StoreError, match=r"schema version 2.*up to 1.*Update acclimate"):
            open_store(shared)

    def test_a_step_that_fails_leaves_the_store_as_it_was(self, shared):
        open_store(shared).close()
        broken = Migration(2, (*self.NEXT.sqlite, "NO SQL"), (*self.NEXT.postgres, "NO SQL"))
        with pytest.raises(StoreError):
            self.open_with(shared, (*MIGRATIONS, broken))
        store = self.open_with(shared, (*MIGRATIONS, self.NEXT))
        store.check()
        store.close()

    def test_many_opening_a_new_store_at_once_all_get_it(self, shared):
        with ThreadPoolExecutor(6) as pool:
            stores = list(pool.map(lambda _: open_store(shared), range(6)))
        for n, store in enumerate(stores):
            store.append("t", [event(n)]).result()
        assert stores[0].count() == 6
        for store in stores:
            store.close()


class TestOpening:
    def test_garbage_is_refused_and_left_alone(self, tmp_path):
        path = tmp_path / "thesis.txt"
        path.write_text("not a database " * 100)
        with pytest.raises(StoreError, match="not an event store"):
            open_store(path)
        assert path.read_text() == "not a database " * 100

    def test_another_programs_database_is_refused_and_left_alone(self, tmp_path):
        path = tmp_path / "contacts.db"
        other = sqlite3.connect(path)
        other.execute("CREATE TABLE contacts (name)")
        other.commit()
        other.close()
        before = path.read_bytes()
        with pytest.raises(StoreError, match="another program"):
            open_store(path)
        assert path.read_bytes() == before

    def test_a_damaged_store_is_refused(self, tmp_path):
        path = tmp_path / "e.sqlite"
        open_store(path).close()
        whole = path.read_bytes()
        path.write_bytes(whole[:100] + b"\xff" * (len(whole) - 100))
        with pytest.raises(StoreError, match="damaged"):
            open_store(path)

    def test_where_no_file_can_be_is_said(self, tmp_path):
        with pytest.raises(StoreError, match="does not exist"):
            open_store(tmp_path / "no" / "e.sqlite")
        with pytest.raises(StoreError, match="is a folder"):
            open_store(tmp_path)

    def test_only_its_owner_may_read_the_file(self, tmp_path):
        store = open_store(tmp_path / "e.sqlite")
        store.append("t", [event("a")]).result()
        assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {0}
        store.close()

    def test_an_unknown_kind_of_address_is_refused(self):
        with pytest.raises(UserInputError, match="mysql"):
            open_store("mysql://host/db")

    def test_an_address_postgres_cannot_read_is_refused(self):
        pytest.importorskip("psycopg")
        with pytest.raises(UserInputError, match="address"):
            open_store("postgresql://host:notaport/db?nonsense=1")

    def test_a_server_that_is_not_there_is_said_without_the_password(self):
        pytest.importorskip("psycopg")
        with pytest.raises(StoreError, match="Check that the server runs") as failed:
            open_store("postgresql://me:secret@127.0.0.1:1/db")
        assert "secret" not in str(failed.value)

    def test_without_psycopg_the_extra_is_named(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "psycopg", None)
        monkeypatch.delitem(sys.modules, "acclimate.serving.store.postgres", raising=False)
        with pytest.raises(UserInputError, match=r"acclimate\[postgres\]"):
            open_store("postgresql://host/db")

    def test_psycopg_is_not_loaded_for_a_file(self):
        code = (
            "import sys; from acclimate.serving.store.opening import open_store; "
            "open_store(':memory:').close(); sys.exit('psycopg' in sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
