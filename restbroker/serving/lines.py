"""Has Hypercorn take addresses with any bytes in them. `serving.connections` and `serving.plain` use it.

Prosody 0.12 puts a user's name into an address as it is, in UTF-8 (measured; 13 read); h11 0.16, which Hypercorn reads
requests with, answers 400 to any byte beyond ASCII there. Always holds: such a byte travels through both as its number
in `<` and `>`, which no address holds, and is itself again for the app; heads, and whatever is no HTTP/1, stay as they
are. Bodies are not told from requests: this is for apps that read none.
"""

import re

import attrs

_NOT_HTTP_1 = b"PRI "
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_STAND_IN = re.compile(rb"<([89A-F][0-9A-F])>")


def as_sent(target: bytes) -> bytes:
    """The address as the client sent it."""
    return _STAND_IN.sub(lambda found: bytes.fromhex(found[1].decode()), target)


@attrs.define(eq=False)
class RequestLines:
    """What one connection receives."""

    _in_line: bool = True
    """Whether the next byte belongs to the line that names what is asked for, else to a head."""
    _is_blank: bool = True
    """Whether the line that it belongs to has been empty so far."""
    _is_other: bool | None = None
    """Whether it is no HTTP/1; None before anything came."""

    def ascii(self, data: bytes) -> bytes:
        """The same, with what stands in a request's first line in ASCII."""
        if self._is_other is None:
            self._is_other = data.startswith(_NOT_HTTP_1)
        # Not `splitlines`, which takes a lone carriage return for the end of a line.
        *whole, rest = data.split(b"\n")
        return data if self._is_other else b"".join([self._part(part + b"\n") for part in whole] + [self._part(rest)])

    def _part(self, part: bytes) -> bytes:
        """A line, or a part of one."""
        found = _BEYOND_ASCII.sub(_stand_in, part) if self._in_line else part
        self._is_blank = self._is_blank and not part.strip(b"\r\n")
        if part.endswith(b"\n"):
            # An empty line ends a head, and is no request.
            self._in_line = self._is_blank
            self._is_blank = True
        return found


def _stand_in(found: re.Match[bytes]) -> bytes:
    return b"<%02X>" % found[0][0]
