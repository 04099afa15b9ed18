"""Reading rows of CSV and NDJSON, as people and spreadsheets write them."""

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from restbroker.bulk.rows import LONGEST, ODD_MARK, Bad, FileRow, Read, RowFile, read_table, reject_text
from restbroker.errors import UsageError
from tests.support.rows import rows

USERS = b"user,host,password\n"
LONG = b"7,8," + b"9" * 96 + b"\n"
"""Ten thousand of these are nearly as long as a row may be."""


def table(raw: bytes) -> RowFile:
    return read_table("f", io.TextIOWrapper(io.BytesIO(raw), "utf-8", "surrogateescape", newline=""))


def reads(raw: bytes) -> list[Read]:
    return list(table(raw).rows)


def values(raw: bytes) -> list[object]:
    """The values of rows that can be read; why the others cannot."""
    return [row.values if isinstance(row, FileRow) else row.why for row in reads(raw)]


def rejects(raw: bytes) -> bytes:
    """The rejects file of this one."""
    found = table(raw)
    text = "".join(reject_text(found, row) for row in found.rows if isinstance(row, Bad))
    return (found.opening + text).encode("utf-8", "surrogateescape")


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@given(
    st.lists(st.lists(CELL, min_size=3, max_size=3).filter(any), max_size=8),
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.booleans(),
)
def test_csv_written_by_python_reads_back(
    cells: list[list[str]], separator: str, end: str, quoting: int, bom: bool
) -> None:
    if quoting == csv.QUOTE_MINIMAL:  # Which leaves a bare carriage return as it is.
        cells = [[cell.replace("\r", "") or "x" for cell in line] for line in cells]
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=separator, lineterminator=end, quoting=quoting)  # type: ignore[arg-type]
    writer.writerows([["a", "b", "c"], *cells])
    raw = ("\ufeff" * bom + file.getvalue()).encode()
    found = reads(raw)
    assert [row.number for row in found] == list(range(1, len(cells) + 1))
    assert [row.values for row in found if isinstance(row, FileRow)] == [
        dict(zip("abc", line, strict=True)) for line in cells
    ]


@given(st.binary(max_size=200))
def test_any_bytes_are_rows_or_rejects_and_stay_so_fed_again(raw: bytes) -> None:
    try:
        once = rejects(USERS + raw)
    except UsageError:
        return
    # But for the line numbers, which are those of the file that is read.
    again = rejects(once)
    assert len(again.splitlines()) == len(once.splitlines())
    assert rejects(again) == again


@given(st.binary(max_size=200).map(lambda raw: raw.replace(b"\r", b"")))
@example(b"{}")
def test_any_ndjson_is_rows_or_why_they_are_none(raw: bytes) -> None:
    raw = b'{"user":"first"}\n' + raw
    found = reads(raw)
    assert [row.number for row in found] == list(range(1, len(found) + 1))
    if bad := [row for row in found if isinstance(row, Bad)]:
        assert len([row for row in reads(rejects(raw)) if isinstance(row, Bad)]) == len(bad)


def test_file_type_is_known_by_its_first_letter_or_separator() -> None:
    assert table(b'\n {"user":"a"}\n').is_csv is False
    assert table(b"\xef\xbb\xbfuser;host\r\n").columns == ("user", "host")
    assert table(b"sep=|\r\nuser|host\r\n").columns == ("user", "host")
    assert table(b"user\n").columns == ("user",)


@rows(("raw", "why"), [
    (b"", "is empty"),
    (b"\xef\xbb\xbf \n\n", "is empty"),
    (b"[{}]", "is a JSON list"),
    ("user,host\n".encode("utf-16"), "is UTF-16 or not text"),
    (b"user,\n", "has a column without a name"),
    (b"user,user\n", "names the column 'user' twice"),
    (b"pass=hunter2X,pass=hunter2X\n", "names the column (a string of 13 characters) twice"),
    (b'"user,host\n', "has a first line that is not CSV (unexpected end of data)"),
    (b"x" * (LONGEST + 1), "begins with a line of more than 1 MiB"),
])  # fmt: skip
def test_a_file_of_which_no_row_can_be_right_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        table(raw)
    assert caught.value.message == f"f {why}."


