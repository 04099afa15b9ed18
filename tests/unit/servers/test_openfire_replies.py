"""The same command gets the same reply from both kinds of Openfire's targets, in whatever dialect it is answered."""

import json
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.job.command import Call, Command
from restbroker.job.outcome import Delivered
from restbroker.servers import registry
from restbroker.servers.openfire.chat import outcomes as of_chat
from restbroker.servers.openfire.chat.catalogue import table
from restbroker.servers.openfire.normal import normalise
from restbroker.servers.openfire.rest import outcomes as of_rest
from restbroker.servers.openfire.rest.catalogue import TABLE as REST
from restbroker.transport.message import TRUNCATED, Response
from tests.support.player import files, recorded

CASES: list[tuple[str, Any, list[Any]]] = [
    (example["answer"], example["newest"], example["said"])
    for example in map(json.loads, Path(__file__).with_name("openfire_normal.jsonl").read_text("utf-8").splitlines())
]


def test_each_dialect_is_brought_into_the_newest() -> None:
    wrong = [
        (answer, body, newest)
        for answer, newest, said in CASES
        for body in (*said, newest)
        if normalise(answer, body) != newest
    ]
    assert wrong == []


def test_unknown_reply_stays_as_it_came() -> None:
    assert normalise("SecurityAuditLogs", {"logs": None}) == {"logs": None}
    assert normalise("UserEntity", ["odd"]) == ["odd"]
    assert normalise("SessionsCount", {"localSessions": "many", "new": "1"}) == {"localSessions": "many", "new": "1"}
    odd = {"roomName": "r", "creationDate": "yesterday", "maxUsers": "9" * 30, "persistent": "maybe"}
    found = normalise("MUCRoomEntity", odd)
    assert isinstance(found, dict)
    assert {name: found[name] for name in odd} == odd


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["user", "users", "properties", "property", "@key", "ressource", "x"]), inner)
    ),
    max_leaves=8,
)


@given(st.sampled_from(sorted({answer for answer, _, _ in CASES})), JSON)
def test_whatever_comes_is_brought_into_one_form_that_stays(answer: str, body: Any) -> None:
    once = normalise(answer, body)
    assert normalise(answer, normalise(answer, once)) == normalise(answer, once)


Kind = Literal["openfire-chat", "openfire-rest"]
CHAT = table("source")
SHARED = sorted(CHAT.keys() & REST.keys())
UNRECORDED = {"get_system_property"}
"""What nobody recorded of the dialect of the Chat API: the measured token did not allow it."""


@attrs.frozen
class Answer:
    """One that was recorded, with what was cut off it left out."""

    command: str
    status: int
    type: str | None
    body: str
    cut: bool = False

    def of(self, kind: Kind) -> Delivered:
        """The reply of a target of this kind that answers so."""
        headers = {} if self.type is None else {"content-type": self.type}
        response = Response(self.status, headers, self.body.encode(), 0.0, TRUNCATED if self.cut else None)
        call, spec = Call(Command(self.command, {})), registry.catalogue(kind).commands[self.command]
        if kind == "openfire-rest":
            outcome = of_rest.classify(call, REST[self.command], spec, response)
        else:
            outcome = of_chat.classify(call, CHAT[self.command], spec, response, 0.0, "")
        assert isinstance(outcome, Delivered), outcome
        return outcome


def closed(text: str) -> str:
    """JSON of which the beginning alone is left, without the members that are not whole."""
    while text:
        text = text[: max(text.rfind(","), 0)]
        for end in ("}", "}]}", "]}", "}}"):
            try:
                return json.dumps(json.loads(text + end))
            except ValueError:
                pass
    raise ValueError


def answers(folder: str) -> list[Answer]:
    """Those in JSON of commands that were done; the cut ones last."""
    whole = [name for name in files(folder) if not name.endswith(("/cut", "/quoted"))]
    found = [(exchange, False) for exchange in recorded(*whole) if not exchange.assumed]
    found += [(exchange, True) for exchange in recorded(f"{folder}/cut")]
    return [
        Answer(exchange.command, exchange.status, kind, closed(exchange.answer) if cut else exchange.answer, cut)
        for exchange, cut in found
        for kind in [exchange.answer_headers.get("Content-Type")]
        if exchange.command and exchange.status < 300 and kind != "application/xml"
    ]


OLD = [*answers("openfire-chat/0.9.6"), *answers("openfire-rest/1.2.5")]
ALL = [*OLD, *answers("openfire-rest/1.3.10")]


def test_one_answer_is_one_reply_whichever_kind_the_target_is_of() -> None:
    for command in SHARED:
        answers = [answer for answer in ALL if answer.command == command]
        assert answers or not CHAT[command].answer or command in UNRECORDED
        for answer in answers:
            ours, theirs = answer.of("openfire-chat"), answer.of("openfire-rest")
            assert (ours.text, ours.body) == (theirs.text, theirs.body), command


@pytest.mark.promise("Security: who can reach the ports", "as a producer, to act as any user of Openfire")
def test_list_of_sessions_shows_no_login_also_where_it_is_cut() -> None:
    for end in ('"}]}', ""):
        for kind in ("openfire-chat", "openfire-rest"):
            listed = next(answer for answer in OLD if answer.command == "list_sessions")
            raw = json.dumps(json.loads(listed.body)).removesuffix("}]}") + ', "hostName": "ofchat-416662711' + end
            assert "ofchat1" in listed.body, end
            delivered = attrs.evolve(listed, body=raw, cut=not end).of(kind)
            assert "ofchat" not in delivered.text, end
            assert "ofchat" not in repr(delivered.body), end
            assert "visitor" in delivered.text, end
