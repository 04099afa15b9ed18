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


def test_a_spreadsheet_may_leave_columns_and_marks_of_its_own() -> None:
    assert read(b"\xef\xbb\xbfjid,user\r\nann@a.b,john\r\n,\r\n,zoe\r\n", "csv", "a.b") == FileContents(
        {"john": {"ann@a.b": Contact()}, "zoe": {}}
    )


def test_groups_have_semicolons_between_them_or_are_a_list_in_json() -> None:
    found = csv('john,ann@a.b,Ann,Work; Friends;\njohn,bob@a.b,,"[""a;b""]"\n').rosters["john"]
    assert found == {"ann@a.b": Contact("Ann", ("Friends", "Work")), "bob@a.b": Contact(None, ("a;b",))}


@rows(("line", "what"), [
    ("john,Ann@a.b,,", "Ann@a.b is not in lower case. Write ann@a.b."),
    (
        "john,john@a.b,,",
        "john@a.b is the user themselves. Leave it out: Prosody hangs on a user's own address.",
    ),
    ("john,,Ann,", "The empty JID has no domain."),
    ("john,bob@a.b,,", "bob@a.b appears twice. Each contact may appear once."),
    ("john,ann@a.b,", "This line has 3 columns, and the first one 4."),
    ("john,ann@a.b,,[x", "ann@a.b has groups that start like a JSON list but are not one. Write Work;Friends."),
    ("john,ann@a.b,a\x01,", "ann@a.b has the character U+0001 in its name. Remove it."),
])  # fmt: skip
def test_of_a_user_with_one_bad_line_nothing_is_taken(line: str, what: str) -> None:
    found = csv(f"john,bob@a.b,,\nzoe,ann@a.b,,\n{line}\njohn,carl@a.b,,\n")
    assert found == FileContents({"zoe": {"ann@a.b": Contact()}}, (RefusedRoster("john", what, 4),))


def test_who_cannot_be_a_user_is_told_with_his_line() -> None:
    what = "zoe@c.d is not a user of a.b. Rosters are kept for users of that domain only."
    assert csv("zoe@c.d,ann@a.b,,\njohn@a.b,ann@a.b,,") == FileContents(
        {"john": {"ann@a.b": Contact()}}, (RefusedRoster("zoe@c.d", what, 2),)
    )


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


def test_a_roster_that_is_too_large_is_refused_alone() -> None:
    many = "".join(f"john,u{n}@a.b,,\n" for n in range(10_001))
    found = csv(f"{many}zoe,ann@a.b,,\n")
    assert list(found.rosters) == ["zoe"]
    assert found.refused == (RefusedRoster("john", "The roster has 10001 contacts; 10000 are the limit.", 2),)


@rows(("raw", "form", "why", "line"), [
    (b"\xff", "json", "is not UTF-8: byte 0xff at byte 0", None),
    (b"[1", "json", "is not JSON: unexpected end of data: line 1 column 3 (char 2)", None),
    (b"[]", "json", "is a list, not an object of users", None),
    (b'{"john": {}, "john": {}}', "json", "is not JSON: john appears twice in one object", None),
    (b'{"a": {"b@c.d": {}, "b@c.d": {}}}', "json", "is not JSON: b@c.d appears twice in one object", None),
    (b"", "csv", "is empty", None),
    (b"\r\n", "csv", "is empty", None),
    (b"a,b\n", "csv", 'has no line that names its columns: "a,b"', 1),
    (b"\nuser,jid\n", "csv", 'has no line that names its columns: ""', 1),
    (b"john,ann@a.b,Ann\n", "csv", 'has no line that names its columns: "john,ann@a.b,Ann"', 1),
    (b"user;jid\njohn;ann@a.b\n", "csv", 'has semicolons between its columns: "user;jid"', 1),
    (b"User\tJID\r\n", "csv", 'has tabs between its columns: "User\\u0009JID"', 1),
    (b"User,JID\n", "csv", 'has columns with other names: "User,JID"', 1),
    (b"user, jid\n", "csv", 'has columns with other names: "user, jid"', 1),
    (b"user,jid,jid\n", "csv", 'names a column twice: "user,jid,jid"', 1),
    (b"user,jid,nick\n", "csv", 'has a column "nick": "user,jid,nick"', 1),
    (b"user,name\n", "csv", 'has no column jid: "user,name"', 1),
    (b"name\n", "csv", 'has no column user and no column jid: "name"', 1),
    (b'user,jid\n"a"b,c\n', "csv", "is not CSV: ',' expected after '\"'", 2),
])  # fmt: skip
def test_a_file_that_cannot_be_read_at_all_is_refused_as_a_whole(
    raw: bytes, form: Format, why: str, line: int | None
) -> None:
    with pytest.raises(BadFile) as refused:
        read(raw, form, None)
    assert (refused.value.why, refused.value.line) == (why, line)


@rows(("raw", "hint"), [
    (b"user,jid\n\xe9,ann@a.b", "Save it as UTF-8 (in a spreadsheet: CSV UTF-8)."),
    (b"user;jid", "Save it with commas between them. The first line names the columns: user,jid,name,groups"),
    (
        b"User,JID",
        "Write them in lower case and without blanks. The first line names the columns: user,jid,name,groups",
    ),
    (b"", "Its first line names the columns: user,jid,name,groups"),
])  # fmt: skip
def test_what_a_spreadsheet_did_is_said_with_its_cure(raw: bytes, hint: str) -> None:
    with pytest.raises(BadFile) as refused:
        read(raw, "csv", None)
    assert refused.value.hint == hint


def test_a_line_without_contacts_is_told_with_its_user_of_whom_nothing_is_taken() -> None:
    what = "This line is not an object with exactly user and contacts."
    found = read(b'{"user":"kim","contacts":{}}\n{"user":"kim"}\n{"user":"Kim"}', "ndjson", "a.b")
    assert found.rosters == {}
    assert [(one.user, one.line) for one in found.refused] == [("kim", 2), ("Kim", 3)]
    assert found.refused[0].what.startswith(what)


def test_blanks_around_a_name_can_be_seen() -> None:
    (refused,) = csv(" jon ,ann@a.b,,").refused
    assert (refused.user, refused.what) == ('" jon "', '" jon " has U+0020 in a user\'s name.')
    (refused,) = csv("jon, ann@a.b,,").refused
    assert refused.what == '" ann@a.b" has U+0020 in a user\'s name.'


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
