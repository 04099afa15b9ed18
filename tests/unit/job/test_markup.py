"""Of texts that name a secret, names of XMPP's notation are no secrets; all else is masked as if no name were known."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.job import hiding, markup, redact
from restbroker.job.hiding import MASK
from restbroker.job.json_types import Json
from restbroker.job.spellings import SHORTEST_ANYWHERE
from tests.support.rows import rows

FORM = (
    "<iq type='set' to='example.org'><command xmlns='http://jabber.org/protocol/commands'"
    " node='http://jabber.org/protocol/admin#add-user' action='execute'><x xmlns='jabber:x:data' type='submit'>"
    "<field var='accountjid'><value>zoe@example.net</value></field>"
    "<field var='password'><value>Pa5s-word</value></field></x></command></iq>"
)
MEMBERS: Json = {
    "node": "http://jabber.org/protocol/admin#add-user",
    "data": {"accountjid": "zoe@example.net", "password-verify": "Pa5s-word"},
}

pieces = st.one_of(
    st.sampled_from([*markup.NAMES, "<", "</", ">", "/>", "'", '"', "='", "=", " ", "\n", "\0", "<![CDATA["]),
    st.sampled_from(
        [" action='", "<command>", "<command action", "var='accountjid'", "xmlns='jabber:x", "node='http:"]
    ),
    st.text(max_size=7),
)


def _in_a_row(text: str) -> set[str]:
    return {text[at : at + SHORTEST_ANYWHERE] for at in range(len(text) - SHORTEST_ANYWHERE + 1)}


@pytest.mark.promise("Security: who can read Redis", "to read passwords and texts in arguments")
@given(st.lists(pieces, max_size=12).map("".join))
def test_six_characters_in_a_row_are_a_part_of_names_or_are_left(text: str) -> None:
    for taken in _in_a_row(text) - _in_a_row(markup.without_names(text)):
        assert all(any(word in name for name in markup.NAMES) for word in taken.removeprefix("/").split()), taken


@rows(("told", "shown"), [
    ("The ad-hoc command failed: unknown action", "The ad-hoc command failed: unknown action"),
    ("CommandFailed", "CommandFailed"),
    ("Check that the accounts exist; it is a password", "Check that the accounts exist; it is a password"),
    ("No such jabber protocol: http://jabber.org/protocol/x", "No such jabber protocol: http://jabber.org/protocol/x"),
    ("wrong Pa5s-word of zoe@example.net", f"wrong {MASK} of {MASK}"),
    ("no <value>Pa5s-word</value> here", f"no {MASK} here"),
    ("no <value>Pa5s-w", f"no {MASK}"),
    ("<command xmlns='http://jabber.org/protocol/commands'", f"{MASK}//jabber.org/protocol/com{MASK}"),
    ("PHZhbHVlPlBhNXMtd29yZDwvdmFsdWU+", MASK),
    ("PGNvbW1hbmQ", MASK),
])  # fmt: skip
def test_a_server_may_use_the_words_of_the_notation_and_no_others_of_a_form(told: str, shown: str) -> None:
    assert hiding.text(told, redact.secret_values(None, {"xml": FORM})) == shown


def test_the_members_of_a_form_as_json_are_words_of_the_notation_too() -> None:
    hide = hiding.make_hide(redact.secret_values(None, {"command": MEMBERS}))
    told = "The ad-hoc command failed: protocol of accounts; Pa5s-word"
    assert hide(told, 99) == told.replace("Pa5s-word", MASK)


@rows(
    "secret", [*markup.NAMES, "my-command", "commander", "<command", "/command/", "<![CDATA[command]]>", "a action b"]
)
def test_a_password_that_is_a_name_of_the_notation_is_masked(secret: str) -> None:
    found = redact.secret_values(None, {"xml": FORM.replace("Pa5s-word", secret)})
    assert hiding.text(f"no {secret}, no", found).strip() == f"no {MASK}, no"


@rows(
    "piece", ["<command ", " action", " ", "\t action=", "<", "</", "http://jabber.org/protocol/", "\0accountjid", "a"]
)
def test_the_time_to_find_names_grows_with_the_length_and_not_faster(piece: str) -> None:
    for before in ("<command", "<command ", "xmlns='"):
        began_s = time.process_time()
        markup.without_names(before + piece * (300_000 // len(piece)))
        assert time.process_time() - began_s < 3.0, before
