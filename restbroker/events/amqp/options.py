"""The options of a source of the kind `mongooseim-amqp`: the RabbitMQ server, and MongooseIM's exchanges there.

Used by the other files of this folder. Always holds: neither Trio nor a client of RabbitMQ is loaded here; the password
is a `Secret`, and no message shows it; a URL that could mean two places is refused.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal, TypeAlias

import attrs

from restbroker.config.events import EventSource
from restbroker.config.key import Items, Names, inline, key, secret, whole, word
from restbroker.config.kind import At, SourceDefaults
from restbroker.config.problems import Problems
from restbroker.config.secret import NO_SECRET, Secret, place_of
from restbroker.config.target import TlsFiles
from restbroker.config.tls import tls_files
from restbroker.config.urls import BadUrl, decode, host_of, is_loopback, port_of, split
from restbroker.errors import ConfigError
from restbroker.light import field, frozen

INSTALL: Final = "pip install --require-hashes -r requirements/amqp.lock"
"""The command that installs the extra `amqp`, in the environment and the clone that restbroker runs from."""

ExchangeContent = Literal["presence", "chat", "groupchat"]
"""What MongooseIM publishes to an exchange."""

_PORTS: Final = {"amqp": 5672, "amqps": 5671}
_EXAMPLE: Final = "amqp://USER:PASSWORD@127.0.0.1:5672/%2F"
_NAME: Final = r"[A-Za-z0-9_.:@-]{1,200}"
_KEY: Final = r"\S{1,255}"
_KNOWN: Final[Mapping[str, ExchangeContent]] = {
    "presence": "presence",
    "chat_msg": "chat",
    "groupchat_msg": "groupchat",
}
_KEYS: Final[Mapping[ExchangeContent, tuple[str, ...]]] = {
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


@frozen
class RabbitAddress:
    """The address of one RabbitMQ and the login for it. `vhost`: its virtual host. `str` of it shows no login."""

    is_tls: bool
    host: str
    port: int
    vhost: str
    user: str
    password: str = field(repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'amqps' if self.is_tls else 'amqp'}://{host}:{self.port}"


def address(text: str) -> RabbitAddress:
    """Return the address and login in a URL; raise `BadUrl` if it cannot be used.

    Without a login it is RabbitMQ's own guest; without a path the virtual host `/`.
    """
    parts = split(text)
    if parts.scheme not in _PORTS:
        raise BadUrl(f"The URL begins with amqp:// or amqps:// (TLS), as {_EXAMPLE}.")
    if parts.query or parts.fragment:
        raise BadUrl(_wrong('it must not have a "?" or "#" part'))
    host, port = host_of(parts, "The URL"), port_of(parts, "The URL") or _PORTS[parts.scheme]
    if not host:
        raise BadUrl(_wrong("it names no host"))
    vhost = parts.path.removeprefix("/")
    if "/" in vhost:
        raise BadUrl(_wrong('a "/" within the name of a virtual host is written as %2F'))
    user, colon, password = parts.netloc.rpartition("@")[0].partition(":")
    if user and not colon:
        raise BadUrl(_wrong("the part before @ is USER:PASSWORD"))
    words = [decode(word) for word in (vhost or "%2F", user or "guest", password if user else "guest")]
    return RabbitAddress(parts.scheme == "amqps", host.strip("[]"), port, *words)


def _wrong(what: str) -> str:
    return f"The URL cannot be used: {what}. (A password with @ : / ? or # in it must be percent-encoded.)"


@frozen
class RabbitServer:
    """Where RabbitMQ is. `url`: the whole URL with its login, which may stand in a file."""

    url: Secret = secret("URL", default=NO_SECRET, mandatory="or URLFile")
    """amqp://USER:PASSWORD@HOST:5672/VHOST, or amqps:// for TLS. The vhost / is written %2F, or left out."""
    tls: TlsFiles | None = key("TLS")
    """Certificates, for amqps."""

    def check(self, place: str, problems: Problems) -> "RabbitServer | None":
        """Return the server as it is to be used, or None after adding a problem to `problems`."""
        place_of_url = place_of(f"{place}.URL", self.url)
        missing = "say where RabbitMQ is, or name a file that does"
        url = problems.try_secret(f"{place}.URL", self.url, missing=missing)
        if url is None:
            return None
        try:
            found = address(url.reveal())
        except (BadUrl, ConfigError) as error:
            problems.refuse(place_of_url, str(error))
            return None
        if not found.is_tls and not is_loopback(found.host):
            problems.note("PlainRabbitMQ", f"The login for {found} goes unencrypted.", "Use amqps://.")
        if not found.is_tls and self.tls is not None:
            problems.note(
                "NoTLS", f"{place}.TLS is not used, since {place_of_url} begins with amqp://.", "Use amqps://."
            )
        return RabbitServer(
            url, tls_files(self.tls or TlsFiles(), f"{place}.TLS", place_of_url, problems, is_used=True)
        )


