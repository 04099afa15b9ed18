"""HTTP/1.1 as bytes: heads of requests out, answers in, however they are cut into pieces; and bodies that came encoded.

Exchanges try `KnownHeads` first, for answers that came in one piece, or nearly: no head of these is parsed again. All
others are read by an `AnswerReader`.

Always holds: a request that HTTP forbids is refused before anything is sent; a body has a Content-Length and is never
chunked. An answer is whole, cut at its limit, or `MalformedAnswer` is raised; interim answers (1xx) are skipped; bytes
that follow an answer unrequested make its connection unfit for another request; an endless answer ends at its limits;
memory is bounded. `decode` raises nothing; no more is decoded than the limit; a body that is not there as a whole
counts as cut; a coding that is not known is named in the body's place; a text is what it looks like, since proxies that
decode a body may leave the header.

Stricter than httpx (measured with h11 0.16): `Content-Length` twice, even with equal values, or beside
`Transfer-Encoding`, or as a list; lines that end without CR; a blank behind a chunk's size; and HTTP/1.2 are all
refused. What a server means by those is a guess. Laxer in one thing: an empty line before the status is skipped. As
with httpx, a body transferred in any encoding but chunks is refused.

Built on httptools (llhttp). Its traps, measured with 0.9.0: whether a connection may be kept is right inside the
callbacks only; there is no way to tell it that the stream ended, nor that the request was a HEAD.
"""

import io
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Final, Literal, TypeAlias
from urllib.parse import quote, urlencode

import attrs
import httptools

from restbroker.config.target import Target
from restbroker.light import define, field
from restbroker.transport.message import TRUNCATED, UNPARSED, NotSent, Request
from restbroker.transport.room import FREE_BYTES, parsed_bytes

HEAD_LIMIT_BYTES: Final = 64 * 1024
"""The most bytes that an answer may have outside its body.

It holds for the head together with the heads of interim answers before it, and for what is not body between two parts
of the body: trailers and the lines of chunks.
"""
_FIRST_STATUS: Final = 100
_FIRST_FINAL_STATUS: Final = 200
_TRANSFER_ENCODING_LENGTH: Final = len("transfer-encoding")
_CODING: Final = b"content-encoding"
_CODING_LENGTH: Final = len(_CODING)
LONGEST_BYTES: Final = 64 * 1024
"""The longest body of a plain answer, and the longest head."""
_HEADS: Final = 64
"""How many heads are kept."""
_END: Final = b"\r\n\r\n"
_ALWAYS_COMPARED: Final = frozenset(
    b"connection content-encoding content-length proxy-connection trailer transfer-encoding upgrade "
    b"content-type location retry-after set-cookie www-authenticate".split()
)
"""The headers that say how an answer is read on, and those whose values restbroker uses."""
_MOST_DIFFERING: Final = 16
"""How many names of headers that differ are kept."""
_CLEAN_VALUE: Final = rb"[\t -~\x80-\xff]*"
_CLEAN_HEAD: Final = re.compile(
    rb"HTTP/1\.\d %b(?:\r\n[!#$%%&'*+.^_`|~0-9A-Za-z-]+:%b)*\r\n\r\n" % (_CLEAN_VALUE, _CLEAN_VALUE)
)
"""A head in which each line is what HTTP allows: none goes on in the next one, or has odd bytes."""
_NOTHING: Final = re.compile(rb"(?!)")


class MalformedAnswer(Exception):
    """The bytes from the server are not HTTP, or their head or trailer is longer than `HEAD_LIMIT_BYTES`."""


