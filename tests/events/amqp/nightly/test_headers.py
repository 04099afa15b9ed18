"""What a publisher writes beside the body does not keep events from coming, whatever it is."""

import struct
from collections.abc import Callable, Sequence

from pika import BasicProperties

from tests.events.amqp.conftest import CHAT, RECEIVED, Read, chat
from tests.support.rabbitmq import RabbitMQ, as_bytes
from tests.support.rows import rows


class Raw(BasicProperties):
    """Properties of which only the headers are there, as these bytes."""

    def __init__(self, table: bytes) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.table = table

    def encode(self) -> Sequence[bytes]:
        return [struct.pack(">H", self.FLAG_HEADERS), struct.pack(">I", len(self.table)), self.table]


def a_time_of_no_calendar() -> bytes:
    return b"\x02atT" + b"\xff" * 8


def tables_in_tables() -> bytes:
    table = b"\x01xV"
    for _ in range(1500):
        table = b"\x01xF" + struct.pack(">I", len(table)) + table
    return table


@rows("table", [a_time_of_no_calendar, tables_in_tables])
async def test_a_header_that_cannot_be_decoded_holds_up_nothing(
    reading: Read, rabbit: RabbitMQ, table: Callable[[], bytes]
) -> None:
    async with reading(CHAT) as found:
        with rabbit.channel() as channel:
            channel.confirm_delivery()
            channel.basic_publish("chat_msg", RECEIVED, as_bytes(chat("odd")), Raw(table()))
        rabbit.publish("chat_msg", RECEIVED, chat("next"))
        await found.has(2)
        assert found.texts() == ["odd", "next"]
        assert found.warnings() == []


async def test_a_body_of_many_frames_and_an_empty_one_are_whole(reading: Read, rabbit: RabbitMQ) -> None:
    long = "x" * 400_000
    async with reading(CHAT) as found:
        rabbit.fill("chat_msg", [(RECEIVED, chat(long)), (RECEIVED, b""), (RECEIVED, chat("next"))])
        await found.has(2)
        assert found.texts() == [long, "next"]
        await found.tells("EventParked")
