"""A search of the whole database for what should not be there: jobs without an owner, other namespaces.

Used by `check`, and by `explain` for a job that is nowhere else. Always holds: it changes nothing.
"""

from collections.abc import Collection

import attrs

from restbroker.store.client import Client, items
from restbroker.store.identities import jobs_among
from restbroker.store.keys import Keys
from restbroker.store.scan import literal, scan


@attrs.frozen
class Orphan:
    """Jobs in progress of an identity that is neither alive nor dying. `is_described`: its queues are known."""

    identity: str
    jobs: int
    is_described: bool


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
    prefix = client.keys.line("")
    keys, _ = scan(client, f"{literal(prefix)}*", "string")
    return frozenset(with_list | {key.removeprefix(prefix) for key in keys})


def ordered_targets(client: Client) -> frozenset[str]:
    """Return every target of which keys are held, also one that no configuration has. Raise as `lists` does."""
    prefix = client.keys.held("")
    keys, _ = scan(client, f"{literal(prefix)}*", "zset")
    return frozenset(key.removeprefix(prefix) for key in keys)


def _jobs(client: Client, identity: str) -> int:
    return jobs_among(items(client.command("HKEYS", client.keys.in_progress(identity))))
