"""What is read out of a hostile answer: no secret, and at no length of time that holds others up."""

from itertools import product

import attrs
import pytest

from restbroker.job.hiding import START_LIMIT
from restbroker.servers.ejabberd.answer import read
from restbroker.transport.message import Response

SECRET = "n0-part-of-this"
LARGE = 8 * 1024 * 1024


@pytest.mark.promise("Security: who controls a server's answers", "to use up memory or time")
def test_however_large_and_odd_a_refusal_is_it_is_read_at_once() -> None:
    """Only its beginning counts. That the time grows with the length and no faster: `test_linear_readers`."""
    pieces = (b"<h1>", b"<", b"1,", b"://a:", b"basic ", b"secret ", b"\xff", b"\\u0041")
    for opening, piece in product((b"", b'"', b"<<"), pieces):
        body = opening + piece * (LARGE // len(piece))
        response = Response(400, {}, body, 0.0, request_pairs=(("Authorization", "Bearer abcdef"),))
        answer = read(response, ["a secret"])
        assert len(answer.text) < 100_000, (opening, piece)
        assert answer.text == read(attrs.evolve(response, body=body[: LARGE // 8]), ["a secret"]).text, (opening, piece)


@pytest.mark.promise("Security: who controls a server's answers", "to have the login written where others see it")
def test_no_beginning_of_a_secret_is_left_where_a_long_refusal_is_cut() -> None:
    for before in range(START_LIMIT - len(SECRET), START_LIMIT):
        response = Response(400, {}, b"x" * before + SECRET.encode() + b"y" * 100, 0.0)
        assert "n" not in read(response, [SECRET]).text, before


def test_no_part_of_the_login_is_left_where_a_long_refusal_or_the_head_of_a_page_is_cut() -> None:
    said = (("Authorization", "Bearer c4n4ry-s3cr3t"),)
    for shift in range(1, 12):
        long = b" " * (START_LIMIT - shift) + b"c4n4ry-s3cr3t" + b" " * START_LIMIT + b"c4n4ry-s3cr3t"
        answer = read(Response(400, {}, b'"%b"' % long, 0.0, request_pairs=said))
        page = read(
            Response(502, {}, (b"<i>" * 330).ljust(1024 - shift) + b"c4n4ry-s3cr3t and more", 0.0, request_pairs=said)
        )
        assert "c4" not in f"{answer.text} {answer.body} {answer.message} {page.message}", shift
