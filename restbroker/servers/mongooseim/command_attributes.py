"""Attributes of operations beyond MongooseIM's schema: which are repeatable, slow, secret or dangerous, and where.

Used by the catalogue and by `outcomes`. Always holds: an operation that is named nowhere here counts as unsafe to
repeat, except for queries, which only ask. The codes were measured on 6.8, except where "read" says that they were read
in the source; which operations have the same effect when repeated was read in the source.
"""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cache
from types import MappingProxyType
from typing import Final

from restbroker.job.command import DangerousCommands, HostSource, Repeat

DOCUMENTS: Final = "graphql"
"""The command that sends a document of the job's own."""
REGISTER: Final = "account.registerUser"
REMOVE: Final = "account.removeUser"
BROADCAST: Final = "broadcast.startBroadcast"
STANZA: Final = "stanza.sendStanza"

# The first line that matches counts. Of mutations alone: queries are safe.
_REPEAT: Final[tuple[tuple[Repeat, tuple[str, ...]], ...]] = (
    # The server tells that it was done before: see ALREADY.
    ("already_done", ("account.registerUser", "account.removeUser", "domain.addDomain", "domain.r*emoveDomain")),
    ("already_done", ("roster.deleteContact", "session.kickUserSession", "muc*.deleteRoom")),
    # Setters that lead to the same state however often they run.
    ("safe", ("account.changeUserPassword", "account.changePassword", "account.banUser", "blocklist.*User")),
    ("safe", ("domain.enableDomain", "domain.disableDomain", "domain.setDomainPassword")),
    ("safe", ("roster.addContact*", "roster.deleteContacts", "roster.subscribe*ToAll", "roster.setMutualSubscription")),
    ("safe", ("muc*.changeRoomConfiguration", "muc.setUser*", "muc_light.setBlockingList", "private.setPrivate")),
    ("safe", ("vcard.setVcard", "last.*", "inbox.flush*", "offline.delete*", "session.setPresence")),
    ("safe", ("token.revokeToken", "httpUpload.getUrl", "externalServices.getServices", "server.setLoglevel")),
)

ALREADY: Final[Mapping[str, str]] = MappingProxyType(
    {
        "account.registerUser": "exists",
        "account.removeUser": "not_allowed",
        "domain.addDomain": "duplicate",
        "domain.removeDomain": "not_found",
        "domain.requestRemoveDomain": "not_found",
        "roster.deleteContact": "contact_not_found",
        "roster.deleteContacts": "contact_not_found",
        "session.kickUserSession": "no_session",
        # Read.
        "muc.deleteRoom": "room_not_found",
        "muc_light.deleteRoom": "room_not_found",
        "muc_light.createRoom": "already_exists",
    }
)
"""By operation, the code with which the server says that it was done before."""

CREATES: Final = frozenset({"account.registerUser", "domain.addDomain", "muc_light.createRoom"})
"""Operations whose object may exist already; a job may ask that this counts as done."""

QUESTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {"account.checkUser": "exist", "account.checkPassword": "correct", "account.checkPasswordHash": "correct"}
)
"""The member of an operation's result whose value false is the answer "no", by operation."""

ECHOING: Final = frozenset({"account.checkPassword", "account.checkPasswordHash"})
"""Operations whose answer repeats the password, whether it is right or wrong."""

MESSAGES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "stanza.sendMessage": "to",
        "muc.sendMessageToRoom": "room",
        "muc.sendPrivateMessage": "room",
        "muc_light.sendMessageToRoom": "room",
    }
)
"""Operations whose message comes back as an event of the server, each with the argument that names the receiver."""

TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {"stanza.sendMessage": "chat", "stanza.sendMessageHeadLine": "headline"}
)
"""Operations that send a message which could as well be a stanza, each with the `type` of that stanza."""

_TIMEOUT_S: Final[tuple[tuple[float, tuple[str, ...]], ...]] = (
    (300.0, ("mnesia.*", "gdpr.*", "domain.removeDomain", "last.removeOldUsers", "offline.delete*")),
    # More than one write for each account or contact.
    (60.0, ("roster.subscribe*ToAll", "roster.addContacts", "roster.deleteContacts", "inbox.flush*", "last.listOld*")),
    (60.0, ("server.*Cluster", "account.listUsers", "session.listSessions", "metric.*", BROADCAST)),
)

