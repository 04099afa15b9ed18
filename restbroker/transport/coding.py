"""Decodes the body of an answer that came encoded, though restbroker requests `identity`.

Called by the clients. Always holds: nothing is raised; no more is decoded than the limit; a body that is not there as
a whole counts as cut; a coding that is not known is named in the body's place; a text is what it looks like, since
proxies that decode a body may leave the header.
"""

import re
import zlib
from typing import Final

ACCEPT: Final = ("Accept-Encoding", "identity")
_GZIP: Final = (16 + zlib.MAX_WBITS,)
# RFC 9110 means zlib's format; some servers send the bare one.
_DEFLATE: Final = (zlib.MAX_WBITS, -zlib.MAX_WBITS)
_KNOWN: Final = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _DEFLATE}
_NO_TEXT: Final = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_MOST: Final = 3
"""The most codings that are taken off one after the other."""


def decode(coding: str, body: bytes, limit_bytes: int, *, cut: bool) -> tuple[bytes, bool]:
    """Return a body without the codings in its `Content-Encoding`, and whether it is cut.

    `cut`: it came cut. If it cannot be decoded, return a text that says so.
    """
    if not coding or _is_text(body):
        return body, cut
    names = [name for one in coding.split(",") if (name := one.strip().lower()) not in ("", "identity")]
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
