"""What /metrics says of Redis: the same from every process on it. Called by `web.metrics`, in its connection's thread.

Always holds: it costs a few round trips, whatever lies in Redis; queues and targets are those of the configuration,
since a label must not be a name that a producer thought up; what Redis refuses (a key of another type, missing rights)
is left out, and the rest is told.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from restbroker.errors import StoreRefused
from restbroker.store import pauses, queues
from restbroker.store.client import Client
from restbroker.store.replies import integer
from restbroker.store.server import time_s
from restbroker.telemetry.series import Samples

_SETS: Final = ("retry", "schedule", "dead")
_REASONS: Final = ("operator", "denied", "retry_after")


def shared(client: Client, served: Sequence[str], targets: Sequence[str]) -> Samples:
    """The values, of these queues and targets. Raises `StoreUnavailable`."""
    parts: list[Callable[[Client], Samples]] = [partial(_queues, served=served), _sets, _parked, _totals]
    parts.append(partial(_pauses, targets=targets))
    samples: Samples = {}
    for part in parts:
        with suppress(StoreRefused):
            samples = {**samples, **part(client), "restbroker_redis_up": {(): 1}}
    return samples or down()


def down() -> Samples:
    """While Redis cannot be used."""
    return {"restbroker_redis_up": {(): 0}}


def _queues(client: Client, served: Sequence[str]) -> Samples:
    sizes = {name: size for name, size in queues.sizes(client, served).items() if size is not None}
    now_s = time_s(client)
    keys = client.keys
    oldest = queues.oldest(client, [keys.queue(name) for name in sizes])
    paused = client.commands([("SISMEMBER", keys.paused, name) for name in sizes])
    waited = {name: queues.waited_s(job, now_s) for name, job in zip(sizes, oldest, strict=True)}
    return {
        "restbroker_queue_jobs": {(name,): size for name, size in sizes.items()},
        "restbroker_queue_latency_seconds": {(name,): age_s for name, age_s in waited.items() if age_s is not None},
        "restbroker_queue_paused": {(name,): integer(reply) for name, reply in zip(sizes, paused, strict=True)},
    }


def _sets(client: Client) -> Samples:
    sizes = client.commands([("ZCARD", client.keys.sorted_set(name)) for name in _SETS])
    return {"restbroker_set_jobs": {(name,): integer(size) for name, size in zip(_SETS, sizes, strict=True)}}


def _parked(client: Client) -> Samples:
    return {"restbroker_parked_copies": {(): integer(client.command("XLEN", client.keys.parked))}}


def _totals(client: Client) -> Samples:
    keys = client.keys
    processed, failed = client.commands([("GET", keys.stat("processed")), ("GET", keys.stat("failed"))])
    return {
        "restbroker_processed_total": {(): integer(processed)},
        "restbroker_failed_total": {(): integer(failed)},
    }


def _pauses(client: Client, targets: Sequence[str]) -> Samples:
    paused = pauses.paused_targets(client, targets)
    reasons = {(target, one.reason) for target in targets for one in paused.get(target, ())}
    shown = {(target, reason if reason in _REASONS else "other") for target, reason in reasons}
    return {"restbroker_target_paused": dict.fromkeys(sorted(shown), 1)}
