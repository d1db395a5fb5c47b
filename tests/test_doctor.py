"""The import doctor: what it measures, what it finds, and that what it prescribes works."""

import ast
import json
from pathlib import Path

import polars as pl
import pytest

from acclimate.data import diagnose, read
from acclimate.data.doctor import WIDTH
from acclimate.errors import UserInputError

GOOD = "user_id,item_id,rating,timestamp\n" + "".join(
    f"{u},{i},{(u * i) % 5 + 1},{978300000 + 100 * u + i}\n"
    for u in range(1, 9)
    for i in range(1, 8)
    if (u + i) % 3
)
LINES = GOOD.splitlines()


@pytest.fixture
def write(tmp_path):
    def to_file(content: str | bytes, name: str = "r.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return to_file


def changed(line: int, old: str, new: str) -> str:
    """GOOD with one line (numbered from 1) changed."""
    assert old in LINES[line - 1]
    return "\n".join([*LINES[: line - 1], LINES[line - 1].replace(old, new, 1), *LINES[line:]]) + "\n"


BROKEN = {
    "nan": changed(3, f",{LINES[2].split(',')[2]},", ",nan,"),
    "words": changed(4, LINES[3].split(",")[3], "yesterday"),
    "ragged": GOOD + "1,2\n",
    "no user column": GOOD.replace("user_id", "who"),
    "two user columns": GOOD.replace("item_id", "query_id"),
    "latin": GOOD.replace("\n8,", "\nJosé,").encode("latin-1"),
    "mixed ids": GOOD.replace("\n8,6,", "\nTotal,6,"),
    "long id": changed(5, LINES[4].split(",")[0] + ",", "x" * 10**6 + ","),
    "times in words": "\n".join([LINES[0], *(line.rsplit(",", 1)[0] + ",long ago" for line in LINES[1:])]),
    "ratings in words": "\n".join(
        [LINES[0], *(",".join([*line.split(",")[:2], "good", line.split(",")[3]]) for line in LINES[1:])]
    ),
    "zero plays": GOOD.replace("rating", "plays") + "9,1,0,978300000\n",
    "several": changed(3, f",{LINES[2].split(',')[2]},", ",inf,").replace("user_id", "who") + "7\n",
}


class TestStatistics:
    FRAME = pl.DataFrame(
        {
            "user": ["a", "a", "a", "b", "b", "c"],
            "item": [1, 2, 3, 1, 2, 1],
            "rating": [5.0, 4.0, 4.0, 1.0, 5.0, 5.0],
            "time": [978300000, 978300050, 978300100, 978300007, 978300007, 978386400],
        }
    )
    ITEMS = pl.DataFrame(
        {"item": [1, 2, 3, 4], "genre": ["x", "x", "y", None], "title": ["A", "B", "C", "D"]}
    )

    def test_they_are_what_one_counts_by_hand(self):
        s = diagnose(self.FRAME, items=self.ITEMS).statistics
        assert (s.events, s.users, s.items, s.catalogue) == (6, 3, 3, 4)
        assert s.density == pytest.approx(6 / 12)
        assert (s.explicit, s.low, s.high, s.mean) == (True, 1, 5, 4)
        assert s.common == ((1.0, 1), (4.0, 2), (5.0, 3))
        assert s.distinct == 3
        assert (s.first, s.last) == ("2000-12-31T22:00:00Z", "2001-01-01T22:00:00Z")
        assert s.per_user == (1, 2.0, 3)
        assert s.per_item == (1, 2.0, 3)
        assert (s.cold_users, s.cold_items) == (1.0, 1.0)
        assert s.head == pytest.approx(3 / 6)
        assert s.tied == pytest.approx(1 / 2)  # of a and b, who have two events or more, b's carry one time

    def test_fields_come_with_their_kind_coverage_and_vocabulary(self):
        kinds = {"genre": "categorical"}
        fields = diagnose(self.FRAME, items=self.ITEMS, item_kinds=kinds).fields
        assert [(f.table, f.name, f.kind, f.coverage, f.values) for f in fields] == [
            ("items", "genre", "categorical", 0.75, 2),
            ("items", "title", "text", 1.0, 0),
        ]

    def test_an_order_is_not_given_for_dates(self):
        s = diagnose(self.FRAME.with_columns(time=pl.int_range(6))).statistics
        assert s.first is None
        assert s.tied == 0
        assert diagnose(self.FRAME.drop("time")).statistics.tied is None


class TestPrescription:
    def test_a_healthy_table_needs_none(self, write):
        diagnosis = diagnose(write(GOOD))
        assert diagnosis.ok
        assert diagnosis.prescription == {}
        assert "can be read" in diagnosis.render()

    @pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
    def test_a_sick_table_gets_a_call_that_reads_it(self, write, content):
        assert content != GOOD
        path = write(content)
        diagnosis = diagnose(path)
        assert not diagnosis.ok
        assert diagnosis.report.errors
        data = read(path, **diagnosis.prescription)
        assert len(data.interactions) == diagnosis.statistics.events
        # What is shown is a call that Python reads as the very same options.
        call = ast.parse(diagnosis.call, mode="eval").body
        assert ast.literal_eval(call.args[0]) == str(path)
        assert {k.arg: ast.literal_eval(k.value) for k in call.keywords} == diagnosis.prescription
        assert diagnosis.command.startswith(f"acclimate doctor {path} --")

    def test_the_call_for_a_frame_names_a_frame_and_no_command(self):
        diagnosis = diagnose(pl.read_csv(GOOD.encode()).rename({"user_id": "who"}))
        assert diagnosis.call.startswith("ac.read(frame, columns={")
        assert diagnosis.command is None
        assert diagnosis.call in diagnosis.render()
        assert "None" not in diagnosis.render()

    def test_options_that_were_given_are_kept(self, write):
        path = write(GOOD.replace("user_id", "who") + "1,1,5,978300000\n")
        diagnosis = diagnose(path, duplicates="first", columns={"item": "item_id"})
        assert diagnosis.prescription["duplicates"] == "first"
        assert diagnosis.prescription["columns"]["user"] == "who"
        assert "--duplicates first" in diagnosis.command
        assert "user=who" in diagnosis.command

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("empty.csv", ""),
            ("one.csv", "user,item\n1,1\n1,2\n"),
            ("p.csv", b"\x89PNG\0\0"),
            ("t.parquet", b"PAR1"),
        ],
    )
    def test_what_nothing_helps_is_said_without_one(self, write, name, content):
        diagnosis = diagnose(write(content, name))
        assert not diagnosis.ok
        assert diagnosis.prescription is diagnosis.call is diagnosis.command is diagnosis.statistics is None
        assert "cannot be read: 1 error" in " ".join(diagnosis.render().split())

    def test_a_file_that_is_not_there_is_a_finding_too(self, tmp_path):
        diagnosis = diagnose(tmp_path / "nowhere.csv")
        assert not diagnosis.ok
        assert "There is no file" in diagnosis.render()

    def test_a_wrong_option_is_the_callers_fault_and_raises(self, write):
        with pytest.raises(UserInputError, match="duplicates='all'"):
            diagnose(write(GOOD), duplicates="all")


