"""Whatever is posted to a source of any kind is an event that a job can hold, or malformed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.config.events import EventSource
from restbroker.job import rubyjson
from restbroker.job.event import EVENT_TYPES, as_json
from restbroker.servers.event_contract import HookRequest, MalformedEvent
from restbroker.servers.mongooseim.sns import form
from restbroker.servers.mongooseim.webhook.hook import PushHook
from restbroker.servers.prosody.events.hook import open_hook
from restbroker.servers.prosody.events.options import Options

_HOOKS = st.sampled_from(
    [PushHook(), *(open_hook(EventSource(options=Options(xml=is_xml))) for is_xml in (False, True))]
)
_VALUES = st.recursive(st.none() | st.text() | st.integers(), st.lists, max_leaves=5)
_JSON = _VALUES.map(lambda value: json.dumps(value).encode())
_STANZAS = _VALUES.map(lambda value: json.dumps({"kind": "message", "x": value}).encode())
_XML = st.text(max_size=200).map(lambda text: f"<message>{text}</message>".encode())
_FORMS = st.binary(max_size=100).map(b"author=alice&server=localhost&receiver=bob&message=".__add__)


@given(hook=_HOOKS, body=st.binary(max_size=200) | _JSON | _STANZAS | _XML | _FORMS)
def test_any_bytes_are_an_event_or_malformed(hook: PushHook, body: bytes) -> None:
    try:
        event = hook.read(HookRequest("POST", "/", b"/", b"", {}, body), "it", 1.0).event
    except MalformedEvent:
        return
    assert event.type in EVENT_TYPES
    rubyjson.dumps({"args": [as_json(event)]})


@given(body=st.binary(max_size=200))
def test_any_bytes_are_no_publication(body: bytes) -> None:
    with pytest.raises(MalformedEvent):
        form.read(body)