class Headers(Mapping[str, str]):
    """The headers of an answer by lower-case name, decoded at each access.

    Those that came several times are one value, joined with commas.
    """

    __slots__ = ("_raw",)

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self._raw = raw

    def __getitem__(self, name: str) -> str:
        return self._read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __repr__(self) -> str:
        return repr(self._read())

    def _read(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for raw_name, raw_value in self._raw:
            # The parser leaves the blanks behind a value.
            name, value = raw_name.decode("latin-1").lower(), raw_value.rstrip(b" \t").decode("latin-1")
            found[name] = f"{found[name]}, {value}" if name in found else value
        return found


class AnswerReader:
    """A parser of one answer, whose body may have `limit_bytes`, and has none after a HEAD.

    Call `feed` with the bytes that come until it returns True. Then `status`, `headers` and `body` are the answer's.
    `in_body`: they are known, but for the end of the body. `whole`: the answer is complete. `body_cut`: its body was
    longer than the limit. `keep`: the connection may be used again.
    """

    __slots__ = (
        "_body", "_headers", "_is_head", "_left_bytes", "_other_bytes", "_parser", "_wrong", "body_cut", "in_body",
        "keep", "status", "whole",
    )  # fmt: skip

    def __init__(self, limit_bytes: int, *, is_head: bool = False) -> None:
        self._parser = httptools.HttpResponseParser(self)
        # For values that go on in the next line, which were good HTTP until 2014.
        self._parser.set_dangerous_leniencies(lenient_headers=True)
        self._left_bytes = limit_bytes
        self._is_head = is_head
        self._other_bytes = 0
        self._headers: list[tuple[bytes, bytes]] = []
        # What it gives out at the end is no copy.
        self._body = io.BytesIO()
        self._wrong = ""
        self.status = 0
        self.in_body = self.whole = self.body_cut = self.keep = False

    def feed(self, data: bytes) -> bool:
        """Parse the bytes that came; return whether the answer is whole now, or raise `MalformedAnswer`."""
        self._other_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise MalformedAnswer("it wants another protocol") from None
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, MemoryError):
                raise error.__context__ from None
            if not self.whole:
                raise MalformedAnswer(f"it is not HTTP: {self._wrong or error}") from None
            self.keep = False
        if self._other_bytes > HEAD_LIMIT_BYTES and not self.whole:
            raise MalformedAnswer(f"its headers and trailers have more than {HEAD_LIMIT_BYTES} bytes")
        return self.whole

    def end(self) -> bool:
        """Tell whether the answer is whole, now that the server has closed the connection.

        An answer without a length ends so; one that has a length, or comes in chunks, must have come whole before.
        """
        self.keep = False
        lengths = {name.lower() for name, _ in self._headers} & {b"content-length", b"transfer-encoding"}
        return self.whole or (self.in_body and not lengths)

    def cut(self) -> None:
        """Let the answer end here, with the body that has come."""
        self.body_cut, self.whole, self.keep = True, True, False

    @property
    def length(self) -> int:
        """The length of the body that the last head names; 0 if it names none."""
        return next((int(value) for name, value in self._headers if name.lower() == b"content-length"), 0)

    @property
    def coding_names(self) -> str:
        """How the body is encoded, as the last head says; "" if it says nothing."""
        found = [value for name, value in self._headers if len(name) == _CODING_LENGTH and name.lower() == _CODING]
        return b",".join(found).decode("latin-1")

    @property
    def headers(self) -> Headers:
        """The headers of the last answer."""
        return Headers(self._headers)

    @property
    def body(self) -> bytes:
        """The body as far as it has come, cut at the limit."""
        return self._body.getvalue()

    def decode(self, limit_bytes: int, spare_bytes: int) -> tuple[bytes, str | None]:
        """Return the body without its codings, and why it is not parsed, as the function `decode` does."""
        return decode(self.coding_names, self.body, limit_bytes, spare_bytes, cut=self.body_cut)

    def forget_body(self) -> None:
        """Let go of the body; the parser and this refer to each other, so that Python would keep it for minutes."""
        self._body = io.BytesIO()

    @property
    def size_bytes(self) -> int:
        """The length of `body`."""
        return self._body.tell()

    def on_message_begin(self) -> None:
        """Handle the parser's event: an answer begins; one that no request is for makes the connection unfit."""
        if self.whole:
            # No one asked for another one.
            self.keep = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Handle the parser's event: a header came, or a trailer, which is dropped lest it pass for a header."""
        if self.in_body:
            return
        if b"\0" in value:
            self._wrong = "a header has a NUL in it"
        elif len(name) == _TRANSFER_ENCODING_LENGTH and _is_encoded(name, value):
            self._wrong = "its body has another encoding than chunks"
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Handle the parser's event: a head is complete; raise `MalformedAnswer` if it is to be refused."""
        if self.whole:
            return
        self.status = self._parser.get_status_code()
        if self._wrong:
            raise MalformedAnswer(self._wrong)
        if self.status < _FIRST_FINAL_STATUS:
            if self.status < _FIRST_STATUS:
                self._wrong = "it has no status"
                raise MalformedAnswer(self._wrong)
            self._headers.clear()
            return
        self.in_body = True
        # The parser waits for the body that the answer to a HEAD only describes.
        self.whole = self._is_head

    def on_body(self, part: bytes) -> None:
        """Handle the parser's event: a part of the body came; what is beyond the limit is dropped."""
        if self.whole:
            return
        if len(part) > self._left_bytes:
            self.body_cut = self.whole = True
            part = part[: self._left_bytes]
        self._left_bytes -= len(part)
        self._other_bytes = 0
        self._body.write(part)

    def on_message_complete(self) -> None:
        """Handle the parser's event: the message is complete, and whether the connection may be kept is known."""
        if not self.whole and self.in_body:
            self.whole = True
            self.keep = self._parser.should_keep_alive()


