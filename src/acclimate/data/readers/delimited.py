"""Delimited text of any dialect as a Table of strings, with every line accounted for."""

from __future__ import annotations

import contextlib
import csv
import gzip
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from acclimate.data.readers.columns import is_known_name
from acclimate.data.readers.report import Notes, count, quoted
from acclimate.data.readers.table import BadLine, Table

Lines = NDArray[np.int64]
"""Line numbers, from 1."""

DELIMITERS = ("::", "\t", ";", ",", "|", " ")
_NAMES = {"\t": "tab", " ": "space"}
_SAMPLE = 200
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")


@contextlib.contextmanager
def _long_fields() -> Iterator[None]:
    """Lets the csv module read fields of any length; they are refused later, with the line they stand in."""
    limit = csv.field_size_limit(1 << 30)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


@_long_fields()
def read_delimited(
    path: Path,
    notes: Notes,
    *,
    delimiter: str | None = None,
    header: bool | None = None,
    encodings: Sequence[str] = ("utf-8",),
    quotes: bool = True,
    names: Sequence[str] | None = None,
) -> Table:
    """Reads a text file of rows.

    Args:
        delimiter: what parts the fields, one or more characters; None finds it.
        header: whether the first line names the columns; None finds out.
        encodings: tried in order.
        quotes: whether ``"`` may enclose a field that holds the delimiter or a line break.
        names: column names of a file without a header.

    Raises:
        Refused: the file is missing, empty, binary, or in another encoding; the cause is in ``notes``.
    """
    source = path.name
    data = _as_utf8(read_bytes(path, notes), source, notes, encodings)
    lines = split_lines(data)
    numbers = full_lines(lines)
    if len(numbers) == 0:
        raise notes.refuse(f"{source} is empty.", "Check that the right file was written, and to the end.")
    sample = lines.gather(numbers[:_SAMPLE] - 1).to_list()
    delimiter = delimiter or _sniff(sample, quotes)
    if delimiter is None:
        raise notes.refuse(
            f"{source} has one column only: no comma, semicolon, tab, |, :: or space parts its lines "
            f"(line {numbers[0]}: {quoted(sample[0])}).",
            "Each row needs a user and an item. If something else parts them, name it with delimiter=.",
        )
    quotes = quotes and len(delimiter) == 1
    rows = [_fields(line, delimiter, quotes) for line in sample]
    if header is None:
        header = names is None and _has_header(rows)
        usual = _usual_width(rows)
        if header and len(rows[0]) < usual and not any(map(is_known_name, rows[0])):
            raise notes.refuse(
                f"{source}, line {numbers[0]}: {quoted(sample[0])} is neither a line of column names nor "
                f"a row: it has {count(len(rows[0]), 'field')}, most lines have {usual}.",
                "Remove the line.",
                lines=(int(numbers[0]),),
            )
    width = len(rows[0]) if header else _usual_width(rows)
    columns = _unique(rows[0]) if header else [f"column_{i + 1}" for i in range(width)]
    if names is not None:
        columns = [*names[:width], *columns[len(names) :]]
    # Where a quoted field runs over several lines, blank ones may belong to it.
    whole = quotes and bool((lines.str.count_matches('"', literal=True) % 2 == 1).any())
    if whole:
        frame, kept, bad = _split_records(lines, int(numbers[0]) if header else 0, delimiter, width)
    else:
        numbers = numbers[1:] if header else numbers
        full = lines if len(numbers) == len(lines) else lines.gather(numbers - 1)
        frame, kept, bad = _split(full, numbers, delimiter, width, quotes)
    return Table(
        frame=frame.rename(dict(zip(frame.columns, columns, strict=True))),
        source=source,
        lines=kept,
        from_text=True,
        header=header or names is not None,
        decimal_comma=delimiter != ",",
        bad=tuple(bad),
        remarks=(f"fields are parted by {_NAMES.get(delimiter, quoted(delimiter))}",),
    )


def read_bytes(path: Path, notes: Notes) -> bytes:
    """The bytes of a file, unpacked if it is gzipped."""
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    except FileNotFoundError:
        raise notes.refuse(f"There is no file {path}.", "Check the path.") from None
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise notes.refuse(
            f"{path} cannot be read: {reason}.", "Check the file and its permissions."
        ) from None


