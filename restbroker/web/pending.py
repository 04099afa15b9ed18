"""Keeps the values that wait for a confirmation: typed edits, which may hold a secret, and the jobs of a question.

`web.act_pages` and `web.edit_pages` use it. Always holds: a value is only in this process, for a quarter of an hour
after its last use, and there are at most a hundred of a kind; pages contain only its name, which cannot be guessed.
"""

import secrets
from typing import Final, Generic, TypeVar

import attrs
import trio

from restbroker.operate.edit import Edit
from restbroker.operate.enqueue import find_process_if_known
from restbroker.store.client import Client
from restbroker.web.connection import AdminConnection

_MOST: Final = 100
_LASTS_S: Final = 900.0


T = TypeVar("T")


@attrs.frozen
class _Entry(Generic[T]):
    value: T = attrs.field(repr=False)
    about: str
    until_s: float


@attrs.frozen(eq=False)
class PendingValues(Generic[T]):
    """The values of one kind that wait in this process; each is found only under the `about` it was kept for."""

    _kept: dict[str, _Entry[T]] = attrs.field(factory=dict, repr=False)

    def keep(self, value: T, about: str) -> str:
        """Keep a value, and return a name for it that cannot be guessed."""
        now_s = trio.current_time()
        for name, one in [*self._kept.items()]:
            if one.until_s < now_s or len(self._kept) >= _MOST:
                del self._kept[name]
        name = secrets.token_urlsafe(24)
        self._kept[name] = _Entry(value, about, now_s + _LASTS_S)
        return name

    def find(self, name: str, about: str) -> T | None:
        """Return the value with this name; None if it was forgotten, or kept for something else."""
        one, now_s = self._kept.get(name), trio.current_time()
        if one is None or one.about != about or one.until_s < now_s:
            return None
        # An action of many slices may take hours.
        del self._kept[name]
        self._kept[name] = attrs.evolve(one, until_s=now_s + _LASTS_S)
        return one.value

    def forget(self, name: str) -> None:
        """Remove the value with this name, which is done with."""
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
