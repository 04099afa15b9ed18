"""A search of the whole database for what should not be there: other Sidekiq processes, jobs without an owner.

Used by `check`, and by `explain` for a job that is nowhere else. Always holds: it changes nothing.
"""

from collections.abc import Collection

import attrs

from restbroker.job import rubyjson
from restbroker.store.client import Client
from restbroker.store.identities import jobs_among
from restbroker.store.keys import Keys
from restbroker.store.replies import items, names, raw
from restbroker.store.scan import literal, scan


@attrs.frozen
class Process:
    """A Sidekiq process that beat within the last minute, as it describes itself. `version` is None before 7."""

    identity: str
    queues: tuple[str, ...]
    version: str | None

    @property
    def is_restbroker(self) -> bool:
        """Whether it is one of restbroker's own. Its tag does not tell: a Rails process takes its folder's name."""
        return self.version is not None and self.version.startswith("restbroker ")


@attrs.frozen
class Orphan:
    """Jobs in progress of an identity that is neither alive nor dying. `is_described`: its queues are known."""

    identity: str
    jobs: int
    is_described: bool


def processes(client: Client) -> tuple[Process, ...]:
    """Return every Sidekiq process of this database (and namespace). Raise `StoreUnavailable`."""
    found = sorted(names(client.command("SMEMBERS", client.keys.processes)))
    infos = client.commands([("HGET", client.keys.process(name), "info") for name in found])
    return tuple(_process(name, raw(info)) for name, info in zip(found, infos, strict=True) if info is not None)


def orphans(client: Client, known: Collection[str]) -> tuple[Orphan, ...]:
    """Return the in-progress hashes, with jobs, of identities that are not in `known`. Raise `StoreUnavailable`."""
    prefix = client.keys.in_progress("")
    keys, _ = scan(client, f"{literal(prefix)}*", "hash")
    identities = sorted(key.removeprefix(prefix) for key in keys)
    return tuple(
        Orphan(identity, jobs, client.command("EXISTS", client.keys.info(identity)) == 1)
        for identity in identities
        if identity not in known and (jobs := _jobs(client, identity)) > 0
    )


def namespaces(client: Client) -> frozenset[str]:
    """Return every namespace that has Sidekiq queues, "" for none. Raise `StoreUnavailable`."""
    plain = Keys().queues
    keys, _ = scan(client, f"*:{plain}", "set")
    found = {key[: -len(plain)].rstrip(":") for key in keys}
    return frozenset(found | {""} if client.command("EXISTS", plain) == 1 else found)


def lists(client: Client) -> frozenset[str]:
    """Return every queue that has a list or lines, also one that is not announced: people who push by hand forget that.

    The lists of what the Go original has in progress, which have similar names, are left out. Raise `StoreUnavailable`
    or `StoreRefused`.
    """
    prefix = client.keys.queue("")
    keys, _ = scan(client, f"{literal(prefix)}*", "list")
    with_list = {key.removeprefix(prefix) for key in keys if not key.endswith(":inprogress")}
    prefix = client.keys.lines("")
    keys, _ = scan(client, f"{literal(prefix)}*", "hash")
    return frozenset(with_list | {key.removeprefix(prefix) for key in keys})


def ordered_targets(client: Client) -> frozenset[str]:
    """Return every target of which keys are held, also one that no configuration has. Raise as `lists` does."""
    prefix = client.keys.order_hold("")
    keys, _ = scan(client, f"{literal(prefix)}*", "hash")
    return frozenset(key.removeprefix(prefix) for key in keys)


def _jobs(client: Client, identity: str) -> int:
    return jobs_among(items(client.command("HKEYS", client.keys.in_progress(identity))))


def _process(identity: str, info: bytes) -> Process:
    fields = rubyjson.object_of(info) or {}
    queues, version = fields.get("queues"), fields.get("version")
    listed = tuple(dict.fromkeys(str(name) for name in queues)) if isinstance(queues, list) else ()
    return Process(identity, listed, version if isinstance(version, str) else None)
