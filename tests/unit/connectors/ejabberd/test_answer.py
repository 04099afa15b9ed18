"""What is read out of a hostile answer: no secret, and at no length of time that holds others up."""

import time

import pytest

from restbroker.connectors.ejabberd.answer import read
from restbroker.transport.message import Response

LARGE = 8 * 1024 * 1024


@pytest.mark.parametrize("piece", [b"<h1>", b"<", b"1,", b"://a:", b"basic ", b"secret ", b"\xff", b"\\u0041"])
@pytest.mark.parametrize("opening", [b"", b'"', b"<<"])
def test_however_large_and_odd_a_refusal_is_it_is_read_at_once(opening: bytes, piece: bytes) -> None:
    response = Response(
        400, {}, opening + piece * (LARGE // len(piece)), 0.0, said=(("Authorization", "Bearer abcdef"),)
    )
    began_s = time.process_time()
    answer = read(response, ["a secret"])
    assert time.process_time() - began_s < 0.5
    assert len(answer.text) < 100_000
