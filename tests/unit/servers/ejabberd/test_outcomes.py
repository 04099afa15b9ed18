"""What ejabberd's answers mean, and what is read out of a hostile one: no secret, and soon."""

import json
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import product

import attrs
import pytest

from restbroker.config.secret import Secret
from restbroker.config.target import Basic
from restbroker.job.command import Call, Command
from restbroker.job.hiding import START_LIMIT
from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Delivered, Outcome, Rejected, Uncertain
from restbroker.servers.api.request import authorization
from restbroker.servers.ejabberd import catalogue
from restbroker.servers.ejabberd.outcomes import classify, is_stopped, read, version_in
from restbroker.transport.message import TRUNCATED, Response
from tests.unit.servers.conftest import fate

COMMANDS = catalogue.for_version("24.12").commands
PAGE = b"<?xml version='1.0'?><html><head><title>x</title></head><body><h1>502 Bad Gateway</h1></body></html>"


def judged(
    command: str,
    status: int,
    body: bytes | Json,
    arguments: Mapping[str, Json] | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    maybe_run: bool = False,
    ok_if_exists: bool = False,
    note: str | None = None,
    now_s: float = 0.0,
    password: str = "",
) -> Outcome:
    """The outcome of this answer; a body that is not bytes is sent as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    call = Call(Command(command, arguments or {}), maybe_run=maybe_run, ok_if_exists=ok_if_exists)
    login = authorization(Basic("admin@localhost", Secret(password)))
    response = Response(status, headers or {}, data, 0.1, note, login)
    return classify(call, COMMANDS.get(command.partition("/")[0]), response, now_s)


def error(code: int, message: str) -> Json:
    """An error as ejabberd's API words it."""
    return {"status": "error", "code": code, "message": message}


DUPLICATE = error(10090, "User a@localhost already registered")


def test_word_of_ejabberd_equal_to_a_password_is_understood() -> None:
    rows: list[tuple[int, Json, str, str]] = [
        (400, "Room already exists", "exists", "Delivered already done"),
        (400, "Unknown virtual host", "virtual", "Rejected UnknownHost"),
        (400, "unknown_command", "unknown_command", "Deferred ServerStopping free pauses"),
        (500, error(10001, "Database failure"), "failure", "Deferred ServerError"),
        (500, error(0, "timeout"), "timeout", "Deferred ServerError"),
        (500, "internal_error", "internal_error", "Deferred ServerError max 3 maybe run"),
    ]
    for status, body, password, expected in rows:
        outcome = judged("create_room", status, body, maybe_run=True, password=password)
        assert fate(outcome) == expected, (status, body)
        assert isinstance(outcome, Delivered) or password not in f"{outcome.reason.message} {outcome}", (status, body)


def test_answer_is_delivered_as_sent_and_parsed_or_as_cut() -> None:
    outcome = judged("get_roster", 200, '[{"jid": "ä@x"}]'.encode())
    assert outcome == Delivered('[{"jid": "ä@x"}]', [{"jid": "ä@x"}], 200)
    outcome = judged("connected_users", 200, b'["a@x", "b', note=TRUNCATED)
    assert outcome == Delivered('["a@x", "b', None, 200, note="answer truncated")


@pytest.mark.parametrize(("status", "longest_s"), [(503, 900.0), (429, 86400.0), (500, 900.0)])
def test_a_retry_after_counts_up_to_a_day_for_a_429_alone(status: int, longest_s: float) -> None:
    date, far = (format_datetime(datetime.fromtimestamp(at, UTC), usegmt=True) for at in (1_000_090, 9_000_000_000))
    wanted = {"7": 7.0, date: 90.0, "999999999": longest_s, far: longest_s}
    wanted_or_none = wanted | dict.fromkeys(["", "soon", "-5", "1e9", "Mon, 99 Foo 2020"])
    body = json.dumps(error(10001, "Database failure")).encode() if status == 500 else b""
    for text, wait_s in wanted_or_none.items():
        outcome = judged("register", status, body, headers={"retry-after": text}, now_s=1_000_000.0)
        assert isinstance(outcome, Deferred), (text, wait_s)
        assert outcome.retry_after_s == wait_s, text


def test_byte_lists_are_shown_as_text_and_of_a_page_its_heading() -> None:
    outcome = judged("set_last", 400, "Arg <<70,114,195,164>> is not in format integer")
    assert isinstance(outcome, Rejected)
    assert outcome.reason.message == 'The server says: Arg "Frä" is not in format integer'
    busy = judged("register", 502, PAGE)
    assert isinstance(busy, Uncertain)
    assert busy.reason.message == "The server says: x It may have run."


def test_done_before_answer_is_masked_for_secrets_not_for_texts() -> None:
    arguments: dict[str, Json] = {"user": "a", "password": "s3same-x", "note": "token: User a@localhost already"}
    for status, body in ((409, DUPLICATE), (409, error(10090, "s3same-x already registered"))):
        outcome = judged("register", status, body, arguments, maybe_run=True)
        assert isinstance(outcome, Delivered), body
        masked = json.dumps(body).replace("s3same-x", "***")
        assert (outcome.text, outcome.body) == (masked, json.loads(masked)), body


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
def test_no_beginning_of_a_secret_is_left_where_a_refusal_is_cut() -> None:
    for before in range(START_LIMIT - len(SECRET), START_LIMIT):
        response = Response(400, {}, b"x" * before + SECRET.encode() + b"y" * 100, 0.0)
        assert "n" not in read(response, [SECRET]).text, before


def test_no_part_of_the_login_is_left_where_an_answer_is_cut() -> None:
    said = (("Authorization", "Bearer c4n4ry-s3cr3t"),)
    for shift in range(1, 12):
        long = b" " * (START_LIMIT - shift) + b"c4n4ry-s3cr3t" + b" " * START_LIMIT + b"c4n4ry-s3cr3t"
        answer = read(Response(400, {}, b'"%b"' % long, 0.0, request_pairs=said))
        page = read(
            Response(502, {}, (b"<i>" * 330).ljust(1024 - shift) + b"c4n4ry-s3cr3t and more", 0.0, request_pairs=said)
        )
        assert "c4" not in f"{answer.text} {answer.message} {page.message}", shift


@pytest.mark.promise("Security: who controls a server's answers", "to have the login written where others see it")
def test_password_equal_to_a_word_of_the_answer_hides_no_version() -> None:
    running = "The node n@h is started. Status: startedejabberd 23.01-1 is running in that node"
    said = (("Authorization", "Basic " + b64encode(b"admin@h:ejabberd").decode()),)
    answer = read(Response(200, {}, json.dumps(running).encode(), 0.0, request_pairs=said))
    assert (version_in(answer), is_stopped(answer)) == ("23.01", False)
    assert "ejabberd" not in answer.message + answer.text
