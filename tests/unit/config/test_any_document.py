"""Whatever an operator writes gives a configuration or an error that shows no secret."""

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from restbroker.config import mask
from restbroker.config.core import LoadedConfig, all_keys
from restbroker.config.key import Form, Items, Key, Keys, Names, OptionsOf, keys_of, notation_of
from restbroker.config.load import load
from restbroker.config.urls import without_login
from restbroker.config.values import without_logins
from restbroker.errors import ConfigError
from restbroker.events import registry as sources
from restbroker.job.json_types import Json
from restbroker.servers import registry

KINDS = registry.kinds()
SOURCES = sources.kinds()
SECRET = "hunter2"
SECRETS = {
    *("RedisURL", "RedisHost", "RedisPass", "RedisSentinelPass", "RestURL", "RestPass", "RestToken", "Token", "Tokens"),
    *("Targets", "URL", "AdminURL", "AdminToken", "MsgURL", "Auth", "Basic", "Bearer", "Pass", "Secret"),
    "PreviousSecret",
}
"""Config in whose place a secret may be written, by name: what the code holds for secret is what is tested here."""
MINIMAL: dict[str, Json] = {"RestQueue": "rest", "Token": "a-token", "RestURL": "http://127.0.0.1"}

LOGIN = "hunt3r"
"""The password of an address that stands where none belongs."""


def may_hold_one(key: Key) -> bool:
    """Whether a secret may be written there. A list of names holds none: that of a token is called as the `Targets`."""
    return key.name in SECRETS and not isinstance(notation_of(key.type), Items)


def outcome(document: dict[str, Json], folder: Path) -> LoadedConfig | str:
    path = folder / "env.json"
    path.write_text(json.dumps({**MINIMAL, **document}))
    try:
        return load(path, {}, {}, KINDS, SOURCES)
    except ConfigError as error:
        return str(error)


def places(annotation: Any, key: Key, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Key]]:
    """Every place in a document, with and without what is inside of it, and the key whose value is there."""
    yield path, key
    match notation_of(annotation):
        case Keys(known):
            inside = list(keys_of(known).values())
        case Names(entry=entry):
            yield from places(entry, key, (*path, "one"))
            inside = []
        case OptionsOf(of):
            kinds = KINDS if of == "targets" else SOURCES
            inside = [key for members in kinds.values() for key in keys_of(members).values()]
        case Form() | Items():
            inside = []
    for inner in inside:
        yield from places(inner.type, inner, (*path, inner.name))


EVERYWHERE = dict(found for key in all_keys().values() for found in places(key.type, key, (key.name,)))


LOGINS = [
    *("redis://:hunt3r@10.0.0.1:6379/0", "http://admin:hunt3r@h/", "default:hunt3r@h:1"),
    *("http://admin:of hunt3r@h/", "default:of hunt3r@h:1", "redis://h/0?db=1&password=hunt3r"),
]


@pytest.mark.slow
@pytest.mark.parametrize("step", [17, pytest.param(1, marks=pytest.mark.nightly)])
def test_the_login_in_an_address_is_shown_for_no_key(tmp_path: Path, step: int) -> None:
    """By day each place has one of the 18 forms, another one than the place before."""
    shown = []
    wrapped_logins: list[Json] = [wrapping for login in LOGINS for wrapping in (login, [login], {login: "x"})]
    each = [
        (path, kind, wrapping)
        for path in sorted(EVERYWHERE)
        for kind in ((*KINDS, *SOURCES) if "Options" in path else ("ejabberd",))
        for wrapping in wrapped_logins
    ]
    for path, kind, wrapping in each[::step]:
        wrapped: Json = wrapping
        for name in reversed(path[1:]):
            wrapped = {name: wrapped, "Kind": kind} if name == "Options" else {name: wrapped}
        found = outcome({path[0]: wrapped}, tmp_path)
        if LOGIN in (str(found.notes) if isinstance(found, LoadedConfig) else found):
            shown.append((path, kind, wrapping))
    assert shown == []
    assert len(EVERYWHERE) > 150


def test_a_secret_is_not_shown_wherever_it_is_written(tmp_path: Path) -> None:
    wrappings: tuple[Json, ...] = (SECRET, f"{SECRET}\n", [SECRET], {"x": SECRET}, {"x": [SECRET]})
    shown = []
    secret = [path for path, key in EVERYWHERE.items() if may_hold_one(key)]
    for path, wrapping in product(secret, wrappings):
        # A bare word would be a host, and no secret.
        is_address = path[-1].endswith(("URL", "Host")) and isinstance(wrapping, str)
        wrapped: Json = f"http://u:{SECRET}@h:x/" if is_address else wrapping
        for name in reversed(path[1:]):
            wrapped = {name: wrapped}
        (key,) = (key for key in all_keys().values() if key.name == path[0])
        masked = json.dumps(mask.mask(key, wrapped, KINDS, SOURCES))
        if SECRET in f"{outcome({path[0]: wrapped}, tmp_path)} {masked}":
            shown.append((path, wrapping))
    assert shown == []
    assert len(secret) > 25


def test_an_address_is_shown_without_its_login() -> None:
    for written, shown in {
        "redis://bob:pw@h/1": "redis://…@h/1",
        "bob:pw@h:80/api": "…@h:80/api",
        "http://h/api": "http://h/api",
        "unix://bob:pw@/run/x": "unix://…@/run/x",
        "redis://:p@w@h": "redis://…@h",
        "http://bob:p/w x@h": "http://…@h",
        "redis://h/0?password=pw": "redis://h/0?password=***",
    }.items():
        assert without_login(written) == shown
    for user in ("mailto:bob@e.org", "xmpp:bob@e.org", "xmpp:{user}@{host}", "bob@e.org"):
        assert without_logins(user) == user


def test_a_long_value_is_masked_in_linear_time(tmp_path: Path) -> None:
    for long in ("@" + "/ a:b://" * 50_000, "/a:" * 50_000 + " @h", "?password=" * 50_000 + "@", "a=b&c " * 50_000):
        assert isinstance(outcome({"LogLevel": long}, tmp_path), str)
