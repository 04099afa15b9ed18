"""What differs between two configurations that can be used, key by key. Called by `restbroker config diff`.

Always holds: no other file is read; ways to write the same (`10` and `"10s"`, a default, another case) are no
difference; of a secret there is only a digest under a key of this run, so that nothing can be guessed from it.
"""

import hmac
import json
import secrets
from collections.abc import Iterator, Mapping

import attrs

from restbroker.config.converter import fold, read
from restbroker.config.core import Config
from restbroker.config.document import is_comment
from restbroker.config.key import Form, Items, Key, Keys, Members, Names, OptionsOf, keys_of, notation_of
from restbroker.config.load import CollectedKeys
from restbroker.config.mask import mask
from restbroker.config.problems import Problems, at
from restbroker.job.json_types import Json

_Kinds = Mapping[str, Mapping[str, Members]]
"""The classes of options by kind, for `targets` and for `sources`."""
_Found = Iterator[tuple[str, tuple[Key, Json]]]


def differences(old: CollectedKeys, new: CollectedKeys, kinds: _Kinds) -> dict[str, tuple[Json, Json]]:
    """Return the two values of each key that differs, by its place, with secrets masked; None: it is missing.

    A key that names a file differs if it is written differently: no file is read.
    """
    digest_key, found = secrets.token_bytes(32), dict[str, tuple[Json, Json]]()
    sides = [dict(_values(Key("", type=Config), dict(side.values), "", kinds)) for side in (old, new)]
    for place, (key, _) in {**sides[0], **sides[1]}.items():
        pair = [side[place][1] if place in side else None for side in sides]
        if _read(key, pair[0]) != _read(key, pair[1]):
            found[place] = _shown(key, pair[0], kinds, digest_key), _shown(key, pair[1], kinds, digest_key)
    above = {place.rpartition(".")[0] for place in found}  # an object that comes or goes is shown by what is in it
    return {place: pair for place, pair in found.items() if {} not in pair or place not in above}


def _values(key: Key, value: Json, place: str, kinds: _Kinds, kind: Json = None) -> _Found:
    """Yield the value of each key behind its place; of an object of keys an empty one, then those inside it."""
    said = notation_of(key.type)
    if isinstance(said, OptionsOf) and (options := kinds[said.of].get(str(kind))) is not None:
        said = Keys(options)
    match said, value:
        case Keys(members), dict():
            parts, keys = fold(members, value, "", Problems()), keys_of(members)
        case ((Names(entry=inner) | Items(item=inner)), (dict() | list())) if not isinstance(notation_of(inner), Form):
            # In a list the place counts: the first route that an event fits takes it.
            parts = value if isinstance(value, dict) else {f"[{number}]": part for number, part in enumerate(value)}
            keys = dict.fromkeys(parts, attrs.evolve(key, type=inner, owner=None))
        case _:
            yield place, (key, value)
            return
    yield place, (key, {})
    for name in [name for name in parts if not is_comment(name)]:
        yield from _values(keys[name], parts[name], at(place, name), kinds, parts.get("Kind"))


def _read(key: Key, value: Json) -> object:
    return value if key.owner is None else read(key.owner, {} if value is None else {key.name: value}, Problems())


def _shown(key: Key, value: Json, kinds: _Kinds, digest_key: bytes) -> Json:
    if value is None or (masked := mask(key, value, kinds["targets"], kinds["sources"])) == value:
        return value
    digest = hmac.digest(digest_key, json.dumps(value).encode(), "sha256").hex()[:8]
    return f"{masked if isinstance(masked, str) else json.dumps(masked, ensure_ascii=False)} ({digest})"
