"""A key of another type, which others wrote: every command reports it with advice, or works without it."""

from typing import Final

import pytest

from restbroker.store.client import StoreSettings, open_client
from tests.cli.conftest import Shell
from tests.support.wrong_types import ADVICE, JID, KEYS, fill, spoil

COMMANDS: Final = (
    "stats", "events sources", "queues", "queues peek rest", "queues pause rest", "queues resume rest",
    "queues clear rest --dry-run", "targets", "targets pause t", "targets resume t", "processes",
    "dead", f"dead show {JID}",
    f"dead retry {JID} --dry-run", "retries", "scheduled", f"explain {JID}", "explain nobody",
    f"find {JID}", "find nobody",
    "audit", "token list",
)  # fmt: skip
NEVER_SHOWN: Final = ("restbroker:reply:", "restbroker:lease:", "restbroker:told:")
"""By commands."""
_BEFORE: Final = {"explain nobody": 1, "find nobody": 1}


@pytest.fixture
def keys() -> dict[str, str]:
    return {"RedisNamespace": ""}


SPOILT: Final = [key for key in KEYS if not key.startswith(NEVER_SHOWN)]
EVERY: Final = [(key, words) for key in SPOILT for words in COMMANDS]
FEW: Final = EVERY[:: len(COMMANDS) // 2 + 1]
"""Each key, and each command, with one or two of the other."""


@pytest.mark.parametrize("pairs", [FEW, pytest.param(EVERY, marks=pytest.mark.nightly)], ids=["few", "every"])
def test_each_command_shows_what_it_can_or_names_check(
    redis_url: str, shell: Shell, pairs: list[tuple[str, str]]
) -> None:
    client = open_client(StoreSettings(redis_url))
    fill(client)
    wrong = []
    for words in COMMANDS:
        done = shell(*words.split())
        assert done.returncode == _BEFORE.get(words, 0), f"{words}: {done.stderr}"
    for key, words in pairs:
        dump = client.command("DUMP", key)
        spoil(client, key)
        done = shell(*words.split())
        code, err = done.returncode, " ".join(done.stderr.split())
        is_reported = code == _BEFORE.get(words, 0) or ADVICE in err or f"RENAME {key} {key}:misplaced" in err
        is_shown = words not in (f"explain {JID}", f"find {JID}") or done.stdout
        if not is_reported or code not in {0, 1, 2} or not is_shown:
            wrong.append(f"{key} {words} {code}: {err[:500]}")
        client.command("DEL", key)
        if isinstance(dump, bytes):
            client.command("RESTORE", key, 0, dump)
    assert not wrong, "\n".join(wrong)
