"""What an answer means where the command's own lists say what is sent again."""

from restbroker.job.outcome import Deferred, Outcome, Uncertain
from tests.support.receiver import Answer
from tests.unit.servers.conftest import Opened

PAGE = b"<html><head><title>502 Bad Gateway</title></head></html>"


async def outcome_of(opened: Opened, status: int, body: bytes, retry: list[int | str] | None = None) -> Outcome:
    command = {"Path": "x", **({} if retry is None else {"Retry": retry})}
    async with opened({"Commands": {"do": command}}, lambda _: Answer(status, body)) as bench:
        outcome: Outcome = await bench.deliver("do")
    return outcome


async def test_retry_decides_only_whether_it_is_sent_again(opened: Opened) -> None:
    for status, body in ((502, PAGE), (504, b""), (502, b'{"message":"x"}'), (500, PAGE), (500, b""), (499, b"")):
        for retry, is_final in (([status], False), ([429], True)):
            outcome = await outcome_of(opened, status, body, list(retry))
            assert isinstance(outcome, Uncertain), (status, body)
            assert (outcome.by_gateway, outcome.is_final) == (True, is_final), (status, body)
    for status, ran in ((500, "maybe"), (503, "unlikely"), (429, "unlikely"), (522, "unlikely")):
        for retry, attempts in (([status], None), ([418], 1)):
            outcome = await outcome_of(opened, status, b'{"error":"x"}', list(retry))
            assert isinstance(outcome, Deferred), status
            assert (outcome.ran, outcome.max_attempts, outcome.pause_target) == (ran, attempts, False), status
