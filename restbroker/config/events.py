"""Where events of servers are taken in, and what becomes of them: the section `Events`.

`config.check_events` judges it; `events` and `app` use it. Always holds of a loaded one: no two sources have one
path, none pushes into a queue that a target serves, and whoever others can reach has a secret, or requests that are
signed. What is here has no effect on how jobs are delivered.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import translate
from functools import lru_cache
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeAlias

import attrs

from restbroker.config import forms
from restbroker.config.form import Form, Items, Names, OptionsOf, choice, text, word
from restbroker.config.key import inline, key, secret
from restbroker.config.secret import Secret
from restbroker.config.target import CertFiles, Target
from restbroker.config.values import BadValue
from restbroker.job.event import EVENT_MEMBERS, EVENT_TYPES, ServerEvent, address_of
from restbroker.job.jid import fold_case
from restbroker.job.json_types import Json

DEFAULT_LISTEN = ("127.0.0.1", 8081)
_MEMBER = r"[A-Za-z][A-Za-z0-9_]{0,63}"
_EXPECTED_MEMBER = "a name of letters, digits and _, such as tenant"


def _read_plain(value: Json) -> Json:
    if not isinstance(value, str | int | float | bool):
        raise BadValue("a text, a number, true or false", value)
    return value


ServedPath: TypeAlias = Annotated[
    str, word("path", r"(?:/[A-Za-z0-9._~-]+)+", 'a path such as "/events/prosody", without a slash at its end')
]
"""A path that we serve."""
JobClass: TypeAlias = Annotated[
    str, word("class", r"[A-Za-z_][A-Za-z0-9_:.\\]{0,199}", 'a class such as "XmppEvent" or "Chat::Event"')
]
"""The class of jobs that we make."""
EventTypes: TypeAlias = Annotated[
    tuple[str, ...], Items("list of types", 'a list of types such as ["message", "groupchat"]', choice(*EVENT_TYPES))
]
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
"""JIDs without their resource, with wildcards."""
Texts: TypeAlias = Annotated[
    tuple[str, ...],
    Items("list of texts", 'a list of texts such as ["*urgent*"]', text("a text, perhaps with * and ?")),
]
Fields: TypeAlias = Annotated[
    Mapping[str, Annotated[Any, Form("value", {"type": ["string", "number", "boolean"]}, _read_plain)]],
    Names("values by name", _MEMBER, _EXPECTED_MEMBER),
]
"""Values that events have besides."""
MemberNames: TypeAlias = Annotated[
    Mapping[str, Annotated[str, word("name", _MEMBER, _EXPECTED_MEMBER)]],
    Names("names by member", "|".join(EVENT_MEMBERS), f"a member of events: {', '.join(EVENT_MEMBERS)}"),
]
"""Other names for the members of events."""
EventMembers: TypeAlias = Annotated[
    tuple[str, ...], Items("list of members", f"a list of members: {', '.join(EVENT_MEMBERS)}", choice(*EVENT_MEMBERS))
]
IqRule = Literal["refuse", "accept"]
"""What becomes of a question of a client (an iq of type get or set), to which the server has to give an answer."""


@attrs.frozen
class Filter:
    """Which events are meant; a member that is empty says nothing of them.

    JIDs (without their resource) and bodies are compared with patterns of `*` and `?`, JIDs as servers fold their case,
    bodies whatever the case. An event that has none fits no pattern.
    """

    types: EventTypes = key("Types", f"Of {', '.join(EVENT_TYPES)}.", ())
    sender: Addresses = key("Sender", "JIDs of senders, without resource, with `*` and `?`.", ())
    receiver: Addresses = key("Receiver", "The same for recipients, for example `bot-*`.", ())
    body: Texts = key("Body", "Texts with * and ?, for example `*urgent*`, ignoring case.", ())

    def fits(self, event: ServerEvent) -> bool:
        """Whether the event is what each member says."""
        return all(self._answers(event))

    def touches(self, event: ServerEvent) -> bool:
        """Whether it is what any member says."""
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
    return [re.compile(translate(fold(one).replace("[", "[[]"))) for one in written]


_NO_FILTER = Filter()


@attrs.frozen
class Shape:
    """What an event looks like in its job: `fields` beside its members, other `names` for them, and what to `omit`.

    Those of a route are beside those of its source.
    """

    fields: Fields = key("Fields", 'Additional members of each event, such as {"tenant": "a"}.', MappingProxyType({}))
    names: MemberNames = key(
        "Names",
        'Other names for members of events, such as {"from": "author", "body": "message"}.',
        MappingProxyType({}),
    )
    omit: EventMembers = key("Omit", 'Members to remove from its events, such as ["raw"].', ())


@attrs.frozen
class Route:
    """Where an event goes that fits `only`, and of which nothing is `excluded`."""

    queue: forms.Queue = key("Queue", "The queue; by default the source's.", "")
    job_class: JobClass = key("Class", "The class of its jobs; by default the source's.", "")
    only: Filter = key("Only", "The events it takes; by default all.", _NO_FILTER)
    excluded: Filter = key("Except", "Exceptions to Only.", _NO_FILTER)
    shape: Shape = inline(Shape, Shape())


@attrs.frozen
class EventSource:
    """One entry of `Sources`. `window_s`: an event that comes again within it is dropped. `own_s`: so is one that tells
    of a message that this broker sent within that time.

    `path`: where servers post; None: nobody posts, the kind fetches by itself. What has no key is set by its kind.
    """

    name: str = ""
    kind: str = key(
        "Kind",
        "The sender: `prosody-rest`, Prosody's mod_rest; `mongooseim-sns`, `mongooseim-amqp` and "
        "`mongooseim-webhook`, the backends sns, rabbit and http of MongooseIM's event pusher; `openfire-sse`, "
        "the streams of users of Openfire's Chat API.",
        "",
        mandatory="always",
    )
    path: ServedPath | None = key(
        "Path",
        "The path that the server posts to, for example /events/prosody.",
        mandatory="for a kind that servers post to",
    )
    queue: forms.Queue = key(
        "Queue",
        "The queue for the jobs of these events, without `queue:`. No target may serve it.",
        "",
        mandatory="unless each of Routes has one",
    )
    job_class: JobClass = key("Class", "The class of these jobs.", "", mandatory="unless each of Routes has one")
    secret: Secret | None = secret(
        "Secret",
        "The secret that the server sends: as the password of HTTP Basic, a bearer token, ?key=, or behind "
        "Path: /events/prosody/SECRET.",
        "A file with it.",
        mandatory="or SecretFile, for a Listen that others reach",
    )
    window_s: forms.Duration | None = key(
        "DropDuplicates",
        "Drop an event with the sender, recipient and id (for kinds without ids: the text) of another one "
        "within this time; by default, none.",
    )
    own_s: forms.Duration | None = key(
        "DropOwn",
        "Drop the event of a message that a target of kind mongooseim sent within this time.",
    )
    only: Filter = key("Only", "The events that become jobs; all others are accepted and dropped.", _NO_FILTER)
    excluded: Filter = key("Except", "Exceptions to Only.", _NO_FILTER)
    shape: Shape = inline(Shape, Shape())
    routes: Annotated[tuple[Route, ...], Items("list of objects", "a list of routes, each an object")] = key(
        "Routes",
        "Queues and classes for some events; see below. Queue and Class are required if a route has none.",
        (),
    )
    """The first that an event fits takes it; empty: `queue` and `job_class` count."""
    iq: IqRule = key(
        "IQ",
        "What to do with an iq of type get or set. refuse: its sender gets service-unavailable. accept: it "
        "becomes a job, and Prosody answers with an empty result.",
        "refuse",
    )
    listen: forms.Bind | None = key(
        "Listen",
        "host:port of a loopback address for this source alone, without TLS even if Events has a CertFile. "
        "Sources may share one.",
    )
    patience_s: float | None = None
    """How long Redis may take until the server is told that nothing was taken; None: two seconds."""
    has_ids: bool = True
    """Whether its events have an id, by which one is known that comes again; if not, by what is in it."""
    options: Annotated[object, OptionsOf("sources")] = key(
        "Options", "Further keys of this kind: see Options of the source below."
    )
    secrets: tuple[Secret, ...] = ()
    """Those in its options."""
    more_queues: tuple[tuple[str, str], ...] = ()
    """The queues that its options name, each behind the place where."""
    alone: tuple[str, ...] = ()
    """Users of the target whose events go to one source alone."""
    target_name: str | None = None
    """The target that its options name, which …"""
    target: Target | None = None
    """… is this one."""


@attrs.frozen
class Events:
    """The section itself: the address to listen on, the sources that are taken there, and what it shows with TLS."""

    listen: forms.Bind = key(
        "Listen",
        "host:port for events; each source needs a secret unless this is a loopback address.",
        DEFAULT_LISTEN,
        shown=f"{DEFAULT_LISTEN[0]}:{DEFAULT_LISTEN[1]}",
    )
    sources: Annotated[tuple[EventSource, ...], forms.objects_by_name("sources")] = key(
        "Sources", "The sources, by name.", (), secret=True, mandatory="always"
    )
    tls: CertFiles | None = inline(CertFiles)

    @property
    def served(self) -> Mapping[tuple[str, int], Sequence[EventSource]]:
        """By the addresses to listen on, the sources that are taken there. At `listen` alone with TLS."""
        found: dict[tuple[str, int], list[EventSource]] = {}
        for source in self.sources:
            if source.path is not None:
                found.setdefault(source.listen or self.listen, []).append(source)
        return found
