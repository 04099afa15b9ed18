"""Answers of every shape that a server may give, as bytes, for the tests of both engines.

`whole` is what a client must make of it: status, body, and whether the connection may be used again; None where no
client should take it for an answer.
"""

import attrs


@attrs.frozen
class Shape:
    """Bytes of an answer; `closes`: the server closes the connection behind them."""

    name: str
    raw: bytes
    whole: tuple[int, bytes, bool] | None
    closes: bool = False
    method: str = "POST"


def _answer(*lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([*lines, b"", body])


OK = b"HTTP/1.1 200 OK"
SHAPES = (
    Shape("a length", _answer(OK, b"Content-Length: 3", body=b"abc"), (200, b"abc", True)),
    Shape("a length of nothing", _answer(OK, b"Content-Length: 0"), (200, b"", True)),
    Shape("no reason", _answer(b"HTTP/1.1 200 ", b"Content-Length: 1", body=b"0"), (200, b"0", True)),
    Shape("names in any case", _answer(OK, b"CONTENT-length:3", body=b"abc"), (200, b"abc", True)),
    Shape("blanks around a value", _answer(OK, b"Content-Length: \t 3 \t", body=b"abc"), (200, b"abc", True)),
    Shape(
        "chunks",
        _answer(OK, b"Transfer-Encoding: chunked", body=b"1\r\na\r\n2;x=y\r\nbc\r\n0\r\n\r\n"),
        (200, b"abc", True),
    ),
    Shape(
        "chunks and a trailer",
        _answer(OK, b"Transfer-Encoding: chunked", body=b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"),
        (200, b"abc", True),
    ),
    Shape("no chunk at all", _answer(OK, b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"), (200, b"", True)),
    Shape("until the end", _answer(OK, b"Content-Type: text/plain", body=b"abc"), (200, b"abc", False), closes=True),
    Shape("HTTP/1.0", _answer(b"HTTP/1.0 200 OK", b"Content-Length: 3", body=b"abc"), (200, b"abc", False)),
    Shape(
        "it will close",
        _answer(OK, b"Connection: close", b"Content-Length: 3", body=b"abc"),
        (200, b"abc", False),
        closes=True,
    ),
    Shape("204", _answer(b"HTTP/1.1 204 No Content"), (204, b"", True)),
    Shape("304", _answer(b"HTTP/1.1 304 Not Modified", b"ETag: x"), (304, b"", True)),
    Shape("500", _answer(b"HTTP/1.1 500 Oops", b"Content-Length: 2", body=b"no"), (500, b"no", True)),
    Shape(
        "100 before it",
        b"HTTP/1.1 100 Continue\r\n\r\n" + _answer(OK, b"Content-Length: 3", body=b"abc"),
        (200, b"abc", True),
    ),
    Shape(
        "early hints twice before it",
        2 * b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + _answer(OK, b"Content-Length: 1", body=b"0"),
        (200, b"0", True),
    ),
    Shape("a HEAD", _answer(OK, b"Content-Length: 3"), (200, b"", False), method="HEAD"),
    Shape("a folded value", _answer(OK, b"X: a", b" b", b"Content-Length: 3", body=b"abc"), (200, b"abc", True)),
    Shape(
        "an upgrade that is only offered",
        _answer(OK, b"Upgrade: h2,h2c", b"Connection: Upgrade", b"Content-Length: 3", body=b"abc"),
        (200, b"abc", True),
    ),
    Shape("bytes beyond ASCII", _answer(b"HTTP/1.1 200 \xe9", b"X: \xe9", b"Content-Length: 0"), (200, b"", True)),
    Shape(
        "HTTP/1.0 that stays",
        _answer(b"HTTP/1.0 200 OK", b"Connection: keep-alive", b"Content-Length: 3", body=b"abc"),
        (200, b"abc", True),
    ),
    Shape("204 that speaks of a length", _answer(b"HTTP/1.1 204 No", b"Content-Length: 3"), (204, b"", True)),
    Shape("205", _answer(b"HTTP/1.1 205 Reset Content", b"Content-Length: 0"), (205, b"", True)),
    Shape("101", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", None, closes=True),
    Shape("a name with a blank", _answer(OK, b"X : a", b"Content-Length: 1", body=b"0"), None, closes=True),
    Shape("a line without colon", _answer(OK, b"bad", b"Content-Length: 1", body=b"0"), None, closes=True),
    Shape("an impossible status", _answer(b"HTTP/1.1 2000 OK", b"Content-Length: 1", body=b"0"), None, closes=True),
    Shape("a status below 100", _answer(b"HTTP/1.1 099 X", b"Content-Length: 1", body=b"0"), None, closes=True),
    Shape("a NUL in a value", _answer(OK, b"X: a\0b", b"Content-Length: 1", body=b"0"), None, closes=True),
    Shape(
        "a compressed body in chunks",
        _answer(OK, b"Transfer-Encoding: gzip, chunked", body=b"1\r\n0\r\n0\r\n\r\n"),
        None,
        closes=True,
    ),
    Shape(
        "a compressed body in chunks, in two headers",
        _answer(OK, b"Transfer-Encoding: gzip", b"transfer-encoding: chunked", body=b"1\r\n0\r\n0\r\n\r\n"),
        None,
        closes=True,
    ),
    Shape(
        "chunks, its name in capitals",
        _answer(OK, b"TRANSFER-ENCODING:  chunked ", body=b"1\r\n0\r\n0\r\n\r\n"),
        (200, b"0", True),
    ),
    Shape("a cut head", b"HTTP/1.1 200 OK\r\nContent-Len", None, closes=True),
    Shape("a cut body", _answer(OK, b"Content-Length: 10", body=b"abc"), None, closes=True),
    Shape("a cut chunk", _answer(OK, b"Transfer-Encoding: chunked", body=b"5\r\nab"), None, closes=True),
    Shape("no last chunk", _answer(OK, b"Transfer-Encoding: chunked", body=b"1\r\na\r\n"), None, closes=True),
    Shape("a wrong chunk size", _answer(OK, b"Transfer-Encoding: chunked", body=b"xyz\r\nabc\r\n"), None, closes=True),
    Shape("only interim", b"HTTP/1.1 100 Continue\r\n\r\n", None, closes=True),
    Shape("another protocol's banner", b"220 smtp.example.org ESMTP\r\n", None, closes=True),
    Shape("nothing", b"", None, closes=True),
    Shape("two lengths", _answer(OK, b"Content-Length: 3", b"Content-Length: 4", body=b"abcd"), None, closes=True),
    Shape("a negative length", _answer(OK, b"Content-Length: -1"), None, closes=True),
    Shape(
        "a trailer without end",
        _answer(OK, b"Transfer-Encoding: chunked", body=b"1\r\na\r\n0\r\nX: " + b"a" * 200_000),
        None,
        closes=True,
    ),
    Shape("a head without end", OK + b"\r\n" + b"X: " + b"a" * 200_000, None, closes=True),
)
