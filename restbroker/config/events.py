"""The section `Events`: where events of servers are received, and what becomes of them.

`config.check_events` checks it; `events` and `app` use it. Always holds of a loaded one: no two sources share a path,
none pushes into a queue that a target serves, and a source that other machines can reach has a secret or signed
requests. Nothing here affects how jobs are delivered.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import translate
from functools import lru_cache
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, TypeAlias

from restbroker.config import forms
from restbroker.config.key import Form, Items, Names, OptionsOf, choice, duration, inline, key, secret, text, word
from restbroker.config.secret import Secret
from restbroker.config.target import CertFiles, Target
from restbroker.config.values import BadValue
from restbroker.job.event import EVENT_MEMBERS, EVENT_TYPES, ServerEvent, address_of
from restbroker.job.jid import fold_case
from restbroker.job.json_types import Json
from restbroker.job.names import BODY_NAMES
from restbroker.kinds import SOURCES
from restbroker.light import frozen

DEFAULT_LISTEN = ("127.0.0.1", 8081)
_MEMBER = r"[A-Za-z][A-Za-z0-9_]{0,63}"
_EXPECTED_MEMBER = "a name of letters, digits and _, such as tenant"


def _read_plain(value: Json) -> Json:
    if not isinstance(value, str | int | float | bool):
        raise BadValue("a string, a number, true or false", value)
    return value


ServedPath: TypeAlias = Annotated[
    str, word("path", r"(?:/[A-Za-z0-9._~-]+)+", 'a path such as "/events/prosody", without a slash at its end')
]
"""A path that restbroker serves."""
JobClass: TypeAlias = Annotated[
    str, word("class", r"[A-Za-z_][A-Za-z0-9_:.\\]{0,199}", 'a class such as "XmppEvent" or "Chat::Event"')
]
"""The class of the jobs that are made of events."""
TYPE: Final = r"[A-Za-z0-9_.:/-]{1,64}"
EventTypes: TypeAlias = Annotated[
    tuple[str, ...],
    Items(
        "list of types",
        'a list of types such as ["message", "groupchat"]',
        word("type", TYPE, "a type of event, a word without blanks"),
    ),
]
"""Those of `EVENT_TYPES`, or for kinds with types of their own any."""
Addresses: TypeAlias = Annotated[
    tuple[str, ...],
    Items(
        "list of JIDs",
        'a list of JIDs such as ["bot-*", "support@example.org"]',
        word(
            "JID",
            r"[^\s/]{1,1000}",
            'a JID without a resource, perhaps with * and ?, such as "bot-*" or "*@example.org"',
        ),
    ),
]
"""JIDs without their resource, with wildcards `*` and `?`."""
Texts: TypeAlias = Annotated[
    tuple[str, ...],
    Items("list of strings", 'a list of strings such as ["*urgent*"]', text("a string, perhaps with * and ?")),
]
Fields: TypeAlias = Annotated[
    Mapping[str, Annotated[Any, Form("value", {"type": ["string", "number", "boolean"]}, _read_plain)]],
    Names("values by name", _MEMBER, _EXPECTED_MEMBER),
]
"""Additional members that every event gets, by name."""
MemberNames: TypeAlias = Annotated[
    Mapping[str, Annotated[str, word("name", _MEMBER, _EXPECTED_MEMBER)]],
    Names("names by member", "|".join(EVENT_MEMBERS), f"a member of events: {', '.join(EVENT_MEMBERS)}"),
]
"""Other names for the members of events: member → name."""
EventMembers: TypeAlias = Annotated[
    tuple[str, ...], Items("list of members", f"a list of members: {', '.join(EVENT_MEMBERS)}", choice(*EVENT_MEMBERS))
]
Arguments: TypeAlias = Annotated[
    Mapping[str, forms.AnyValue],
    Names("values by argument", r"[A-Za-z_][A-Za-z0-9_.-]{0,63}", "an argument's name"),
]
IqRule = Literal["refuse", "accept"]
"""What to do with a client's question (an iq of type get or set), which the server has to answer."""


