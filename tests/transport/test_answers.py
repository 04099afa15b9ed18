"""Every shape of an answer, whole and cut at every byte, read as httpx reads it, also where its head is known."""

import contextlib
import tracemalloc

import pytest
import trio

from restbroker.transport.http1 import HEAD_LIMIT_BYTES, AnswerReader, Headers, KnownHeads, MalformedAnswer, Rest
from restbroker.transport.message import MaybeSent, Request, Transport
from tests.support import recorder
from tests.support.rows import rows
from tests.transport.answers import OK, SHAPES, Shape
from tests.transport.test_client import pair

MIB = 1024 * 1024


def begun(limit_bytes: int = MIB) -> AnswerReader:
    return AnswerReader(limit_bytes)


def read(shape: Shape, pieces: list[bytes]) -> tuple[int, bytes, bool] | None:
    reader = AnswerReader(MIB, is_head=shape.method == "HEAD")
    try:
        for piece in pieces:
            if piece and reader.feed(piece):
                break
        if not reader.whole and not (shape.closes and reader.end()):
            return None
    except MalformedAnswer:
        return None
    return reader.status, reader.body, reader.keep


def test_an_answer_is_the_same_wherever_it_is_cut() -> None:
    wrong: dict[str, set[int]] = {}
    for shape in SHAPES:
        raw = shape.raw
        cut = {at: [raw[:at], raw[at:]] for at in range(0, len(raw), max(1, len(raw) // 500))}
        cut |= {-1: [raw[at : at + 1] for at in range(len(raw))]} if len(raw) < 1000 else {}
        if bad := {at for at, pieces in cut.items() if read(shape, pieces) != shape.whole}:
            wrong[shape.name] = bad
    assert not wrong


def test_answer_that_ends_early_is_none_unless_the_end_ends_it() -> None:
    for shape in SHAPES:
        for place in range(min(len(shape.raw), 1000)):
            reader = AnswerReader(MIB, is_head=shape.method == "HEAD")
            try:
                whole = (place > 0 and reader.feed(shape.raw[:place])) or reader.end()
            except MalformedAnswer:
                whole = False
            if whole:
                assert shape.name == "until the end", place
                assert place >= shape.raw.find(b"\r\n\r\n")


@pytest.mark.parametrize("engine", ["lean", "httpx"])
async def test_both_engines_read_it_alike_wherever_it_is_cut(engine: str) -> None:
    """The second part is sent when the client waits for it."""
    wrong: dict[str, object] = {}
    for shape in SHAPES:
        async with pair(engine=engine) as (transport, server):
            server.script.append(recorder.raw(shape.raw, keep=not shape.closes))
            found = [await reply(transport, shape)]
            # Whatever came, the next request is well.
            found.append(shape.whole and shape.whole[:2] if await reply(transport) == (200, b"0") else (0, b"the next"))
            connections = server.connections
            for place in range(1, len(shape.raw), max(1, len(shape.raw) // 12)):
                server.script.append(in_two(shape, place))
                found.append(await reply(transport, shape))
        is_kept = shape.whole is not None and shape.whole[2]
        if set(found) != {shape.whole and shape.whole[:2]} or (engine == "lean" and connections != 2 - is_kept):
            wrong[shape.name] = (found, connections)
    assert not wrong


async def reply(transport: Transport, shape: Shape | None = None) -> tuple[int, bytes] | None:
    """Status and body of what the client takes for an answer."""
    try:
        answer = await transport.send(Request(shape.method if shape else "POST", "/", 30.0))
    except MaybeSent:
        return None
    return answer.status, answer.body


def in_two(shape: Shape, place: int) -> recorder.Action:
    async def act(stream: trio.abc.Stream) -> bool:
        await stream.send_all(shape.raw[:place])
        await trio.testing.wait_all_tasks_blocked()
        # It may be clear by now that this is no answer.
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(shape.raw[place:])
        return not shape.closes

    return act


STRICTER = (
    b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n0",
    b"Content-Length: 1, 1\r\n\r\n0",
    b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n0\r\n0\r\n\r\n",
    b"X: y\nContent-Length: 1\n\n0",
    b"Transfer-Encoding: chunked\r\n\r\n1 \r\n0\r\n0\r\n\r\n",
)


async def read_by_one_only(raw: bytes, engine: str, other: str) -> None:
    """One engine takes these bytes for an answer of "0", the other for none."""
    async with pair(engine=engine) as (transport, server):
        server.script.append(recorder.raw(raw))
        assert (await transport.send(Request("POST", "/", 30.0))).body == b"0"
    async with pair(engine=other) as (transport, server):
        server.script.append(recorder.raw(raw))
        with pytest.raises(MaybeSent, match="not HTTP"):
            await transport.send(Request("POST", "/", 30.0))


@pytest.mark.promise("Security: who controls a server's answers", "to give one request the answer of another")
@rows("rest", STRICTER)
async def test_only_httpx_guesses_at_a_doubtful_length_or_line(rest: bytes) -> None:
    await read_by_one_only(OK + b"\r\n" + rest, "httpx", "lean")


async def test_empty_line_before_an_answer_is_skipped_unlike_in_httpx() -> None:
    await read_by_one_only(b"\r\n" + OK + b"\r\nContent-Length: 1\r\n\r\n0", "lean", "httpx")


@pytest.mark.promise("Security: who controls a server's answers", "to have the login written where others see it")
@rows("engine", ["lean", "httpx"])
@rows("around", ["{}", "HTTP/1.1 2x0 {}", "HTTP/1.1 {}", "HTTP/1.1 200 OK\r\n{}", "{}: 1", "\r\n{}"])
async def test_invalid_answer_is_reported_without_quoting_it(around: str, engine: str) -> None:
    request = Request("POST", "/", 30.0, headers=(("Authorization", "Basic c2VzYW1lNDcxMQ=="),))
    async with pair(engine=engine) as (transport, server):
        said = around.format("Basic c2VzYW1lNDcxMQ==")
        server.script.append(recorder.raw(f"{said}\r\n\r\n".encode()))
        with pytest.raises(MaybeSent, match=r"^The connection broke before a whole answer came") as caught:
            await transport.send(request)
    assert "c2VzYW1lNDcxMQ" not in caught.value.message


@pytest.mark.promise("Security: who controls a server's answers", "to give one request the answer of another")
async def test_unrequested_bytes_answer_no_later_request() -> None:
    # httpx 0.28.1 takes it for one.
    async with pair(engine="lean") as (transport, server):
        twice = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n0HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong"
        server.script.append(recorder.raw(twice, keep=True))
        assert (await transport.send(Request("POST", "/", 30.0))).body == b"0"
        assert (await transport.send(Request("POST", "/", 30.0))).body == b"0"
        assert server.connections == 2


def test_repeated_headers_are_joined_lower_case_and_stripped() -> None:
    reader = begun()
    assert reader.feed(OK + b"\r\nWarning: a\r\nX-Y:\xe9\r\nWARNING: \t b \t\r\nContent-Length: 0\r\n\r\n")
    assert reader.headers == {"warning": "a, b", "x-y": "é", "content-length": "0"}


def test_body_is_cut_at_its_limit_and_its_connection_not_reused() -> None:
    reader = begun(4)
    assert reader.feed(OK + b"\r\nContent-Length: 10\r\n\r\nabcdef")
    assert (reader.body, reader.body_cut, reader.keep) == (b"abcd", True, False)


def test_a_head_may_have_so_many_bytes_and_no_more() -> None:
    reader = begun()
    start = OK + b"\r\nContent-Length: 0\r\nX: "
    assert reader.feed(start + b"a" * (HEAD_LIMIT_BYTES - len(start) - 4) + b"\r\n\r\n")
    reader = begun()
    with pytest.raises(MalformedAnswer, match="head"):
        reader.feed(start + b"a" * HEAD_LIMIT_BYTES)


def test_a_trailer_is_no_header() -> None:
    reader = begun()
    chunks = b"1\r\n0\r\n0\r\nRetry-After: 9\r\n\r\n"
    assert reader.feed(OK + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
    assert reader.headers == {"transfer-encoding": "chunked"}
    assert reader.body == b"0"


@pytest.mark.promise("Security: who controls a server's answers", "to use up memory or time")
def test_text_between_the_chunks_is_bounded() -> None:
    reader = begun()
    reader.feed(OK + b"\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n0\r\n1;")
    for _ in range(HEAD_LIMIT_BYTES // 1000):
        assert not reader.feed(b"x" * 1000)
    with pytest.raises(MalformedAnswer, match="headers and trailers"):
        reader.feed(b"x" * 1000)


def test_body_in_one_byte_chunks_takes_little_more_than_its_size() -> None:
    reader = begun()
    reader.feed(OK + b"\r\nTransfer-Encoding: chunked\r\n\r\n")
    tracemalloc.start()
    try:
        for _ in range(20):
            reader.feed(b"2\r\nab\r\n" * 1000)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(reader.body) == 40_000
    assert taken < 100_000


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape.method == "POST"], ids=lambda shape: shape.name)
def test_answer_is_plain_only_if_whole_and_connection_is_kept(shape: Shape) -> None:
    heads = KnownHeads()
    for size in range(0, len(shape.raw), max(1, len(shape.raw) // 500)):
        assert isinstance(heads.read(shape.raw[:size]), Rest), shape.raw[:size]
    for _ in range(2):  # its head is new, then known
        match heads.read(shape.raw):
            case Rest():
                pass
            case plain:
                status, _, body = plain
                assert shape.whole == (status, body, True)


def test_each_answer_with_a_length_is_plain() -> None:
    (shape,) = (shape for shape in SHAPES if shape.name == "a length")
    heads = KnownHeads()
    length = Headers([(b"Content-Length", b"3")])
    assert heads.read(shape.raw) == (200, length, b"abc")
    assert heads.read(shape.raw.replace(b"abc", b"xyz")) == (200, length, b"xyz")
    assert heads.read(shape.raw + b"x") is Rest.ODD


def test_a_long_head_is_left_to_the_parser_which_goes_on() -> None:
    heads, head = KnownHeads(), b"HTTP/1.1 200 OK\r\nX: " + b"x" * 5000
    assert heads.read(head) is Rest.ODD
    assert heads.read(head + b"\r\nContent-Length: 1\r\n\r\n0") is Rest.ODD


def test_heads_that_never_come_again_do_not_pile_up() -> None:
    heads = KnownHeads()
    for number in range(1000):
        answer = heads.read(b"HTTP/1.1 200 OK\r\nX: %d\r\nContent-Length: 1\r\n\r\n0" % number)
        assert answer == (200, Headers([(b"X", b"%d" % number), (b"Content-Length", b"1")]), b"0")
    assert len(heads._known) <= 100  # noqa: SLF001 - a bound that nothing else shows
