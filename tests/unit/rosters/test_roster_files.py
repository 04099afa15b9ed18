"""Rosters of many users as files, with the line of what is wrong, and copies of them within their bounds."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from restbroker.job.jid import unprintable
from restbroker.rosters.files import FileContents, RefusedRoster, read, write
from restbroker.rosters.reader import Copies, RosterCopy
from restbroker.rosters.rules import Contact

NAMES = st.text(min_size=1, max_size=6).filter(lambda text: not unprintable(text))
CONTACTS = st.builds(
    lambda name, groups: Contact(name, tuple(sorted(groups))),
    st.none() | NAMES,
    st.lists(NAMES, max_size=3, unique=True),
)
ROSTERS = st.dictionaries(
    st.sampled_from(["ann", "bob", "jörg", "a,b"]),
    st.dictionaries(st.sampled_from(["carl@a.b", "jürg@a.b", "c,d@a.b", "gateway.a.b"]), CONTACTS, max_size=3),
    max_size=3,
)
FORM = (
    "This line is not an object with exactly user and contacts. For example "
    '{"user": "john", "contacts": {"ann@example.org": {"name": "Ann"}}}'
)


@given(ROSTERS)
def test_written_rosters_read_back(rosters: Mapping[str, Mapping[str, Contact]]) -> None:
    raw = "".join(write(*pair) for pair in rosters.items()).encode()
    assert read(raw, None) == read(b"\xef\xbb\xbf" + raw, None) == FileContents(rosters)


@given(st.binary(max_size=30) | st.text('user\n"{}:[]@ab.;', max_size=30).map(str.encode))
def test_any_bytes_give_rosters_or_refusals(raw: bytes) -> None:
    assert all(isinstance(roster, RefusedRoster) for roster in read(raw, None).refused)


def test_wrong_line_of_a_user_rejects_his_whole_roster() -> None:
    lines = (
        b'{"user":"john","contacts":{}}\n\n{"user":"john@a.b","contacts":["ann@a.b"]}\n{"user":7,"contacts":{}}\n[]\n'
        b'{"user":"kim","contacts":{}}\n{"user":"kim"}\n{"user":"Kim"}\n{"user":"zoe","contacts":["zoe@a.b"]}'
    )
    assert read(lines, "a.b") == FileContents(
        {},
        (
            RefusedRoster("john", "john appears twice; the first is in line 1.", 3),
            RefusedRoster("7", "The user is a number, not a string.", 4),
            RefusedRoster("", FORM, 5),
            RefusedRoster("kim", FORM, 7),
            RefusedRoster("Kim", "Kim is not in lower case. Write kim.", 8),
            RefusedRoster(
                "zoe",
                "zoe@a.b is the user themselves. Leave it out: Prosody hangs on a user's own address.",
                9,
            ),
        ),
    )


def test_a_line_that_cannot_be_read_says_why() -> None:
    found = read(b'{"user":"a","contacts":{"\\ud800@b.c":{}}}', None)
    assert found.refused[0].what.startswith("This line is not JSON: ")
    assert found.is_other


def test_a_copy_is_kept_until_it_is_too_old() -> None:
    copies = Copies(60.0, 1_000_000)
    copies.keep("john", RosterCopy(b"{}", 100.0))
    assert copies.get("john", 159.9) == RosterCopy(b"{}", 100.0)
    assert copies.get("mary", 159.9) is None
    assert copies.get("john", 160.0) is None
    assert (len(copies), copies.size_bytes) == (0, 0)


def test_an_earlier_copy_replaces_no_later_one() -> None:
    copies = Copies(60.0, 1_000_000)
    copies.keep("john", RosterCopy(b"later", 101.0))
    copies.keep("john", RosterCopy(b"earlier", 100.0))
    assert copies.get("john", 101.0) == RosterCopy(b"later", 101.0)


def test_copies_have_a_bound_and_the_oldest_go() -> None:
    copies = Copies(1000.0, 10_000)
    for number in range(100):
        copies.keep(f"user{number}", RosterCopy(b"x" * 600, float(number)))
        assert copies.size_bytes <= 10_000
    assert copies.get("user99", 99.0) is not None
    assert copies.get("user0", 99.0) is None
    copies.keep("huge", RosterCopy(b"x" * 10_001, 100.0))
    assert (len(copies), copies.size_bytes) == (0, 0)