@frozen
class Filter:
    """Which events are meant; an empty member matches every event.

    JIDs (without their resource) and bodies are compared with patterns of `*` and `?`: JIDs after folding their case as
    servers do, bodies ignoring case. An event without a JID or body matches no pattern for it.
    """

    types: EventTypes = key(
        "Types", default=(), meaning=f"Of {', '.join(EVENT_TYPES)}; for the kind webhook any words."
    )
    sender: Addresses = key("Sender", default=())
    """JIDs of senders, without resource, with `*` and `?`."""
    receiver: Addresses = key("Receiver", default=())
    """The same for recipients, e.g. `bot-*`."""
    body: Texts = key("Body", default=())
    """Patterns with * and ?, e.g. `*urgent*`, ignoring case."""

    def fits(self, event: ServerEvent) -> bool:
        """Tell whether the event matches every member of the filter."""
        return all(self._answers(event))

    def touches(self, event: ServerEvent) -> bool:
        """Tell whether the event matches at least one member of the filter."""
        return any(self._answers(event))

    def _answers(self, event: ServerEvent) -> Iterator[bool]:
        if self.types:
            yield event.type in self.types
        if self.sender:
            yield _fits(address_of(event.sender), _patterns(self.sender, fold_case))
        if self.receiver:
            yield _fits(address_of(event.receiver), _patterns(self.receiver, fold_case))
        if self.body:
            text = None if event.body is None else event.body.casefold()
            yield _fits(text, _patterns(self.body, str.casefold))


def _fits(text: str | None, patterns: Sequence[re.Pattern[str]]) -> bool:
    return text is not None and any(pattern.match(text) for pattern in patterns)


@lru_cache(maxsize=1024)
def _patterns(written: tuple[str, ...], fold: Callable[[str], str]) -> list[re.Pattern[str]]:
    # Brackets are no wildcards here.
    return [re.compile(translate(fold(pattern).replace("[", "[[]"))) for pattern in written]


_NO_FILTER = Filter()


@frozen
class Shape:
    """What an event looks like in its job: additional `fields`, other `names` for its members, and members to `omit`.

    The shape of a route is added to that of its source.
    """

    fields: Fields = key("Fields", default=MappingProxyType({}))
    """Additional members of each event: {"tenant": "a"}."""
    names: MemberNames = key("Names", default=MappingProxyType({}))
    """Other names for members: {"from": "author", "body": "message"}."""
    omit: EventMembers = key("Omit", default=())
    """Members to remove: ["raw"]."""


@frozen
class Handover:
    """The command of a target that an event becomes, instead of a job for the application; without `target`: none.

    `Tell` is one, too: of what is wrong.
    """

    target: forms.Name = key("Target", default="")
    """The target that gets it; for an event instead of Queue and Class, one of kind http, for the kind webhook any."""
    command: Annotated[str, text()] = key("Command", default="")
    """Its command: the members are the arguments."""
    arguments: Arguments = key("Arguments", default=MappingProxyType({}), in_repr=False)
    """For Tell and the kind webhook: its arguments, as templates: {"to": "ops@example.org", "body": "{title}"}; a route
    adds."""
    # Secret, since some write the token itself.
    token: forms.Name | None = key("Token", in_repr=False, secret=True)
    """The name of the token of such jobs; by default the first that allows it."""
    expire_s: Annotated[float, duration(366)] | None = key("Expiry")
    """Drop such a job unless it is sent in this time."""

    def __hash__(self) -> int:
        # An object of arguments has none.
        return hash((self.target, self.command, self.token, self.expire_s))

    def speaks_as(self, jid: str | None, members: Mapping[str, Json]) -> bool:
        """Tell whether an argument is this address for an event of these members: it would answer itself for ever."""
        addresses = (
            address_of(re.sub(r"\{([^{}?]*)\??\}", lambda found: str(members.get(found[1])), value))
            for name, value in self.arguments.items()
            if isinstance(value, str) and "@" in value and name.lower() not in BODY_NAMES
        )
        return jid is not None and address_of(jid) in addresses


_NO_HANDOVER = Handover()


@frozen
class Route:
    """Where events go that match `only` and no member of `excluded`."""

    queue: forms.Queue = key("Queue", default="")
    """The queue; by default the source's."""
    job_class: JobClass = key("Class", default="")
    """The class of its jobs; by default the source's."""
    only: Filter = key("Only", default=_NO_FILTER)
    """The events it takes; by default all."""
    excluded: Filter = key("Except", default=_NO_FILTER)
    """Exceptions to Only."""
    shape: Shape = inline(Shape, Shape())
    handover: Handover = inline(Handover, _NO_HANDOVER)


