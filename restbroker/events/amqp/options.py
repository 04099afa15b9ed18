"""The options that a source of the kind `mongooseim-amqp` takes: where RabbitMQ is, and what MongooseIM has there.

The loader makes an instance, which makes `settings.Settings` of itself: those are the finished source's options. Always
holds: neither Trio nor a client of RabbitMQ is loaded here.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar, Final, TypeAlias

import attrs

from restbroker.config.events import EventSource
from restbroker.config.form import Items, Names, whole, word
from restbroker.config.key import key, secret
from restbroker.config.kind import At, SourceDefaults
from restbroker.config.review import Review
from restbroker.config.secret import Secret
from restbroker.config.target import TlsFiles
from restbroker.config.tls import tls_files
from restbroker.config.urls import BadUrl, is_loopback
from restbroker.errors import ConfigError
from restbroker.events.amqp.address import Address, address
from restbroker.events.amqp.settings import Carries, Exchange, ExchangeType, QueueType, Server, Settings

_NAME: Final = re.compile(r"[A-Za-z0-9_.:@-]{1,200}", re.ASCII)
_KEY: Final = re.compile(r"\S{1,255}")
_KNOWN: Final[Mapping[str, Carries]] = {"presence": "presence", "chat_msg": "chat", "groupchat_msg": "groupchat"}
_KEYS: Final[Mapping[Carries, tuple[str, ...]]] = {
    "presence": ("#",),
    # Not `*.chat_msg_recv`: a word ends at a dot, so that it misses first.last@example.org.
    "chat": ("#.chat_msg_recv",),
    # Once for each message; `#.groupchat_msg_recv` is once for each occupant.
    "groupchat": ("#.groupchat_msg_sent",),
}


_BindingKeys: TypeAlias = Annotated[
    tuple[str, ...],
    Items(
        "list of keys",
        'a list of routing keys such as ["#.chat_msg_recv"]',
        word("key", _KEY, 'a routing key, perhaps with * and #, such as "#.chat_msg_recv"'),
    ),
]


@attrs.frozen(kw_only=True)
class ExchangeKeys:
    """One exchange."""

    carries: Carries | None = key(
        "Carries", "What is published there; known for exchanges of MongooseIM's default names."
    )
    type: ExchangeType = key("Type", "Its type, as `type` in MongooseIM's configuration.", "topic")
    durable: bool = key(
        "Durable",
        "As `durable` in MongooseIM's configuration. If restbroker makes the exchange with another one, MongooseIM"
        " refuses to start.",
        default=False,
    )
    create: bool = key(
        "Create", "Make it where it is missing: after a restart of RabbitMQ, MongooseIM does not.", default=True
    )
    keys: _BindingKeys = key(
        "Keys",
        "The routing keys that are wanted; without it, `#` of presence, `#.chat_msg_recv` of chat,"
        " `#.groupchat_msg_sent` of groupchat.",
        (),
        shown=None,
    )


_ALL: Final[Mapping[str, ExchangeKeys]] = MappingProxyType({name: ExchangeKeys() for name in _KNOWN})


@attrs.frozen(kw_only=True)
class Options:
    """What is written under `Options`."""

    DEFAULTS: ClassVar[SourceDefaults] = SourceDefaults(is_reader=True, has_ids=False)

    url: Secret | None = secret(
        "URL",
        "RabbitMQ, as amqp://USER:PASSWORD@HOST:5672/VHOST, or amqps:// for TLS. A vhost named / is written %2F, or"
        " left out.",
        "A file that holds it.",
        mandatory="or URLFile",
    )
    tls: TlsFiles | None = key("TLS", "Certificates, for amqps.")
    queue: Annotated[str, word("name", _NAME, "a name of letters, digits and . _ : @ -")] | None = key(
        "RabbitQueue", "The queue in RabbitMQ; without it, restbroker. and the name of the source."
    )
    queue_type: QueueType = key(
        "QueueType",
        "A quorum queue keeps its events over a restart of RabbitMQ. A classic one loses them: MongooseIM marks none as"
        " lasting.",
        "quorum",
    )
    exchanges: Annotated[
        Mapping[str, ExchangeKeys], Names("exchanges by name", _NAME, "a name of letters, digits, . _ : @ -")
    ] = key(
        "Exchanges",
        "The exchanges that MongooseIM publishes to, by name; without it, presence, chat_msg and groupchat_msg.",
        _ALL,
        shown=None,
    )
    prefetch: Annotated[int, whole(1, 10_000)] = key(
        "Prefetch", "How many events may be in hand: so many at most come twice after a lost connection.", 400
    )

    def check(self, source: EventSource, at: At, review: Review) -> EventSource:
        """See `config.kind`."""
        place = at("Options")
        place_of_url = f"{place}.URL" if self.url is None or self.url.path is None else f"{place}.URLFile"
        url = review.try_secret(f"{place}.URL", self.url)
        if url is None:
            if self.url is None:
                review.refuse(place_of_url, "is missing or empty; say where RabbitMQ is, or name a file that does.")
            return source
        if (found := _address(url, place_of_url, review)) is None:
            return source
        if not found.is_tls and not is_loopback(found.host):
            review.note("PlainRabbitMQ", f"The login for {found} goes unencrypted.", "Use amqps://.")
        if not found.is_tls and self.tls is not None:
            review.note("NoTLS", f"{place}.TLS is not used, since {place_of_url} begins with amqp://.", "Use amqps://.")
        files = tls_files(self.tls or TlsFiles(), f"{place}.TLS", place_of_url, review, is_used=True)
        exchanges = [_exchange(name, one, place, review) for name, one in self.exchanges.items()]
        if not exchanges:
            review.refuse(f"{place}.Exchanges", "is empty; name an exchange, or leave it out.")
        settings = Settings(
            server=Server(url, files),
            exchanges=tuple(one for one in exchanges if one is not None),
            queue=self.queue or f"restbroker.{source.name}",
            queue_type=self.queue_type,
            prefetch=self.prefetch,
        )
        return attrs.evolve(source, options=settings, secrets=(url,))


def _address(url: Secret, place: str, review: Review) -> Address | None:
    try:
        return address(url.reveal())
    except (BadUrl, ConfigError) as error:
        review.refuse(place, str(error))
        return None


def _exchange(name: str, written: ExchangeKeys, place: str, review: Review) -> Exchange | None:
    carries = written.carries or _KNOWN.get(name)
    if carries is None:
        review.refuse(f"{place}.Exchanges.{name}.Carries", "is missing; what is published there: presence, chat, …?")
        return None
    keys = written.keys or _KEYS[carries]
    if written.type == "direct" and not written.keys:
        review.refuse(f"{place}.Exchanges.{name}.Keys", "is missing; a direct exchange knows no * and #.")
        return None
    return Exchange(name, carries, keys, written.type, written.durable, written.create)
