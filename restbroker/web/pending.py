"""Keeps typed edits, which may hold a secret, until they are confirmed.

`web.actions` and `web.edit` use it. Always holds: an edit is only in this process, for a quarter of an hour
after its last use, and there are at most a hundred; pages contain only its name, which cannot be guessed.
"""

import secrets
from typing import Final

import attrs
import trio

from restbroker.operate.edit import Edit
from restbroker.operate.enqueue import find_process_if_known
from restbroker.store.client import Client
from restbroker.web.connection import AdminConnection

_MOST: Final = 100
_LASTS_S: Final = 900.0


@attrs.frozen
class _Entry:
    value: Edit = attrs.field(repr=False)
    about: str
    until_s: float


@attrs.frozen(eq=False)
class TypedEdits:
    """The edits that wait in this process; each is found only under the `about` it was kept for."""

    _kept: dict[str, _Entry] = attrs.field(factory=dict, repr=False)

    def keep(self, value: Edit, about: str) -> str:
        """Keep an edit, and return a name for it that cannot be guessed."""
        now_s = trio.current_time()
        for name, one in [*self._kept.items()]:
            if one.until_s < now_s or len(self._kept) >= _MOST:
                del self._kept[name]
        name = secrets.token_urlsafe(24)
        self._kept[name] = _Entry(value, about, now_s + _LASTS_S)
        return name

    def find(self, name: str, about: str) -> Edit | None:
        """Return the edit with this name; None if it was forgotten, or kept for something else."""
        one, now_s = self._kept.get(name), trio.current_time()
        if one is None or one.about != about or one.until_s < now_s:
            return None
        del self._kept[name]
        self._kept[name] = attrs.evolve(one, until_s=now_s + _LASTS_S)
        return one.value

    def forget(self, name: str) -> None:
        """Remove the edit with this name, which is done with."""
        self._kept.pop(name, None)


def complete(edit: Edit, client: Client, admin: AdminConnection) -> Edit:
    """Return the edit with the tokens as they are now and a function that reads server versions from Redis.

    Call it in the connection's thread, since it may read files.
    """
    return attrs.evolve(edit, tokens=admin.tokens(), version=lambda queue: version_of(client, queue))


def version_of(client: Client, queue: str) -> str | None:
    """Return the server's version as a running process of this queue reports it; None if it is not known."""
    found = find_process_if_known(client, queue)
    return None if found is None else found.server_version
