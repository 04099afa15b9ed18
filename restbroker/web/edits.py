"""Edits that were typed and wait to be confirmed: a page shows what they change, and a secret may be in them.

`web.editing` keeps them, `web.acting` asks for them. Always holds: they are in this process alone, for a quarter of an
hour and a hundred at most; no page has more of one than a name that nobody can guess.
"""

import secrets
from typing import Final

import attrs
import trio

from restbroker.operate.edit import Edit
from restbroker.operate.enqueue import serving_if_told
from restbroker.store.client import Client
from restbroker.web.desk import Desk

_MOST: Final = 100
_LASTS_S: Final = 900.0


@attrs.frozen
class _Kept:
    edit: Edit = attrs.field(repr=False)
    about: str
    until_s: float


@attrs.frozen(eq=False)
class Edits:
    """Those of one process. `about` says what one is for: under another name there is none."""

    _kept: dict[str, _Kept] = attrs.field(factory=dict, repr=False)

    def keep(self, edit: Edit, about: str) -> str:
        """A name for it."""
        now_s = trio.current_time()
        for name, one in [*self._kept.items()]:
            if one.until_s < now_s or len(self._kept) >= _MOST:
                del self._kept[name]
        name = secrets.token_urlsafe(24)
        self._kept[name] = _Kept(edit, about, now_s + _LASTS_S)
        return name

    def find(self, name: str, about: str) -> Edit | None:
        """The edit of this name; None: it was forgotten, or is for something else."""
        one = self._kept.get(name)
        return None if one is None or one.about != about or one.until_s < trio.current_time() else one.edit

    def forget(self, name: str) -> None:
        """It is done."""
        self._kept.pop(name, None)


def complete(edit: Edit, client: Client, desk: Desk) -> Edit:
    """With what lets jobs in now; to be called in the thread."""
    return attrs.evolve(edit, tokens=desk.tokens(), version=lambda queue: version_of(client, queue))


def version_of(client: Client, queue: str) -> str | None:
    """What a running process of this queue found its server to be."""
    found = serving_if_told(client, queue)
    return None if found is None else found.server_version
