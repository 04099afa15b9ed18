"""Of what a server says, message texts and secrets are taken out in all forms, and nothing else is."""

import base64
import html
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.job import hiding, markup, redact
from restbroker.job.hiding import MASK
from restbroker.job.json_types import Json
from restbroker.job.spellings import SHORTEST_ANYWHERE
from tests.support.rows import rows

BODY = 'my private words 42 & <more> "quoted" für Rosa'
JOB: dict[str, Json] = {"type": "chat", "from": "shop@example.org", "to": "bob@example.org", "body": BODY}


def hidden(message: str, args: Json | dict[str, Json] = JOB) -> str:
    shown = hiding.make_hide(redact.bodies_of(args))(message, 500)
    if hiding.leaves_unchanged([message], redact.bodies_of(args), frozenset()):
        assert shown == message
    return shown


@pytest.mark.parametrize(
    "quoted",
    [
        BODY,
        json.dumps(BODY)[1:-1],
        json.dumps(json.dumps(BODY))[3:-3],
        html.escape(BODY),
        quote(BODY),
        quote_plus(BODY),
        BODY.replace(" ", "\n"),
        BODY[4:24],
    ],
)
def test_a_quoted_message_text_is_masked_in_every_form(quoted: str) -> None:
    assert hidden(f"Bad value: {quoted}!") == "Bad value: ***!"


def test_a_message_text_in_base64_is_masked_but_for_its_edges() -> None:
    shown = hidden(f"Bad value: {base64.b64encode(BODY.encode()).decode()}!")
    assert "***" in shown
    assert len(shown) < 22


@pytest.mark.parametrize(("told", "shown"), [("my priv...", "***..."), ("…für Rosa: no", "…***: no")])
def test_a_message_text_that_is_cut_is_masked(told: str, shown: str) -> None:
    assert hidden(told) == shown


def test_what_other_arguments_show_stays_shown() -> None:
    job: dict[str, Json] = {"to": "bob@conference.example.org", "stanza": "<message to='bob@conference.example.org'/>"}
    told = "No room bob@conference.example.org at conference.example.org"
    assert hidden(told, job) == told


def test_few_words_in_common_stay_shown() -> None:
    told = "The user is not registered"
    assert hidden(told, {"body": "Your order is not ready, dear user"}) == told


@pytest.mark.parametrize(
    "args",
    [
        ["send", {"Subject": "hello"}, "t"],
        ["send", [["body", "hello"]], "t"],
        ["send", [{"body": "hello"}], "t"],
        ["send", '{"text": "hello"}', "t"],
        ["send", {"parts": [{"html": ["hello"]}]}, "t"],
        {"message": '{"a": "hello"}'},
    ],
)
def test_message_texts_are_found_in_any_form_of_arguments(args: Json) -> None:
    assert hidden("no hello, Othello", args) == "no ***, Othello"


def test_a_blank_or_tiny_message_text_masks_nothing() -> None:
    assert hidden("no. a b", {"body": ".", "subject": " ", "text": "a", "html": None, "xml": []}) == "no. a b"


def test_a_stored_refusal_shows_no_message_text_unless_requested() -> None:
    fields: dict[str, Json] = {
        "class": "Add",
        "args": ["send", JOB, "t"],
        "error_message": f"Bad value: {BODY}!",
        "restbroker_attempts": [{"excerpt": f"Bad value: {BODY}!"}],
    }
    masked = redact.job(fields)
    assert masked["error_message"] == "Bad value: ***!"
    assert masked["restbroker_attempts"] == [{"excerpt": "Bad value: ***!"}]
    assert redact.mask_by_names(fields, None, show_bodies=False, size_bytes=900) is None
    assert redact.job(fields, show_bodies=True)["error_message"] == fields["error_message"]


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
