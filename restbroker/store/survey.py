"""A look over the whole database, for what should not be there: other Sidekiq processes, jobs that nobody owns.

Used by `check` only: it searches keys by pattern, which the broker never does. Always holds: it changes nothing, and
looks at no more than `MOST_KEYS` keys, since a Redis that is shared with a cache may have millions.
"""

from collections.abc import Collection, Iterator

import attrs

from restbroker.rules import rubyjson
from restbroker.store.client import Client
from restbroker.store.keys import Keys
from restbroker.store.replies import items, names, raw, text

MOST_KEYS = 500_000
SCAN_COUNT = 1000
_GLOB = str.maketrans({c: f"\\{c}" for c in "\\*?[]"})


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
    """Jobs in the hands of an identity that is neither alive nor dying. `described`: its queues are known."""

    identity: str
    jobs: int
    described: bool


def processes(client: Client) -> tuple[Process, ...]:
    """Every Sidekiq process of this database (and namespace). Raises `StoreUnavailable`."""
    found = sorted(names(client.command("SMEMBERS", client.keys.processes)))
    infos = client.commands([("HGET", client.keys.process(name), "info") for name in found])
    return tuple(_process(name, raw(info)) for name, info in zip(found, infos, strict=True) if info is not None)


def orphans(client: Client, known: Collection[str]) -> tuple[Orphan, ...]:
    """In-progress hashes of identities that are not in `known`. Raises `StoreUnavailable`."""
    prefix = client.keys.in_progress("")
    identities = sorted({key.removeprefix(prefix) for key in _scan(client, f"{prefix.translate(_GLOB)}*")})
    return tuple(
        Orphan(identity, jobs, client.command("EXISTS", client.keys.info(identity)) == 1)
        for identity in identities
        if identity not in known and (jobs := _jobs(client, identity)) > 0
    )


def namespaces(client: Client) -> frozenset[str]:
    """Every namespace in which somebody keeps Sidekiq queues, "" for none. Raises `StoreUnavailable`."""
    plain = Keys().queues
    found = {key[: -len(plain)].rstrip(":") for key in _scan(client, f"*:{plain}", kind="set")}
    return frozenset(found | {""} if client.command("EXISTS", plain) == 1 else found)


def _jobs(client: Client, identity: str) -> int:
    fields = items(client.command("HKEYS", client.keys.in_progress(identity)))
    return sum(field not in (b"last", b"hwm") for field in fields)


def _process(identity: str, info: bytes) -> Process:
    fields = rubyjson.object_of(info) or {}
    queues, version = fields.get("queues"), fields.get("version")
    listed = tuple(dict.fromkeys(str(name) for name in queues)) if isinstance(queues, list) else ()
    return Process(identity, listed, version if isinstance(version, str) else None)


def _scan(client: Client, pattern: str, kind: str = "hash") -> Iterator[str]:
    cursor: bytes | str = "0"
    for _ in range(MOST_KEYS // SCAN_COUNT):
        reply = client.command("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT, "TYPE", kind)
        position, keys = items(reply)
        yield from (text(key) for key in items(keys))
        cursor = raw(position)
        if cursor == b"0":
            return
