"""What lies in Redis besides jobs and rosters and may name people: entries of streams, fields of hashes, whole keys.

Called by `operate.forget`. Always holds: no job is among it, but copies of dead ones; reading changes nothing.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from restbroker.light import frozen
from restbroker.store import survey
from restbroker.store.client import Argument, Client, items, pair, raw, text

_PIECE: Final = 200


@frozen
class Trace:
    """A thing in the key `key`, with its `texts`, and the command that removes it."""

    key: str
    texts: Sequence[bytes]
    removal: Sequence[Argument]


def read(client: Client) -> Iterator[Trace]:
    """Yield everything, the audit log last. Raise `StoreUnavailable` or `StoreRefused`."""
    keys = client.keys
    known = (
        keys.logins(""),
        keys.streams(""),
        keys.sse(""),
        keys.sources,
        keys.causes,
        keys.room("", "").removesuffix(":"),
    )
    for key in _found(client, "hash", known):
        found = [raw(part) for part in items(client.command("HGETALL", key))]
        yield from (Trace(key, two, ("HDEL", key, two[0])) for two in zip(found[::2], found[1::2], strict=True))
    for key in _found(client, "string", (keys.event("asking-"), keys.large(""))):
        yield Trace(key, [raw(client.command("GET", key))], ("UNLINK", key))
    for key in _found(client, "list", (keys.reply("restbroker:reply:x").removesuffix("x"),)):
        yield Trace(key, [raw(part) for part in items(client.command("LRANGE", key, 0, -1))], ("UNLINK", key))
    for key in (keys.dead_copies, keys.recent_events, keys.history, keys.audit):
        start = "-"
        while entries := items(client.command("XRANGE", key, start, "+", "COUNT", _PIECE)):
            for name, parts in map(pair, entries):
                yield Trace(key, [raw(part) for part in items(parts)], ("XDEL", key, raw(name)))
                start = f"({text(name)}"


def remove(client: Client, found: Sequence[Trace]) -> None:
    """Remove these. Raise `StoreUnavailable` or `StoreRefused`: some may be gone."""
    for at in range(0, len(found), _PIECE):
        client.commands([trace.removal for trace in found[at : at + _PIECE]])


def _found(client: Client, kind: str, beginnings: tuple[str, ...]) -> list[str]:
    found, _ = survey.scan(client, f"{survey.literal(client.keys.heartbeats.removesuffix('beats'))}*", kind)
    return sorted(key for key in found if key.startswith(beginnings))
