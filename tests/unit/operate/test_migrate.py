"""What becomes of members of the Go original's retry set, as go-workers writes them."""

import json
from typing import Any

from restbroker.operate.migrate import _plan
from restbroker.store.sets import Placement

NOW_S = 1_795_170_000.25
# Measured on the original: keys sorted, dates as text, the queue with its namespace.
FAILED = (
    b'{"args":["register",{"user":"bob"},"t0ken"],"class":"Add","enqueued_at":1795156514.25,"error_message":"boom",'
    b'"failed_at":"2026-11-20 06:35:15 UTC","jid":"27866f8c269d653c56ca53e7","queue":"ns:rest","retried_at":'
    b'"2026-11-20 06:35:55 UTC","retry":true,"retry_count":1,"unknown":{"b":1,"a":2}}'
)


def planned(
    raw: bytes, namespace: str = "ns", queues: tuple[str, ...] = ("rest", "a:b"), now_s: float = NOW_S
) -> tuple[str, str | None, Placement | None]:
    return _plan(raw, queues, namespace, now_s)


def fields(found: tuple[str, str | None, Placement | None]) -> dict[str, Any]:
    assert found[2] is not None
    value: dict[str, Any] = json.loads(found[2].new or b"")
    return value


def changed(**changes: Any) -> bytes:
    return json.dumps({**json.loads(FAILED), **changes}, separators=(",", ":")).encode()


def test_job_of_the_original_becomes_one_sidekiq_web_shows() -> None:
    new = (
        FAILED.replace(b'"2026-11-20 06:35:15 UTC"', b"1795156515.25")
        .replace(b'"2026-11-20 06:35:55 UTC"', b"1795156555.0000005")
        .replace(b"ns:rest", b"rest")
    )
    assert planned(FAILED) == ("retry", "rest", Placement(FAILED, zset="retry", new=new))


def test_exactly_the_namespace_is_taken_off_a_queue() -> None:
    rows: list[tuple[str, str, str]] = [
        ("rest", "", "rest"),
        ("rest", "ns", "rest"),
        ("ns:a:b", "ns", "a:b"),
        ("a:b", "", "a:b"),
        ("a:a:b", "a", "a:b"),
    ]
    for queue, namespace, expected in rows:
        one = planned(changed(queue=queue), namespace)
        assert (one[:2], fields(one)["queue"]) == (("retry", expected), expected)


def test_a_job_of_another_queue_is_left_alone() -> None:
    rows: list[tuple[str, str]] = [("ns:other", "ns"), ("ns:rest", ""), ("nsrest", "ns"), ("b", "")]
    for queue, namespace in rows:
        assert planned(changed(queue=queue), namespace)[::2] == ("stays", None)


def test_failed_at_is_always_there() -> None:
    rows: list[Any] = [None, "yesterday", True, []]
    for failed_at in rows:
        assert fields(planned(changed(failed_at=failed_at)))["failed_at"] == NOW_S


def test_job_without_jid_gets_the_same_one_at_a_second_attempt() -> None:
    first, again, other = (
        fields(planned(changed(jid=None, args=args)))["jid"] for args in (["status"], ["status"], ["stop"])
    )
    assert first == again
    assert first != other
    assert len(first) == 24


def test_a_job_that_was_moved_before_is_another_one_now() -> None:
    assert len({fields(planned(FAILED, now_s=NOW_S + n / 1e6))["failed_at"] for n in range(20)}) == 20


def test_invalid_job_dies_whole_with_the_reason() -> None:
    rows: list[tuple[bytes, str, str]] = [
        (b"", "UnreadablePayload", "not valid JSON"),
        (b"[1]", "UnreadablePayload", "not an object"),
        (b'"\\ud800"', "UnreadablePayload", "not valid JSON"),
        (b'{"queue":5}', "UnreadablePayload", "names no usable queue"),
        (b'{"args":[]}', "UnreadablePayload", "names no usable queue"),
        (b'{"queue":"rest","a":"' + b"x" * 1024 * 1024 + b'"}', "PayloadTooLarge", "1048576 are the limit"),
    ]
    for raw, code, words in rows:
        one = planned(raw)
        assert one[0] == "dead"
        dead = fields(one)
        assert (dead["args"], dead["error_class"], dead["queue"]) == ([raw.decode()], code, "rest")
        assert words in dead["error_message"]
