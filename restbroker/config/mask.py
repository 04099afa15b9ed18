"""Mask the secrets in the value of a key.

Called by `config show` and `check`. Always holds: nothing is shown of a secret's value, of a text in a query or body
whose name is that of a secret, and of the login in an address, in whichever key it was written; the result differs from
a value that holds a secret.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

from restbroker.config.converter import spellings
from restbroker.config.key import NO_KINDS, Form, Items, Key, Keys, Members, Names, OptionsOf, notation_of
from restbroker.config.urls import without_login
from restbroker.config.values import ARGUMENT, without_logins
from restbroker.job import hiding
from restbroker.job.json_types import Json
from restbroker.job.names import is_secret

MASK = "…"
_Options: TypeAlias = Mapping[str, Mapping[str, Members]]
"""The classes of options by kind, for `targets` and for `sources`."""


def mask(key: Key, value: Json, kinds: Mapping[str, Members], sources: Mapping[str, Members] = NO_KINDS) -> Json:
    """Return the value with its secrets replaced; `kinds` and `sources` are those of `config.load`."""
    shown = _mask_value(key, key.type, value, {"targets": kinds, "sources": sources})
    return hiding.hide_everywhere(shown, lambda text, _: without_logins(text), 0)


def _mask_value(key: Key, annotation: Any, value: Json, options: _Options, kind: str = "") -> Json:  # noqa: ANN401  a type
    match notation_of(annotation), value:
        case Keys(members), Mapping():
            return _members(spellings(members), value, options)
        case OptionsOf(of), Mapping():
            # What is secret for one kind is shown for none; `kind` may be one that is not listed.
            own = options[of].get(kind)
            listed = [*options[of].values(), *([] if own is None else [own])]
            known = [(name, of) for members in listed for name, of in spellings(members).items()]
            return _members(dict(sorted(known, key=lambda pair: pair[1].secret)), value, options)
        case Names(entry=entry), Mapping():
            entries = {name: _mask_value(key, entry, inner, options) for name, inner in value.items()}
            is_single = isinstance(notation_of(entry), Form)
            return {name: _mask_by_name(name, inner) for name, inner in entries.items()} if is_single else entries
        case Items(item=item), list():
            return [_mask_value(key, item, inner, options) for inner in value]
        case _:
            pass
    if not key.secret or _is_reference(value):
        return _mask_by_name("", value)
    return without_login(value) if isinstance(value, str) and key.name.endswith(("URL", "Host")) else MASK


def _mask_by_name(name: str, value: Json) -> Json:
    """Return the value without the texts in it whose names are those of secrets."""
    match value:
        case dict():
            return {inner: _mask_by_name(inner, member) for inner, member in value.items()}
        case list():
            return [_mask_by_name(name, item) for item in value]
        case str() if is_secret(name) and ARGUMENT.fullmatch(value) is None:
            return MASK
        case _:
            return value


def _is_reference(value: Json) -> bool:
    """Tell whether the value only names the file or variable that holds a secret."""
    named = value.get("File", value.get("Env")) if isinstance(value, Mapping) and len(value) == 1 else None
    return isinstance(named, str)


def _members(known: Mapping[str, Key], value: Mapping[str, Json], options: _Options) -> dict[str, Json]:
    keys = {name: known.get(name.lower()) for name in value}
    kind = next((str(value[name]) for name in value if name.lower() == "kind"), "")
    return {
        name: MASK if key is None else _mask_value(key, key.type, value[name], options=options, kind=kind)
        for name, key in keys.items()
    }
