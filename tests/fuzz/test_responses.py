"""Whatever bytes a server answers with: an outcome, or the plain word that there was none, within the time-out."""

import itertools
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import pytest
import trio
from hypothesis import assume, given
from hypothesis import strategies as st

from restbroker.config.target import Engine, Target, Url
from restbroker.job.command import Call, Command
from restbroker.job.outcome import Deferred, Delivered, Denied, Probe, Rejected, Uncertain, Unsent
from restbroker.servers.contract import DirectLink, Ports
from restbroker.servers.ejabberd.connector import open_connector
from restbroker.servers.ejabberd.options import Options
from restbroker.transport.client import open_transport
from restbroker.transport.http1 import HEAD_LIMIT_BYTES, AnswerReader, KnownHeads, MalformedAnswer
from restbroker.transport.message import MaybeSent, NotSent
from tests.fuzz.effort import FUZZING
from tests.transport.test_known_heads import BEFORE, HOSTILE, learned

TIMEOUT_S = 0.04
GRACE_S = 5.0
"""For a busy machine."""
ANSWERS = (Delivered, Rejected, Deferred, Uncertain, Unsent, Denied)

pieces = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 500 x\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 101 x\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n",
        b"HTTP/1.1 999\r\n",
        b"HTTP/2 200\r\n",
        b"Content-Length: 1\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 99999999999999999999\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Encoding: gzip\r\n",
        b"Retry-After: 9999999999999999999999\r\n",
        b"Retry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\n",
        b"Connection: close\r\n",
        b"Location: http://127.0.0.1:1/\r\n",
        b"X: " + b"y" * 100_000 + b"\r\n",
        b"\r\n",
        b"\n",
        b"0",
        b'"ok"',
        b'{"code":10090,"message":"no"}',
        b"ffffffffffffffff\r\n",
        b"1\r\n0\r\n0\r\n\r\n",
        b"\xff\xfe<<255,300>>",
    ]
)
wild = st.lists(pieces | st.binary(max_size=20), max_size=8).map(b"".join)
statuses = st.integers(0, 1100).map(lambda status: b"HTTP/1.1 %d x\r\n" % status)
headers = st.lists(pieces | st.binary(max_size=10).map(lambda name: name + b": 1\r\n"), max_size=3).map(b"".join)
tame = st.builds(
    lambda status, headers, body: status + headers + b"Content-Length: %d\r\n\r\n" % len(body) + body,
    statuses,
    headers | st.just(b""),
    st.binary(max_size=30) | st.sampled_from([b"0", b"1", b"{}", b'"x"', b"[" * 5000]),
)
answers = st.lists(wild | tame, min_size=1, max_size=4)
lines = st.sampled_from(
    [*HOSTILE.values(), b"X-Id: 3", b"X-Id: 4", b"Date: 1", b"Date: 2", b"A: 1\r", b" X-Id: 1", b""]
)
alike = st.builds(
    lambda before, lines, length, end: before + b"HTTP/1.1 200 OK\r\n" + b"\r\n".join(lines) + length + end,
    st.sampled_from([b"", b"", b"", *BEFORE.values()]),
    st.lists(lines, max_size=5),
    st.sampled_from([b"\r\nContent-Length: 1", b"\r\nX-Id: 9\r\nContent-Length: 1", b"\nContent-Length: 1", b""]),
    st.sampled_from([b"\r\n\r\n0", b"\r\n\r\n00", b"\r\nX-Id: 7\r\n\r\n0", b"\n\r\n0"]),
)


@pytest.mark.slow  # answers that stall, each to its time-out
@pytest.mark.promise("Security: who controls a server's answers", "to use up memory or time")
@given(answers=answers, command=st.sampled_from(["register", "status", "unheard_of"]), closes=st.booleans())
@FUZZING
@pytest.mark.parametrize("engine", ["lean", "httpx"])
def test_any_answer_is_an_outcome_within_the_time_out(
    engine: Engine, answers: list[bytes], command: str, closes: bool
) -> None:
    call = Call(Command(command, {"user": "u", "host": "h", "password": "secret"}), timeout_s=TIMEOUT_S)
    trio.run(exchange, engine, answers, call, closes)


@given(answer=tame | wild, places=st.lists(st.integers(0, 500), max_size=5), is_head=st.booleans())
@FUZZING
def test_an_answer_is_read_alike_however_it_is_cut(answer: bytes, places: list[int], is_head: bool) -> None:
    # The limit of a head counts what came at once.
    assume(len(answer) < HEAD_LIMIT_BYTES)
    cuts = [0, *sorted(places), len(answer)]
    pieces = [answer[start:end] for start, end in itertools.pairwise(cuts)]
    assert read([answer], is_head) == read(pieces, is_head)


@given(answers=st.lists(alike | tame, max_size=8))
@FUZZING
def test_an_answer_is_read_alike_whatever_heads_are_known(answers: list[bytes]) -> None:
    heads = learned()
    for answer in answers:
        assert heads.read(answer) == KnownHeads().read(answer)


def read(pieces: list[bytes], is_head: bool) -> tuple[int, bytes] | None:
    """What a connection makes of these bytes and the end."""
    reader = AnswerReader(20, is_head=is_head)
    try:
        if not any(piece and reader.feed(piece) for piece in pieces) and not reader.end():
            return None
    except MalformedAnswer:
        return None
    return reader.status, reader.body


async def exchange(engine: Engine, answers: list[bytes], call: Call, closes: bool) -> None:
    """A delivery and a probe, each time over whatever connection the client uses."""
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, partial(babble, iter(answers), closes), 0, host="127.0.0.1")
        (listener,) = await nursery.start(serve)
        port = listener.socket.getsockname()[1]
        url = Url("http", "127.0.0.1", port, "/api")
        target = Target("t", "ejabberd", url, ("rest",), timeout_s=TIMEOUT_S, options=Options(), engine=engine)
        transport = open_transport(target)
        connector = open_connector(target, Ports(lambda _event: None, lambda: 1e9))
        link = DirectLink(transport)
        for _ in range(2):
            assert isinstance(await bounded(lambda: connector.deliver(call, link)), (*ANSWERS, NotSent, MaybeSent))
        assert isinstance(await bounded(lambda: connector.probe(link)), (Probe, NotSent, MaybeSent))
        await transport.aclose()
        nursery.cancel_scope.cancel()


async def bounded(ask: Callable[[], Awaitable[object]]) -> object:
    """What comes of it. A delivery and a probe ask twice at most."""
    with trio.fail_after(2 * TIMEOUT_S + GRACE_S):
        try:
            return await ask()
        except (NotSent, MaybeSent) as problem:
            return problem


async def babble(answers: Iterator[bytes], closes: bool, stream: trio.SocketStream) -> None:
    """Answers each bit of a request with the next bytes; the last ones end or hang."""
    try:
        while await stream.receive_some():
            answer = next(answers, None)
            if answer is not None:
                await stream.send_all(answer)
            if closes or answer is None:
                break
        else:
            return
        if not closes:
            await trio.sleep_forever()
        await stream.aclose()
    except trio.BrokenResourceError:
        return
