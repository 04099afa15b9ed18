"""The keys inside of `Events`, described like those of the file itself.

`config.reader` makes instances of these classes, `config.build_events` judges them. Always holds: what is here has no
effect on how jobs are delivered.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

import attrs

from restbroker.config import forms
from restbroker.config.events import IqRule
from restbroker.config.form import Items, OptionsOf
from restbroker.config.key import key
from restbroker.job.event import EVENT_TYPES
from restbroker.job.json_types import Json

DEFAULT_LISTEN = ("127.0.0.1", 8081)


_NOTHING: Mapping[str, Any] = MappingProxyType({})


@attrs.frozen(kw_only=True)
class FilterKeys:
    """Which events are meant."""

    types: forms.EventTypes = key("Types", f"Of {', '.join(EVENT_TYPES)}.", (), shown=None)
    sender: forms.Addresses = key("Sender", "JIDs of who sends, without resource, with `*` and `?`.", (), shown=None)
    receiver: forms.Addresses = key("Receiver", "The same of who receives, for example `bot-*`.", (), shown=None)
    body: forms.Texts = key("Body", "Texts with * and ?, for example `*urgent*`; in any case.", (), shown=None)


@attrs.frozen(kw_only=True)
class RouteKeys:
    """One entry of `Routes`."""

    only: FilterKeys | None = key("Only", "Which events it takes; without it, all.")
    excluded: FilterKeys | None = key("Except", "Which of these it does not.")
    queue: forms.Queue | None = key("Queue", "The queue; without it, the source's.")
    job_class: forms.JobClass | None = key("Class", "The class of its jobs; without it, the source's.")
    fields: forms.Fields = key("Fields", "Beside those of the source.", _NOTHING, shown=None)
    names: forms.MemberNames = key("Names", "Beside those of the source.", _NOTHING, shown=None)
    omit: forms.EventMembers = key("Omit", "Beside those of the source.", (), shown=None)


@attrs.frozen(kw_only=True)
class SourceKeys:
    """One entry of `Sources`."""

    kind: str | None = key(
        "Kind",
        "What sends them: `prosody-rest`, Prosody's mod_rest; `mongooseim-sns`, `mongooseim-amqp` and"
        " `mongooseim-webhook`, the backends sns, rabbit and http of MongooseIM's event pusher; `openfire-sse`, the"
        " streams of users of Openfire's Chat API.",
        mandatory="always",
    )
    path: forms.Path | None = key(
        "Path",
        "The path that the server posts to, for example /events/prosody.",
        mandatory="for a kind that servers post to",
    )
    secret: str | None = key(
        "Secret",
        "What the server has to show: as the password of HTTP Basic, as a bearer token, as ?key=, or as what follows"
        " Path: /events/prosody/SECRET.",
        secret=True,
        mandatory="or SecretFile, for a Listen that others reach",
    )
    secret_file: str | None = key("SecretFile", "A file that holds it.", instead_of=("Secret",))
    queue: forms.Queue | None = key(
        "Queue",
        "The queue that each event becomes a job of, without `queue:`. No target may serve it.",
        mandatory="unless each of Routes has one",
    )
    job_class: forms.JobClass | None = key(
        "Class", "The class of these jobs.", mandatory="unless each of Routes has one"
    )
    drop_duplicates: forms.Duration | None = key(
        "DropDuplicates",
        "An event with the sender, receiver and id of one that came within this time is dropped; without it, none is."
        " Of kinds whose events have no id, one with the same text.",
    )
    drop_own: forms.Duration | None = key(
        "DropOwn",
        "An event that tells of a message which a target of the kind mongooseim sent within this time is dropped.",
    )
    only: FilterKeys | None = key("Only", "Which events are wanted; all others are taken and dropped.")
    excluded: FilterKeys | None = key("Except", "Which events are not wanted, though Only takes them.")
    routes: Annotated[tuple[RouteKeys, ...], Items("list of objects", "a list of routes, each an object")] = key(
        "Routes",
        "Queues and classes for some events; see below. Queue and Class are needed where a route has none.",
        (),
        shown=None,
    )
    fields: forms.Fields = key(
        "Fields", 'Members that each event has besides, such as {"tenant": "a"}.', _NOTHING, shown=None
    )
    names: forms.MemberNames = key(
        "Names",
        'Other names for members of events, such as {"from": "author", "body": "message"}.',
        _NOTHING,
        shown=None,
    )
    omit: forms.EventMembers = key(
        "Omit", 'Members that its events are to do without, such as ["raw"].', (), shown=None
    )
    iq: IqRule = key(
        "IQ",
        "What becomes of an iq of type get or set. refuse: its sender gets service-unavailable. accept: it becomes a"
        " job, and Prosody answers with an empty result.",
        "refuse",
    )
    options: Annotated[Json, OptionsOf("sources")] | None = key(
        "Options", "What this kind takes beyond these: see Options of the source below."
    )


_NO_SOURCES: Mapping[str, SourceKeys] = MappingProxyType({})


@attrs.frozen(kw_only=True)
class EventsKeys:
    """The section itself."""

    listen: forms.Bind = key(
        "Listen",
        "host:port to take events on; each source there needs a secret unless it is a loopback address.",
        DEFAULT_LISTEN,
        shown=f"{DEFAULT_LISTEN[0]}:{DEFAULT_LISTEN[1]}",
    )
    cert_file: str | None = key(
        "CertFile",
        "The certificate (PEM) that is shown there, with those between it and its authority; then Listen speaks TLS"
        " alone. A renewed one counts within seconds.",
    )
    key_file: str | None = key("KeyFile", "Its key (PEM, without a passphrase), if that is not in CertFile.")
    sources: Annotated[Mapping[str, SourceKeys], forms.named("sources")] = key(
        "Sources", "The sources, by name.", _NO_SOURCES, shown=None, secret=True, mandatory="always"
    )
