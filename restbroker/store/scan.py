"""Searches keys by pattern. Used by `survey` and `migration`: by commands that people start, never by the broker.

Always holds: no more than `MOST_KEYS` keys are read, since a Redis that is shared with a cache may have millions.
"""

from restbroker.store.client import Client, items, pair, raw, text

MOST_KEYS = 500_000
SCAN_COUNT = 1000
_GLOB = str.maketrans({c: f"\\{c}" for c in "\\*?[]"})


def literal(name: str) -> str:
    """Return a pattern that this name alone fits."""
    return name.translate(_GLOB)


def scan(client: Client, pattern: str, kind: str) -> tuple[set[str], bool]:
    """Return the keys of this type that fit, and whether every key was read. Raise `StoreUnavailable`."""
    found, is_whole = _scan(client, pattern, kind)
    return set(map(text, found)), is_whole


def scan_raw(client: Client, pattern: str, kind: str) -> set[bytes]:
    """Return the keys of this type that fit, of the first `MOST_KEYS`. Raise `StoreUnavailable`."""
    return _scan(client, pattern, kind)[0]


def _scan(client: Client, pattern: str, kind: str) -> tuple[set[bytes], bool]:
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