def _is_encoded(name: bytes, value: bytes) -> bool:
    return name.lower() == b"transfer-encoding" and value.strip(b" ").lower() != b"chunked"


class Rest(Enum):
    """Why the bytes so far are no plain answer: some are still `MISSING`, or it is not a plain one (`ODD`)."""

    MISSING = 0
    ODD = 1


PlainAnswer: TypeAlias = tuple[int, Headers, bytes]
"""The status, the headers and the body of a whole answer whose connection may be used again."""


@define(eq=False)
class KnownHeads:
    """The heads of one server: {head: status, headers and length of the body, None for one that is not plain}.

    Most answers of a server have the same few heads: only the second of `Date` differs. `AnswerReader` has parsed each
    head, once, with a body of the length that it names; an answer that it refuses, that has a long head, no length
    or one beyond `LONGEST_BYTES`, or an encoded body, or that ends the connection is no plain answer.

    A header that differed between two heads, as a proxy's request id does, is left out when others are looked up: what
    is left must be, letter by letter, what is left of a clean head that was parsed. So only whole, clean lines were
    left out, of headers that have no say in how an answer is read, and `AnswerReader` would read the answer alike.
    """

    _known: dict[bytes, tuple[int, Headers, int] | None] = field(factory=dict)
    _shapes: dict[bytes, tuple[int, Headers, int]] = field(factory=dict)
    """The same by what is left of a clean head."""
    _last: frozenset[bytes] = frozenset()
    """The lines of the last clean head that was parsed."""
    _differing: frozenset[bytes] = frozenset()
    """The names of the headers that differ."""
    _left_out: re.Pattern[bytes] = _NOTHING
    """Finds the lines of these."""

    def read(self, data: bytes) -> PlainAnswer | Literal[Rest.MISSING, Rest.ODD]:
        """Return the answer in `data`, or why there is none; `data` is all that came since the request was sent."""
        # A longer one is left to the parser, which goes on where it stopped: one that comes byte by byte is no work.
        at = data.find(_END, 0, _LONGEST_KNOWN_BYTES) + len(_END)
        if at < len(_END):
            return Rest.MISSING if len(data) < _LONGEST_KNOWN_BYTES else Rest.ODD
        head = data[:at]
        try:
            found = self._known[head]
        except KeyError:
            if len(self._known) >= _HEADS:
                self._known.clear()
            found = self._known[head] = self._read_new(head)
        if found is None:
            return Rest.ODD
        status, headers, length = found
        missing = at + length - len(data)
        if missing:
            return Rest.MISSING if missing > 0 else Rest.ODD
        return status, headers, data[at:]

    def _read_new(self, head: bytes) -> tuple[int, Headers, int] | None:
        """Return what is known of a head but for the headers that differ; if that is nothing, parse it and learn."""
        shape = self._shapes.get(self._left_out.sub(b"", head))
        if shape is not None:
            return shape[0], Headers(_Lines(head)), shape[2]
        found = _plain_head(head)
        if found is not None and _CLEAN_HEAD.fullmatch(head):
            self._learn(head)
            if len(self._shapes) >= _HEADS:
                self._shapes.clear()
            self._shapes[self._left_out.sub(b"", head)] = found
        return found

    def _learn(self, head: bytes) -> None:
        """Note the headers that both this clean head and the last one have, with other values."""
        last, self._last = self._last, frozenset(head.split(b"\r\n")[1:-2])
        both = _names(self._last - last) & _names(last - self._last)
        names = self._differing | {name for name in both if name.lower() not in _ALWAYS_COMPARED}
        if len(self._differing) < len(names) <= _MOST_DIFFERING:
            self._differing = names
            any_of = b"|".join(map(re.escape, sorted(names)))
            self._left_out = re.compile(rb"\r\n(?:%b):%b(?=\r\n)" % (any_of, _CLEAN_VALUE))


