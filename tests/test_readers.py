"""Reading: the forms a table may come in, what is understood of it, and what is said when it is wrong."""

import csv
import gzip
import io
import logging
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acclimate.data import Dataset, ReadReport, inspect, read
from acclimate.errors import DataError, UserInputError

# Four users, five items; user 4 rated item 1 only.
ROWS = [
    (1, 1, 5, 978300001),
    (1, 2, 3, 978300002),
    (2, 1, 4, 978300003),
    (2, 3, 1, 978300004),
    (3, 4, 2, 978300005),
    (3, 5, 5, 978300006),
    (4, 1, 3, 978300007),
]
FRAME = pl.DataFrame(ROWS, schema=["user_id", "item_id", "rating", "timestamp"], orient="row")


def text(rows=ROWS, header: str | None = "user_id,item_id,rating,timestamp", delimiter: str = ",") -> str:
    lines = [] if header is None else [header.replace(",", delimiter)]
    return "\n".join([*lines, *(delimiter.join(map(str, row)) for row in rows)]) + "\n"


@pytest.fixture
def write(tmp_path):
    def to_file(content: str | bytes, name: str = "ratings_of_ours.csv") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return to_file


def events(data: Dataset) -> list[tuple]:
    """(user, item, value, time) in the caller's ids."""
    inter = data.interactions
    users = data.user_ids.decode(inter.users()).to_list()
    items = data.item_ids.decode(inter.items).to_list()
    times = [None] * len(inter) if inter.times is None else inter.times.tolist()
    return list(zip(users, items, inter.values.tolist(), times, strict=True))


def report_of(source, **options) -> ReadReport:
    return inspect(source, **options).report


def refusal(source, **options) -> str:
    with pytest.raises(DataError) as caught:
        read(source, **options)
    message = str(caught.value)
    # One screen: 24 lines of 80 columns.
    assert sum(-(-len(line) // 80) for line in message.splitlines()) <= 24
    assert "Traceback" not in message
    return message


class TestForms:
    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "::", " "])
    @pytest.mark.parametrize("header", ["user_id,item_id,rating,timestamp", None])
    def test_text_is_read_whatever_parts_its_fields_and_with_or_without_a_header(
        self, write, delimiter, header
    ):
        data = read(write(text(header=header, delimiter=delimiter)))
        assert events(data) == ROWS
        assert data.explicit
        assert data.value_range == (1.0, 5.0)

    def test_every_form_gives_the_same_data(self, write, tmp_path):
        FRAME.write_parquet(tmp_path / "r.parquet")
        FRAME.write_ipc(tmp_path / "r.arrow")
        sources = [
            write(text()),
            str(write(text())),
            write(gzip.compress(text().encode()), "ratings.csv.gz"),
            write(text().replace("\n", "\r\n"), "windows.csv"),
            write(text().replace("\n", "\r"), "mac.csv"),
            write(b"\xef\xbb\xbf" + text().encode(), "bom.csv"),
            write(text().encode("utf-16"), "utf16.csv"),
            write(text().rstrip("\n"), "no_last_line_end.csv"),
            write(text() + "\n\n", "blank_lines.csv"),
            tmp_path / "r.parquet",
            tmp_path / "r.arrow",
            FRAME,
            FRAME.lazy(),
            FRAME.to_pandas(),
            FRAME.to_arrow(),
            FRAME.to_dict(as_series=False),
        ]
        hashes = [read(source).hash() for source in sources]
        assert len(set(hashes)) == 1

    def test_what_a_file_is_counts_not_what_it_is_called(self, tmp_path):
        FRAME.write_parquet(tmp_path / "ratings.csv")
        assert events(read(tmp_path / "ratings.csv")) == ROWS

    def test_the_name_is_the_files_or_the_one_given(self, write):
        assert read(write(text(), "films.csv")).name == "films"
        assert read(write(text(), "films.csv"), name="mine").name == "mine"
        assert read(FRAME).name == "data"

    def test_nothing_is_printed_and_the_report_is_logged(self, write, capsys, caplog):
        with caplog.at_level(logging.INFO, logger="acclimate"):
            read(write(text()))
        assert capsys.readouterr() == ("", "")
        assert "7 rows, 7 kept" in caplog.text

    def test_the_report_is_handed_over_before_an_error_is_raised(self, write):
        reports = []
        with pytest.raises(DataError):
            read(write(text().replace("5,978", "five,978")), report=reports.append)
        assert len(reports) == 1
        assert reports[0].errors

    @given(
        st.lists(
            st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1, max_size=12).filter(
                lambda s: (
                    s == s.strip()
                    and not s.lstrip("-").isdigit()
                    and not any(ord(c) < 32 for c in s if c != "\n")
                )
            ),
            min_size=2,
            max_size=8,
            unique=True,
        )
    )
    @settings(max_examples=60, deadline=None)
    def test_text_ids_of_any_kind_survive_quoting(self, tmp_path_factory, ids):
        path = tmp_path_factory.mktemp("quoting") / "r.csv"
        out = io.StringIO(newline="")
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["user_id", "item_id", "rating"])
        writer.writerows(
            [[user, item, 1 + k % 5] for k, user in enumerate(ids) for item in ("film a", "film b")]
        )
        path.write_text(out.getvalue(), encoding="utf-8", newline="")
        data = read(path)
        assert set(data.user_ids.ids) == set(ids)
        assert len(data.interactions) == 2 * len(ids)


