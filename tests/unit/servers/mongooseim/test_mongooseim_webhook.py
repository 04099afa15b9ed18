"""MongooseIM's event pusher: its form is read whichever way it was written, and what is posted again is known."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.config.events import EventSource
from restbroker.config.load import load
from restbroker.errors import ConfigError
from restbroker.events import registry as sources
from restbroker.servers import registry
from restbroker.servers.event_contract import HookRequest, MalformedEvent
from restbroker.servers.mongooseim.webhook.form import read
from restbroker.servers.mongooseim.webhook.hook import PushHook, open_hook
from tests.support.rows import rows

CAPTURED = b"author=alice&server=localhost&receiver=bob&message="


def message(written: bytes) -> str:
    return read(CAPTURED + written)["message"]


@rows(
    ("written", "text"),
    [
        (b"a+b", "a b"),
        (b"a%20b+c", "a b c"),
        # Both in one value, as MongooseIM 6.8 writes it.
        (b"Hi%2C+Bob%21%20%26%20Zo%C3%AB+%3C3", "Hi, Bob! & Zo\xeb <3"),
        # Nobody writes this.
        (b"%zz%C3", "%zz\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_an_escaped_message_is_read_with_both_ways_of_writing_a_space(written: bytes, text: str) -> None:
    assert message(written) == text


@rows(
    "text",
    [
        "1 + 1 = 2",
        "100% of it, %20 too",
        "Tom & Jerry",
        "a=b & receiver=mallory",
        "x&message=y z",
        "Zo\xeb\n\u4f60\u597d",
    ],
)
def test_a_message_that_nobody_escaped_is_taken_as_it_is(text: str) -> None:
    fields = read(CAPTURED + text.encode())
    assert fields == {"author": "alice", "server": "localhost", "receiver": "bob", "message": text}


@given(st.text(), st.sampled_from([quote, quote_plus]), st.text())
def test_every_message_and_address_survives_being_escaped(text: str, escape: Callable[..., str], name: str) -> None:
    written = f"author={escape(name, safe='')}&server=s&receiver=r&message={escape(text, safe='')}&extra=1"
    assert read(written.encode()) == {"author": name, "server": "s", "receiver": "r", "message": text, "extra": "1"}


def test_a_form_of_many_fields_is_malformed() -> None:
    with pytest.raises(MalformedEvent, match="more than 64 fields"):
        read(b"&" * 1_000_000)


def posted(body: bytes) -> HookRequest:
    return HookRequest("POST", "/e", b"/e", b"", {}, body)


@rows(
    ("author", "server", "sender"),
    [
        ("alice", "", "alice"),
        ("alice@b.example", "a.example", "alice@b.example"),
        ("", "a.example", "a.example"),
        ("", "", None),
    ],
)
def test_of_the_sender_only_what_was_told_is_said(author: str, server: str, sender: str | None) -> None:
    body = f"author={author}&server={server}&receiver=&message=x".encode()
    event = PushHook().read(posted(body), "mim", 1.0).event
    assert (event.sender, event.receiver, event.server) == (sender, None, server or None)


@rows("name", ["author", "receiver", "message"])
def test_a_form_without_one_of_its_fields_is_malformed(name: str) -> None:
    left = b"&".join(part for part in (CAPTURED + b"secret").split(b"&") if not part.startswith(name.encode()))
    with pytest.raises(MalformedEvent, match=f"its form has no field {name}") as caught:
        PushHook().read(posted(left), "mim", 1.0)
    assert "secret" not in str(caught.value)


Configured = Callable[..., EventSource]
WRITTEN = {"Kind": "mongooseim-webhook", "Path": "/mim", "Queue": "events", "Class": "Event"}


@pytest.fixture
def configured(tmp_path: Path) -> Configured:
    """The source with these keys besides."""

    def run(**more: Any) -> EventSource:
        file = tmp_path / "env.json"
        file.write_text(json.dumps({"RestQueue": "r", "Token": "t", "Events": {"Sources": {"mim": WRITTEN | more}}}))
        events = load(file, {}, {}, registry.kinds(), sources.kinds()).config.events
        assert events is not None
        return events.sources[0]

    return run


def test_the_longer_of_both_windows_counts(configured: Configured) -> None:
    assert configured().window_s == 1.0
    assert configured(DropDuplicates="60s").window_s == 60.0
    assert configured(DropDuplicates="500ms").window_s == 1.0
    assert configured(DropDuplicates="60s", Options={"Resend": "0s"}).window_s == 60.0


def test_its_events_have_no_ids_and_redis_gets_half_a_second(configured: Configured) -> None:
    source = configured()
    assert (source.has_ids, source.patience_s) == (False, 0.5)
    assert configured(Options={"Patience": "100ms"}).patience_s == 0.1


def test_iqs_never_come(configured: Configured) -> None:
    with pytest.raises(ConfigError, match="IQ: has no effect"):
        configured(IQ="accept")


def test_what_redis_did_not_take_is_answered_with_503_and_what_it_took_with_success(configured: Configured) -> None:
    hook = open_hook(configured())
    body = b"author=alice&server=localhost&receiver=bob&message=hi"
    told = hook.read(HookRequest("POST", "/mim", b"/mim", b"", {}, body), "mim", 1.0)
    later = hook.answer_not_now(told, 7)
    assert (later.status, later.headers["Retry-After"]) == (503, "7")
    assert 200 <= hook.answer_accepted(told).status < 300
