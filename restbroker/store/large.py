"""The bytes of jobs that are too large: each in a key of its own, which the dead job names. Used by `broker.upkeep`.

Always holds: `finish` makes the key together with the dead job; it is deleted once neither the dead set, a copy of a
dead job, nor a job that waits or is in progress names it at two looks an hour apart. A copy names it nearly always
(`finish` notes which), so that a look costs next to nothing until that copy is trimmed.
"""

from collections.abc import Set as AbstractSet
from typing import Final

from restbroker.job.format import large_key, named_large
from restbroker.store import dead_copies, holders, paging
from restbroker.store.client import Client, items, mapping, text

_EVERY_MS: Final = 3_600_000
_LEASE: Final = "large payloads"
"""No target's name has a blank."""
_MISSING: Final = "missing"
_MOST: Final = 20
"""A search through all queues takes up to a second: the others wait for the next look."""
_PIECE: Final = 500


def delete_unnamed(client: Client) -> None:
    """Look for what names each key, if no process did so within the last hour, and delete those that nothing names.

    Raise `StoreUnavailable` or `StoreRefused`; the next call is right.
    """
    keys = client.keys
    if client.command("EXISTS", keys.large_payloads) == 0:
        return
    if client.command("SET", keys.lease(_LEASE), 1, "NX", "PX", _EVERY_MS) is None:
        return
    notes = {name: text(note) for name, note in mapping(client.command("HGETALL", keys.large_payloads)).items()}
    left = notes.keys() - _with_their_copy(client, notes)
    found = dict.fromkeys(left & _in_dead_set(client), "") if left else {}
    found |= _in_copies(client, left - found.keys())
    for name in sorted(left - found.keys())[:_MOST]:
        if holders.search(client, name, "default") != "missing":
            found[name] = ""
        elif notes[name] == _MISSING:
            client.command("UNLINK", keys.large(name))
            client.command("HDEL", keys.large_payloads, name)
        else:
            found[name] = _MISSING
    client.commands([("HSET", keys.large_payloads, name, note) for name, note in found.items()])


def _with_their_copy(client: Client, notes: dict[str, str]) -> set[str]:
    """Return those of which the copy that was noted is still there."""
    noted = {name: note for name, note in notes.items() if note not in ("", _MISSING)}
    entries = client.commands([("XRANGE", client.keys.dead_copies, note, note) for note in noted.values()])
    return {name for name, entry in zip(noted, entries, strict=True) if items(entry)}


def _in_dead_set(client: Client) -> set[str]:
    pages = paging.members_with_word(client, "dead", large_key(""))
    return {name for page in pages for raw, _ in page for name in named_large(raw)}


def _in_copies(client: Client, wanted: AbstractSet[str]) -> dict[str, str]:
    """Return those of `wanted` that a copy names, each with the newest such copy."""
    found: dict[str, str] = {}
    page = dead_copies.newest(client, _PIECE) if wanted else []
    while page and wanted - found.keys():
        for copy in page:
            found |= {name: copy.entry for name in named_large(copy.payload) if name in wanted - found.keys()}
        page = dead_copies.newest(client, _PIECE, before=page[-1].entry)
    return found