class TestColumns:
    @pytest.mark.parametrize(
        ("header", "mapped"),
        [
            ("userId,movieId,rating,timestamp", "MovieLens"),
            ("user_id,item_id,weight,datetime", "RecTools"),
            ("query_id,item_id,rating,timestamp", "RePlay"),
            ("UserId,ItemId,Rating,TimeStamp", "Gorse"),
            ("USER_ID,ITEM_ID,EVENT_VALUE,TIMESTAMP", "Personalize"),
            ("user,item,rating,time", "Surprise, LensKit"),
            ("user_num,item_num,rating,timestamp", "LensKit numbers"),
            ("reviewerID,asin,overall,unixReviewTime", "Amazon reviews 2018"),
            ("user_id,parent_asin,rating,timestamp", "Amazon reviews 2023"),
            ("user_id:token,item_id:token,rating:float,timestamp:float", "RecBole"),
            (" User ID , Item-ID , Stars , Date ", "people"),
        ],
    )
    def test_the_names_of_other_systems_are_understood(self, write, header, mapped):
        assert mapped
        report = report_of(write(text(header=header)))
        assert list(report.columns) == ["user", "item", "value", "time"]
        assert list(report.columns.values()) == [name.strip() for name in header.split(",")]
        assert not report.errors

    def test_the_better_of_two_names_is_taken(self):
        frame = FRAME.rename({"item_id": "movieId"}).with_columns(title=pl.lit("x"), username=pl.lit("y"))
        report = report_of(frame)
        assert report.columns["item"] == "movieId"
        assert report.columns["user"] == "user_id"
        assert report.ignored == ("title", "username")

    def test_columns_overrides_what_would_be_found(self, write):
        path = write(text(header="a,b,rating,timestamp"))
        data = read(path, columns={"user": "b", "item": "a"})
        assert sorted((i, u, v, t) for u, i, v, t in events(data)) == sorted(ROWS)
        assert events(read(path, columns={"user": "a", "item": "b", "time": None}))[0] == (1, 1, 5.0, None)

    def test_a_missing_column_shows_those_there_are_and_the_cure(self, write):
        message = refusal(write(text(header="who,item_id,rating,timestamp")))
        assert "no column is known to be the user" in message
        assert "who, item_id, rating, timestamp" in message
        cure = {"user": "who", "item": "item_id", "value": "rating", "time": "timestamp"}
        assert 'columns={"user": "who", "item": "item_id", "value": "rating", "time": "timestamp"}' in message
        assert events(read(write(text(header="who,item_id,rating,timestamp")), columns=cure)) == ROWS

    def test_two_candidates_are_an_error_that_names_both(self):
        message = refusal(FRAME.with_columns(query_id=pl.lit(1)))
        assert "user_id, query_id could each be the user" in message
        assert 'columns={"user": "user_id"}' in message

    @pytest.mark.parametrize(
        ("columns", "says"),
        [
            ({"user": "usr"}, "names 'usr' as the user"),
            ({"person": "user_id"}, "the role 'person'; the roles are user, item, value, time, event"),
            ({"user": "item_id", "item": "item_id"}, "'item_id' twice"),
        ],
    )
    def test_wrong_columns_are_an_error(self, columns, says):
        assert says in refusal(FRAME, columns=columns)

    def test_a_file_without_a_header_is_read_by_position_and_says_so(self, write):
        report = report_of(write(text(header=None)))
        assert report.columns == {
            "user": "column_1",
            "item": "column_2",
            "value": "column_3",
            "time": "column_4",
        }
        assert any("no line of column names; taken by position" in p.found for p in report.problems)

    def test_a_third_column_of_times_is_not_taken_for_ratings(self, write):
        rows = [(u, i, t) for u, i, _, t in ROWS]
        data = read(write(text(rows, header=None)))
        assert not data.explicit
        assert data.interactions.times.tolist() == [t for *_, t in ROWS]

    def test_time_before_rating_is_noticed(self, write):
        rows = [(u, i, t, v) for u, i, v, t in ROWS]
        assert events(read(write(text(rows, header=None)))) == ROWS

    def test_words_without_numbers_are_data_if_they_come_again(self, write):
        path = write("ann heat\nann alien\nbob heat\n")
        assert events(read(path)) == [
            ("ann", "heat", 1.0, None),
            ("ann", "alien", 1.0, None),
            ("bob", "heat", 1.0, None),
        ]

    def test_header_says_otherwise(self, write):
        path = write("p,q\na,x\nb,y\n")
        assert "If the first line is data, say header=False" in refusal(path)
        assert len(read(path, header=False).interactions) == 3

    def test_a_column_that_is_nowhere_gets_no_cure_that_cannot_work(self, write):
        report = report_of(write("user_id,rating\n1,2\n2,3\n"))
        assert "no column is known to be the item" in report.message()
        assert "Every event needs a user and an item" in report.message()
        assert report.errors[0].arguments == {}

    @pytest.mark.parametrize("first", ["# exported on Monday", "sep=,", "Our ratings"])
    def test_a_first_line_that_is_no_header_and_no_row_is_named(self, write, first):
        message = refusal(write(first + "\n" + text([*ROWS, *((u, 9, 3, 978300009) for u in range(5, 15))])))
        assert f"line 1: '{first}' is neither a line of column names nor a row" in message
        assert "most lines have 4" in message

    def test_many_or_giant_column_names_do_not_fill_the_screen(self, write):
        names = ["user", "item", *(f"column_of_numbers_{k}" for k in range(2000)), "x" * 10**6]
        path = write(text([(u, i, *(k % 7 for k in range(2001))) for u, i, *_ in ROWS], ",".join(names)))
        assert len(str(report_of(path))) < 1500
        assert len(refusal(path, columns={"value": "nowhere"})) < 1500

    def test_five_columns_without_names_are_too_many_to_guess(self, write):
        message = refusal(write(text([(*row, 9) for row in ROWS], header=None)))
        assert "5 columns and no line of column names" in message
        named = read(
            write(text([(*row, 9) for row in ROWS], header=None)),
            columns={"user": "column_1", "item": "column_2", "value": "column_3", "time": "column_4"},
        )
        assert events(named) == ROWS


