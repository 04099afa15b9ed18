"""What people did, as a stream that everybody on this Redis writes to. Used by `operate.audit`.

Always holds: the newest 100,000 entries or so are kept; their times are Redis' own; nothing is ever changed.
"""

from collections.abc import Mapping
from typing import Final

import attrs

from restbroker.store.client import Client
from restbroker.store.replies import Argument, Reply, as_fields, items, mapping, pair, text

_KEPT: Final = 100_000


@attrs.frozen
class Entry:
    """One entry. `name` is its place in the stream: milliseconds of Redis' clock, a number."""

    name: str
    fields: Mapping[str, str]

    @property
    def at_s(self) -> float:
        """When it was written, by Redis' clock (epoch seconds)."""
        return int(self.name.partition("-")[0]) / 1000


def append(client: Client, fields: Mapping[str, Argument]) -> str:
    """Writes one entry; its name. Raises `StoreUnavailable` (it may be written all the same) or `StoreRefused`."""
    return text(client.command("XADD", client.keys.audit, "MAXLEN", "~", _KEPT, "*", *as_fields(fields)))


def newest(client: Client, count: int, before: str = "") -> list[Entry]:
    """The `count` newest entries, of those older than the entry `before` if one is given; newest first."""
    end = f"({before}" if before else "+"
    return _entries(client.command("XREVRANGE", client.keys.audit, end, "-", "COUNT", count))


def entries_after(client: Client, count: int, since: str) -> list[Entry]:
    """The `count` entries from `since` on (with `(` before it: behind it), oldest first."""
    return _entries(client.command("XRANGE", client.keys.audit, since, "+", "COUNT", count))


def _entries(reply: Reply) -> list[Entry]:
    found = [pair(entry) for entry in items(reply)]
    return [
        Entry(text(name), {field: value.decode("utf-8", "replace") for field, value in mapping(fields).items()})
        for name, fields in found
    ]
