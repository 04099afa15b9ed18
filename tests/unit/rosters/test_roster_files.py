"""Rosters of many users as files: what is written is read again, and what is wrong is told with its line."""

from collections.abc import Mapping
from csv import reader

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.job.jid import unprintable
from restbroker.rosters.files import BadFile, FileContents, Format, RefusedRoster, read, write
from restbroker.rosters.rules import Contact
from tests.support.rows import rows

FORMATS: tuple[Format, ...] = ("json", "ndjson", "csv")
NAMES = st.text(min_size=1, max_size=6).filter(lambda text: not unprintable(text))
GROUPS = st.lists(NAMES | st.sampled_from(["a;b", "[x", " a", ";", '"', "Work", "=1", "'=1"]), max_size=3, unique=True)
CONTACTS = st.builds(lambda name, groups: Contact(name, tuple(sorted(groups))), st.none() | NAMES, GROUPS)
ROSTERS = st.dictionaries(
    st.sampled_from(["ann", "bob", "jörg", "a,b"]),
    st.dictionaries(st.sampled_from(["carl@a.b", "jürg@a.b", "c,d@a.b", "gateway.a.b"]), CONTACTS, max_size=3),
    max_size=3,
)
HEADER = "user,jid,name,groups\n"


def csv(text: str) -> FileContents:
    return read(f"{HEADER}{text}".encode(), "csv", "a.b")


@given(ROSTERS, st.sampled_from(FORMATS))
def test_what_is_written_is_read_again(rosters: Mapping[str, Mapping[str, Contact]], form: Format) -> None:
    raw = "".join(write(form, rosters.items())).encode()
    assert read(raw, form, None) == FileContents(rosters)


@given(st.binary(max_size=30) | st.text('user,jid\n"{}:[]@ab.;', max_size=30).map(str.encode), st.sampled_from(FORMATS))
def test_of_any_bytes_nothing_else_comes_than_rosters_or_an_error(raw: bytes, form: Format) -> None:
    try:
        found = read(raw, form, None)
    except BadFile:
        return
    assert all(isinstance(one, RefusedRoster) for one in found.refused)


def test_a_user_may_be_in_a_file_of_whole_rosters_once() -> None:
    lines = (
        b'{"user":"john","contacts":{}}\n\n{"user":"john@a.b","contacts":["ann@a.b"]}\n{"user":7,"contacts":{}}\n[]\n'
    )
    assert read(lines, "ndjson", "a.b") == FileContents(
        {},
        (
            RefusedRoster("john", "john appears twice; the first is in line 1.", 3),
            RefusedRoster("7", "The user is a number, not a string.", 4),
            RefusedRoster(
                "",
                "This line is not an object with exactly user and contacts. For example "
                '{"user": "john", "contacts": {"ann@example.org": {"name": "Ann"}}}',
                5,
            ),
        ),
    )
    found = read(b'{"john": {}, "john@a.b": {}, "zoe": {"x": {}}}', "json", "a.b")
    assert found.rosters == {}
    assert [one.what for one in found.refused] == ["john appears twice.", "x has no domain. Write x@ and the domain."]


@rows("form", ["json", "ndjson"])
def test_in_a_file_of_whole_rosters_nobody_is_his_own_contact(form: Format) -> None:
    raw = b'{"user":"john","contacts":["john@a.b"]}' if form == "ndjson" else b'{"john": ["john@a.b"], "zoe": []}'
    found = read(raw, form, "a.b")
    assert "john" not in found.rosters
    assert [one.user for one in found.refused] == ["john"]


@rows(("line", "what"), [
    (b'{"user":"a","user":"b","contacts":{}}', "This line is not JSON: user appears twice in one object."),
    (b'{"user":"a","contacts":{"\\ud800@b.c":{}}}', "This line is not JSON: "),
])  # fmt: skip
def test_a_line_that_cannot_be_read_says_why(line: bytes, what: str) -> None:
    (refused,) = read(line, "ndjson", None).refused
    assert refused.what.startswith(what)


def test_a_line_without_contacts_is_told_with_its_user_of_whom_nothing_is_taken() -> None:
    what = "This line is not an object with exactly user and contacts."
    found = read(b'{"user":"kim","contacts":{}}\n{"user":"kim"}\n{"user":"Kim"}', "ndjson", "a.b")
    assert found.rosters == {}
    assert [(one.user, one.line) for one in found.refused] == [("kim", 2), ("Kim", 3)]
    assert found.refused[0].what.startswith(what)


@pytest.mark.promise(
    "Security: who has an account on the host, or controls the configuration",
    "to run a formula in the spreadsheet of an export",
)
def test_an_exported_cell_runs_in_no_spreadsheet_and_is_imported_as_it_was() -> None:
    rosters = {"-john": {"+ann@a.b": Contact('=HYPERLINK("http://x")', ("'=Friends", "@Work"))}}
    text = "".join(write("csv", rosters.items()))
    assert [row[2:] for row in reader(text.splitlines())][1:] == [
        ['\'=HYPERLINK("http://x")', '["\'=Friends","@Work"]']
    ]
    assert read(text.encode(), "csv", None) == FileContents(rosters)