@frozen
class RabbitExchange:
    """One exchange, with exactly the type and durability that MongooseIM's configuration says.

    `keys`: the routing keys with which the queue is bound to it.
    """

    name: str = ""
    carries: ExchangeContent = "presence"
    keys: _BindingKeys = key("Keys", default=())
    """Routing keys to read; by default `#` of presence, `#.chat_msg_recv` of chat, `#.groupchat_msg_sent` of
    groupchat."""
    type: Literal["topic", "fanout", "direct"] = key("Type", default="topic")
    """Its type, as `type` in MongooseIM's configuration."""
    is_durable: bool = key("Durable", default=False)
    """As `durable` in MongooseIM's configuration: MongooseIM refuses to start if restbroker created the exchange with
    another value."""
    create: bool = key("Create", default=True)
    """Create it if missing; MongooseIM does not after a restart of RabbitMQ."""
    _carries_as_written: ExchangeContent | None = key("Carries")
    """What is published there; known for MongooseIM's default exchanges."""

    def check(self, place: str, problems: Problems) -> "RabbitExchange | None":
        """Return the exchange with its defaults filled in, or None after adding a problem to `problems`."""
        carries = self._carries_as_written or _KNOWN.get(self.name)
        if carries is None:
            problems.refuse(
                f"{place}.{self.name}.Carries", "is missing; name what is published there: presence, chat, …"
            )
            return None
        if self.type == "direct" and not self.keys:
            problems.refuse(f"{place}.{self.name}.Keys", "is missing; a direct exchange has no * and #.")
            return None
        return attrs.evolve(self, carries=carries, keys=self.keys or _KEYS[carries], carries_as_written=None)


@frozen
class Options:
    """The keys under `Options`."""

    DEFAULTS: ClassVar[SourceDefaults] = SourceDefaults(is_reader=True, has_ids=False)

    server: RabbitServer = inline(RabbitServer, RabbitServer())
    exchanges: Annotated[
        tuple[RabbitExchange, ...], Names("exchanges by name", _NAME, "a name of letters, digits, . _ : @ -")
    ] = key("Exchanges", default=tuple(map(RabbitExchange, _KNOWN)))
    """MongooseIM's exchanges by name; by default presence, chat_msg and groupchat_msg."""
    queue: Annotated[str, word("name", _NAME, "a name of letters, digits and . _ : @ -")] = key(
        "RabbitQueue", default=""
    )
    """The queue in RabbitMQ; by default restbroker.SOURCE."""
    queue_type: Literal["quorum", "classic"] = key("QueueType", default="quorum")
    """quorum: events survive a restart of RabbitMQ. classic: they are lost."""
    prefetch: Annotated[int, whole(1, 10_000)] = key("Prefetch", default=400)
    """How many events RabbitMQ sends ahead; after a lost connection at most this many come twice."""

    def check(self, source: EventSource, at: At, problems: Problems) -> EventSource:
        """Return the source with its options filled in and judged, for `config.kind`; problems go to `problems`."""
        server = self.server.check(at("Options"), problems)
        place = at("Options.Exchanges")
        exchanges = [exchange.check(place, problems) for exchange in self.exchanges]
        if not exchanges:
            problems.refuse(place, "is empty; name an exchange, or leave it out.")
        if server is None:
            return source
        options = attrs.evolve(
            self,
            server=server,
            exchanges=tuple(exchange for exchange in exchanges if exchange is not None),
            queue=self.queue or f"restbroker.{source.name}",
        )
        return attrs.evolve(source, options=options, secrets=(server.url,))