@define(eq=False)
class _Lines:
    """The headers in a clean head, as `AnswerReader` has them, read when they are asked for."""

    _head: bytes

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        for line in self._head.split(b"\r\n")[1:-2]:
            name, _, value = line.partition(b":")
            yield name, value.lstrip(b" \t")


def _names(lines: Iterable[bytes]) -> set[bytes]:
    return {line.partition(b":")[0] for line in lines}


def _plain_head(head: bytes) -> tuple[int, Headers, int] | None:
    """Return status, headers and length of the body of answers with this head; None if they are not plain."""
    reader = AnswerReader(LONGEST_BYTES)
    try:
        length = 0
        if not reader.feed(head):
            length = reader.length
            if not 0 < length <= LONGEST_BYTES or not reader.feed(bytes(length)):
                return None
    except (MalformedAnswer, ValueError):
        return None
    is_plain = reader.keep and not reader.body_cut and not reader.coding_names
    return (reader.status, reader.headers, length) if is_plain else None


OWN_HEADERS: Final = frozenset({"host", "content-length", "transfer-encoding", "connection"})
"""The headers that the client sets itself; of those in a request only `Host` counts."""

_RULE_OTHERS: Final = OWN_HEADERS | {"accept-encoding"}
"""The headers on which other lines of a head depend."""
_KNOWN_LIMIT: Final = 256
_LONGEST_KNOWN_BYTES: Final = 4096
"""The longest head that is kept: a job may have a megabyte, and a path or query may be made of it."""
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_VALUE: Final = re.compile(r"(?:[!-~](?:[ \t!-~]*[!-~])?)?", re.ASCII)
_PATH: Final = re.compile(r"/[!-~]*", re.ASCII)


def check(target: Target, request: Request) -> tuple[str, list[tuple[str, str]]]:
    """Return path and query of a request, and its headers but Content-Length, as either engine may write them.

    This alone says that a request cannot be sent: it raises `NotSent` if HTTP forbids any part of it.
    """
    if not _TOKEN.fullmatch(request.method):
        raise unsendable(f"{request.method!r} is not a method")
    if not _PATH.fullmatch(request.path):
        raise unsendable("its path has characters that must be encoded")
    headers = _headers_of(target, request)
    for name, value in headers:
        _check_header(name, value)
    query = f"?{urlencode(request.query, quote_via=quote)}" if request.query else ""
    return request.path + query, headers


def _check_header(name: str, value: str) -> None:
    if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
        # Not shown: it may be a secret.
        raise unsendable(f"the header {name!r} has characters that HTTP forbids")


def unsendable(why: str) -> NotSent:
    """Return the error for a request that cannot be written."""
    return NotSent(f"The request cannot be sent: {why}.", by_request=True)


def _headers_of(target: Target, request: Request) -> list[tuple[str, str]]:
    """Return all headers of the request as (name, value), `Host` first, without Content-Length."""
    given = next((value for name, value in request.headers if name.lower() == "host"), None)
    host = given or target.host_header or target.url.origin.partition("://")[2]
    own = [(name, value) for name, value in request.headers if name.lower() not in OWN_HEADERS]
    asks = any(name.lower() == ACCEPT[0].lower() for name, _ in own)
    return [("Host", host), *own] if asks else [("Host", host), ACCEPT, *own]


@define(eq=False, repr=False)
class Heads:
    """The encoded heads of one target's requests; most jobs of a command share theirs, so the last few are kept.

    So is what stands before the last header, which may be of one job alone: a trace context, or a signature.
    """

    _target: Target
    _known: dict[tuple[object, ...], bytes] = field(factory=dict)
    _starts: dict[tuple[object, ...], bytes] = field(factory=dict)

    def message(self, request: Request) -> bytes:
        """Return head and body of the request as bytes; raise `NotSent` if it has something that HTTP forbids."""
        return whole(self.head(request), request.body)

    def head(self, request: Request) -> bytes:
        """Return the request's head up to the length of its body; raise `NotSent` as `message` does."""
        key = (request.method, request.path, request.query, request.headers)
        return self._known.get(key) or _keep(self._known, key, self._start(request) + b"Content-Length: ")

    def _start(self, request: Request) -> bytes:
        headers = request.headers
        if not headers or headers[-1][0].lower() in _RULE_OTHERS:
            return self._lines(request)
        key = (request.method, request.path, request.query, headers[:-1])
        start = self._starts.get(key)
        if start is None:
            start = _keep(self._starts, key, self._lines(attrs.evolve(request, headers=headers[:-1])))
        _check_header(*headers[-1])
        return start + _line(*headers[-1])

    def _lines(self, request: Request) -> bytes:
        path, headers = check(self._target, request)
        first = f"{request.method} {path} HTTP/1.1\r\n".encode("ascii")
        return b"".join([first, *(_line(name, value) for name, value in headers)])


