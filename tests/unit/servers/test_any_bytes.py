"""Whatever comes, of any kind: an answer is an outcome, a post an event or malformed."""

import json
from functools import partial

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from restbroker.config.events import EventSource
from restbroker.job import rubyjson
from restbroker.job.event import EVENT_TYPES, as_json
from restbroker.servers.event_contract import HookRequest, MalformedEvent
from restbroker.servers.mongooseim.sns.hook import read_notification
from restbroker.servers.mongooseim.webhook import PushHook
from restbroker.servers.prosody.events import Options, open_hook
from restbroker.transport.message import TRUNCATED, UNPARSED, Response
from tests.golden.cases import KINDS
from tests.golden.fates import Bench, calls, target_of

_WORDS = st.sampled_from(
    [
        *("status", "code", "message", "type", "error", "errors", "condition", "text", "command", "note"),
        *("data", "extensions", "path", "account", "exception", "ressource", "success", "result"),
    ]
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS | st.text(max_size=4), inner, max_size=4),
    max_leaves=10,
)
_BODIES = (
    st.binary(max_size=100)
    | st.sampled_from([b"[" * depth for depth in (100, 5000, 100_000)])
    | _JSON.map(lambda body: json.dumps(body).encode())
)
_STATUSES = st.sampled_from([200, 400, 404, 409, 500]) | st.integers(100, 999)
_HEADERS = st.fixed_dictionaries({}, optional={"retry-after": st.text(max_size=12), "content-type": st.text()})


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data(), status=_STATUSES, body=_BODIES, headers=_HEADERS, is_cut=st.booleans())
def test_any_answer_has_an_outcome(
    kind: str, data: st.DataObject, status: int, body: bytes, headers: dict[str, str], is_cut: bool
) -> None:
    case = data.draw(st.sampled_from(KINDS[kind].commands))
    call = data.draw(st.sampled_from([call for _, call in calls(case)]))
    answer = Response(status, headers, body, 0.0, TRUNCATED if is_cut else None)
    bench = Bench(KINDS[kind], TARGETS[kind])
    assert trio.run(partial(bench.fate, case, call, answer))


TARGETS = {name: target_of(kind) for name, kind in KINDS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_what_there_is_no_room_to_parse_ends_as_what_is_cut(kind: str) -> None:
    bench = Bench(KINDS[kind], TARGETS[kind])
    for case in KINDS[kind].commands[::5]:
        _, call = next(calls(case))
        cut = trio.run(partial(bench.fate, case, call, Response(200, {}, b'{"a": [1', 0.0, TRUNCATED)))
        unparsed = trio.run(partial(bench.fate, case, call, Response(200, {}, b'{"a": [1]}', 0.0, UNPARSED)))
        assert unparsed == cut.replace("answer truncated", "answer not parsed"), call


_HOOKS = st.sampled_from(
    [PushHook(), *(open_hook(EventSource(options=Options(xml=is_xml))) for is_xml in (False, True))]
)
_VALUES = st.recursive(st.none() | st.text() | st.integers(), st.lists, max_leaves=5)
_OBJECTS = _VALUES.map(lambda value: json.dumps(value).encode())
_STANZAS = _VALUES.map(lambda value: json.dumps({"kind": "message", "x": value}).encode())
_XML = st.text(max_size=200).map(lambda text: f"<message>{text}</message>".encode())
_FORMS = st.binary(max_size=100).map(b"author=alice&server=localhost&receiver=bob&message=".__add__)


@given(hook=_HOOKS, body=st.binary(max_size=200) | _OBJECTS | _STANZAS | _XML | _FORMS)
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
        read_notification(body)
