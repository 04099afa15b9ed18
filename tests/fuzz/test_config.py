"""Whatever is written into env.json: a configuration or a ConfigError, and no secret in what is said about it."""

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from restbroker.config.core import all_keys
from restbroker.config.load import load
from restbroker.errors import ConfigError
from restbroker.job.json_types import Json
from restbroker.servers.ejabberd.options import Options
from tests.fuzz.effort import FUZZING

KINDS = {"ejabberd": Options}
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
documents = st.dictionaries(st.sampled_from(secret_keys), near_secrets, max_size=4)
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


def said(path: Path) -> str:
    """All that a person would see of it."""
    try:
        loaded = load(path, {}, {}, KINDS)
    except ConfigError as error:
        return f"{error}\n{error!r}"
    return f"{loaded!r}\n{loaded.notes}"


@given(secrets=documents, others=others, files=files)
@FUZZING
def test_no_secret_is_shown_whichever_key_is_wrong(
    tmp_path: Path, secrets: dict[str, Json], others: dict[str, Json], files: dict[str, Json]
) -> None:
    path = tmp_path / "env.json"
    path.write_text(json.dumps({**GOOD, **SECRETS, **others, **secrets, **files}))
    assert CANARY not in said(path)


@given(start=st.integers(0, len(TEXT)), length=st.integers(0, 3), filling=st.binary(max_size=4))
@FUZZING
def test_no_secret_is_shown_wherever_the_file_is_damaged(
    tmp_path: Path, start: int, length: int, filling: bytes
) -> None:
    path = tmp_path / "env.json"
    path.write_bytes(TEXT[:start] + filling + TEXT[start + length :])
    assert CANARY not in said(path)
