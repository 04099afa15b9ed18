"""What is a roster, what is refused by name, and what Prosody gets of it."""

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.job.json_types import Json
from restbroker.rosters import rules as roster
from restbroker.rosters.rules import BadRoster, Contact, read_contact, read_jid, read_roster, read_user
from tests.support.rows import rows

JSON = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.lists(st.text(max_size=3), max_size=2)
)
NO_MEMBER = (
    "a@b.c has the member {}, which Prosody does not take."
    " A contact has a name and groups, and its subscription is always both."
)
JIDS = st.sampled_from(["ann@a.b", "bob@a.b", "Ann@a.b", "gateway.a.b", "ann", "", "a@b/c", "a\x00@b.c"])
GROUPS = st.dictionaries(st.text(max_size=3), JSON, max_size=2)
MEMBERS = {"name": JSON, "groups": JSON | GROUPS, "subscription": JSON}
CONTACTS = st.fixed_dictionaries({}, optional=MEMBERS)
LISTED = st.fixed_dictionaries({"jid": JIDS}, optional=MEMBERS)
ROSTERS = JSON | st.dictionaries(JIDS, JSON | CONTACTS, max_size=3) | st.lists(JSON | JIDS | LISTED, max_size=3)


def tried(document: Json) -> Mapping[str, Contact] | BadRoster:
    try:
        return read_roster(document)
    except BadRoster as error:
        return error


def refusal(document: Json) -> str:
    with pytest.raises(BadRoster) as refused:
        read_roster(document)
    return str(refused.value)


def test_a_roster_is_an_object_or_a_list() -> None:
    ann = Contact("Ann", ("Friends", "Work"))
    assert read_roster({"ann@a.b": {"name": "Ann", "groups": ["Work", "Friends", "Work"]}, "bob@a.b": {}}) == {
        "ann@a.b": ann,
        "bob@a.b": Contact(),
    }
    listed: Json = [{"jid": "ann@a.b", "name": "Ann", "groups": {"Work": True, "Friends": {}}}, "bob@a.b"]
    assert read_roster(listed) == {"ann@a.b": ann, "bob@a.b": Contact()}
    assert read_roster({}) == read_roster([]) == {}


def test_field_without_meaning_for_a_contact_is_left_out() -> None:
    empty: list[Json] = [
        {"name": None, "groups": None},
        {"name": "", "groups": []},
        {"groups": {}, "subscription": "both"},
    ]
    for document in empty:
        assert read_contact(document) == Contact()


@rows(("document", "why"), [
    (None, "The roster is null, not an object or a list."),
    ("a@b.c", "The roster is a string, not an object or a list."),
    ([None], 'Contact 1 of the list has no "jid".'),
    (["a@b.c", {}], 'Contact 2 of the list has no "jid".'),
    ([{"jid": 7}], "The JID of a contact is a number, not a string."),
    (["a@b.c", "a@b.c"], "a@b.c appears twice. Each contact may appear once."),
    ({"A@b.c": {}}, "A@b.c is not in lower case. Write a@b.c."),
    ({"a@b.c/d": {}}, "a@b.c/d has a resource. Write a@b.c."),
    ({"a@@b": {}}, "a@@b has more than one @."),
    ({"": {}}, "The empty JID has no domain."),
    ({"pending": {}}, "pending has no domain. Write pending@ and the domain."),
    ({"a\n@b.c": {}}, "a\\u000a@b.c has the character U+000A, which no address may have."),
    ({"a@b.c": None}, 'a@b.c is null, not an object. For example {"name": "Ann"}, or {}.'),
    ({"a@b.c": True}, 'a@b.c is a boolean, not an object. For example {"name": "Ann"}, or {}.'),
    ({"a@b.c": {"name": 7}}, "a@b.c has a name that is a number, not a string."),
    ({"a@b.c": {"name": True}}, "a@b.c has a name that is a boolean, not a string."),
    ({"a@b.c": {"name": "a\x07"}}, "a@b.c has the character U+0007 in its name. Remove it."),
    ({"a@b.c": {"name": "\ufffe"}}, "a@b.c has the character U+FFFE in its name. Remove it."),
    ({"a@b.c": {"name": "\udc80"}}, "a@b.c has the character U+DC80 in its name. Remove it."),
    ({"a@b.c": {"name": "é" * 513}}, "a@b.c has a name of more than 1024 bytes."),
    ({"a@b.c": {"groups": "Work"}}, 'a@b.c has a string for a group. Groups are a list of names: ["Work"].'),
    ({"a@b.c": {"groups": [None]}}, 'a@b.c has null for a group. Groups are a list of names: ["Work"].'),
    ({"a@b.c": {"groups": [""]}}, 'a@b.c has an empty string for a group. Groups are a list of names: ["Work"].'),
    (
        {"a@b.c": {"groups": {"Work": False}}},
        "a@b.c has a group that is false. Leave out groups that the contact is not in.",
    ),
    ({"a@b.c": {"groups": ["a\tb"]}}, "a@b.c has the character U+0009 in its group. Remove it."),
    ({"a@b.c": {"groups": [str(n) for n in range(101)]}}, "a@b.c has 101 groups; 100 are the limit."),
    ({"a@b.c": {"ask": "subscribe"}}, NO_MEMBER.format("ask")),
    ({"a@b.c": {"subscription": "from"}}, NO_MEMBER.format("subscription")),
])  # fmt: skip
def test_one_bad_entry_is_refused_by_name(document: Json, why: str) -> None:
    good: Json = {"good@b.c": {}, **document} if isinstance(document, dict) else document
    assert refusal(good) == why


