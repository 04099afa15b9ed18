"""What a source of the kind `mongooseim-amqp` is configured to: the server, its exchanges, the queue.

Made by `options`; used by the other files of this folder. Always holds: the password is a `Secret`.
"""

from collections.abc import Sequence
from typing import Final, Literal

import attrs

from restbroker.config.secret import Secret
from restbroker.config.target import TlsFiles

INSTALL: Final = "pip install --require-hashes -r requirements/amqp.lock"
"""What gets the extra `amqp`, in the environment and the clone that restbroker is from."""

Carries = Literal["presence", "chat", "groupchat"]
"""What MongooseIM publishes to an exchange."""

ExchangeType = Literal["topic", "fanout", "direct"]
QueueType = Literal["quorum", "classic"]


@attrs.frozen
class Server:
    """Where RabbitMQ is. `url`: the whole one with its login, which a file may hold. `tls`: for amqps."""

    url: Secret
    tls: TlsFiles = attrs.field(factory=TlsFiles)


@attrs.frozen
class Exchange:
    """One exchange, with exactly the type and durability that MongooseIM's configuration says.

    `create`: it is made where it is missing. `keys`: what the queue is bound with.
    """

    name: str
    carries: Carries
    keys: Sequence[str]
    type: ExchangeType = "topic"
    is_durable: bool = False
    create: bool = True


@attrs.frozen
class Settings:
    """Those of one source. `prefetch`: how many events may be in hand."""

    server: Server
    exchanges: tuple[Exchange, ...]
    queue: str
    queue_type: QueueType = "quorum"
    prefetch: int = 400