def split_lines(data: bytes) -> pl.Series:
    """The lines of UTF-8 text, without their ends.

    They share the memory of ``data``: a million of them take a few hundredths of a second.
    """
    if b"\n" not in data and b"\r" in data:
        data = data.replace(b"\r", b"\n")
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")) + 1
    offsets = np.concatenate([[0], ends, [len(data)] if not data.endswith(b"\n") else []]).astype(np.int64)
    array = pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(data))
    return pl.Series("line", array).str.strip_chars_end("\r\n")


def full_lines(lines: pl.Series) -> Lines:
    """The numbers of the lines that are not blank."""
    return np.flatnonzero((lines.str.strip_chars() != "").to_numpy()) + 1


def _as_utf8(data: bytes, source: str, notes: Notes, encodings: Sequence[str]) -> bytes:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encodings = ("utf-16",)
    elif data.startswith(b"\xef\xbb\xbf"):
        data, encodings = data[3:], ("utf-8",)
    elif not encodings[0].lower().startswith(("utf-16", "utf-32")) and _looks_binary(data):
        kind = _kind_of(data)
        raise notes.refuse(
            f"{source} is not text{f': it looks like {kind}' if kind else ''}.",
            "Give a CSV or Parquet file, or a polars or pandas frame.",
        )
    trouble: UnicodeDecodeError | None = None
    for encoding in encodings:
        try:
            text = data.decode(encoding)
            return data if encoding in ("utf-8", "utf8") else text.encode()
        except LookupError:
            raise notes.refuse(
                f"There is no encoding {encoding!r}.", 'Name one such as encoding="latin-1".'
            ) from None
        except UnicodeDecodeError as error:
            trouble = trouble or error
    assert trouble is not None
    line = data.count(b"\n", 0, trouble.start) + 1
    raise notes.refuse(
        f"{source}, line {line}: the byte 0x{data[trouble.start]:02x} is not {trouble.encoding.upper()}.",
        'If the file is in a Western European encoding, say encoding="latin-1".',
        lines=(line,),
        encoding="latin-1",
    )


def _looks_binary(data: bytes) -> bool:
    head = data[:8192]
    control = sum(byte < 32 and byte not in (9, 10, 11, 12, 13, 27) for byte in head)
    return b"\0" in data or control > len(head) / 100


def _kind_of(data: bytes) -> str:
    magic = {
        b"PK\x03\x04": "a zip archive or an Excel workbook",
        b"SQLite format": "an SQLite database",
        b"\x89PNG": "a picture",
        b"\xff\xd8\xff": "a picture",
        b"%PDF": "a PDF",
        b"\x89HDF": "an HDF5 file",
        b"\x80\x04": "a pickle, which is never read",
        b"PAR1": "a Parquet file",
    }
    return next((kind for start, kind in magic.items() if data.startswith(start)), "")


def _fields(line: str, delimiter: str, quotes: bool) -> list[str]:
    if quotes and '"' in line:
        with contextlib.suppress(csv.Error):
            return next(csv.reader([line], delimiter=delimiter), [])
    return line.split(delimiter)


def _sniff(lines: Sequence[str], quotes: bool) -> str | None:
    """The delimiter that cuts nine lines in ten into the same number of fields, and into the most."""
    best, most = None, 1
    for delimiter in DELIMITERS:
        if delimiter == " " and best is not None:
            break
        widths = [len(_fields(line, delimiter, quotes and len(delimiter) == 1)) for line in lines]
        usual = max(set(widths), key=widths.count)
        if usual > most and widths.count(usual) >= 0.9 * len(widths):
            best, most = delimiter, usual
            if delimiter == "::":
                break
    if best is None:
        # Many ragged lines: whichever delimiter the first line has.
        best = next((d for d in DELIMITERS[:-1] if d in lines[0]), None)
    return best


def _usual_width(rows: Sequence[Sequence[str]]) -> int:
    widths = [len(row) for row in rows]
    return max(set(widths), key=widths.count)


def _has_header(rows: Sequence[Sequence[str]]) -> bool:
    """A header names a known role, or is the one line without numbers above columns of numbers."""
    first, rest = rows[0], rows[1:]
    if any(is_known_name(cell) for cell in first):
        return True
    if any(_NUMBER.fullmatch(cell.strip()) for cell in first):
        return False
    if not rest:
        return True
    # Nothing but words: a line of names unless the same words come again below it.
    return not any(
        cell and any(i < len(row) and row[i] == cell for row in rest) for i, cell in enumerate(first)
    )