def test_a_roster_is_bounded_by_contacts_and_by_bytes() -> None:
    assert refusal([f"u{n}@a.b" for n in range(10_001)]) == "The roster has 10001 contacts; 10000 are the limit."
    large: Json = {f"u{n}@a.b": {"name": "n" * 1024} for n in range(4100)}
    assert refusal(large) == "The roster has 4279290 bytes; 4194304 are the limit."


@given(ROSTERS)
def test_whatever_comes_is_a_roster_or_refused_in_one_line(document: Json) -> None:
    found = tried(document)
    if isinstance(found, BadRoster):
        assert str(found).isprintable()
        return
    served = json.loads(roster.as_prosody(found))
    assert list(served) == sorted(found)
    for jid, contact in served.items():
        assert read_jid(jid) == jid
        assert set(contact) <= {"name", "groups"}
        assert isinstance(contact.get("name", ""), str)
        assert isinstance(contact.get("groups", {}), dict)
        assert all(contact.get("groups", {}).values())
    stored = {jid.encode(): roster.as_stored(contact) for jid, contact in found.items()}
    assert roster.roster_of(stored, "nobody", None) == (found, ())
    assert read_roster(roster.as_json(found)) == found


def test_prosody_gets_groups_as_an_object() -> None:
    found = read_roster({"b@x.y": {"name": "Bé", "groups": ["W", "F"]}, "a@x.y": {}})
    assert roster.as_prosody(found).decode() == '{"a@x.y":{},"b@x.y":{"name":"Bé","groups":{"F":true,"W":true}}}'
    assert roster.as_prosody({}) == b"{}"


def test_bad_entries_of_others_are_left_out() -> None:
    stored = {
        b"a@x.y": b'{"name":"A"}',
        b"B@x.y": b"{}",
        b"c@x.y": b"nonsense",
        b"\xff@x.y": b"{}",
        b"d@x.y": b'{"groups":["a"]}',
    }
    found, bad = roster.roster_of(stored, "nobody", None)
    assert found == {"a@x.y": Contact("A"), "d@x.y": Contact(None, ("a",))}
    assert [str(roster) for roster in bad] == [
        "B@x.y is not in lower case. Write b@x.y.",
        "c@x.y is not a contact as Redis stores it.",
        "\\xff@x.y is not a contact as Redis stores it.",
    ]


def test_user_himself_is_not_served_as_a_contact() -> None:
    stored = {b"john@x.y": b"{}", b"john@z.y": b"{}", b"johnny@x.y": b"{}", b"x.y": b"{}"}
    found, bad = roster.roster_of(stored, "john", "x.y")
    assert set(found) == {"john@z.y", "johnny@x.y", "x.y"}
    assert [roster.entry for roster in bad] == ["john@x.y"]
    found, bad = roster.roster_of(stored, "john", None)
    assert set(found) == {"johnny@x.y", "x.y"}
    assert [roster.entry for roster in bad] == ["john@x.y", "john@z.y"]


@rows(("text", "domain", "user"), [
    ("john", None, "john"),
    ("john", "a.b", "john"),
    ("john@a.b", "a.b", "john"),
    ("john@c.d", None, "john"),
    ("jörg", None, "jörg"),
])  # fmt: skip
def test_a_user_may_be_named_with_the_domain_or_without(text: str, domain: str | None, user: str) -> None:
    assert read_user(text, domain) == user


@rows(("text", "domain", "why"), [
    (None, None, "The user is null, not a string."),
    ("", None, "The empty user has nothing before the @."),
    ("@a.b", None, "@a.b has nothing before the @."),
    ("John", "a.b", "John is not in lower case. Write john."),
    ("john@c.d", "a.b", "john@c.d is not a user of a.b. Rosters are kept for users of that domain only."),
    ("john@a.b/c", "a.b", "john@a.b/c has an invalid domain."),
    ("a b", None, '"a b" has U+0020 in a user\'s name.'),
])  # fmt: skip
def test_impossible_user_is_refused(text: Json, domain: str | None, why: str) -> None:
    with pytest.raises(BadRoster) as refused:
        read_user(text, domain)
    assert str(refused.value) == why
