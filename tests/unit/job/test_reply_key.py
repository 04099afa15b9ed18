"""A job's `reply_to` is the key for its answer, or the name in it; nothing else is."""

import json

import pytest

from restbroker.job.format import reply_key
from restbroker.job.job import Job, NotAJob, read


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