@frozen
class EventSource:
    """One entry of `Sources`; fields that have no key are set by its kind. Durations are seconds.

    An event that comes again within `window_s` is dropped, and so is the event of a message that this broker itself
    sent within `own_s`. `path` is where servers post; None: the kind fetches events by itself.
    """

    name: str = ""
    kind: str = key(
        "Kind",
        default="",
        mandatory="always",
        meaning=f"The sender: one of {', '.join(f'`{kind}`' for kind in SOURCES)} (docs/events.md).",
    )
    path: ServedPath | None = key("Path", mandatory="for a kind that servers post to")
    """The path that the server posts to, e.g. /events/prosody."""
    queue: forms.Queue = key("Queue", default="", mandatory="unless each of Routes has one, or Target")
    """The queue for these jobs, without `queue:`; no target may serve it."""
    job_class: JobClass = key("Class", default="", mandatory="unless each of Routes has one, or Target")
    """The class of these jobs."""
    secret: Secret | None = secret("Secret", mandatory="or SecretFile, for a Listen that others reach")
    """The secret that the server sends: HTTP Basic's password, a bearer token, ?key=, or behind Path:
    /events/prosody/SECRET."""
    window_s: forms.Duration | None = key("DropDuplicates")
    """Drop an event with the sender, recipient and id (or text) of another within this time; with Arguments: 60s."""
    own_s: forms.Duration | None = key("DropOwn")
    """Drop events of messages that a mongooseim target sent within this time; for ejabberd-component those of its
    Target, by default 60s."""
    only: Filter = key("Only", default=_NO_FILTER)
    """Events that become jobs; others are accepted and dropped."""
    excluded: Filter = key("Except", default=_NO_FILTER)
    """Exceptions to Only."""
    shape: Shape = inline(Shape, Shape())
    handover: Handover = inline(Handover, _NO_HANDOVER)
    # The first route that an event fits takes it; empty: `queue` and `job_class` of the source are used.
    routes: Annotated[tuple[Route, ...], Items("list of objects", "a list of routes, each an object")] = key(
        "Routes", default=()
    )
    """Other queues and classes for some events; see below."""
    iq: IqRule = key("IQ", default="refuse")
    """An iq of type get or set: refuse answers service-unavailable; accept makes a job, and Prosody answers with an
    empty result."""
    listen: forms.Bind | None = key("Listen")
    """A loopback host:port for this source alone, always without TLS. Sources may share one."""
    patience_s: float | None = None
    """How many seconds to wait for Redis before telling the server that nothing was stored; None: two seconds."""
    has_ids: bool = True
    """Whether its events have an id, by which a repeated one is recognised; if not, its content is compared."""
    options: Annotated[object, OptionsOf("sources")] = key("Options")
    """Further keys: see Options of the source below."""
    secrets: tuple[Secret, ...] = ()
    """The secrets in its options."""
    more_queues: tuple[tuple[str, str], ...] = ()
    """The queues that its options name: pairs of the place that names the queue, and the queue."""
    takes_chains: bool = False
    """Whether it takes what a target of kind `http` posts."""
    more_members: tuple[str, ...] = ()
    """The members of its events beside those of all events."""
    alone: tuple[str, ...] = ()
    """Users of the target whose events only one source may read."""
    target_name: str | None = None
    """The name of the target that its options name."""
    target: Target | None = None
    """The target with the name `target_name`."""

    @property
    def has_arguments(self) -> bool:
        """Whether something that is posted becomes a command with `Arguments`."""
        return any((self.handover.arguments, *(route.handover.arguments for route in self.routes)))


@frozen
class Events:
    """The section itself: the address to listen on, the sources, and the certificate for TLS (`tls`; None: no TLS)."""

    listen: forms.Bind = key("Listen", default=DEFAULT_LISTEN, shown=f"{DEFAULT_LISTEN[0]}:{DEFAULT_LISTEN[1]}")
    """host:port for events; unless it is loopback, each source needs a secret."""
    sources: Annotated[tuple[EventSource, ...], forms.objects_by_name("sources")] = key(
        "Sources", default=(), secret=True, mandatory="always"
    )
    """The sources, by name."""
    tls: CertFiles | None = inline(CertFiles)

    @property
    def handovers(self) -> Iterator[tuple[str, EventSource, EventSource | Route]]:
        """Each source and route whose events become commands, behind its place in the configuration and its source."""
        for source in self.sources:
            where = f"Events.Sources.{source.name}"
            routes = ((f"{where}.Routes[{number}]", route) for number, route in enumerate(source.routes))
            for place, route in routes if source.routes else ((where, source),):
                if route.handover.target:
                    yield where if route.handover == source.handover else place, source, route

    @property
    def webhook_sources(self) -> Mapping[tuple[str, int], Sequence[EventSource]]:
        """The sources that servers post to, by the address to listen on; only `listen` may use TLS."""
        found: dict[tuple[str, int], list[EventSource]] = {}
        for source in self.sources:
            if source.path is not None:
                found.setdefault(source.listen or self.listen, []).append(source)
        return found
