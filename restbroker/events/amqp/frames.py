"""The properties of messages, left alone. Used by `connected`.

Always holds: nothing that a publisher writes beside the body is decoded. Nobody here wants it, and a header that pika
cannot decode (a time after the year 9999, tables in tables in tables) ended the connection, and the next one as well,
since RabbitMQ gives the same message again: nothing behind it in the queue ever came.
"""

from typing import Self

from pika import spec


class _Unread(spec.BasicProperties):
    def decode(self, encoded: bytes, offset: int = 0) -> Self:  # noqa: ARG002  pika's own has them
        return self


def leave_properties() -> None:
    """Tells pika, for the whole process, by its table of what a message's properties are made of."""
    spec.props[spec.BasicProperties.INDEX] = _Unread
