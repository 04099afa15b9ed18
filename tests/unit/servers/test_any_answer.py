"""Whatever a server answers, of any kind: the command has an outcome, and the job a fate."""

import json
from functools import partial

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from restbroker.transport.message import Response
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
    asked = data.draw(st.sampled_from(KINDS[kind].commands))
    call = data.draw(st.sampled_from([call for _, call in calls(asked)]))
    answer = Response(status, headers, body, 0.0, truncated=is_cut)
    bench = Bench(KINDS[kind], TARGETS[kind])
    assert trio.run(partial(bench.fate, asked, call, answer))


TARGETS = {name: target_of(kind) for name, kind in KINDS.items()}