def _unique(names: Iterable[str]) -> list[str]:
    seen: dict[str, int] = {}
    out = []
    for i, raw in enumerate(names):
        name = raw.strip() or f"column_{i + 1}"
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return out


def _split(
    lines: pl.Series,
    numbers: Lines,
    delimiter: str,
    width: int,
    quotes: bool,
) -> tuple[pl.DataFrame, Lines, list[BadLine]]:
    """Lines that are a record each as columns; the numbers of the rows; the lines that are no rows."""
    with_quotes = lines.str.contains('"', literal=True).to_numpy() & quotes
    plain = lines.filter(~with_quotes) if with_quotes.any() else lines
    at = numbers[~with_quotes]
    fits = (plain.str.count_matches(delimiter, literal=True) == width - 1).to_numpy()
    bad = [
        BadLine(int(number), text, _why(text.count(delimiter) + 1, width))
        for number, text in zip(at[~fits], plain.filter(~fits), strict=True)
    ]
    good = plain if fits.all() else plain.filter(fits)
    frame = good.str.split_exact(delimiter, width - 1).struct.unnest()
    at = at[fits]
    if with_quotes.any():
        rows, where = [], []
        texts = lines.filter(with_quotes).to_list()
        for number, text, cells in zip(
            numbers[with_quotes], texts, _quoted_fields(texts, delimiter), strict=True
        ):
            why = cells if isinstance(cells, str) else ""
            if not why and len(cells) != width:
                why = _why(len(cells), width)
            if why:
                bad.append(BadLine(int(number), text, why))
            else:
                rows.append(cells)
                where.append(number)
        more = pl.DataFrame(rows, schema=dict.fromkeys(frame.columns, pl.String), orient="row")
        both = np.concatenate([at, np.array(where, np.int64)])
        order = both.argsort(kind="stable")
        frame, at = pl.concat([frame, more])[order], both[order]
    return frame, at, sorted(bad, key=lambda line: line.number)


def _quoted_fields(texts: Sequence[str], delimiter: str) -> list[list[str] | str]:
    """The fields of lines that are a record each, or why a line cannot be cut into fields."""
    try:
        together: list[list[str] | str] = list(csv.reader(texts, delimiter=delimiter, strict=True))
        if len(together) == len(texts):
            return together
    except csv.Error:
        pass
    # Some line is malformed: one at a time, so that it spoils no other.
    out: list[list[str] | str] = []
    for text in texts:
        try:
            out.append(next(csv.reader([text], delimiter=delimiter, strict=True)))
        except csv.Error as error:
            out.append(str(error))
    return out


def _split_records(
    lines: pl.Series,
    skip: int,
    delimiter: str,
    width: int,
) -> tuple[pl.DataFrame, Lines, list[BadLine]]:
    """The slow way, for files in which a quoted field runs over several lines; passes over ``skip`` lines."""
    text = lines.to_list()
    rows: list[list[str]] = []
    where: list[int] = []
    bad: list[BadLine] = []
    at = skip
    while at < len(text):
        start, why = at, ""
        from_here = (f"{text[n]}\n" for n in range(start, len(text)))
        reader = csv.reader(from_here, delimiter=delimiter, strict=True)
        try:
            for cells in reader:
                if len(cells) == width:
                    rows.append(cells)
                    where.append(at + 1)
                elif any(cell.strip() for cell in cells):
                    why = _why(len(cells), width)
                    break
                at = start + reader.line_num
        except csv.Error as error:
            why = str(error)
        if why:
            # Only the first line is at fault: what an open quote swallowed is read again.
            swallowed = start + reader.line_num - at > 1
            bad.append(
                BadLine(at + 1, text[at], "a quote that opens here is not closed" if swallowed else why)
            )
            at += 1
    frame = pl.DataFrame(rows, schema={f"field_{i}": pl.String for i in range(width)}, orient="row")
    return frame, np.array(where, np.int64), bad


def _why(found: int, width: int) -> str:
    return f"{count(found, 'field')} instead of {width}"