def _keep(known: dict[tuple[object, ...], bytes], key: tuple[object, ...], text: bytes) -> bytes:
    """Return the text, and keep it unless it is long."""
    if len(known) >= _KNOWN_LIMIT:
        known.clear()
    if len(text) <= _LONGEST_KNOWN_BYTES:
        known[key] = text
    return text


def _line(name: str, value: str) -> bytes:
    return f"{name}: {value}\r\n".encode("ascii")


def whole(head: bytes, body: bytes) -> bytes:
    """Return the message of a head, as `Heads.head` makes it, and a body."""
    return b"%b%d\r\n\r\n%b" % (head, len(body), body)


ACCEPT: Final = ("Accept-Encoding", "identity")
_GZIP: Final = (16 + zlib.MAX_WBITS,)
# RFC 9110 means zlib's format; some servers send the bare one.
_DEFLATE: Final = (zlib.MAX_WBITS, -zlib.MAX_WBITS)
_KNOWN: Final = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _DEFLATE}
_NO_TEXT: Final = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_MOST: Final = 3
"""The most codings that are taken off one after the other."""


def decode(coding: str, body: bytes, limit_bytes: int, spare_bytes: int, *, cut: bool) -> tuple[bytes, str | None]:
    """Return a body without the codings in its `Content-Encoding`, and why it is not parsed, as `Response.note` has it.

    `cut`: it came cut. `spare_bytes`: the room that is left beside the body as it came. If it cannot be decoded, return
    a text that says so.
    """
    found, cut = _decode(coding, body, min(limit_bytes, spare_bytes), cut=cut)
    if cut:
        return found, TRUNCATED
    copied_bytes = 0 if found is body else len(found)
    fits = len(found) <= FREE_BYTES or parsed_bytes(found) + copied_bytes <= spare_bytes
    return found, None if fits else UNPARSED


def _decode(coding: str, body: bytes, limit_bytes: int, *, cut: bool) -> tuple[bytes, bool]:
    """Return a body without its codings, no more than the limit, and whether it is cut."""
    if not coding or _is_text(body):
        return body, cut
    names = [name for part in coding.split(",") if (name := part.strip().lower()) not in ("", "identity")]
    if not _KNOWN.keys() >= set(names) or len(names) > _MOST:
        return f"(not shown: encoded as {', '.join(names)[:60]}, which was not requested)".encode(), True
    for name in reversed(names):
        if _is_text(body):
            break
        tries = (_inflate(body, window, limit_bytes) for window in _KNOWN[name])
        body, is_whole = next((found for found in tries if found[0] or found[1]), (b"", False))
        cut = cut or not is_whole
    unreadable = f"(not shown: named as {', '.join(names)}, but it cannot be decoded)".encode()
    return body or (unreadable if cut else b""), cut


def _is_text(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return _NO_TEXT.search(body) is None


def _inflate(body: bytes, window: int, limit_bytes: int) -> tuple[bytes, bool]:
    """Return what is decoded of the body, at most `limit_bytes`, and whether that is all of it."""
    parts: list[bytes] = []
    try:
        # The members of gzip may be several; what else stands behind the end is no part of the body.
        while body and (not parts or body.startswith(b"\x1f\x8b")):
            inflater = zlib.decompressobj(window)
            # One more byte tells whether there are more.
            part = inflater.decompress(body, limit_bytes + 1)
            parts.append(part[:limit_bytes])
            if not inflater.eof or len(part) > limit_bytes:
                return b"".join(parts), False
            limit_bytes -= len(part)
            body = inflater.unused_data
    except zlib.error:
        return b"".join(parts), False
    return b"".join(parts), True
