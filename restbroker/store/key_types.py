"""Which keys are of another type than restbroker needs: somebody uses their names for other things.

Used by the figures and by `check`. Always holds: it changes nothing, and a key that does not exist is of every type.
"""

from collections.abc import Iterable, Mapping, Sequence

import attrs

from restbroker.store.client import Client
from restbroker.store.replies import text


@attrs.frozen
class Misused:
    """A key that is `found` (Redis' word for its type) where `wanted` is needed."""

    key: str
    wanted: str
    found: str


def misused(client: Client, targets: Iterable[str], queues: Iterable[str]) -> tuple[Misused, ...]:
    """Every such key among those that all processes share, those of these targets, and these queues' lists.

    Raises `StoreUnavailable` or `StoreRefused`.
    """
    keys = client.keys
    hashes = (keys.beats, keys.dying, keys.tokens, keys.queue_pauses, keys.target_pauses)
    wanted: dict[str, str] = dict.fromkeys(hashes, "hash")
    wanted |= dict.fromkeys((keys.queues, keys.paused, keys.processes), "set")
    wanted |= {keys.sorted_set(name): "zset" for name in ("retry", "schedule", "dead")}
    wanted |= {keys.parked: "stream", keys.audit: "stream", keys.history: "stream", keys.recovered_version: "string"}
    wanted |= {keys.stat(kind): "string" for kind in ("processed", "failed")}
    for target in targets:
        wanted |= {keys.pause(target): "hash", keys.rate(target): "string", keys.in_flight(target): "hash"}
    wanted |= {keys.queue(name): "list" for name in queues}
    found = types(client, list(wanted))
    return tuple(Misused(key, kind, found[key]) for key, kind in wanted.items() if key in found and found[key] != kind)


def types(client: Client, keys: Sequence[str]) -> Mapping[str, str]:
    """The types of those keys that exist, in Redis' words. Raises `StoreUnavailable` or `StoreRefused`."""
    replies = client.commands([("TYPE", key) for key in keys])
    return {key: kind for key, kind in zip(keys, map(text, replies), strict=True) if kind != "none"}
