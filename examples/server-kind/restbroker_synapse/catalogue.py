"""The commands about Synapse's users, and what is sent for each.

Measured on Synapse 1.163.2: all are safe to send twice. A user can be set again (201, then 200) and be deactivated
again (200).
"""

import re
from typing import Final

import attrs

from restbroker.job.command import Catalogue, CommandSpec
from restbroker.servers.api.table import (
    FLAG,
    TEXT,
    WHOLE,
    Argument,
    ArgumentForm,
    Arguments,
    dangerous_commands_of,
    may,
    needs,
    specs_of,
)

# What may be in it is written in Matrix's specification: printable ASCII without a colon, for old users too. An "@" is
# left out, since `user@host` would name another host.
_LOCALPART: Final = re.compile(r"[!-9;-?A-~]+")


@attrs.frozen
class Entry:
    """One command. `request`: its method, its path, and the arguments of its query; all others are in the body."""

    name: str
    request: str
    takes: Arguments = attrs.field(converter=Arguments)
    touches: str = ""


def _is_localpart(value: object) -> bool:
    return isinstance(value, str) and _LOCALPART.fullmatch(value) is not None


_USER: Final = needs(
    user=ArgumentForm("the part of a user's id between @ and the colon", _is_localpart, host_source="name")
)
_PASSWORD: Final = Argument("password", TEXT, secret=True)
_NEW_PASSWORD: Final = Argument("new_password", TEXT, required=True, secret=True)
_SHOWN: Final = may(displayname=TEXT, avatar_url=TEXT, logout_devices=FLAG)
_PAGE: Final = may(**{"from": WHOLE, "limit": WHOLE, "name": TEXT, "deactivated": FLAG})
_V1: Final = "/_synapse/admin/v1"
_V2: Final = "/_synapse/admin/v2"
_ENTRIES: Final = (
    Entry("set_user", f"PUT {_V2}/users/{{user}}", (*_USER, _PASSWORD, *_SHOWN)),
    Entry("get_user", f"GET {_V2}/users/{{user}}", _USER),
    Entry("list_users", f"GET {_V2}/users?from&limit&name&deactivated", _PAGE),
    Entry("deactivate_user", f"POST {_V1}/deactivate/{{user}}", (*_USER, *may(erase=FLAG))),
    Entry("reset_password", f"POST {_V1}/reset_password/{{user}}", (*_USER, _NEW_PASSWORD, *may(logout_devices=FLAG))),
    Entry("set_admin", f"PUT {_V1}/users/{{user}}/admin", (*_USER, *needs(admin=FLAG)), touches="server"),
)
TABLE: Final = {entry.name: entry for entry in _ENTRIES}


def for_version(_version: str | None) -> Catalogue:
    """Return the same commands for each version of Synapse."""
    dangerous = dangerous_commands_of({entry.name: entry.touches for entry in _ENTRIES})
    return Catalogue("1.163.2", {entry.name: _spec(entry) for entry in _ENTRIES}, dangerous, is_whole=True)


def _spec(entry: Entry) -> CommandSpec:
    tags = {"users", f"dangerous:{entry.touches}"} if entry.touches else {"users"}
    return CommandSpec(entry.name, specs_of(entry.takes), "safe", frozenset(tags), fills_host=True)