@rows(("row", "why"), [
    (b"a,b", "2 cells for 3 columns."),
    (b"a,b,c,d", "4 cells for 3 columns."),
    (b'a"b,c,d', ODD_MARK),
    (b'"a"b,c,d', ODD_MARK),
    (b"\xff,b,c", "not UTF-8: save the whole file as UTF-8 (in a spreadsheet: CSV UTF-8)."),
    (b"a,\0,c", "a NUL character in it."),
    (b"x" * (2 * LONGEST), "more than 1 MiB."),
])  # fmt: skip
def test_a_bad_row_is_named_by_its_line_and_costs_no_other(row: bytes, why: str) -> None:
    first, bad, last = reads(USERS + b'1,"2\n2",3\n\n' + row + b"\n4,5,6\n")
    assert isinstance(bad, Bad)
    assert (bad.number, bad.line, bad.why) == (2, 5, why)
    assert isinstance(first, FileRow)
    assert isinstance(last, FileRow)
    assert (first.number, first.line, last.number, last.line) == (1, 2, 3, 6)


def test_unclosed_quotation_mark_hides_the_rows_behind_it() -> None:
    found = reads(USERS + b'1,2,3\n"4,5,6\n7,8,9\n')
    assert [type(row) for row in found] == [FileRow, Bad]
    long = reads(USERS + b'"4,5,6\n' + LONG * 12_000)
    assert not [row for row in long if isinstance(row, FileRow)]
    assert len(long) == 1


def test_rows_behind_a_closed_quotation_are_read_from_rejects() -> None:
    raw = USERS + b'"4,5,6\n7,8,9\n'
    assert values(rejects(raw).replace(b'"4,', b'"4",')) == [
        {"user": "4", "host": "5", "password": "6"},
        {"user": "7", "host": "8", "password": "9"},
    ]


def test_a_row_that_is_too_long_is_in_no_rejects_file() -> None:
    long = b"x" * (2 * LONGEST)
    assert rejects(USERS + long + b",1,2\n") == b'_error,user,host,password\n"line 2: more than 1 MiB.",\n'
    assert rejects(b'{"a":1}\n{"a":"' + long + b'"}\n') == b'{"_error": "line 2: more than 1 MiB."}\n\n'


def test_rejects_say_why_keep_each_byte_and_can_be_read_again() -> None:
    raw = b"\xef\xbb\xbfuser;host\r\na\r\n\xff;b\r\nc;d\r\n"
    kept = rejects(raw)
    assert kept == (
        b'\xef\xbb\xbf_error;user;host\r\n"line 2: 1 cell for 2 columns.";a\r\n'
        b'"line 3: not UTF-8: save the whole file as UTF-8 (in a spreadsheet: CSV UTF-8).";\xff;b\r\n'
    )
    mended = kept.replace(b";a\r\n", b";a;b\r\n").replace(b"\xff", b"e")
    assert values(mended) == [{"user": "a", "host": "b"}, {"user": "e", "host": "b"}]


@pytest.mark.promise(
    "Security: who has an account on the host, or controls the configuration",
    "to run a formula in the spreadsheet of an export",
)
@given(
    st.lists(
        st.lists(CELL | st.sampled_from(["=1", "'=1", '@"x', "\t1"]), min_size=3, max_size=3), min_size=1, max_size=4
    ),
    st.booleans(),
)
def test_rejected_cell_is_no_formula_and_is_read_again_unchanged(given: list[list[str]], is_quoted: bool) -> None:
    written = io.StringIO(newline="")
    # One cell too many in each row.
    csv.writer(written, quoting=csv.QUOTE_ALL if is_quoted else csv.QUOTE_MINIMAL).writerows(
        [*cells, "more"] for cells in given
    )
    kept = rejects(USERS + written.getvalue().encode())
    cells = list(csv.reader(io.StringIO(kept.decode(), newline="")))[1:]
    assert [cell for row in cells for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))] == []
    mended = io.StringIO(newline="")
    csv.writer(mended, quoting=csv.QUOTE_ALL if is_quoted else csv.QUOTE_MINIMAL).writerows(
        [["_error", "user", "host", "password"], *(row[:-1] for row in cells)]
    )
    read = [list(row.values()) for row in values(mended.getvalue().encode()) if isinstance(row, dict)]
    assert read == given


def test_a_line_before_each_rejected_object_says_why() -> None:
    raw = b'{"a":1}\n[1]\n{"a":"\xff"}\n{}\n'
    assert values(raw) == [
        {"a": 1},
        "a list, not an object.",
        "not JSON: not UTF-8: byte 0xff at byte 6.",
        "an empty object.",
    ]
    kept = rejects(raw).splitlines()
    assert kept[:2] == [b'{"_error": "line 2: a list, not an object."}', b"[1]"]
    assert kept[-2:] == [b'{"_error": "line 4: an empty object."}', b"{}"]
    assert values(b'{"_error": "why"}\n{"a":2}\n') == [{"a": 2}]
