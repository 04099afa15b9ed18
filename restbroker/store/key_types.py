"""Which keys are of another type than restbroker needs, because other programs use their names for other things.

Used by `operate` for the stats, and by `check`. Always holds: it changes nothing, and a key that does not exist is of
every type.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeVar

from restbroker.light import frozen
from restbroker.store.client import Client, text
from restbroker.store.keys import QueueName

Key = TypeVar("Key", str, QueueName)

_WORDS: Final = {"zset": "sorted set"}


@frozen
class MisusedKey:
    """A key of `actual_type` (Redis' word) where `expected_type` is needed; None: not known."""

    key: str
    expected_type: str | None
    actual_type: str | None

    @property
    def message(self) -> str:
        """What is wrong, as a sentence without its full stop."""
        found, wanted = (
            "key of another type" if kind is None else _WORDS.get(kind, kind)
            for kind in (self.actual_type, self.expected_type)
        )
        return f"The key {self.key} is a {found}, but restbroker needs a {wanted}"

    @property
    def hint(self) -> str:
        """What to do about it."""
        return f"Find out who writes it. Then move it away: RENAME {self.key} {self.key}:misplaced"


def find_misused(client: Client, targets: Iterable[str], queues: Iterable[str]) -> tuple[MisusedKey, ...]:
    """Return the keys of a wrong type: shared keys, those of `targets`, and the lists and lines of `queues`.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    keys = client.keys
    shared = [keys.heartbeats, keys.fenced_identities, keys.tokens, keys.queue_pauses, keys.target_pauses]
    shared.append(keys.unadmitted_counts)
    shared += [keys.periodic, keys.periodic_pauses]
    shared += [keys.queues, keys.paused_queues, keys.processes]
    shared += [keys.sorted_set("retry"), keys.sorted_set("schedule"), keys.sorted_set("dead")]
    shared += [
        keys.dead_copies,
        keys.audit,
        keys.audit_stops,
        keys.history,
        keys.minutes,
        keys.recent_events,
        keys.sources,
    ]
    shared += [keys.stat("processed"), keys.stat("failed")]
    of_target = (keys.pause, keys.rate, keys.in_flight, keys.busy_keys, keys.keys_made_by, keys.stopped)
    of_targets = [key_of(name) for name in targets for key_of in of_target]
    of_queues = [
        key_of(name)
        for key_of in (keys.queue, keys.hand, keys.ready_keys, keys.key_queue, keys.fair)
        for name in queues
    ]
    looked_at = [*shared, *of_targets, *of_queues]
    wanted = {key: keys.expected_type(key) for key in looked_at}
    found = types(client, looked_at)
    return tuple(
        MisusedKey(key, kind, found[key]) for key, kind in wanted.items() if key in found and found[key] != kind
    )


def types(client: Client, keys: Sequence[Key]) -> Mapping[Key, str]:
    """Return the types of those keys that exist, in Redis' words. Raise `StoreUnavailable` or `StoreRefused`."""
    replies = client.commands([("TYPE", key) for key in keys])
    return {key: kind for key, kind in zip(keys, map(text, replies), strict=True) if kind != "none"}
