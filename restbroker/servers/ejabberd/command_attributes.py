"""Attributes of commands that ejabberd does not report: those of `attributes.toml`, and what needs code.

Used by the catalogue, the requests and `outcomes`. "Measured" means tried on 23.01 and 24.12.
"""

from typing import Final

from restbroker.job.command import HostSource
from restbroker.servers.api.attributes import Attributes

ATTRIBUTES: Final = Attributes.beside(__file__)

ALREADY_BY_RESULT: Final = frozenset({"ban_account", "unban_account"})
"""Commands that answer 200 with 1 if the account is so already (measured on 24.12; 23.01 says 0 again)."""

FAIL_BY_RESULT: Final = frozenset({"restart_module"})
"""Commands with an integer as result for which 1 means that it failed."""

UNTOLD: Final = frozenset({"resource_num"})
"""Commands that refuse their arguments with words that the API does not tell: it says "internal_error" (23.01)."""

BY_JID: Final = frozenset({"muc_register_nick", "muc_unregister_nick"})
"""Commands whose version 3, with `user` and `host`, is refused as lacking the host (measured on 24.12 and 26.07).

Version 2 has a `jid` in their place.
"""

MESSAGE: Final = "send_message"
STANZA: Final = "send_stanza"
"""`MESSAGE` is the command that sends a message; `STANZA` sends it if the job gives it an `id`."""

_HOSTS: Final = frozenset({"host", "localhost", "grouphost", "service", "server", "localserver", "vhost"})
_JID: Final = frozenset({"jid", "from", "to", "with"})
# A shared roster group may show groups of another host, as group@host.
_SHOWN_GROUPS: Final = frozenset({"display", "add", "del", "value"})
# Up to interface version 2 some of these are whole JIDs.
_NAMES: Final = frozenset({"user", "localuser", "username", "room", "name", "group"})

_STRANGERS: Final = ("add_to_spam_filter_cache", "drop_from_spam_filter_cache")
"""Commands whose JIDs are those of senders elsewhere, while what is done stays on `host`."""


def host_source_of(command: str, argument: str) -> HostSource | None:
    """Return how this argument says which virtual host the command is about; None if it does not."""
    if argument in _HOSTS:
        return "host"
    if argument in _JID:
        return None if command in _STRANGERS else "jid"
    if argument == "users" or (argument in _SHOWN_GROUPS and command.startswith("srg_")):
        return "jids"
    return "name" if argument in _NAMES else None
