"""Message texts and secrets are taken out of a server's words in all forms, and nothing else is."""

import base64
import html
import json
from urllib.parse import quote, quote_plus

import pytest

from restbroker.job import hiding, redact
from restbroker.job.hiding import HIDDEN
from restbroker.job.json_types import Json

BODY = 'my private words 42 & <more> "quoted" für Rosa'
JOB: dict[str, Json] = {"type": "chat", "from": "shop@example.org", "to": "bob@example.org", "body": BODY}


def hidden(message: str, args: Json | dict[str, Json] = JOB) -> str:
    found = redact.look({"args": args} if isinstance(args, list) else {"args": ["send", args, "t"]})[1]
    return hiding.make_hide(found)(message, 500)


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
    assert hidden(f"Bad value: {quoted}!") in ("Bad value: ***!", HIDDEN)


def test_a_message_text_in_base64_is_masked_but_for_its_edges() -> None:
    shown = hidden(f"Bad value: {base64.b64encode(BODY.encode()).decode()}!")
    assert "***" in shown
    assert len(shown) < 22


def test_an_error_that_was_cut_within_a_message_text_is_hidden() -> None:
    assert hidden("Bad value: my priv...") == HIDDEN


def test_text_shown_by_other_arguments_stays_shown() -> None:
    job: dict[str, Json] = {"to": "bob@conference.example.org", "stanza": "<message to='bob@conference.example.org'/>"}
    text = "No room bob@conference.example.org at conference.example.org"
    assert hidden(text, job) == text


def test_few_words_in_common_stay_shown() -> None:
    text = "The user is not registered"
    assert hidden(text, {"body": "Your order is not ready, dear user"}) == text


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
    assert redact.job(fields, show_bodies=True)["error_message"] == fields["error_message"]
