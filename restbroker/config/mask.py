"""Shows what was written for a key without its secrets.

Called by `config show` and `check`. Always holds: of a secret's value nothing is shown, and of an address not its
login; whoever wants to know whether a value holds a secret compares it with what is shown.
"""

from collections.abc import Mapping

from restbroker.config.key import Key
from restbroker.config.kinds import MapOf, ObjectOf
from restbroker.config.names import spellings
from restbroker.config.urls import without_login
from restbroker.rules.json_types import Json

MASK = "…"


def masked(key: Key, value: Json) -> Json:
    """The value as it may be shown."""
    match key.kind, value:
        case ObjectOf(_, members), Mapping():
            return _members(spellings(members), value)
        case MapOf(_, ObjectOf(_, members)), Mapping():
            known = spellings(members)
            entries = value.items()
            return {name: _members(known, entry) if isinstance(entry, Mapping) else MASK for name, entry in entries}
        case _:
            pass
    if not key.secret:
        return value
    return without_login(value) if isinstance(value, str) and key.name.endswith(("URL", "Host")) else MASK


def _members(known: Mapping[str, Key], value: Mapping[str, Json]) -> dict[str, Json]:
    return {
        name: masked(known[name.lower()], inner) if name.lower() in known else MASK for name, inner in value.items()
    }
