"""Of texts that name a secret, names of XMPP's notation are no secrets; all else is masked as if no name were known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.job import hiding, markup, redact
from restbroker.job.hiding import MASK
from restbroker.job.spellings import SHORTEST_ANYWHERE
from tests.support.rows import rows

FORM = (
    "<iq type='set' to='example.org'><command xmlns='http://jabber.org/protocol/commands'"
    " node='http://jabber.org/protocol/admin#add-user' action='execute'><x xmlns='jabber:x:data' type='submit'>"
    "<field var='accountjid'><value>zoe@example.net</value></field>"
    "<field var='password'><value>Pa5s-word</value></field></x></command></iq>"
)

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


@rows(
    "secret", [*markup.NAMES, "my-command", "commander", "<command", "/command/", "<![CDATA[command]]>", "a action b"]
)
def test_a_password_that_is_a_name_of_the_notation_is_masked(secret: str) -> None:
    found = redact.secret_values(None, {"xml": FORM.replace("Pa5s-word", secret)})
    assert hiding.text(f"no {secret}, no", found).strip() == f"no {MASK}, no"
