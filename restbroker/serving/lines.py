"""Makes a reader of HTTP take addresses with any bytes. `serving.connections` and `serving.plain` use it.

Prosody 0.12 puts a user's name into an address as it is, in UTF-8 (measured; 13 read); llhttp, which reads requests in
`serving.requests`, refuses any byte beyond ASCII there, as h11 does. Always holds: such a byte travels as its number in
`<` and `>`, which no address holds, and is itself again for the app; bytes outside the first line of a GET or HEAD stay
as they are. A body that looks like one is not distinguished from it: this is for apps that read none.
"""

import re

import attrs

_METHODS = (b"GET ", b"HEAD ")
_LONGEST = max(map(len, _METHODS))
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_STAND_IN = re.compile(rb"<([89A-F][0-9A-F])>")


def restore_bytes(target: bytes) -> bytes:
    """Return the address as the client sent it: with the byte itself in the place of each number such as `<C3>`."""
    return _STAND_IN.sub(lambda found: bytes.fromhex(found[1].decode()), target)


@attrs.define(eq=False)
class RequestLines:
    """The encoder of what one connection receives."""

    _in_line: bool = True
    """Whether the next byte belongs to the first line of a request, else to a head."""
    _begun: bytes = b""
    """The first bytes of the line that the next byte belongs to, as far as they came."""

    def ascii(self, data: bytes) -> bytes:
        """Return the data with each byte beyond ASCII encoded (`<C3>`) in the first line of each GET or HEAD."""
        # Not `splitlines`, which takes a lone carriage return for the end of a line.
        *whole, rest = data.split(b"\n")
        return b"".join([self._part(part + b"\n") for part in whole] + [self._part(rest)])

    def _part(self, part: bytes) -> bytes:
        """Return a line, or a part of one, encoded if it is a first line."""
        self._begun += part[: _LONGEST - len(self._begun)]
        is_asking = self._in_line and self._begun.startswith(_METHODS)
        if part.endswith(b"\n"):
            # An empty line ends a head, and is no request.
            self._in_line = not self._begun.strip(b"\r\n")
            self._begun = b""
        return _BEYOND_ASCII.sub(_escape_byte, part) if is_asking else part


def _escape_byte(found: re.Match[bytes]) -> bytes:
    return b"<%02X>" % found[0][0]
