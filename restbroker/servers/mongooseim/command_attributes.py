"""Attributes of operations beyond MongooseIM's schema: those of `attributes.toml`, and what needs code."""

from typing import Final

from restbroker.job.command import HostSource
from restbroker.servers.api.attributes import Attributes

ATTRIBUTES: Final = Attributes.beside(__file__)
DOCUMENTS: Final = "graphql"
"""The command that sends a document of the job's own."""
REGISTER: Final = "account.registerUser"
REMOVE: Final = "account.removeUser"
BROADCAST: Final = "broadcast.startBroadcast"
STANZA: Final = "stanza.sendStanza"
ECHOING: Final = frozenset({"account.checkPassword", "account.checkPasswordHash"})
"""Operations whose answer repeats the password, whether it is right or wrong."""

_HOSTS: Final = frozenset({"domain", "mucDomain"})
_JIDS: Final = frozenset({"contacts", "items"})
_NAMES: Final = frozenset({"username", "id"})
_JID_TYPES: Final = frozenset({"JID", "BareJID", "FullJID"})


def host_source_of(argument: str, kind: str) -> HostSource | None:
    """Return how an argument of type `kind` says which virtual host the operation is about; None if it does not."""
    if argument in _HOSTS:
        return "host"
    if argument in _JIDS or kind == "ContactInput":
        return "jids"
    if kind in _JID_TYPES:
        return "jid"
    return "name" if argument in _NAMES else None
