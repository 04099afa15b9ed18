"""The answers that producers get, and the key that a job's `reply_to` names for them."""

import json
from typing import Any

import pytest

from restbroker.job.backoff import SidekiqBackoff
from restbroker.job.format import reply_key
from restbroker.job.job import Job, NotAJob, read
from restbroker.job.json_types import Json
from restbroker.job.policy import Context, Policy
from restbroker.job.reply import REPLY_LIMIT_BYTES, ReplyContent, make_replies
from restbroker.job.rubyjson import MAX_NESTING, loads
from tests.support.rows import rows

DETAILED = Policy(SidekiqBackoff(), reply_queue="replies", reply_details=True)


def replies(answer: ReplyContent, now_s: float = 1_700_000_000.0) -> tuple[dict[str, Any], dict[str, Any]]:
    """The reply job, and the details for a waiting client."""
    entry = read(b'{"args":[],"jid":"j","retry_count":1,"failed_at":1.5,"reply_to":"restbroker:reply:k"}', "q", "0")
    assert isinstance(entry, Job)
    to_queue, to_key = make_replies(entry, answer, Context(DETAILED, now_s, 0.0, 0, "r", 0.0123456, "cmd", "id"))
    assert loads(to_queue.payload) == json.loads(to_queue.payload)
    return json.loads(to_queue.payload), json.loads(to_key.payload)


def nested(levels: int) -> Json:
    body: Json = 1
    for _ in range(levels):
        body = [body]
    return body


@pytest.mark.promise("Defects of the Go original", "an answer had no status")
def test_both_answers_say_the_same() -> None:
    by_queue, by_key = replies(ReplyContent("negative", "[1]", [1], 200, None, "already done"))
    details = {
        "status": 200, "outcome": "negative", "answer": [1], "error": None, "attempts": 3, "duration_ms": 12.3,
        "note": "already done",
    }  # fmt: skip
    assert by_queue["args"] == ["[1]", "id", details]
    assert by_key == {"jid": "j", "command": "cmd", "text": "[1]", **details}


@rows(("now_s", "written_s"), [(1_700_000_000.0, 1_700_000_000.0001), (1_700_000_000.1239, 1_700_000_000.1241)])
def test_times_in_a_reply_are_never_whole_numbers(now_s: float, written_s: float) -> None:
    by_queue, _ = replies(ReplyContent("delivered", "", None, 200, None), now_s)
    assert by_queue["created_at"] == by_queue["enqueued_at"] == pytest.approx(written_s, abs=1e-6)


@rows("body", [nested(MAX_NESTING - 3), [float("nan")]])
def test_an_answer_that_ruby_could_not_read_comes_as_text_only(body: Json) -> None:
    by_queue, by_key = replies(ReplyContent("delivered", "text", body, 200, None))
    assert by_queue["args"][2]["answer"] is None
    assert (by_key["answer"], by_key["text"]) == (None, "text")


def test_answer_just_within_rubys_nesting_limit_comes_parsed() -> None:
    body = nested(MAX_NESTING - 4)
    assert replies(ReplyContent("delivered", "text", body, 200, None))[1]["answer"] == body


@pytest.mark.promise("Producers: answers", "an answer above 1 MiB is cut")
@rows("text", ["x" * REPLY_LIMIT_BYTES, "ü" * (REPLY_LIMIT_BYTES // 2), "x"])
def test_a_text_of_just_the_longest_length_is_complete(text: str) -> None:
    _, by_key = replies(ReplyContent("delivered", text, [1], 200, None))
    assert (by_key["text"], by_key["answer"]) == (text, [1])
    assert "truncated" not in by_key


@pytest.mark.promise("Producers: answers", "an answer above 1 MiB is cut")
@rows("letter", ["ü", "€"])
def test_text_is_cut_between_letters_without_its_parsed_form(letter: str) -> None:
    _, by_key = replies(ReplyContent("delivered", "x" + letter * REPLY_LIMIT_BYTES, [1], 200, None))
    cut = by_key["text"]
    assert set(cut[1:]) == {letter}
    assert REPLY_LIMIT_BYTES - 3 < len(cut.encode()) <= REPLY_LIMIT_BYTES
    assert (by_key["answer"], by_key["truncated"]) == (None, True)


def test_half_a_surrogate_pair_in_a_long_text_is_replaced() -> None:
    _, by_key = replies(ReplyContent("delivered", "\ud800" + "x" * REPLY_LIMIT_BYTES, None, 200, None))
    assert by_key["text"].startswith("?x")


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ("restbroker:reply:a-1_B", "restbroker:reply:a-1_B"),
        ("a-1_B", "restbroker:reply:a-1_B"),
        ("x" * 64, f"restbroker:reply:{'x' * 64}"),
        ("x" * 65, None),
        ("", None),
        ("restbroker:reply:", None),
        ("restbroker:reply:restbroker:reply:x", None),
        ("queue:rest", None),
        ("a b", None),
        ("a\n", None),
        ("\u0430", None),
        (5, None),
        (["a"], None),
        (None, None),
    ],
)
def test_a_reply_key_is_named_whole_or_by_its_name(given: object, key: str | None) -> None:
    assert reply_key(given) == key
    job = read(json.dumps({"args": [], "jid": "j", "reply_to": given}).encode(), "rest", "spare")
    assert isinstance(job, Job)
    assert job.reply_to == key


@pytest.mark.parametrize(
    ("raw", "jid"),
    [
        (b'{"class":"A","jid":"6c0ffee","enqueued_at":17.7989', "6c0ffee"),
        (b'{"jid" : "6c-1" ,"at":1.2.3}', "6c-1"),
        (b'{"jid":"6c","args":[NaN]}', "6c"),
        (b'{"jid":"a","args":[{"jid":"b"}', "spare"),
        (b'{"jid":"a","jid":"a",', "a"),
        (b'{"jid":"<b>","x":', "spare"),
        (b'{"jid":"', "spare"),
        (b"\xff\x00", "spare"),
    ],
)
def test_an_unreadable_payload_keeps_the_one_id_in_its_text(raw: bytes, jid: str) -> None:
    found = read(raw, "rest", "spare")
    assert isinstance(found, NotAJob)
    assert found.jid == jid
