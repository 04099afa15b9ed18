"""The dialects of one answer come out alike. Those of the REST API were measured on 1.2.5 and 1.3.10, and that of the
Chat API on ofchat 0.9.6.
"""

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from restbroker.servers.openfire.normal import normalise

CASES: list[tuple[str, Any, list[Any]]] = [
    (one["answer"], one["newest"], one["said"])
    for one in map(json.loads, Path(__file__).with_name("openfire_normal.jsonl").read_text("utf-8").splitlines())
]


def test_each_dialect_is_brought_into_the_newest() -> None:
    wrong = [
        (answer, body, newest)
        for answer, newest, said in CASES
        for body in (*said, newest)
        if normalise(answer, body) != newest
    ]
    assert wrong == []


def test_what_is_not_known_stays_as_it_came() -> None:
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
