"""A job that waits carries a signature in its token's place, and is the same job."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from restbroker.job import arguments, rubyjson, settle, signing
from restbroker.job.arguments import Submission
from restbroker.job.backoff import SidekiqBackoff
from restbroker.job.format import PAYLOAD_LIMIT_BYTES
from restbroker.job.job import Job, read
from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Reason
from restbroker.job.policy import Context, Policy
from restbroker.job.sealing import seal
from restbroker.job.settlement import Retry
from tests.support.rows import rows

NOW_S = 1_795_165_609.25
ORDER = 7
SECRET = "the-apps-secret"
texts = st.text(st.characters(codec="utf-8"), max_size=10)
numbers = st.integers(-(2**80), 2**80) | st.floats(allow_nan=False, allow_infinity=False)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
named = st.dictionaries(texts, values, max_size=4)
forms = st.one_of(
    named,
    named.map(lambda given: [[key, value] for key, value in given.items()]),
    named.map(lambda given: [{key: value} for key, value in given.items()]),
    named.map(json.dumps),
    st.none(),
    st.just([]),
)
reply_ids = st.none() | texts | numbers
jids: st.SearchStrategy[dict[str, Json]] = st.one_of(
    st.just({}), texts.map(lambda jid: {"jid": jid}), st.just({"jid": 5})
)


def job(args: Json, **fields: Json) -> Job:
    entry = read(rubyjson.dumps({"class": "Add", "queue": "q", "args": args, **fields}), "q", "5" * 24)
    assert isinstance(entry, Job)
    return entry


def stored(entry: Job) -> dict[str, Any]:
    """The payload as it lies in the retry set."""
    context = Context(Policy(SidekiqBackoff()), NOW_S, 0.0, 7, "b" * 24)
    settlement = settle.settle(seal(entry, SECRET, "app", ORDER, NOW_S), None, Deferred(Reason("No", "no")), context)
    assert isinstance(settlement, Retry)
    found = json.loads(settlement.payload)
    assert isinstance(found, dict)
    return found


def fits(raw: bytes) -> bool:
    """Whether the payload is let in, whatever the time."""
    entry = read(raw, "q", "6" * 24)
    assert isinstance(entry, Job)
    submission = arguments.read(entry.fields["args"])
    assert isinstance(submission, Submission)
    signature = signing.read(submission.token)
    assert signature is not None
    content = signing.content(signature, entry.jid, submission, "q")
    assert content is not None
    is_own = entry.fields["jid"] == entry.jid
    return (
        is_own
        and signing.matching_secret(signature, [SECRET], content) == 0
        and signing.accepted_at_s(entry.fields, SECRET, signature) == int(NOW_S)
    )


@given(forms, reply_ids, jids)
def test_job_is_admitted_again_also_when_others_rewrote_it(
    given_arguments: Json, reply_id: Json, jid: dict[str, Json]
) -> None:
    """This holds for any arguments."""
    args: list[Json] = ["register/v1", given_arguments, SECRET, reply_id, "more"]
    for written in (args, rubyjson.dumps(args).decode()):
        found = stored(job(written, **jid))
        assert [*found["args"][:2], *found["args"][3:]] == [*args[:2], *args[3:]]
        assert SECRET not in json.dumps(found, ensure_ascii=False)
        assert fits(rubyjson.dumps(found))
        assert fits(json.dumps(found, indent=1, sort_keys=True).encode())


def test_nothing_but_the_token_changes() -> None:
    entry = job(["register", {"b": 1, "a": [1.0, {}]}, SECRET, 7, 8], jid="j1", bid="x")
    fields = seal(entry, SECRET, "app", ORDER, NOW_S).fields
    found = fields["args"]
    assert isinstance(found, list)
    assert list(fields) == ["class", "queue", "args", "jid", "bid", "restbroker_accepted"]
    assert rubyjson.dumps([*found[:2], *found[3:]]) == b'["register",{"b":1,"a":[1.0,{}]},7,8]'
    signature = signing.read(found[2])
    assert signature is not None
    assert (signature.token, signature.at_s) == ("app", ORDER)


@rows("args", [
    None,
    "x",
    "{",
    {"a": 1},
    ["register", {}],
    ["register", 5, SECRET],
    ["../x", {}, SECRET],
    ["register", {}, SECRET, []],
    '["register", {}, "' + SECRET + '", null, ' + "[" * 92 + "]" * 92 + "]",
])  # fmt: skip
def test_unsignable_job_keeps_its_token(args: Json) -> None:
    entry = job(args)
    assert seal(entry, SECRET, "app", ORDER, NOW_S) is entry


@rows("levels", [80, 88, 89, 90, 97])
def test_deep_arguments_within_json_text_are_let_in_again(levels: int) -> None:
    deep = '{"x":' + "[" * levels + "]" * levels + "}"
    entry = job(f'["register",{deep},"{SECRET}","r"]', jid="j1")
    found = stored(entry)
    assert SECRET not in json.dumps(found)
    assert arguments.read([*found["args"][:2], None, "r"]) == arguments.read(["register", deep, None, "r"])
    assert fits(rubyjson.dumps(found))


def test_job_with_too_many_values_to_sign_keeps_its_token() -> None:
    entry = job(["register", {"x": [1] * signing.VALUES_LIMIT}, SECRET])
    assert seal(entry, SECRET, "app", ORDER, NOW_S) is entry


@rows(("size_bytes", "is_sealed"), [(PAYLOAD_LIMIT_BYTES - 65536, True), (PAYLOAD_LIMIT_BYTES - 65535, False)])
def test_a_job_is_sealed_up_to_the_size_that_leaves_room(size_bytes: int, *, is_sealed: bool) -> None:
    short = job(["register", {}, SECRET], pad="")
    entry = job(["register", {}, SECRET], pad="x" * (size_bytes - len(short.raw)))
    assert len(entry.raw) == size_bytes
    assert (seal(entry, SECRET, "app", ORDER, NOW_S) is not entry) is is_sealed
