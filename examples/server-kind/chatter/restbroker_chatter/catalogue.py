"""Chatter's commands."""

from typing import NamedTuple

from restbroker.job.command import Catalogue, CommandSpec, Repeat
from restbroker.servers.api.table import NAME, TEXT, Argument, Arguments, may, needs, specs_of


class Entry(NamedTuple):
    """One command, and what is sent for it. An argument that the path does not have is a member of the body."""

    name: str
    method: str
    path: str
    repeat: Repeat
    takes: Arguments


_USER = needs(user=NAME)
_PASSWORD = Argument("password", TEXT, required=True, secret=True)
_ENTRIES = (
    Entry("create_user", "POST", "/v1/users", "already_done", Arguments((*_USER, _PASSWORD, *may(full_name=TEXT)))),
    Entry("delete_user", "DELETE", "/v1/users/{user}", "already_done", Arguments(_USER)),
    Entry("get_user", "GET", "/v1/users/{user}", "safe", Arguments(_USER)),
    Entry("send_message", "POST", "/v1/messages", "unsafe", Arguments(needs(to=NAME, text=TEXT))),
)
TABLE = {entry.name: entry for entry in _ENTRIES}


def for_version(_version: str | None) -> Catalogue:
    """Return the same commands for each version of Chatter."""
    return Catalogue("2", {entry.name: _spec(entry) for entry in _ENTRIES}, is_whole=True)


def _spec(entry: Entry) -> CommandSpec:
    return CommandSpec(entry.name, specs_of(entry.takes), entry.repeat, frozenset({entry.path.split("/")[2]}))
