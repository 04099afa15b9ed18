"""Small records for people: minutes of queues and targets, when tokens were used, how far readers of sources are.

Written and read by `operate.history`, the heartbeat with `restbroker token list`, and `servers.in_redis`. Always holds:
a minute is written once, by whoever is first, and what is too old goes; of tokens there are names and times only, never
a secret; a reader writes its own entry alone, and of several that find an ended one, one takes it. What is lost is made
up for by the next write; a full Redis refuses it.
"""

from collections.abc import Mapping
from typing import Final

from restbroker.errors import StoreRefused
from restbroker.store.client import Client, as_fields, integer, mapping

_MINUTES_S: Final = 8 * 60 * 60
_PROGRESS_S: Final = 30 * 86_400


def keep_minute(client: Client, minute_s: int, record: bytes, oldest_s: int) -> Mapping[int, bytes]:
    """Write the record of a minute unless there is one; return all records from `oldest_s` on, by their minutes.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    key = client.keys.minutes
    *_, reply = client.commands([("HSETNX", key, minute_s, record), ("EXPIRE", key, _MINUTES_S), ("HGETALL", key)])
    found = mapping(reply)
    kept = {name: int(name) for name in found if name.isdecimal() and oldest_s <= int(name)}
    if len(kept) < len(found):
        client.command("HDEL", key, *(found.keys() - kept.keys()))
    return {at_s: found[name] for name, at_s in kept.items()}


def write_token_uses(client: Client, used: Mapping[str, float]) -> None:
    """Write the last use of each of these tokens: name → epoch seconds. Raise `StoreUnavailable` or `StoreRefused`."""
    if used:
        client.command("HSET", client.keys.tokens, *as_fields({name: int(at_s) for name, at_s in used.items()}))


def token_uses(client: Client) -> Mapping[str, float]:
    """Return the last use of each token that was ever used: name → epoch seconds.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    found = mapping(client.command("HGETALL", client.keys.tokens))
    try:
        return {name: float(at_s) for name, at_s in found.items()}
    except ValueError as error:
        raise StoreRefused(
            f"The hash {client.keys.tokens} has values that are not times.",
            "Another program wrote to it; you may delete it.",
        ) from error


def write_progress(client: Client, source: str, reader: str, entry: str) -> Mapping[str, bytes]:
    """Write the reader's entry, which counts for 30 days, and return those of all readers of the source, its own too.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    key = client.keys.progress(source)
    calls = [("HSET", key, reader, entry), ("EXPIRE", key, _PROGRESS_S), ("HGETALL", key)]
    return mapping(client.transaction(calls)[-1])


def read_progress(client: Client, source: str) -> Mapping[str, bytes]:
    """Return the entries of all readers of the source. Raise as `write_progress` does."""
    return mapping(client.command("HGETALL", client.keys.progress(source)))


def take_progress(client: Client, source: str, reader: str) -> bool:
    """Remove the entry of a reader that has ended; tell whether it was there. Raise as `write_progress` does."""
    return integer(client.command("HDEL", client.keys.progress(source), reader)) == 1
