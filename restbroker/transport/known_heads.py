"""Reads answers that came in one piece, or nearly, without parsing their heads again. Used by the broker's fast path.

Most answers of a server have the same few heads: only the second of `Date` differs. Always holds: the strict reader
(`answer`) has parsed each head, once, with a body of the length that it names; an answer that it refuses, that has no
length or more than `_LONGEST_BYTES`, or that ends the connection is no plain answer; memory is bounded.
"""

from enum import Enum
from typing import Final, Literal, TypeAlias

import attrs

from restbroker.transport.answer import AnswerReader, MalformedAnswer

_LONGEST_BYTES: Final = 64 * 1024
"""The longest body of a plain answer, and the longest head."""
_HEADS: Final = 64
"""How many heads are kept."""
_END: Final = b"\r\n\r\n"


class Rest(Enum):
    """Why the bytes so far are no plain answer: some are still `MISSING`, or it is not a plain one (`ODD`)."""

    MISSING = 0
    ODD = 1


PlainAnswer: TypeAlias = tuple[int, bytes]
"""The status and the body of a whole answer whose connection may be used again."""


@attrs.define(eq=False)
class KnownHeads:
    """The heads of one server: {head: status and length of the body, None for one that is not plain}."""

    _known: dict[bytes, tuple[int, int] | None] = attrs.field(factory=dict)

    def read(self, data: bytes) -> PlainAnswer | Literal[Rest.MISSING, Rest.ODD]:
        """Return the answer in `data`, or why there is none; `data` is all that came since the request was sent."""
        at = data.find(_END) + len(_END)
        if at < len(_END):
            return Rest.MISSING if len(data) < _LONGEST_BYTES else Rest.ODD
        head = data[:at]
        try:
            found = self._known[head]
        except KeyError:
            found = self._remember(head)
        if found is None:
            return Rest.ODD
        status, length = found
        missing = at + length - len(data)
        if missing:
            return Rest.MISSING if missing > 0 else Rest.ODD
        return status, data[at:]

    def _remember(self, head: bytes) -> tuple[int, int] | None:
        if len(self._known) >= _HEADS:
            self._known.clear()
        found = self._known[head] = _plain_head(head)
        return found


def _plain_head(head: bytes) -> tuple[int, int] | None:
    """Return status and length of the body of answers with this head; None if they are not plain."""
    reader = AnswerReader()
    reader.begin(_LONGEST_BYTES, is_head=False)
    try:
        length = 0
        if not reader.feed(head):
            length = int(reader.headers.get("content-length", "0"))
            if not 0 < length <= _LONGEST_BYTES or not reader.feed(bytes(length)):
                return None
    except (MalformedAnswer, ValueError):
        return None
    return (reader.status, length) if reader.keep and not reader.body_cut else None
