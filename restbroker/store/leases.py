"""Who does something on behalf of all processes: short leases, and one asker whose answer the others read.

A target's prober uses `turn` and `tell`; the rest is for connectors that log in, and none does yet. Always holds: a
lease ends by itself, by Redis' clock; each call may be repeated after a lost answer; a full Redis grants leases too,
since what drains it may need them. A lease is no fence: whoever was suspended may go on after it ran out. Texts are
never logged.
"""

from typing import TypeAlias

import attrs

from restbroker.store.client import Client
from restbroker.store.replies import integer, items, raw

LONGEST_TEXT_BYTES = 4096


@attrs.frozen
class Yours:
    """It is the caller's turn: do the work, then `tell`; or `release` the name if there is nothing to tell."""


@attrs.frozen
class Told:
    """Somebody did it `age_ms` milliseconds ago by Redis' clock, and `text` is what came of it."""

    text: bytes = attrs.field(repr=False)
    age_ms: int


@attrs.frozen
class Busy:
    """Somebody is at it."""


Turn: TypeAlias = Yours | Told | Busy


def take(client: Client, name: str, owner: str, ttl_s: float) -> bool:
    """Takes the lease `name`, or has it last `ttl_s` seconds from now if it is the owner's. False: somebody else's."""
    return client.run("lease", [client.keys.lease(name)], [owner, milliseconds(ttl_s)]) == 1


def renew(client: Client, name: str, owner: str, ttl_s: float) -> bool:
    """Has a lease last `ttl_s` seconds from now. False: it ran out; stop what it was for."""
    return client.run("renew", [client.keys.lease(name)], [owner, milliseconds(ttl_s)]) == 1


def release(client: Client, name: str, owner: str) -> None:
    """Gives a lease or a turn back; nothing happens if it is not the owner's any more."""
    client.run("release", [client.keys.lease(name)], [owner])


def turn(client: Client, name: str, owner: str, ttl_ms: int) -> Turn:
    """Asks who does what `name` stands for. As long as a result counts, everybody gets it, its author too.

    `ttl_ms`: how long the work may take; then somebody else gets the turn. The same name must not be used for `take`.
    """
    answer = items(client.run("turn", [client.keys.lease(name), client.keys.told(name)], [owner, max(1, ttl_ms)]))
    match answer:
        case [b"TOLD", text, age_ms]:
            return Told(raw(text), integer(age_ms))
        case [b"YOURS"]:
            return Yours()
        case _:
            return Busy()


def tell(client: Client, name: str, owner: str, text: bytes, ttl_ms: int) -> bool:
    """Ends the owner's turn with its result, which counts for `ttl_ms`. False: it came too late, and is dropped.

    Raises ValueError for more than `LONGEST_TEXT_BYTES`.
    """
    if len(text) > LONGEST_TEXT_BYTES:
        raise ValueError(f"A result of {len(text)} bytes is too long to be told; at most {LONGEST_TEXT_BYTES}.")
    keys = [client.keys.lease(name), client.keys.told(name)]
    return client.run("tell", keys, [owner, max(1, ttl_ms), text]) == 1


def milliseconds(seconds: float) -> int:
    """As Redis wants them: whole, and at least one."""
    return max(1, round(seconds * 1000))
