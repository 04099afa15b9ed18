"""Leaves the properties of messages undecoded. Used by `blocking_connection`.

Always holds: nothing that a publisher writes beside the body is decoded. It is not needed here, and a header that pika
cannot decode (a time after the year 9999, tables in tables in tables) would end each connection, since RabbitMQ
delivers the same message again, so that no later message in the queue would ever come.
"""

from typing import Self

from pika import spec


class _UndecodedProperties(spec.BasicProperties):
    def decode(self, encoded: bytes, offset: int = 0) -> Self:  # noqa: ARG002  pika's own has them
        return self


def leave_properties() -> None:
    """Keep pika from decoding properties, in the whole process, by changing its table of property classes."""
    spec.props[spec.BasicProperties.INDEX] = _UndecodedProperties
