"""Parses the addresses of requests for rosters. Used by `rosters.service.service`.

Prosody 0.12 puts the user's name into the address as it is, `%` and `?` and UTF-8 included (measured), and adds
nothing; all other clients write addresses with percent-encoding. So the header `User-Agent` decides which client it is.
Always holds: what Prosody sends is never decoded, or a user `adm%69n` would get the roster of `admin`.
"""

import re
from urllib.parse import unquote_to_bytes

import attrs

from restbroker.config.roster import USER
from restbroker.rosters.rules import BadRoster, read_user

_PROSODY = b"Prosody XMPP Server"
_KEY = b"?key="
_QUERY = re.compile(rb"\?[^?]+=")


@attrs.frozen
class Addresses:
    """The form of one service's addresses: the bytes before and behind the user's name.

    `with_key`: a key is expected at the end.
    """

    before: bytes
    after: bytes
    domain: str | None
    with_key: bool

    def split(self, target: bytes, agent: bytes) -> tuple[bytes, bytes]:
        """Return the address without its query, and the key in the query. `agent`: the header `User-Agent`.

        Without `with_key` Prosody sends no query: a `?` is part of the user's name.
        """
        if not self.with_key:
            return target if agent.startswith(_PROSODY) else target.partition(b"?")[0], b""
        # The last one: what comes before it may be the user's.
        if _KEY in target:
            path, _, key = target.rpartition(_KEY)
            return path, key.partition(b"&")[0]
        path, _, query = target.rpartition(b"?")
        keys = [part.removeprefix(b"key=") for part in query.split(b"&") if part.startswith(b"key=")]
        return path or target, keys[0] if keys else b""

    def name(self, path: bytes) -> bytes | None:
        """Return the user's name in the address, still encoded; None if the address is not one of a roster."""
        if not (path.startswith(self.before) and path.endswith(self.after)):
            return None
        name = path[len(self.before) : len(path) - len(self.after)]
        # A user who has this name by chance gets none: else an unrequested key would empty everybody's roster.
        is_query = not self.with_key and _QUERY.search(name)
        return name if name and b"/" not in name and not is_query else None

    def user(self, name: bytes, agent: bytes) -> str | None:
        """Return the user, or None if no user can have this name. `agent`: the header `User-Agent`."""
        try:
            text = (name if agent.startswith(_PROSODY) else unquote_to_bytes(name)).decode()
            return read_user(text, self.domain)
        except (UnicodeDecodeError, BadRoster):
            return None


def addresses(path: str, domain: str | None, *, with_key: bool) -> Addresses:
    """Return the form of the addresses under `path`, which has `USER` in it once."""
    before, _, after = path.partition(USER)
    return Addresses(before.encode(), after.encode(), domain, with_key)
