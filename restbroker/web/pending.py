"""What was asked and is to be confirmed: edits that were typed, in which a secret may be, and the jobs that a page
spoke of.

`web.act_pages` and `web.edit_pages` keep it. Always holds: it is in this process alone, for a quarter of an hour since
it was used last, and a hundred at most of a kind; no page has more of one than a name that nobody can guess.
"""

import secrets
from typing import Final, Generic, TypeVar

import attrs
import trio

from restbroker.operate.edit import Edit
from restbroker.operate.enqueue import serving_if_told
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
class Pending(Generic[T]):
    """Those of one process. `about` says what one is for: under another name there is none."""

    _kept: dict[str, _Entry[T]] = attrs.field(factory=dict, repr=False)

    def keep(self, value: T, about: str) -> str:
        """A name for it."""
        now_s = trio.current_time()
        for name, one in [*self._kept.items()]:
            if one.until_s < now_s or len(self._kept) >= _MOST:
                del self._kept[name]
        name = secrets.token_urlsafe(24)
        self._kept[name] = _Entry(value, about, now_s + _LASTS_S)
        return name

    def find(self, name: str, about: str) -> T | None:
        """What has this name; None: it was forgotten, or is for something else."""
        one, now_s = self._kept.get(name), trio.current_time()
        if one is None or one.about != about or one.until_s < now_s:
            return None
        # An action of many slices may take hours.
        del self._kept[name]
        self._kept[name] = attrs.evolve(one, until_s=now_s + _LASTS_S)
        return one.value

    def forget(self, name: str) -> None:
        """It is done."""
        self._kept.pop(name, None)


def complete(edit: Edit, client: Client, desk: AdminConnection) -> Edit:
    """With what lets jobs in now; to be called in the thread."""
    return attrs.evolve(edit, tokens=desk.tokens(), version=lambda queue: version_of(client, queue))


def version_of(client: Client, queue: str) -> str | None:
    """What a running process of this queue found its server to be."""
    found = serving_if_told(client, queue)
    return None if found is None else found.server_version