class TestRendering:
    @pytest.mark.parametrize("content", [GOOD, *BROKEN.values()], ids=["good", *BROKEN])
    def test_it_fits_eighty_columns_but_for_what_one_copies(self, write, content):
        diagnosis = diagnose(write(content))
        copied = (diagnosis.call, diagnosis.command)
        for line in diagnosis.render().splitlines():
            assert len(line) <= WIDTH or line.strip() in copied

    @pytest.mark.parametrize("content", [GOOD, *BROKEN.values()], ids=["good", *BROKEN])
    def test_it_is_also_json(self, write, content):
        diagnosis = diagnose(write(content))
        plain = json.loads(json.dumps(diagnosis.to_dict()))
        assert plain["ok"] == diagnosis.ok
        assert len(plain["problems"]) == len(diagnosis.problems)
        assert plain["statistics"]["events"] == diagnosis.statistics.events

    def test_hundreds_of_columns_and_fields_are_counted_not_listed(self):
        frame = pl.read_csv(GOOD.encode()).with_columns(pl.lit(1).alias(f"more_{k}") for k in range(500))
        items = pl.DataFrame({"item_id": [1, 2], **{f"flag_{k}": [0, 1] for k in range(500)}})
        diagnosis = diagnose(frame, items=items)
        assert len(diagnosis.fields) == 500
        assert "and 470 more fields" in diagnosis.render()
        assert "more_19 and 480 more" in " ".join(diagnosis.render().split())
        assert len(diagnosis.render().splitlines()) < 70

    def test_problems_name_their_lines(self, write):
        problem = diagnose(write(BROKEN["nan"])).problems[0]
        assert problem.severity == "error"
        assert problem.lines == (3,)
        assert problem.arguments == {"on_bad_rows": "drop"}


class TestAdvice:
    def advice(self, frame: pl.DataFrame) -> str:
        return " ".join(str(p) for p in diagnose(frame).problems if p.severity == "warning")

    def frame(self, users: int, each: int, **columns) -> pl.DataFrame:
        n = users * each
        base = {"user": [k // each for k in range(n)], "item": [(k * 7) % 97 for k in range(n)]}
        return pl.DataFrame({**base, **columns})

    def test_mostly_cold_users_are_pointed_out(self):
        assert "100% of the users have fewer than 5 events" in self.advice(self.frame(10, 3))
        assert "fewer than" not in self.advice(self.frame(10, 6))

    def test_one_user_with_a_large_share_is_named(self):
        frame = self.frame(30, 5)
        robot = pl.DataFrame({"user": [999] * 60, "item": list(range(60))})
        assert "The user 999 alone has 29% of all events" in self.advice(pl.concat([frame, robot]))
        assert "alone" not in self.advice(frame)

    def test_times_that_do_not_order_anything_are_pointed_out(self):
        bulk = self.frame(10, 6, time=[978300000 + k // 6 for k in range(60)])
        assert "All events of 100% of the users carry one time" in self.advice(bulk)
        assert "carry one time" not in self.advice(self.frame(10, 6, time=[978300000 + k for k in range(60)]))

    def test_ratings_far_from_all_others_are_pointed_out(self):
        ratings = [1.0 + k % 5 for k in range(60)]
        assert "far outside" not in self.advice(self.frame(10, 6, rating=ratings))
        assert "range of the others, 1 to 5: 55" in self.advice(
            self.frame(10, 6, rating=[*ratings[:-1], 55.0])
        )

    def test_minus_one_among_ratings_is_suspected_to_mean_no_rating(self):
        ratings = [-1.0 if k % 4 == 0 else 1.0 + k % 5 for k in range(60)]
        assert "25% of the ratings are -1" in self.advice(self.frame(10, 6, rating=ratings))
        spread = [float(k % 5 - 2) for k in range(60)]
        assert "are -1" not in self.advice(self.frame(10, 6, rating=spread))


@pytest.mark.data
def test_movielens_1m_is_as_its_readme_says(real_data):
    s = diagnose(real_data / "ml-1m").statistics
    assert (s.events, s.users, s.items, s.catalogue) == (1_000_209, 6_040, 3_706, 3_883)
    assert s.per_user[0] == 20
    assert dict(s.common) == {1: 56_174, 2: 107_557, 3: 261_197, 4: 348_971, 5: 226_310}
