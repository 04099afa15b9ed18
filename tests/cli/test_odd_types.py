"""A key of another type, which somebody else wrote: every command says which it is and what to do, or does without it.

In this process: there are a thousand such commands.
"""

import json
import sys
from pathlib import Path
from typing import Final

import pytest

from restbroker import __main__ as entry
from restbroker.store.client import Client, StoreSettings, open_client
from tests.support.odd_types import JID, KEYS, fill, spoil, told

COMMANDS: Final = (
    "stats", "sources", "queues", "queues peek rest", "queues pause rest", "queues resume rest",
    "queues clear rest --dry-run", "targets", "targets pause t", "targets resume t", "processes",
    "dead", f"dead show {JID}",
    "dead --trimmed", f"dead retry {JID} --dry-run", "retries", "scheduled", f"explain {JID}", "explain nobody",
    "audit", "token list",
)  # fmt: skip
NEVER_SHOWN: Final = ("j|", "h|", "COMMAND-", "restbroker:reply:", "restbroker:lease:", "restbroker:told:")
"""By commands."""
_BEFORE: Final = {"explain nobody": 1}


@pytest.fixture
def client(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    document = {"RedisURL": redis_url, "RestQueue": "rest", "Token": "right-token", "RestURL": "http://127.0.0.1:1"}
    (tmp_path / "env.json").write_text(json.dumps(document))
    monkeypatch.chdir(tmp_path)
    found = open_client(StoreSettings(redis_url))
    fill(found)
    return found


def run(words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> tuple[object, str, str]:
    """The exit code, and what was printed to stdout and stderr. Any other exception is a bug, and is raised."""
    monkeypatch.setattr(sys, "argv", ["restbroker", *words.split()])
    code: object = 0
    try:
        entry.main()
    except SystemExit as ended:
        code = ended.code or 0
    out, err = capsys.readouterr()
    return code, out, " ".join(err.split())


def test_each_command_shows_what_it_can_or_names_the_key(
    client: Client, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = []
    for words in COMMANDS:
        code, _, err = run(words, capsys, monkeypatch)
        assert code == _BEFORE.get(words, 0), f"{words}: {err}"
    for key in (key for key in KEYS if not key.startswith(NEVER_SHOWN)):
        for words in COMMANDS:
            dump = client.command("DUMP", key)
            kind = spoil(client, key)
            code, out, err = run(words, capsys, monkeypatch)
            is_told = code == _BEFORE.get(words, 0) or all(word in err for word in told(kind, key))
            is_named = "WRONGTYPE" not in err or f"The key {key} is a " in err
            if not is_told or not is_named or code not in {0, 1, 2} or (words == f"explain {JID}" and not out):
                wrong.append(f"{key} {words} {code}: {err[:500]}")
            client.command("DEL", key)
            if isinstance(dump, bytes):
                client.command("RESTORE", key, 0, dump)
    assert not wrong, "\n".join(wrong)
