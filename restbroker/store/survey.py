"""A search of the whole database for what should not be there: jobs without an owner, other namespaces.

Used by `check`, by `explain` for a job that is nowhere else, and by `order` and `migration`: for commands that people
start, never by the broker. Always holds: it changes nothing, and reads no more than `MOST_KEYS` keys, since a Redis
that is shared with a cache may have millions.
"""

from collections.abc import Collection

from restbroker.light import frozen
from restbroker.store.client import Client, items, pair, raw, text
from restbroker.store.identities import jobs_among
from restbroker.store.keys import RedisKeys

MOST_KEYS = 500_000
SCAN_COUNT = 1000
_GLOB = str.maketrans({c: f"\\{c}" for c in "\\*?[]"})


@frozen
class Orphan:
    """Jobs in progress of an identity that is neither alive nor dying. `is_described`: its queues are known."""

    identity: str
    jobs: int
    is_described: bool


def orphans(client: Client, known: Collection[str]) -> tuple[Orphan, ...]:
    """Return the in-progress hashes, with jobs, of identities that are not in `known`. Raise `StoreUnavailable`."""
    identities = sorted(_names_behind(client, client.keys.in_progress(""), "hash"))
    return tuple(
        Orphan(identity, jobs, client.command("EXISTS", client.keys.info(identity)) == 1)
        for identity in identities
        if identity not in known and (jobs := _jobs(client, identity)) > 0
    )


def namespaces(client: Client) -> frozenset[str]:
    """Return every namespace that has Sidekiq queues, "" for none. Raise `StoreUnavailable`."""
    plain = RedisKeys().queues
    keys, _ = scan(client, f"*:{plain}", "set")
    found = {key[: -len(plain)].rstrip(":") for key in keys}
    return frozenset(found | {""} if client.command("EXISTS", plain) == 1 else found)


def lists(client: Client) -> frozenset[str]:
    """Return every queue that has a list or lines, also one that is not announced: people who push by hand forget that.

    The lists of what the Go original has in progress, which have similar names, are left out. Raise `StoreUnavailable`
    or `StoreRefused`.
    """
    with_list = _names_behind(client, client.keys.queue(""), "list")
    with_lines = _names_behind(client, client.keys.key_queue(""), "string")
    return frozenset(with_lines | {name for name in with_list if not name.endswith(":inprogress")})


def ordered_targets(client: Client) -> frozenset[str]:
    """Return every target of which keys are held, also one that no configuration has. Raise as `lists` does."""
    return frozenset(_names_behind(client, client.keys.busy_keys(""), "zset"))


def _jobs(client: Client, identity: str) -> int:
    return jobs_among(items(client.command("HKEYS", client.keys.in_progress(identity))))


def _names_behind(client: Client, prefix: str, kind: str) -> set[str]:
    """Return what follows `prefix` in the names of the keys of this type that begin with it."""
    return {key.removeprefix(prefix) for key in scan(client, f"{literal(prefix)}*", kind)[0]}


def literal(name: str) -> str:
    """Return a pattern that this name alone fits."""
    return name.translate(_GLOB)


def scan(client: Client, pattern: str, kind: str) -> tuple[set[str], bool]:
    """Return the keys of this type that fit, and whether every key was read. Raise `StoreUnavailable`."""
    found, is_whole = scan_raw(client, pattern, kind)
    return set(map(text, found)), is_whole


def scan_raw(client: Client, pattern: str, kind: str) -> tuple[set[bytes], bool]:
    """Return what `scan` does, with the keys as they are in Redis."""
    found: set[bytes] = set()
    cursor: bytes | str = "0"
    for _ in range(MOST_KEYS // SCAN_COUNT):
        reply = client.command("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT, "TYPE", kind)
        position, keys = pair(reply)
        found.update(map(raw, items(keys)))
        cursor = raw(position)
        if cursor == b"0":
            return found, True
    return found, False
