"""pika's connection, but that it leaves the properties of messages alone. Used by `connected`.

Always holds: nothing that a publisher writes beside the body is decoded. Nobody here wants it, and a header that pika
cannot decode (a time after the year 9999, tables in tables in tables) ended the connection, and the next one as well,
since RabbitMQ gives the same message again: nothing behind it in the queue ever came.

It leans on names that pika keeps to itself, the same in 1.3.2 and 1.4.4 (read); where they change, the tests fail.
"""

import struct
from typing import Final

from pika import frame, spec
from pika.adapters.select_connection import SelectConnection

_START: Final = struct.Struct(">BHL")
"""How each frame begins: its kind, its channel and its length."""
_HEADER: Final = struct.Struct(">HHQ")
"""How the header of a message begins: the class, a weight that is always 0, and how long the body is."""


class UnreadHeaders(SelectConnection):
    """For `BlockingConnection`, which has a place for it."""

    def _read_frame(self) -> tuple[int, frame.Frame | frame.ProtocolHeader | None]:
        buffer = self._frame_buffer
        if len(buffer) >= _START.size:
            kind, channel, length = _START.unpack_from(buffer)
            end = _START.size + length
            if (
                kind == spec.FRAME_HEADER
                and length >= _HEADER.size
                and buffer[end : end + 1] == spec.FRAME_END.to_bytes(1, "big")
            ):
                _, _, body = _HEADER.unpack_from(buffer, _START.size)
                nothing = spec.BasicProperties()  # type: ignore[no-untyped-call]
                return end + spec.FRAME_END_SIZE, frame.Header(channel, body, nothing)
        return super()._read_frame()
