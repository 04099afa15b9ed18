"""The record of this process as Sidekiq's API and Sidekiq Web read it, and the requests they leave. Used by the record.

Always holds: it is for display only; nothing is decided by it, and jobs in hand are safe whatever becomes of it (every
look at Sidekiq's processes prunes those whose hash has expired). Forms: Sidekiq 5 to 8, read in their sources and
measured on 6.4.1.
"""

import socket
from collections.abc import Collection, Mapping

import attrs

from restbroker.store.client import Client
from restbroker.store.replies import Argument, items, names, raw

TTL_S = 60
"""So long Sidekiq shows a process that writes no more."""
_PRUNE_EVERY_S = 60


@attrs.frozen
class Record:
    """What is shown of a process. `name` is `host:pid:nonce`; `info` and the values of `work` are JSON.

    `work` has the jobs in hand by the name of a thread that is thought up for each. `queues` are those that it serves:
    where jobs wait in one, it is put on the list of queues.
    """

    name: str
    info: bytes
    work: Mapping[str, bytes]
    quiet: bool
    rss_kib: int
    rtt_us: int
    concurrency: int
    queues: tuple[str, ...] = ()


def write(client: Client, record: Record) -> str | None:
    """Writes the record in one step, for the next minute; a request that somebody left (TSTP, TERM, TTIN), one a call.

    Raises `StoreUnavailable`: a request may be lost then, as with Sidekiq; or `StoreRefused`.
    """
    keys = client.keys
    own = [keys.process(record.name), keys.work(record.name), keys.workers(record.name), keys.signals(record.name)]
    numbers = [record.rss_kib, record.rtt_us, record.concurrency]
    arguments: list[Argument] = [record.name, TTL_S, record.info, len(record.work)]
    arguments += ["true" if record.quiet else "false", *numbers, *record.queues]
    for thread, shown in record.work.items():
        arguments += [thread, shown]
    lists = [keys.queue(queue) for queue in record.queues]
    found = client.run("record", [keys.processes, *own, keys.queues, *lists], arguments)
    return None if found is None else raw(found).decode("utf-8", "replace")


def remove(client: Client, name: str) -> None:
    """Takes the record away. Raises `StoreUnavailable` or `StoreRefused`."""
    keys = client.keys
    own = (keys.process(name), keys.work(name), keys.workers(name), keys.signals(name))
    client.commands([("SREM", keys.processes, name), ("UNLINK", *own)])


def in_hand(client: Client, pids: Collection[int]) -> list[bytes]:
    """What the records of these processes of this host show of their jobs in hand.

    Raises `StoreUnavailable` or `StoreRefused`.
    """
    keys = client.keys
    own = tuple(f"{socket.gethostname()}:{pid}:" for pid in pids)
    found = sorted(name for name in names(client.command("SMEMBERS", keys.processes)) if name.startswith(own))
    replies = client.commands([("HVALS", keys.work(name)) for name in found])
    return [raw(shown) for reply in replies for shown in items(reply)]


def at_work(client: Client) -> list[bytes]:
    """What the records of all processes show of their jobs in hand. Raises `StoreUnavailable` or `StoreRefused`."""
    keys = client.keys
    found = sorted(names(client.command("SMEMBERS", keys.processes)))
    replies = client.commands([("HVALS", keys.work(name)) for name in found]) if found else []
    return [raw(shown) for reply in replies for shown in items(reply)]


def prune(client: Client) -> None:
    """Takes the names of processes away whose record has expired, as Sidekiq's API does, once a minute at most.

    Raises `StoreUnavailable` or `StoreRefused`.
    """
    keys = client.keys
    if client.command("SET", keys.process_cleanup, 1, "NX", "EX", _PRUNE_EVERY_S) is None:
        return
    found = sorted(names(client.command("SMEMBERS", keys.processes)))
    shown = client.commands([("HEXISTS", keys.process(name), "info") for name in found])
    gone = [name for name, there in zip(found, shown, strict=True) if there == 0]
    if gone:
        client.command("SREM", keys.processes, *gone)