class TestIds:
    @pytest.mark.parametrize("dtype", [pl.UInt8, pl.UInt16, pl.Int32, pl.Int64, pl.String, pl.Date])
    def test_ids_come_back_in_the_type_they_came_in(self, dtype):
        frame = FRAME.with_columns(pl.col("user_id", "item_id").cast(pl.Int32).cast(dtype))
        data = read(frame)
        assert data.user_ids.ids.dtype == data.item_ids.ids.dtype == dtype
        assert set(data.user_ids.ids) == set(frame["user_id"])

    def test_whole_numbers_of_a_text_file_are_numbers(self, write):
        assert read(write(text())).user_ids.ids.to_list() == [1, 2, 3, 4]
        assert read(write(text()), ids="text").user_ids.ids.to_list() == ["1", "2", "3", "4"]

    def test_leading_zeros_are_kept(self, write):
        data = read(write(text([(f"{u:03}", i, v, t) for u, i, v, t in ROWS])))
        assert data.user_ids.ids.to_list() == ["001", "002", "003", "004"]
        assert data.item_ids.ids.to_list() == [1, 2, 3, 4, 5]

    @pytest.mark.parametrize(
        "ids", [["1e3", "2", "3", "4"], ["+1", "+2", "+3", "+4"], ["ä", "b c", "c", "d"]]
    )
    def test_what_only_looks_like_a_number_stays_text(self, write, ids):
        data = read(write(text([(ids[u - 1], i, v, t) for u, i, v, t in ROWS])), ids="text")
        assert set(data.user_ids.ids) == set(ids)

    def test_numbers_spoilt_by_a_spreadsheet_are_mended_and_said(self, write):
        path = write(text([(f"{u}.0", i, v, t) for u, i, v, t in ROWS]))
        assert read(path).user_ids.ids.to_list() == [1, 2, 3, 4]
        assert any("'12.0'" in p.found for p in report_of(path).problems)
        frame = FRAME.with_columns(pl.col("user_id").cast(pl.Float64))
        assert read(frame).user_ids.ids.to_list() == [1, 2, 3, 4]

    def test_a_missing_id_does_not_change_how_the_others_are_read(self, write):
        large = [3 * 10**17 + u for u in range(5)]  # next to each other, too close for floating point
        path = write(text([(large[u], i, v, t) for u, i, v, t in ROWS] + [("", 1, 3, 978300009)]))
        report = report_of(path, on_bad_rows="drop")
        assert not any("'12.0'" in p.found for p in report.problems)
        assert read(path, on_bad_rows="drop").user_ids.ids.to_list() == large[1:]

    def test_large_numbers_spoilt_by_a_spreadsheet_stay_exact(self, write):
        large = [3 * 10**17 + u for u in range(5)]
        path = write(text([(f"{large[u]}.0" if u == 1 else large[u], i, v, t) for u, i, v, t in ROWS]))
        assert read(path).user_ids.ids.to_list() == large[1:]

    def test_numbers_spoilt_by_a_spreadsheet_match_those_of_another_table(self, write):
        path = write(text([(u, f"{i}.0", v, t) for u, i, v, t in ROWS]))
        data = read(path, items=ITEMS)
        assert data.item_ids.ids.to_list() == [1, 2, 3, 4, 5, 9]
        assert data.items.texts["title"][0] == "Heat"

    def test_floats_that_cannot_tell_ids_apart_are_refused(self):
        for dtype, large in ((pl.Float64, 2**53), (pl.Float32, 2**24)):
            frame = FRAME.with_columns((pl.col("user_id") * large).cast(dtype))
            assert f"numbers that {dtype} cannot tell apart" in refusal(frame)

    def test_decimals_without_a_fraction_are_whole_numbers(self):
        frame = FRAME.with_columns(pl.col("item_id").cast(pl.Decimal(38, 0)))
        assert read(frame, items=ITEMS).item_ids.ids.to_list() == [1, 2, 3, 4, 5, 9]

    def test_ids_that_no_type_of_numbers_holds_are_refused(self):
        frame = FRAME.with_columns(item_id=pl.col("item_id").cast(pl.UInt64) + 2**63)
        assert "do not fit into one type" in refusal(frame, items=pl.DataFrame({"item_id": [-1], "a": [1]}))

    def test_empty_text_is_no_id_whatever_form_it_comes_in(self):
        frame = FRAME.with_columns(user_id=pl.Series(["a", "b", " ", "c", "", "a", "b"]))
        assert "no user id in column 'user_id': row 2, row 4" in refusal(frame)

    def test_numbers_with_fractions_are_no_ids(self):
        assert "numbers with fractions, such as 1.5" in refusal(
            FRAME.with_columns(pl.Series("user_id", [1.5, 2, 3, 4, 5, 6, 7]))
        )

    def test_a_stray_word_among_numbers_is_an_error_with_two_cures(self, write):
        path = write(text().replace("\n4,1,", "\nTotal,1,"))
        message = refusal(path)
        assert "mixed types" in message
        assert "line 8 ('Total')" in message
        assert read(path, ids="text").user_ids.ids.to_list() == ["1", "2", "3", "Total"]
        assert read(path, on_bad_rows="drop").user_ids.ids.to_list() == [1, 2, 3]

    def test_numbers_too_large_for_64_bits_are_text(self, write):
        large = [str(10**19 + u) for u in range(5)]
        data = read(write(text([(large[u], i, v, t) for u, i, v, t in ROWS])))
        assert data.user_ids.ids.to_list() == large[1:]

    def test_stock_codes_some_of_which_are_numbers_are_just_text(self, write):
        codes = ["85123A", "22423", "71053", "M", "84406B"]
        data = read(write(text([(u, codes[i - 1], v, t) for u, i, v, t in ROWS])))
        assert set(data.item_ids.ids) == set(codes)

    def test_objects_of_several_types_name_two_of_them(self):
        frame = pd.DataFrame({"user_id": [1, "a", 2, None], "item_id": [1, 2, 3, 4]})
        message = refusal(frame)
        assert "column 'user_id' holds values of mixed types" in message
        assert "int (row 0: '1'), str (row 1: 'a')" in message

    def test_missing_objects_are_missing_and_truth_is_no_number(self):
        gaps = pd.DataFrame(
            {"user_id": pd.Series(["a", pd.NA, "b", "b"], dtype=object), "item_id": [1, 2, 3, 1]}
        )
        assert "no user id in column 'user_id': row 1" in refusal(gaps)
        mixed = gaps.assign(user_id=pd.Series([1, True, pd.NA, 2], dtype=object))
        assert "int (row 0: '1'), bool (row 1: 'True')" in refusal(mixed)

    def test_two_columns_of_one_name_are_refused(self):
        frame = pd.DataFrame([[1, 2, 3], [2, 3, 4]], columns=["user_id", "item_id", "item_id"])
        assert "two columns named 'item_id'" in refusal(frame)

    def test_an_id_of_a_million_characters_is_refused_in_a_short_message(self, write):
        path = write(text().replace("\n4,1,", f"\n{'x' * 10**6},1,"))
        message = refusal(path)
        assert "line 8" in message
        assert "more than 1,000 characters" in message
        assert len(message) < 400
        assert len(read(path, on_bad_rows="drop").interactions) == 6

    def test_missing_ids_are_listed(self, write):
        path = write(text().replace("\n4,1,", "\n,1,").replace("\n3,4,", "\n3,,"))
        message = refusal(path)
        assert "no user id in column 'user_id': line 8" in message
        assert "no item id in column 'item_id': line 6" in message
        assert len(read(path, on_bad_rows="drop").interactions) == 5

    def test_lists_are_no_ids(self):
        assert "cannot be the item id" in refusal({"user": [1, 2], "item": [[1], [2]]})


class TestValues:
    def test_without_values_every_event_is_a_choice(self):
        data = read(FRAME.drop("rating"))
        assert not data.explicit
        assert (data.interactions.values == 1).all()
        assert data.value_range == (1.0, 1.0)

    def test_ratings_that_are_all_the_same_are_no_ratings(self):
        assert not read(FRAME.with_columns(rating=pl.lit(1))).explicit
        assert read(FRAME.with_columns(rating=pl.lit(1)), explicit=True).explicit

    @pytest.mark.parametrize("name", ["plays", "hours", "weight", "quantity", "EVENT_VALUE"])
    def test_how_much_is_not_how_good(self, name):
        frame = FRAME.rename({"rating": name})
        data = read(frame)
        assert not data.explicit
        assert data.interactions.values.tolist() == [5, 3, 4, 1, 2, 5, 3]
        assert read(frame, explicit=True).explicit

    def test_a_strength_of_nothing_is_no_event(self):
        frame = FRAME.rename({"rating": "plays"}).with_columns(pl.Series("plays", [0, 3, -4, 1, 2, 5, 3]))
        message = refusal(frame)
        assert "row 0 ('0'), row 2 ('-4')" in message
        assert len(read(frame, on_bad_rows="drop").interactions) == 5
        assert read(frame, explicit=True).value_range == (-4.0, 5.0)

    def test_an_empty_value_leaves_its_row_out_unless_it_is_said_what_it_means(self, write):
        path = write(text().replace("\n2,1,4,", "\n2,1,,").replace("\n3,4,2,", "\n3,4,N/A,"))
        report = report_of(path)
        assert not report.errors
        assert report.left_out == {"no value in column 'rating'": 2}
        assert any("line 4, line 6" in p.found for p in report.problems)
        assert len(read(path).interactions) == 5
        filled = read(path, missing_value=2.5)
        assert filled.interactions.values.tolist() == [5, 3, 2.5, 1, 2.5, 5, 3]

    @pytest.mark.parametrize("bad", ["nan", "inf", "-Infinity", "1e39"])
    def test_a_rating_that_is_not_finite_is_refused_with_its_line(self, write, bad):
        path = write(text().replace("\n2,1,4,", f"\n2,1,{bad},"))
        message = refusal(path)
        assert "NaN or infinite" in message
        assert f"line 4 ('{bad}')" in message
        assert 'on_bad_rows="drop"' in message
        assert len(read(path, on_bad_rows="drop").interactions) == 6

    def test_nan_in_a_frame_is_refused_with_its_row_but_null_is_missing(self):
        values = [5.0, 3.0, float("nan"), 1.0, 2.0, 5.0, 3.0]
        for frame in (
            FRAME.with_columns(pl.Series("rating", values)),
            FRAME.to_pandas().assign(rating=values),
        ):
            assert "row 2" in refusal(frame)
        missing = FRAME.with_columns(pl.Series("rating", [5, 3, None, 1, 2, 5, 3]))
        assert len(read(missing).interactions) == 6
        nullable = FRAME.to_pandas().assign(rating=pd.array([5, 3, None, 1, 2, 5, 3], dtype="Int64"))
        assert len(read(nullable).interactions) == 6

    def test_words_among_ratings_are_listed_ten_at_most(self, write):
        rows = [(u, i, 1 + (u + i) % 5, 978300000 + u) for u in range(1, 9) for i in range(1, 9)]
        lines = text(rows).splitlines()
        for n in range(20, 35):
            cells = lines[n].split(",")
            lines[n] = ",".join([*cells[:2], "good", cells[3]])
        message = refusal(write("\n".join(lines)))
        assert "15 rows with a value in column 'rating' that is not a number: line 21 ('good')" in message
        assert "line 30 ('good') and 5 more" in message
        assert "line 31" not in message

    def test_a_column_of_words_is_not_the_ratings(self, write):
        message = refusal(write(text([(u, i, "good", t) for u, i, _, t in ROWS])))
        assert "column 'rating': the values are not numbers" in message
        assert 'columns={"value": None}' in message

    def test_a_decimal_comma_is_understood_and_said(self, write):
        path = write("user;item;rating\n1;2;3,5\n2;3;4\n3;4;1,5\n")
        assert read(path).interactions.values.tolist() == [3.5, 4.0, 1.5]
        assert any("decimal comma" in p.found for p in report_of(path).problems)

    def test_commas_that_could_part_thousands_are_not_guessed_at(self, write):
        path = write("user;item;plays\n1;2;1,200\n2;3;40\n3;4;2,500\n")
        assert "the values are not numbers: line 2 ('1,200'), line 4 ('2,500')" in refusal(path)

    def test_a_column_without_any_value_is_told_as_such(self, write):
        message = refusal(write(text([(u, i, "", t) for u, i, _, t in ROWS])))
        assert "column 'rating': there is no value in any row" in message
        assert 'columns={"value": None}' in message

    @pytest.mark.parametrize(
        "options", [{"missing_value": float("nan")}, {"event_values": {"x": float("inf")}}]
    )
    def test_fillings_and_strengths_are_finite(self, options):
        with pytest.raises(UserInputError, match="use a finite number"):
            read(FRAME, **options)

    def test_true_and_false_are_one_and_nothing(self):
        data = read(FRAME.with_columns(rating=pl.col("rating") > 3))
        assert data.interactions.values.tolist() == [1, 0, 1, 0, 0, 1, 0]

    def test_kinds_of_events_count_alike_unless_they_are_weighed(self):
        kinds = ["view", "buy", "view", "view", "buy", "share", "view"]
        frame = FRAME.drop("rating").with_columns(pl.Series("EVENT_TYPE", kinds))
        assert (read(frame).interactions.values == 1).all()
        assert any("3 kinds of events, which all count alike" in p.found for p in report_of(frame).problems)
        data = read(frame, event_values={"view": 1, "buy": 5})
        assert data.interactions.values.tolist() == [1, 5, 1, 1, 5, 1]
        assert "names 'sell'" in refusal(frame, event_values={"sell": 1})
        assert "no column" in refusal(FRAME, event_values={"view": 1})


