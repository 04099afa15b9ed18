"""What the pages saw of queues and targets, minute by minute: kept for their charts, for all processes that show some.

Written and read by `operate.history`. Always holds: a minute is written once, by whoever is first; what is too old
goes, and all of it once nobody writes any more. For display: a full Redis refuses it.
"""

from collections.abc import Mapping

from restbroker.store.client import Client, mapping

_TTL_S = 8 * 60 * 60


def keep(client: Client, minute_s: int, record: bytes, oldest_s: int) -> Mapping[int, bytes]:
    """Write the record of a minute unless there is one; return all records from `oldest_s` on, by their minutes.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    key = client.keys.minutes
    *_, reply = client.commands([("HSETNX", key, minute_s, record), ("EXPIRE", key, _TTL_S), ("HGETALL", key)])
    found = mapping(reply)
    kept = {name: int(name) for name in found if name.isdecimal() and oldest_s <= int(name)}
    if len(kept) < len(found):
        client.command("HDEL", key, *(found.keys() - kept.keys()))
    return {at_s: found[name] for name, at_s in kept.items()}
