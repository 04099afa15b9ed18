"""The audit log: what people did, as one stream for all processes on this Redis. Used by `operate.audit`.

Always holds: the newest 100,000 entries or so are kept; their times are Redis' own; no entry is ever changed; a full
Redis takes them too, or nobody could delete anything there.
"""

from collections.abc import Mapping
from typing import Final

from restbroker.light import frozen
from restbroker.store.client import Argument, Client, Reply, as_fields, items, mapping, pair, text

_KEPT: Final = 100_000
_STOPS_S: Final = 86_400


@frozen
class AuditRecord:
    """One entry of the audit log. `name` is its id in the stream: milliseconds of Redis' clock, "-", and a number."""

    name: str
    fields: Mapping[str, str]

    @property
    def at_s(self) -> float:
        """The time when the entry was written, by Redis' clock (epoch seconds)."""
        return int(self.name.partition("-")[0]) / 1000


def append(client: Client, fields: Mapping[str, Argument]) -> str:
    """Write one entry, also on a full Redis, and return its name.

    Raise `StoreUnavailable` (it may be written then) or `StoreRefused`.
    """
    entry = ("XADD", client.keys.audit, "MAXLEN", "~", _KEPT, "*", *as_fields(fields))
    return text(client.run_when_full([entry])[0])


def set_stop(client: Client, name: str, who: str) -> None:
    """Note who wants the action with this first entry to stop; kept for a day after the last one."""
    keys = client.keys
    client.run_when_full([("HSET", keys.audit_stops, name, who), ("EXPIRE", keys.audit_stops, _STOPS_S)])


def stop_of(client: Client, name: str) -> str | None:
    """Return who wants the action with this first entry to stop; None if no one does."""
    found = client.command("HGET", client.keys.audit_stops, name)
    return None if found is None else text(found)


def newest(client: Client, count: int, before: str = "") -> list[AuditRecord]:
    """Return the `count` newest entries, newest first; with `before`, only those older than the entry of that name.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    end = f"({before}" if before else "+"
    return _entries(client.command("XREVRANGE", client.keys.audit, end, "-", "COUNT", count))


def entries_after(client: Client, count: int, since: str) -> list[AuditRecord]:
    """Return `count` entries from the one named `since` on, oldest first; "(" before its name leaves that one out.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    return _entries(client.command("XRANGE", client.keys.audit, since, "+", "COUNT", count))


def _entries(reply: Reply) -> list[AuditRecord]:
    found = [pair(entry) for entry in items(reply)]
    return [
        AuditRecord(text(name), {field: value.decode("utf-8", "replace") for field, value in mapping(fields).items()})
        for name, fields in found
    ]