class TestTimes:
    @pytest.mark.parametrize(
        ("per", "unit"), [(10**3, "milliseconds"), (10**6, "microseconds"), (10**9, "nanoseconds")]
    )
    def test_finer_units_are_told_from_their_size_and_converted(self, write, per, unit):
        rows = [(u, i, v, t * per + per // 2) for u, i, v, t in ROWS]
        for source in (write(text(rows)), pl.DataFrame(rows, schema=FRAME.columns, orient="row")):
            assert events(read(source)) == ROWS
            assert any(f"times are {unit} since 1970" in p.found for p in report_of(source).problems)

    def test_the_unit_can_be_said(self, write):
        rows = [(u, i, v, u * 1000) for u, i, v, _ in ROWS]
        assert read(write(text(rows)), time_unit="ms").interactions.times.tolist() == [u for u, *_ in ROWS]

    def test_fractions_of_a_second_are_cut_off(self, write):
        assert events(read(write(text([(u, i, v, f"{t}.9") for u, i, v, t in ROWS])))) == ROWS

    @pytest.mark.parametrize(
        "written",
        [
            "2001-01-01T10:00:00Z",
            "2001-01-01 10:00:00",
            "2001-01-01 10:00",
            "2001-01-01T10:00:00.123456",
            "2001-01-01T12:00:00+02:00",
            "2001-01-01 05:00:00 -0500",
            "2001-01-01 10:00:00+00",
            "2001-01-01 12:00:00.5 +02",
            "2001-01-01T12:00+02:00",
            "2001/01/01 10:00:00",
        ],
    )
    def test_iso_dates_are_read_in_utc(self, write, written):
        rows = [(u, i, v, written) for u, i, v, _ in ROWS]
        expected = int(datetime(2001, 1, 1, 10, tzinfo=UTC).timestamp())
        assert set(read(write(text(rows))).interactions.times.tolist()) == {expected}

    @pytest.mark.parametrize(
        ("series", "expected"),
        [
            (pl.Series([date(2001, 1, 1)] * 7), 978_307_200),
            (pl.Series([datetime(2001, 1, 1, 10)] * 7, dtype=pl.Datetime("ns")), 978_343_200),
            (
                pl.Series([datetime(2001, 1, 1, 10, tzinfo=UTC)] * 7).dt.convert_time_zone("Asia/Tokyo"),
                978_343_200,
            ),
        ],
    )
    def test_dates_of_frames_are_seconds(self, series, expected):
        data = read(FRAME.with_columns(series.alias("timestamp")))
        assert set(data.interactions.times.tolist()) == {expected}

    def test_another_way_of_writing_dates_can_be_said(self, write):
        path = write(text([(u, i, v, f"{i:02}.02.2003") for u, i, v, _ in ROWS]))
        message = refusal(path)
        assert "column 'timestamp': these are not times" in message
        assert "time_format" in message
        assert "these are not times written as '%m/%Y'" in refusal(path, time_format="%m/%Y")
        times = read(path, time_format="%d.%m.%Y").interactions.times
        assert times[0] == int(datetime(2003, 2, 1, tzinfo=UTC).timestamp())

    def test_times_in_words_name_line_and_column_and_the_cure(self, write):
        message = refusal(write(text([(u, i, v, "last monday") for u, i, v, _ in ROWS])))
        assert "column 'timestamp'" in message
        assert "line 2 ('last monday')" in message
        assert 'columns={"time": None}' in message

    def test_one_time_in_words_is_a_bad_row(self, write):
        path = write(text().replace("978300003", "yesterday"))
        assert "line 4 ('yesterday')" in refusal(path)
        assert len(read(path, on_bad_rows="drop").interactions) == 6

    def test_a_time_in_another_unit_than_the_rest_is_a_bad_row(self, write):
        assert "line 4 ('978300003000')" in refusal(write(text().replace("978300003", "978300003000")))

    def test_small_numbers_are_an_order(self, write):
        path = write(text([(u, i, v, k) for k, (u, i, v, _) in enumerate(ROWS)]))
        assert read(path).interactions.times.tolist() == list(range(7))
        assert any("taken as an order" in p.found for p in report_of(path).problems)

    def test_an_empty_time_leaves_its_row_out(self, write):
        path = write(text().replace("978300003", ""))
        assert len(read(path).interactions) == 6
        assert report_of(path).left_out == {"no time in column 'timestamp'": 1}
        assert len(read(path, columns={"time": None}).interactions) == 7


class TestDuplicates:
    FRAME = pl.DataFrame(
        {"user": [1, 1, 1, 2], "item": [7, 7, 7, 8], "rating": [1.0, 2.0, 6.0, 5.0], "time": [3, 9, 6, 1]}
    )

    @pytest.mark.parametrize(
        ("rule", "value", "time"), [("last", 2, 9), ("first", 1, 3), ("mean", 3, 9), ("sum", 9, 9)]
    )
    def test_one_event_is_kept_by_time(self, rule, value, time):
        assert events(read(self.FRAME, duplicates=rule)) == [(1, 7, value, time), (2, 8, 5, 1)]

    @pytest.mark.parametrize(("rule", "value"), [("last", 6), ("first", 1)])
    def test_without_times_the_order_of_the_file_counts(self, rule, value):
        kept = read(self.FRAME.drop("time"), duplicates=rule).interactions
        assert kept.values.tolist() == [value, 5]

    def test_equal_times_keep_the_order_of_the_file(self):
        tied = self.FRAME.with_columns(time=pl.lit(4))
        assert read(tied).interactions.values[0] == 6
        assert read(tied, duplicates="first").interactions.values[0] == 1

    def test_plays_add_up_without_a_count(self):
        data = read(self.FRAME.drop("rating"), duplicates="sum")
        assert data.interactions.values.tolist() == [3, 1]

    def test_the_report_counts_them_and_says_what_was_done(self):
        report = report_of(self.FRAME)
        assert report.left_out == {"the same user and item again": 2}
        assert (report.rows, report.kept) == (4, 2)
        assert any("the last was kept" in p.found for p in report.problems)

    def test_they_can_be_an_error(self, write):
        path = write(text([*ROWS, (1, 1, 2, 978300009)]))
        message = refusal(path, duplicates="error")
        assert "1 row with a user and item that occurred before: line 9" in message
        assert "line 9" in refusal(path, duplicates="error", on_bad_rows="drop")


class TestBadRows:
    def test_ragged_lines_are_listed_with_their_numbers(self, write):
        path = write(
            text().replace("2,1,4,978300003", "2,1").replace("3,5,5,978300006", "3,5,5,978300006,extra,more")
        )
        message = refusal(path)
        assert "line 4 (2 fields instead of 4): '2,1'" in message
        assert "line 7 (6 fields instead of 4)" in message
        assert 'on_bad_rows="drop"' in message
        report = report_of(path, on_bad_rows="drop")
        assert report.left_out == {"lines that are no rows": 2}
        assert (report.rows, report.kept) == (7, 5)

    def test_line_numbers_count_blank_lines_and_quoted_line_breaks(self, write):
        path = write(
            'user,item,rating,note\n1,1,5,"two\nlines"\n\n2,2,x,plain\n'
            '3,3,4,"a ""quoted"" comma, here"\n2,3,1,end\n'
        )
        assert "line 5 ('x')" in refusal(path)
        data = read(path, on_bad_rows="drop")
        assert sorted(data.user_ids.ids) == [1, 2, 3]

    def test_a_quote_that_is_never_closed_spoils_its_own_line_only(self, write):
        path = write('user,item,note\n1,1,a\n2,2,"open\n3,3,b\n4,1,"fine, too"\n')
        assert "line 3 (a quote that opens here is not closed)" in refusal(path)
        data = read(path, on_bad_rows="drop")
        assert data.user_ids.ids.to_list() == [1, 3, 4]

    def test_all_that_can_be_wrong_at_once_still_fits_a_screen(self, write):
        bad = [
            "not a number at all, not even nearly one",
            "x" * 2000,
            "",
            "some day last week, in the evening",
        ]
        rows = [(u, i, v, t + u) for u in range(20) for _, i, v, t in ROWS]
        for k in range(40):
            row = [str(cell) for cell in rows[k]]
            row[(2, 1, 0, 3)[k % 4]] = f'"{bad[k % 4]}"'
            rows[k] = tuple(row)
        message = refusal(write(text(rows) + "a,b\n" * 20))
        assert "Also:" in message
        assert message.endswith("see `acclimate doctor`.")

    def test_every_error_is_told_at_once(self, write):
        path = write(
            text().replace("\n1,1,5", "\n1,1,nan").replace("\n2,1,4", "\n,1,4").replace("978300005", "soon")
        )
        message = refusal(path)
        for part in ("line 2 ('nan')", "no user id in column 'user_id': line 4", "line 6 ('soon')"):
            assert part in message

    def test_an_option_that_is_misspelt_is_not_passed_over(self):
        with pytest.raises(TypeError, match="'colums'"):
            inspect(FRAME, colums={})

    def test_an_unknown_choice_is_an_error_that_lists_the_choices(self):
        with pytest.raises(UserInputError, match="duplicates='keep'; use one of 'last', 'first'"):
            read(FRAME, duplicates="keep")
        with pytest.raises(UserInputError, match="on_bad_rows='report'; use one of 'error', 'drop'"):
            read(FRAME, on_bad_rows="report")


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "content", "says"),
        [
            ("empty.csv", "", "empty.csv is empty"),
            ("blank.csv", "\n \n\n", "blank.csv is empty"),
            ("header.csv", "user_id,item_id,rating\n", "column names but no rows"),
            ("one_user.csv", "user_id,item_id\n1,1\n1,2\n1,3\n", "events of 1 user only"),
            ("one_item.csv", "user_id,item_id\n1,1\n2,1\n3,1\n", "events of 1 item only"),
            ("one_column.csv", "user_id\n1\n2\n", "one column only"),
            ("picture.csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not text: it looks like a picture"),
            ("book.csv", b"PK\x03\x04\x14\0\0\0", "an Excel workbook"),
            ("model.csv", b"\x80\x04\x95\0\0", "a pickle, which is never read"),
            ("ratings.xlsx", b"PK\x03\x04\x14\0\0\0", "files ending in .xlsx are not read"),
            ("ratings.json", "[]", "files ending in .json are not read"),
            ("torn.parquet", b"PAR1\0\0\0", "torn.parquet is torn or damaged"),
            ("text.parquet", "user,item\n1,2\n", "not the parquet file its name says"),
            (
                "latin.csv",
                "user,item\nJosé,1\nAnn,2\n".encode("latin-1"),
                "latin.csv, line 2: the byte 0xe9 is not UTF-8",
            ),
            ("torn.csv.gz", gzip.compress(b"user,item\n1,2\n", mtime=0)[:15], "torn.csv.gz cannot be read"),
        ],
    )
    def test_a_file_that_cannot_be_read_gets_one_clear_message(self, write, name, content, says):
        message = refusal(write(content, name))
        assert says in message
        assert name in message

    def test_no_flipped_byte_of_a_gzipped_file_gets_past_the_message(self, write):
        whole = gzip.compress(text().encode(), mtime=0)
        for at in range(10, len(whole)):
            torn = bytearray(whole)
            torn[at] ^= 0xFF
            assert "flipped.csv.gz cannot be read" in refusal(write(bytes(torn), "flipped.csv.gz"))

    def test_a_file_that_is_not_there_suggests_one_that_is(self, write):
        path = write(text(), "ratings.csv")
        assert "Did you mean ratings.csv?" in refusal(path.with_name("rating.csv"))

    def test_the_name_of_a_public_set_is_pointed_to_where_it_belongs(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        assert 'ac.dataset("ml-100k")' in refusal("ml-100k")

    def test_a_folder_without_a_known_layout_names_the_layouts(self, write, tmp_path):
        write(text(), "deep/inside/stuff.csv")
        message = refusal(tmp_path)
        assert "MovieLens 100K (u.data)" in message
        assert "It holds deep" in message

    def test_another_encoding_can_be_said(self, write):
        path = write("user,item\nJosé,1\nAnn,2\n".encode("latin-1"))
        assert read(path, encoding="latin-1").user_ids.ids.to_list() == ["Ann", "José"]
        assert "no encoding 'latin-99'" in refusal(path, encoding="latin-99")

    @pytest.mark.parametrize("source", [5, object(), [1, 2]])
    def test_what_is_no_table_is_refused(self, source):
        assert "not a table" in refusal(source)

    def test_a_delimiter_nobody_thought_of_can_be_said(self, write):
        path = write(text(delimiter="~"))
        assert "one column only" in refusal(path)
        assert events(read(path, delimiter="~")) == ROWS


ITEMS = pl.DataFrame(
    {
        "item_id": [5, 1, 2, 3, 4, 9],
        "title": ["Rope", "Heat", "Jaws", "Alien", "Gigi", "Nobody saw this"],
        "genres": ["crime", "crime|drama", None, "horror|sci-fi", "musical", "drama"],
        "year": [1948, 1995, 1975, 1979, 1958, None],
        "imdb_id": [f"tt{i}" for i in range(6)],
        "released": [date(1995, 12, 15)] * 5 + [None],
    }
)


class TestItemsAndUsers:
    def test_items_nobody_touched_stay_in_the_catalogue(self):
        data = read(FRAME, items=ITEMS)
        assert data.item_ids.ids.to_list() == [1, 2, 3, 4, 5, 9]
        assert data.interactions.item_counts().tolist() == [3, 1, 1, 1, 1, 0]
        assert data.items.texts["title"] == ("Heat", "Jaws", "Alien", "Gigi", "Rope", "Nobody saw this")

    def test_kinds_are_inferred_and_text_is_kept(self):
        data = read(FRAME, items=ITEMS, item_kinds={"imdb_id": None})
        kinds = {field.name: field.kind for field in data.items.schema}
        assert kinds == {"title": "text", "genres": "multi", "year": "categorical", "released": "time"}
        assert data.items.schema[1].values == ("crime", "drama", "horror", "musical", "sci-fi")

    def test_kinds_can_be_said_or_a_column_left_out(self):
        kinds = {"year": "numeric", "title": None, "imdb_id": None, "released": None}
        data = read(FRAME, items=ITEMS, item_kinds=kinds)
        assert {field.name: field.kind for field in data.items.schema} == {
            "genres": "multi",
            "year": "numeric",
        }
        assert data.items.columns["year"][-1].isnan()
        assert "item_kinds= names the column 'yaer'" in refusal(
            FRAME, items=ITEMS, item_kinds={"yaer": "numeric"}
        )
        assert "the kind 'number'" in refusal(FRAME, items=ITEMS, item_kinds={"year": "number"})
        assert "there is no table of items" in refusal(FRAME, item_kinds={"year": "numeric"})

    @pytest.mark.parametrize("kind", ["categorical", "numeric", "multi", "text", "time"])
    def test_what_cannot_be_of_a_kind_is_refused_with_its_column(self, kind):
        odd = pl.DataFrame({"item_id": [1, 2], "odd": [{"a": 1}, {"a": 2}]})
        assert f"'odd' cannot be {kind}: it is of type Struct" in refusal(
            FRAME, items=odd, item_kinds={"odd": kind}
        )
        assert read(FRAME, items=odd).items.schema == ()
        assert "'title' cannot be numeric: 'Rope'" in refusal(
            FRAME, items=ITEMS, item_kinds={"title": "numeric"}
        )

    def test_a_table_of_items_without_rows_or_columns_breaks_nothing(self, write):
        for items in (write("item_id,title,year\n", "items.csv"), ITEMS.clear()):
            data = read(FRAME, items=items, item_kinds={"title": "text"})
            assert data.n_items == 5
            assert data.items.texts["title"] == ("",) * 5
        assert "has no columns" in refusal(FRAME, items=pl.DataFrame())

    def test_a_torn_line_of_a_table_of_items_is_an_error_too(self, write):
        items = write("item_id,title\n1,Heat\n2,Kid, The\n3,Jaws\n", "films.csv")
        message = refusal(write(text()), items=items)
        assert "films.csv: 1 line that cannot be read as a row: line 3 (3 fields instead of 2)" in message
        data = read(write(text()), items=items, on_bad_rows="drop")
        assert data.items.texts["title"][:3] == ("Heat", "", "Jaws")
        assert report_of(write(text()), items=items, on_bad_rows="drop").left_out == {}

    def test_tables_without_headers_are_matched_by_their_first_columns(self, write):
        ratings = write(text(header=None))
        items = write("1,1995\n2,1975\n3,1979\n", "films.csv")
        data = read(ratings, items=items)
        assert data.n_items == 5
        assert data.items.schema[0].values == ("1975", "1979", "1995")
        assert data.items.columns["column_2"].tolist() == [3, 1, 2, 0, 0]

    def test_a_decimal_comma_is_understood_in_fields_too(self, write):
        items = write("item_id;price\n1;1,5\n2;2,5\n3;\n", "prices.csv")
        field = read(write(text()), items=items).items.schema[0]
        assert (field.kind, field.mean) == ("numeric", 2.0)

    def test_items_that_the_table_lacks_have_missing_fields_and_are_counted(self):
        source = ITEMS.filter(pl.col("item_id") != 2)
        data = read(FRAME, items=source)
        assert data.items.columns["genres"][1].tolist() == [0, 0]
        assert data.items.texts["title"][1] == ""
        report = report_of(FRAME, items=source)
        assert any("lacks 1 item of 6 with events" in p.found for p in report.problems)

    def test_text_files_of_items_get_types(self, write):
        items = write(
            'movieId,title,year,zip,seen,released\n1,"Heat, the film",1995,01234,true,1995-12-15\n'
            "2,Jaws,1975,99999,false,1975-06-20\n3,Alien,1979,00501,true,1979-05-25\n",
            "films.csv",
        )
        data = read(write(text()), items=items, item_kinds={"year": "numeric"})
        kinds = {field.name: field.kind for field in data.items.schema}
        assert kinds == {
            "title": "text",
            "year": "numeric",
            "zip": "text",
            "seen": "categorical",
            "released": "time",
        }
        assert data.items.texts["title"][0] == "Heat, the film"
        assert data.items.texts["zip"][:3] == ("01234", "99999", "00501")

    def test_a_column_of_other_ids_is_a_category_or_no_field_at_all(self):
        n = 40
        ratings = pl.DataFrame({"user_id": [1, 2] * n, "item_id": [i for i in range(n) for _ in (0, 1)]})
        items = pl.DataFrame(
            {
                "item_id": range(n),
                "author_id": [100 + i % 3 for i in range(n)],
                "tmdb_id": range(5000, 5000 + n),
            }
        )
        data = read(ratings, items=items)
        assert [(f.name, f.kind) for f in data.items.schema] == [("author_id", "categorical")]
        assert any(
            "'tmdb_id' looks like another id" in p.found for p in report_of(ratings, items=items).problems
        )
        asked = read(ratings, items=items, item_kinds={"tmdb_id": "categorical"})
        assert len(asked.items.schema) == 2

    def test_a_row_that_comes_twice_counts_the_last_time(self):
        twice = pl.concat(
            [ITEMS, ITEMS.filter(pl.col("item_id") == 1).with_columns(title=pl.lit("Heat again"))]
        )
        assert read(FRAME, items=twice).items.texts["title"][0] == "Heat again"
        assert any("occurs again further down" in p.found for p in report_of(FRAME, items=twice).problems)

    def test_users_without_events_are_left_out_but_their_values_are_known(self):
        users = pl.DataFrame(
            {"user_id": [4, 3, 2, 1, 77], "job": ["cook", "cook", "smith", "smith", "baker"]}
        )
        data = read(FRAME, users=users, user_kinds={"job": "categorical"})
        assert data.user_ids.ids.to_list() == [1, 2, 3, 4]
        assert data.users.schema[0].values == ("baker", "cook", "smith")
        assert data.users.columns["job"].tolist() == [3, 3, 2, 2]
        assert any(
            "1 user without events left out" in p.found for p in report_of(FRAME, users=users).problems
        )

    def test_narrow_and_wide_whole_numbers_are_the_same_ids(self):
        narrow = FRAME.with_columns(pl.col("item_id").cast(pl.UInt16))
        data = read(narrow, items=ITEMS)
        assert data.item_ids.ids.dtype == pl.UInt16
        far = ITEMS.with_columns(item_id=pl.Series([5, 1, 2, 3, 4, 90_000]))
        assert read(narrow, items=far).item_ids.ids.dtype == pl.Int64

    def test_numbers_here_and_text_there_cannot_be_matched(self):
        message = refusal(FRAME, items=ITEMS.with_columns(pl.col("item_id").cast(pl.String)))
        assert "item ids are of different types: Int64" in message
        assert "String" in message

    def test_a_text_file_follows_the_type_of_a_frame(self, write):
        data = read(write(text()), items=ITEMS.with_columns(pl.col("item_id").cast(pl.String)))
        assert data.item_ids.ids.dtype == pl.String
        assert data.items.texts["title"][0] == "Heat"
        assert read(write(text()), items=ITEMS).item_ids.ids.dtype == pl.Int64

    def test_the_id_column_can_be_named(self):
        odd = ITEMS.rename({"item_id": "number"})
        assert "no column is plainly the item id" in refusal(FRAME, items=odd.drop("title"))
        assert read(FRAME, items=odd, item_id="number").items.texts["title"][0] == "Heat"
        assert "has no column 'nr'" in refusal(FRAME, items=odd, item_id="nr")

    def test_lists_with_commas_are_parted_where_the_name_says_lists(self):
        items = pl.DataFrame(
            {"item_id": [1, 2, 3], "genres": ["a, b", "b", None], "note": ["x, y", "z", "z"]}
        )
        data = read(FRAME, items=items)
        genres = data.items.schema[0]
        assert (genres.name, genres.kind, genres.values) == ("genres", "multi", ("a", "b"))
        assert data.items.columns["genres"].tolist()[:3] == [[1, 2], [2, 0], [0, 0]]
        assert {f.name: f.kind for f in data.items.schema}["note"] != "multi"

    def test_pictures_are_not_fields(self):
        items = ITEMS.with_columns(picture=pl.lit(b"\xff\xd8"))
        assert "picture" not in {f.name for f in read(FRAME, items=items).items.schema}
        assert any(
            "'picture' of type Binary is not used" in p.found for p in report_of(FRAME, items=items).problems
        )


class TestLayouts:
    def hundred_k(self, write):
        flags = {1: "0|1|0", 2: "0|0|1", 3: "1|0|0", 4: "0|0|0", 5: "0|1|1"}
        titles = {
            1: "Toy Story (1995)",
            2: "GoldenEye (1995)",
            3: "unknown",
            4: "Léon (1994)",
            5: "Heat (1995)",
        }
        items = [f"{i}|{titles[i]}|01-Jan-1995||http://x|{flags[i]}{'|0' * 16}" for i in titles]
        write(text(header=None, delimiter="\t"), "ml/u.data")
        write("\n".join(items).encode("latin-1"), "ml/u.item")
        users = ["1|24|M|technician|85711", "2|53|F|other|01002", "3|23|M|writer|V3N4P", "4|33|F|other|15213"]
        return write("\n".join(users), "ml/u.user").parent

    def test_movielens_100k(self, write):
        data = read(self.hundred_k(write))
        assert events(data) == ROWS
        assert data.items.texts["title"][3] == "Léon (1994)"
        genres = {f.name: f for f in data.items.schema}["genres"]
        assert genres.values == ("Action", "Adventure", "unknown")
        assert data.items.columns["genres"].tolist() == [[1, 0], [2, 0], [3, 0], [0, 0], [1, 2]]
        assert [(f.name, f.kind) for f in data.users.schema][:3] == [
            ("age", "categorical"),
            ("gender", "categorical"),
            ("occupation", "text"),
        ]
        assert data.users.texts["zip"] == ("85711", "01002", "V3N4P", "15213")
        assert report_of(self.hundred_k(write)).layout == "MovieLens 100K"

    def test_movielens_1m(self, write):
        write(text(header=None, delimiter="::"), "ml/ratings.dat")
        films = {1: "Amélie: the film (2001)::Comedy|Romance", 2: "B (1950)::Drama", 3: "C (1960)::Drama"}
        write("\n".join(f"{i}::{rest}" for i, rest in films.items()).encode("latin-1"), "ml/movies.dat")
        folder = write("1::F::1::10::48067\n2::M::56::16::70072\n", "ml/users.dat").parent
        data = read(folder)
        assert events(data) == ROWS
        assert data.items.texts["title"][0] == "Amélie: the film (2001)"
        year = {f.name: f for f in data.items.schema}["year"]
        assert year.values == ("1950", "1960", "2001")
        assert data.users.texts["zip"] == ("48067", "70072", "", "")
        assert {f.name for f in data.users.schema} == {"gender", "age", "occupation", "zip"}

    def test_movietweetings_users_are_not_read(self, write):
        write(text(header=None, delimiter="::"), "mt/ratings.dat")
        write("0000001::Kid (1921)::Comedy\n", "mt/movies.dat")
        folder = write("1::177651718\n2::123\n", "mt/users.dat").parent
        assert read(folder).users.schema == ()

    def test_movielens_latest(self, write):
        write(text(header="userId,movieId,rating,timestamp"), "ml/ratings.csv")
        write(
            'movieId,title,genres\n1,"Kid, The (1921)",Comedy|Drama\n2,Stalker (1979),(no genres listed)\n',
            "ml/movies.csv",
        )
        folder = write("userId,movieId,tag,timestamp\n", "ml/tags.csv").parent
        data = read(folder)
        assert events(data) == ROWS
        assert data.items.texts["title"][:2] == ("Kid, The (1921)", "Stalker (1979)")
        assert data.items.columns["genres"].tolist()[:2] == [[1, 2], [0, 0]]
        assert {f.name for f in data.items.schema} == {"title", "genres", "year"}

    @pytest.mark.parametrize(
        "names",
        [("combined_data_1.txt", "combined_data_2.txt"), ("training_set/mv_1.txt", "training_set/mv_2.txt")],
    )
    def test_netflix_prize(self, write, tmp_path, names):
        write("1:\n1488844,3,2005-09-06\n822109,5,2005-05-13\n2:\n1488844,1,2005-10-01\n", f"nf/{names[0]}")
        write("3:\n885013,4,2005-10-19\n", f"nf/{names[1]}")
        write("1,2003,Dinosaur Planet\n2,NULL,Isle of Man, TT\n".encode("latin-1"), "nf/movie_titles.csv")
        data = read(tmp_path / "nf")
        day = int(datetime(2005, 9, 6, tzinfo=UTC).timestamp())
        assert (1488844, 1, 3.0, day) in events(data)
        assert (885013, 3, 4.0, int(datetime(2005, 10, 19, tzinfo=UTC).timestamp())) in events(data)
        assert data.items.texts["title"] == ("Dinosaur Planet", "Isle of Man, TT", "")

    def test_a_bad_line_among_several_files_names_its_file(self, write, tmp_path):
        write("1:\n1488844,3,2005-09-06\n822109,5,2005-05-13\n", "nf/combined_data_1.txt")
        write("2:\n885013,four,2005-10-19\n885014,2,2005-10-20\n", "nf/combined_data_2.txt")
        assert "combined_data_2.txt line 2 ('four')" in refusal(tmp_path / "nf")

    def test_a_torn_line_among_several_files_names_its_file(self, write, tmp_path):
        write("1:\n1488844,3,2005-09-06\n822109,5,2005-05-13\n", "nf/combined_data_1.txt")
        write("2:\n885013,4\n885014,2,2005-10-20\n", "nf/combined_data_2.txt")
        assert "combined_data_2.txt line 2 (2 fields instead of 3)" in refusal(tmp_path / "nf")

    def test_recbole_atomic_files(self, write, tmp_path):
        header = "user_id:token,item_id:token,rating:float,timestamp:float"
        write(text(header=header, delimiter="\t"), "rb/rb.inter")
        write(
            "item_id:token\tmovie_title:token_seq\tclass:token_seq\tvector:float_seq\n"
            "1\tToy Story\tAnimation Comedy\t0.1 0.2\n2\tGolden Eye\tAction\t0.3 0.4\n",
            "rb/rb.item",
        )
        write("user_id:token\tage:float\n1\t24\n2\t53\n", "rb/rb.user")
        data = read(tmp_path / "rb")
        assert events(data) == ROWS
        assert {f.name: f.kind for f in data.items.schema} == {"movie_title": "text", "class": "multi"}
        assert data.items.texts["movie_title"][:2] == ("Toy Story", "Golden Eye")
        assert {f.name: f.kind for f in data.users.schema} == {"age": "categorical"}

    def test_our_own_folder_one_level_down(self, tmp_path):
        folder = tmp_path / "unpacked" / "mine"
        folder.mkdir(parents=True)
        FRAME.write_parquet(folder / "ratings.parquet")
        ITEMS.write_parquet(folder / "items.parquet")
        data = read(tmp_path / "unpacked")
        assert events(data) == ROWS
        assert data.n_items == 6
        assert data.name == "unpacked"

    def test_our_own_folder_may_hold_text_files(self, write, tmp_path):
        write(text(), "mine/ratings.csv")
        write("item_id,title\n1,Heat\n2,Jaws\n", "mine/items.csv")
        data = read(tmp_path / "mine")
        assert data.items.texts["title"][:2] == ("Heat", "Jaws")
        assert report_of(tmp_path / "mine").layout == "a folder of tables"

    def test_a_damaged_first_line_is_told_as_such(self, write):
        folder = self.hundred_k(write)
        write("one\t1\t5\t978300001\n" + text(header=None, delimiter="\t"), "ml/u.data")
        assert "line 1 ('one')" in refusal(folder)

    def test_a_table_named_beside_a_folder_replaces_the_folders_own(self, tmp_path):
        FRAME.write_parquet(tmp_path / "ratings.parquet")
        ITEMS.write_parquet(tmp_path / "items.parquet")
        assert read(tmp_path, items=ITEMS.head(2).select("item_id", "title")).n_items == 5

    def test_single_files_of_a_layout_are_known_by_name_and_first_line(self, write):
        folder = self.hundred_k(write)
        data = read(folder / "u.data", items=folder / "u.item", users=folder / "u.user")
        assert data.hash() == read(folder).hash()
        assert data.items.texts == read(folder).items.texts
        films = write("1::Heat (1995)::Action\n2::Jaws (1975)::Horror\n", "movies.dat")
        assert read(write(text()), items=films).items.texts["title"][:2] == ("Heat (1995)", "Jaws (1975)")


class TestReport:
    def test_it_says_what_was_mapped_and_cleaned(self, write):
        path = write(text([*ROWS, (1, 1, 2, 978300009)], header="userId,movieId,rating,timestamp"))
        report = report_of(path)
        said = str(report)
        assert "8 rows, 7 kept" in said
        assert "item  = movieId" in said
        assert "left out: 1 (the same user and item again)" in said
        plain = report.to_dict()
        assert plain["columns"]["user"] == "userId"
        assert plain["problems"][0]["severity"] == "warning"

    def test_errors_come_first_and_more_than_three_others_are_counted(self, write):
        path = write(
            text(ROWS)
            .replace("\n1,1,5,978300001", "\n1,1,nan,978300001")
            .replace("\n1,2,3,978300002", "\n,2,3,978300002")
            .replace("\n2,1,4,978300003", "\n2,,4,978300003")
            .replace("\n2,3,1,978300004", "\n2,3,1,then")
            .replace("\n3,4,2,", "\n3,4,bad,")
        )
        message = refusal(path)
        assert message.count("\n  - ") == 4
        assert "and 1 more" in message

    def test_inspect_finds_the_same_and_raises_nothing(self, write, tmp_path):
        broken = inspect(write(text().replace("\n1,1,5", "\n1,1,nan")))
        assert broken.report.errors
        assert len(broken.dataset.interactions) == 6
        assert inspect(tmp_path / "nowhere.csv").dataset is None

    def test_the_row_order_of_a_file_does_not_change_who_is_who(self):
        shuffled = FRAME.sample(fraction=1.0, shuffle=True, seed=1)
        assert read(shuffled).hash() == read(FRAME).hash()


@pytest.mark.data
class TestRealData:
    def test_movielens_1m_through_text_equals_movielens_1m_through_parquet(self, real_data, tmp_path):
        parquet = read(real_data / "ml-1m")
        frame = pl.read_parquet(real_data / "ml-1m" / "ratings.parquet")
        frame.write_csv(tmp_path / "ratings.csv")
        assert len(parquet.interactions) == 1_000_209
        assert (parquet.n_users, parquet.n_items) == (6_040, 3_883)
        assert parquet.user_ids.ids.dtype == pl.UInt16
        through_text = read(tmp_path / "ratings.csv", items=real_data / "ml-1m" / "items.parquet")
        assert through_text.hash() == parquet.hash()
        assert torch.equal(through_text.items.columns["genres"], parquet.items.columns["genres"])

    @pytest.mark.parametrize(
        ("name", "events", "explicit"),
        [
            ("anime-5k/interactions.parquet", None, True),
            ("lastfm-hetrec/plays.parquet", 92_834, False),
            ("retailrocket-small/events.parquet", None, False),
            ("jester-5k/ratings.parquet", 363_209, True),
            ("amazon-multidomain/beauty.parquet", 198_502, False),
            ("xmarket-wsdm22/t1_train.parquet", None, True),
            ("spotify-playlists/playlist_tracks.parquet", 32_251, False),
        ],
    )
    def test_other_public_sets_read_as_they_are(self, real_data, name, events, explicit):
        path = real_data / name
        if not path.exists():
            pytest.skip(f"{name} is not there")
        data = read(path, on_bad_rows="drop")
        assert data.explicit == explicit
        if events is not None:
            assert len(data.interactions) == events