_NEW_PASSWORD: Final = frozenset(
    {
        ("account.registerUser", "password"),
        ("account.changeUserPassword", "newPassword"),
        ("domain.setDomainPassword", "password"),
    }
)
_SECRET_ARGUMENT: Final = re.compile(r"pass|secret|token", re.IGNORECASE)

_SECRET_RESULT: Final = frozenset(
    {"token.requestToken", "server.getCookie", "externalServices.getServices", "httpUpload.getUrl"}
)

_DANGERS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        # Reads or writes a file on the server that the job names.
        "files": ("account.importUsers", "gdpr.*", "mnesia.*", DOCUMENTS),
        # Which machines serve together; also what only reads it, since it names them.
        "cluster": (
            "server.*Cluster",
            "server.removeNode",
            "mnesia.setMaster",
            "mnesia.changeNodename",
            "cets.*",
            DOCUMENTS,
        ),
        # Whole tables, past all operations that know what is in them.
        "database": ("mnesia.*", DOCUMENTS),
        # The cookie with which anything can be run on the server.
        "code": ("server.getCookie", DOCUMENTS),
        # The server as a whole: ends or restarts it, which domains it serves and who may rule them, its logs, and the
        # passwords of its neighbours.
        "server": (
            *("server.stop", "server.restart", "server.setLoglevel", "externalServices.*", DOCUMENTS),
            *("domain.addDomain", "domain.enableDomain", "domain.disableDomain", "domain.*emoveDomain"),
            "domain.*Password",
        ),
    }
)

_HOSTS: Final = frozenset({"domain", "mucDomain"})
_JIDS: Final = frozenset({"contacts", "items"})
_NAMES: Final = frozenset({"username", "id"})
_JID_TYPES: Final = frozenset({"JID", "BareJID", "FullJID"})

_BEYOND: Final = frozenset({STANZA, DOCUMENTS})
"""A stanza may be a command to the server; a document may be anything."""


def dangerous_commands() -> tuple[DangerousCommands, ...]:
    """Return the operations that affect the server itself rather than its users.

    Their patterns match names in lower case, as the catalogue looks them up.
    """
    return tuple(
        DangerousCommands(word, re.compile("|".join(re.escape(name.lower()).replace(r"\*", ".*") for name in names)))
        for word, names in _DANGERS.items()
    )


def host_source_of(argument: str, kind: str) -> HostSource | None:
    """Return how an argument of type `kind` says which virtual host the operation is about; None if it does not."""
    if argument in _HOSTS:
        return "host"
    if argument in _JIDS or kind == "ContactInput":
        return "jids"
    if kind in _JID_TYPES:
        return "jid"
    return "name" if argument in _NAMES else None


def reaches_beyond(operation: str) -> bool:
    """Tell whether an operation may reach other hosts than its arguments name."""
    return operation in _BEYOND


@cache
@cache  # asked for each job
def repeat_of(operation: str, *, is_query: bool) -> Repeat:
    """Return whether an operation may be sent again when it may have run; "unsafe" if nothing is known of it."""
    if is_query:
        return "safe"
    return next((repeat for repeat, names in _REPEAT if _matches(operation, names)), "unsafe")


def timeout_of(operation: str) -> float | None:
    """Return the operation's own time-out in seconds; None if the target's time-out fits."""
    return next((seconds for seconds, names in _TIMEOUT_S if _matches(operation, names)), None)


def must_be_filled(operation: str, argument: str) -> bool:
    """Tell whether the argument is a password that an account or a domain's administrator gets."""
    return (operation, argument) in _NEW_PASSWORD


def is_secret_argument(name: str) -> bool:
    """Tell whether values of the argument of this name are kept out of logs and messages."""
    return _SECRET_ARGUMENT.search(name) is not None


def has_secret_result(operation: str) -> bool:
    """Tell whether the answer to this operation is a credential."""
    return operation in _SECRET_RESULT


def _matches(operation: str, names: tuple[str, ...]) -> bool:
    return any(fnmatchcase(operation, name) for name in names)
