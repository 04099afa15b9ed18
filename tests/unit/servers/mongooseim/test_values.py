"""Which values an operation's types take: what MongooseIM would refuse is refused before anything is sent."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.servers.api.arguments import InvalidArguments
from restbroker.servers.mongooseim.schema import operations, type_of
from restbroker.servers.mongooseim.values import check

ADMIN = operations("admin", "6.8.0")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["jid", "name", "x"]), inner),
    max_leaves=6,
)
VCARD: dict[str, Any] = {"formattedName": "A", "nameComponents": {}}


def why(kind: str, value: Any) -> str:
    """What is wrong with it; empty: nothing."""
    try:
        check({"it": value}, {"it": type_of(kind)}, "op")
    except InvalidArguments as unfit:
        return str(unfit).removeprefix('the argument "it" is ')
    return ""


def test_these_are_taken() -> None:
    taken: dict[str, Sequence[Any]] = {
        "String": (None, "", "a"),
        "Int": (-(2**31),),
        "PosInt": (1, 2**40),
        "NonNegInt!": (0,),
        "Boolean!": (False,),
        "JID!": ("alice@localhost", "Alice.B@Example.org/res with blanks"),
        "FullJID!": ("alice@localhost/res",),
        "NodeName!": ("mongooseim@localhost", "self"),
        "BareJID!": ("room@muc.example.org",),
        "UserName": ("alice",),
        "RoomName": ("room.1",),
        "DomainName!": ("localhost",),
        "ResourceName!": ("a@b/c",),
        "DateTime!": ("2030-01-31T08:00:00Z", "2030-01-31T08:00:00.123456+01:00"),
        "XmlElement!": ("<message to='a@b'><body>&lt;</body></message>",),
        "[String]": ([], [None, "a"]),
        "[ContactInput!]!": (
            [{"jid": "a@b", "name": "", "groups": ["x"]}, {"jid": "a@b", "name": "", "groups": None}],
        ),
        "VcardInput!": (
            VCARD,
            {**VCARD, "agent": [{"vcard": VCARD}], "telephone": [{"number": "1", "tags": ["HOME"]}]},
        ),
        "MUCAffiliation!": ("OWNER",),
    }
    assert {(kind, told) for kind, values in taken.items() for value in values if (told := why(kind, value))} == set()


def test_these_are_not() -> None:
    rows: list[tuple[str, Any, str]] = [
        ("String!", None, "missing"),
        ("String!", 1, "a number, where a string is needed"),
        ("String", "\ud800", "a string, but not whole characters only"),
        ("Int!", 2**31, "a number, but not a whole number of 32 bits"),
        ("Int!", True, "a boolean, where a whole number of 32 bits is needed"),
        ("PosInt!", 1.0, "a number, where a whole number above 0 is needed"),
        ("PosInt!", 0, "a number, but not a whole number above 0"),
        ("NonNegInt!", -1, "a number, but not a whole number, 0 or more"),
        ("NonEmptyString!", "", "a string, but not a string that is not empty"),
        ("FullJID!", "a@b", "a string, but not a JID with a resource"),
        ("NodeName!", "host", "a string, but not a node's name such as mongooseim@host"),
        ("Boolean!", "true", "a string, where true or false is needed"),
        ("JID!", "a b@localhost", "a string, but not a JID such as alice@example.org"),
        ("BareJID!", "a@b/c", "a string, but not a JID without a resource"),
        ("UserName!", "a@b", "a string, but not a user's name, without a domain"),
        ("DomainName!", "", "a string, but not a domain's name"),
        ("DateTime!", "yesterday", "a string, but not a time such as 2030-01-31T08:00:00Z"),
        ("XmlElement!", "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "a string, but not an XML element"),
        ("MUCAffiliation!", "owner", "a string, but not one of OWNER, ADMIN, MEMBER, OUTCAST, NONE"),
        ("[JID!]!", "a@b", "a string, where a list is needed"),
        ("ContactInput!", "a@b", "a string, where an object is needed"),
    ]
    assert [(row, told) for row in rows if (told := why(*row[:2])) != row[2]] == []


def test_the_place_inside_is_named() -> None:
    rows: list[tuple[str, Any, str | None]] = [
        ("[JID!]!", ["a@b", None], 'the argument "it[2]" is missing'),
        ("[ContactInput!]!", [{"jid": "a@b"}], 'the argument "it[1].name" is missing'),
        (
            "ContactInput!",
            {"jid": "a@b", "name": "", "group": []},
            "the argument \"it\" has a member 'group', which ContactInput does not have; did you mean groups?",
        ),
        ("VcardInput!", {**VCARD, "email": [{"userId": 1}]}, None),
    ]
    for kind, value, told in rows:
        with pytest.raises(InvalidArguments) as caught:
            check({"it": value}, {"it": type_of(kind)}, "op")
        assert str(caught.value) == (told or 'the argument "it.email[1].userId" is a number, where a string is needed')


def test_an_argument_that_there_is_not_is_named_with_what_was_meant() -> None:
    given_ = {"usernam": "a", "domain": "localhost", "password": "hush"}
    with pytest.raises(
        InvalidArguments, match=r"'usernam', which account\.registerUser does not have; did you mean user"
    ):
        check(given_, ADMIN["account.registerUser"].arguments, "account.registerUser")


def test_a_vcard_in_a_vcard_in_a_vcard_has_an_end() -> None:
    card = VCARD
    for _ in range(200):
        card = {**VCARD, "agent": [{"vcard": card}]}
    assert why("VcardInput!", card) == "it is nested too deeply"


@given(st.sampled_from(list(ADMIN.values())), st.data())
def test_any_json_is_taken_or_refused_and_never_shown(operation: Any, data: st.DataObject) -> None:
    names = st.sampled_from([*operation.arguments, "other"])
    arguments = data.draw(st.dictionaries(names, JSON | st.just("h4sh-h4sh-h4sh")))
    try:
        check(arguments, operation.arguments, operation.name)
    except InvalidArguments as unfit:
        told = str(unfit)
    else:
        told = ""
    assert "h4sh" not in told
