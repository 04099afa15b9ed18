"""Jobs of ActiveJob are plain ones once they are read, whichever version wrote them; what is an object is refused."""

import json
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.job import active_job, redact, rubyjson
from restbroker.job.active_job import WRAPPERS
from restbroker.job.job import Job, fields_of, read
from restbroker.job.json_types import Json
from tests.support.active_job import OBJECT, RECORDED, recorded, wrapped
from tests.support.rows import rows

PLAIN: Final[list[Json]] = [
    "register",
    {"user": "zoe", "host": "example.org", "password": "s3cret-4711", "more": [{"a": 1}], "other": {"x": 1}},
    "t0ken-4711",
]
TIME: Final[dict[str, Json]] = {"_aj_serialized": "ActiveJob::Serializers::TimeSerializer", "value": "2026-11-28"}
USER: Final = dict(OBJECT)


def job(raw: bytes) -> Job:
    entry = read(raw, "rest", "0" * 24)
    assert isinstance(entry, Job), entry
    return entry


@pytest.mark.promise("Producers: jobs", "a job of ActiveJob is done as if it had been pushed plainly")
@rows("name", RECORDED)
def test_a_recorded_job_of_each_version_becomes_a_plain_one(name: str) -> None:
    raw = recorded(name)
    fields = job(raw).fields
    before = rubyjson.object_of(raw)
    assert before is not None
    assert before["class"] in WRAPPERS
    assert (fields["args"], fields["class"], fields["order_key"]) == (PLAIN, "XmppCommand", "zoe")
    assert [line for line in before if line != "wrapped"] == list(fields)
    assert fields_of(raw) == fields
    assert job(raw).raw == raw
    # Written again it is read as the same.
    assert job(rubyjson.dumps(dict(fields))).fields == fields
    assert active_job.refusal(fields) is None


@pytest.mark.promise("Producers: jobs", "what ActiveJob wrote as an object is refused by name")
@rows(("args", "name", "kind"), [
    (["c", {"user": "u", "at": TIME}, "t"], '"at"', "ActiveJob::Serializers::TimeSerializer"),
    (["c", {"user": USER}, "t"], '"user"', "gid://shop/User/5"),
    (["c", {"users": [{"a": [USER]}]}, "t"], '"a"', "gid://shop/User/5"),
    ([USER, {}, "t"], "the command", "gid://shop/User/5"),
    (["c", USER, "t"], "the arguments", "gid://shop/User/5"),
    (["c", [["at", TIME]], "t"], "the arguments", "ActiveJob::Serializers::TimeSerializer"),
    (["c", {}, TIME], "the token", "ActiveJob::Serializers::TimeSerializer"),
    (["c", {}, "t", TIME], "the reply id", "ActiveJob::Serializers::TimeSerializer"),
    (["c", {}, "t", None, USER], "a further value", "gid://shop/User/5"),
])  # fmt: skip
def test_an_object_of_rails_is_refused_by_name(args: list[Json], name: str, kind: str) -> None:
    fields = job(wrapped(args)).fields
    refused = active_job.refusal(fields)
    assert refused is not None
    assert refused.code == "BadArguments"
    assert refused.message == f"Of this job of ActiveJob, {name} is an object of Rails: {kind}."
    assert "to_s" in (refused.hint or "")
    # Stored, it is still refused; once a person corrected it, no longer.
    again = job(rubyjson.dumps(dict(fields)))
    assert active_job.refusal(again.fields) == refused
    assert active_job.refusal({**again.fields, "args": ["c", {"user": "u"}, "t"]}) is None


@rows("fields", [
    {"args": [{"arguments": ["c", {}, "t"]}]},
    {"wrapped": "A", "args": [{"arguments": ["c", {}, "t"]}]},
    {"class": WRAPPERS[0], "args": [{"job_class": "A"}]},
    {"wrapped": "A", "args": ["c", {"_aj_symbol_keys": []}, "t"]},
    {"wrapped": "A", "args": [{"job_class": "A", "arguments": {}}]},
    {"wrapped": "A", "args": [{"job_class": 5, "arguments": []}]},
    {"wrapped": "A", "args": [{"job_class": "A", "arguments": []}, 5]},
    {"wrapped": "A", "args": "text"},
    {"wrapped": "A"},
])  # fmt: skip
def test_payload_without_wrapper_stays_unchanged(fields: dict[str, Json]) -> None:
    assert job(json.dumps(fields).encode()).fields == fields


@rows(("known", "inner", "name"), [
    ({"class": WRAPPERS[0]}, {"job_class": "A"}, "A"),
    ({"class": WRAPPERS[1]}, {"job_class": "A"}, "A"),
    ({"class": "Mine"}, {"job_class": "A"}, "Mine"),
    ({}, {"job_class": "A"}, None),
    ({"class": WRAPPERS[0]}, {}, WRAPPERS[0]),
    ({"class": WRAPPERS[1], "wrapped": "A"}, {}, "A"),
])  # fmt: skip
def test_a_wrapper_is_known_by_its_class_or_by_job_class(
    known: dict[str, Json], inner: dict[str, Json], name: str | None
) -> None:
    """Older sidekiq-cron leaves `wrapped` out."""
    noted: dict[str, Json] = {"a": 1, "_aj_symbol_keys": ["a"]}
    timed: dict[str, Json] = {"a": 1, "at": TIME}
    for value, is_refused in ((noted, False), (timed, True)):
        args: list[Json] = ["c", value, "t"]
        raw = json.dumps({**known, "args": [{**inner, "arguments": args}]}).encode()
        fields = job(raw).fields
        assert fields["args"] == (args if is_refused else ["c", {"a": 1}, "t"])
        assert fields.get("class") == name
        for entry in (fields, job(rubyjson.dumps(dict(fields))).fields):  # as read, and as it is stored
            assert (active_job.refusal(entry) is not None) is is_refused


def test_a_class_of_another_name_stays() -> None:
    fields = job(wrapped(["c", {}, "t"], name="Mine")).fields
    assert (fields["class"], fields["args"]) == ("Mine", ["c", {}, "t"])


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.just(TIME) | st.just(USER),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.promise("Producers: jobs", "secrets of a job of ActiveJob are masked like those of others")
@given(st.lists(values, max_size=3), values)
def test_a_wrapped_job_is_masked_as_a_plain_one_is(more: list[Json], value: Json) -> None:
    args: list[Json] = ["c", {"password": "s3cret-4711", "value": value}, "t0ken-4711", *more]
    shown = [redact.job(fields_of(raw) or {}) for raw in (wrapped(args), json.dumps({"args": args}).encode())]
    assert shown[0]["args"] == shown[1]["args"]
    assert b"4711" not in rubyjson.dumps(shown[0])
