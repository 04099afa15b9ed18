"""Whatever is written into env.json: a configuration or a ConfigError, and no secret in what is said about it."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.config.core import all_keys
from restbroker.config.load import collect, load
from restbroker.config.mask import mask
from restbroker.errors import ConfigError
from restbroker.events import registry as sources
from restbroker.job.json_types import Json
from restbroker.servers import registry
from tests.fuzz.effort import FUZZING
from tests.support.whole_config import SECRET, whole

KINDS, SOURCES = registry.kinds(), sources.kinds()
CANARY = "c4n4ry-s3cr3t"
SECRETS: dict[str, Json] = {
    "Token": CANARY,
    "RestUser": "admin@example.org",
    "RestPass": CANARY,
    "RedisURL": f"redis://user:{CANARY}@127.0.0.1/0",
    "RedisPass": CANARY,
    "StatsUser": "ops",
    "StatsPass": CANARY,
}
GOOD: dict[str, Json] = {"RestQueue": "rest", "RestURL": "http://127.0.0.1:5281/api", "JabberDomain": "example.org"}
# Where RedisPass is given, the one word that is left of RedisURL's login is a user's name.
TEXT = json.dumps({**GOOD, **SECRETS, "RedisPass": ""}, indent=1).encode()
near_secrets = st.sampled_from(
    [
        CANARY,
        [CANARY],
        {"Value": CANARY},
        {"default": CANARY},
        {"default": {"Secret": CANARY}},
        {"default": {"Secret": [CANARY]}},
        {"Basic": {"User": "u", "Pass": CANARY}},
        f"http://u:{CANARY}@127.0.0.1/",
        f"redis://:{CANARY}@127.0.0.1:notaport/x",
        f"{CANARY}@127.0.0.1",
    ]
)
# Where a secret's file is is no secret: a file that cannot be read has to be named, but for a login in it.
secret_keys = [
    name
    for key in all_keys().values()
    if any(word in (name := key.name) for word in ("Pass", "Token", "URL")) and not name.endswith("File")
]
# A bare word where an address is expected is a host, which has to be named.
documents = st.dictionaries(st.sampled_from(secret_keys), near_secrets, max_size=4).map(
    lambda drawn: {key: value for key, value in drawn.items() if value != CANARY or "URL" not in key}
)
addresses = st.sampled_from(
    [f"redis://:{CANARY}@10.0.0.1:6379/0", f"http://admin:{CANARY}@h/", f"default:{CANARY}@10.0.0.1:26379"]
)
files = st.dictionaries(
    st.sampled_from([key.name for key in all_keys().values() if key.name.endswith("File")]), addresses, max_size=2
)
others = st.dictionaries(
    st.sampled_from([key.name for key in all_keys().values()]),
    st.none() | st.integers() | st.text(max_size=8) | st.lists(st.integers() | addresses, max_size=2),
    max_size=3,
)


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8) | addresses,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | addresses, inner, max_size=3),
    max_leaves=5,
)


def places(value: Json, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place in a document."""
    yield place
    inside: Iterable[tuple[str | int, Json]] = ()
    if isinstance(value, dict):
        inside = value.items()
    elif isinstance(value, list):
        inside = enumerate(value)
    for part, inner in inside:
        yield from places(inner, (*place, part))


def said(path: Path) -> str:
    """All that a person would see of it, with what `config show` shows of one that loads."""
    try:
        loaded = load(path, {}, {}, KINDS, SOURCES)
    except ConfigError as error:
        return f"{error}\n{error!r}"
    keys = all_keys()
    shown = [mask(keys[name], value, KINDS, SOURCES) for name, value in collect(path, {}, {}).values.items()]
    return f"{loaded!r}\n{loaded.notes}\n{json.dumps(shown)}"


@pytest.mark.promise(
    "Security: who has an account on the host, or controls the configuration",
    "to have a secret printed by a broken configuration",
)
@given(secrets=documents, others=others, files=files)
@FUZZING
def test_no_secret_is_shown_whichever_key_is_wrong(
    tmp_path: Path, secrets: dict[str, Json], others: dict[str, Json], files: dict[str, Json]
) -> None:
    path = tmp_path / "env.json"
    path.write_text(json.dumps({**GOOD, **SECRETS, **others, **secrets, **files}))
    assert CANARY not in said(path)


@pytest.mark.promise(
    "Security: who has an account on the host, or controls the configuration",
    "to have a secret printed by a broken configuration",
)
@given(start=st.integers(0, len(TEXT)), length=st.integers(0, 3), filling=st.binary(max_size=4))
@FUZZING
def test_no_secret_is_shown_wherever_the_file_is_damaged(
    tmp_path: Path, start: int, length: int, filling: bytes
) -> None:
    path = tmp_path / "env.json"
    path.write_bytes(TEXT[:start] + filling + TEXT[start + length :])
    assert CANARY not in said(path)


@given(data=st.data())
@FUZZING
def test_any_configuration_of_all_kinds_shows_no_secret(tmp_path: Path, data: st.DataObject) -> None:
    document: Any = json.loads(json.dumps(whole(tmp_path)))
    is_unknown = False
    for _ in range(data.draw(st.integers(1, 8))):
        *way, last = data.draw(st.sampled_from([place for place in places(document) if place]))
        inner = document
        for part in way:
            inner = inner[part]
        how = data.draw(st.sampled_from(["odd", "gone", "renamed", "copied"]))
        if how == "odd" or isinstance(inner, list):
            inner[last] = data.draw(ODD)
        elif how == "copied":
            is_unknown = True
            inner[data.draw(st.sampled_from(sorted(inner)))] = inner[last]
        else:
            value = inner.pop(last)
            if how == "renamed":
                is_unknown = is_unknown or "Arguments" in way
                # The names in a query or a body are the user's own, and shown as they are.
                url = f"http://u:{'' if 'Commands' in way else CANARY}@h/"
                inner[data.draw(st.sampled_from(["", "a.b", "URL", "x y", f"{last}s", url]))] = value
    path = tmp_path / "env.json"
    path.write_text(json.dumps(document))
    shown = said(path)
    assert CANARY not in shown
    # What was copied to where no secret belongs, or is another argument now, is like any other value.
    assert SECRET not in shown or is_unknown
