"""Every kind of server, and every kind of source of events: a file or a folder, and one line here.

The two registries (`servers.registry`, `events.registry`), the configuration and the command line read it. Always
holds: a kind's name stands here and in its own folder alone; its place in the table means nothing. What a file or
folder must have, the registry of its role says.
"""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

EJABBERD: Final = "ejabberd"
HTTP: Final = "http"
"""The kind whose commands events of every source can become."""
OPENFIRE_CHAT: Final = "openfire-chat"
"""The kind whose commands need logins of users."""
PROSODY_ROSTER: Final = "prosody-roster"
"""The kind that has its rosters from restbroker."""
FLAT: Final = EJABBERD
"""The kind that the flat keys of `env.json` mean, and the name of the target that they make."""


class Kind(NamedTuple):
    """A kind of server, which a target is of, or of source.

    `folder`: the module of its one file, or the package with its parts. `options`: the class of its options. `emitter`,
    of a source: the kind of server, a folder with `emit.py`, that can be told to emit an event to it; "": none can.
    """

    name: str
    folder: str
    role: Literal["target", "source"] = "target"
    options: str = "Options"
    emitter: str = ""


_TABLE: Final = (
    Kind(EJABBERD, "restbroker.servers.ejabberd"),
    Kind(HTTP, "restbroker.servers.http"),
    Kind("mongooseim", "restbroker.servers.mongooseim"),
    Kind(OPENFIRE_CHAT, "restbroker.servers.openfire.chat"),
    Kind("openfire-rest", "restbroker.servers.openfire.rest"),
    Kind("prosody-rest", "restbroker.servers.prosody"),
    Kind(PROSODY_ROSTER, "restbroker.rosters.refresh"),
    Kind("ejabberd-component", "restbroker.servers.component", "source", emitter=EJABBERD),
    Kind("mongooseim-amqp", "restbroker.events.amqp", "source", emitter="mongooseim"),
    Kind("mongooseim-sns", "restbroker.servers.mongooseim.sns", "source", emitter="mongooseim"),
    Kind("mongooseim-webhook", "restbroker.servers.mongooseim.webhook", "source", emitter="mongooseim"),
    Kind("openfire-sse", "restbroker.servers.openfire.stream", "source", emitter=OPENFIRE_CHAT),
    Kind("prosody-component", "restbroker.servers.component", "source", "ProsodyOptions"),
    Kind("prosody-rest", "restbroker.servers.prosody.events", "source", emitter="prosody-rest"),
    Kind("webhook", "restbroker.servers.webhook", "source"),
)
TARGETS: Final[Mapping[str, Kind]] = {kind.name: kind for kind in _TABLE if kind.role == "target"}
SOURCES: Final[Mapping[str, Kind]] = {kind.name: kind for kind in _TABLE if kind.role == "source"}
