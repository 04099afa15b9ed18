"""What a page says that restbroker is not, or has not, is true of its kinds, keys, commands and options.

Someone who reads that a thing is missing turns away, and nobody who adds it looks for such sentences.
"""

import json
import re
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Final

import pytest

from dev.tools.pages import PAGES, ROOT, name_of
from restbroker.cli import app
from restbroker.cli.app import COMMANDS
from restbroker.cli.examples import walk
from restbroker.config.core import Config
from restbroker.config.events import EventSource
from restbroker.config.key import keys_of
from restbroker.config.target import Target
from restbroker.console.load_config import load_with_notices
from restbroker.errors import ConfigError
from restbroker.kinds import EJABBERD, SOURCES, TARGETS

CLAUSE: Final = re.compile(
    r"\b(?:restbroker|it) (?:(?:is|has|knows|offers|supports) (?:no|not an?|only)"
    r"|does not (?:speak|support|offer|have|know))\b[^.:;|]*",
    re.IGNORECASE,
)
KINDS: Final = {*TARGETS, *SOURCES}
KEYS: Final = {*keys_of(Config), *keys_of(Target), *keys_of(EventSource)}
SPEAKS_XMPP: Final = {"xmpp"} if any("component" in kind for kind in KINDS) else set[str]()
LACKS: Final[Mapping[str, str]] = {
    "Exactly once": "exactly",
    "Workflows and batches": "workflow|batch",
    "Redis Cluster": "cluster",
    "XMPP as a client": "client",
}
"""What `What it does not do` names, and what would be in the name of a kind, a key, a command or an option for it."""
TRUE: Final = ("XMPP client", "It has no secrets, but each `--why`")
"""What a clause may say: that it is a component and no client, and of the audit log what that holds."""


def test_nothing_in_the_list_of_what_it_does_not_do_is_there(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "how-do-i.md").read_text("utf-8").partition("\n## What it does not do\n")[2]
    listed = set(re.findall(r"^- \*\*(.+)\.\*\*", page, re.MULTILINE))
    assert listed == {*LACKS, "Order without a key", "An API over HTTP that takes any job"}
    names = {_spoken(name) for name in (*KINDS, *KEYS, *_commands_and_options())}
    assert {label for label, words in LACKS.items() if any(re.search(words, name) for name in names)} == set()
    assert not keys_of(Target)["OrderBy"].default
    # No post chooses its command.
    posts = {"Kind": "webhook", "Path": "/posts", "Target": "main", "Command": "{command}", "Arguments": {"user": "x"}}
    target = {"Kind": EJABBERD, "URL": "http://127.0.0.1:5281/api", "Queues": ["rest"]}
    file = tmp_path / "env.json"
    file.write_text(json.dumps({"Token": "t", "Targets": {"main": target}, "Events": {"Sources": {"posts": posts}}}))
    with pytest.raises(ConfigError, match=r"Events\.Sources\.posts\.Command"):
        load_with_notices(file)


def test_no_page_denies_what_is_the_name_of_a_kind_or_key() -> None:
    wrong = [(name_of(page), clause) for page in PAGES for clause in denied(page.read_text("utf-8"))]
    assert wrong == []


@pytest.mark.parametrize(
    "untrue",
    [
        "It is not an XMPP client or component, does not deliver exactly once, and has no workflows.",
        "It does not speak XMPP, only HTTP to the server.",
        "Of Sidekiq Pro and Enterprise it has only paused queues.",
        "It has no rate limits.",
    ],
)
def test_what_was_denied_once_and_was_there_is_found(untrue: str) -> None:
    assert [*denied(untrue)]


def denied(text: str) -> Iterator[str]:
    """Each clause that says what restbroker is not or has not, and has a kind's or a key's name in it, or `only`."""
    there = chain(SPEAKS_XMPP, *(kind.split("-") for kind in KINDS), map(_spoken, KEYS), ["only"])
    names = re.compile(rf"\b(?:{'|'.join(map(re.escape, there))})s?\b", re.IGNORECASE)
    for clause in CLAUSE.findall(" ".join(re.sub(r"\]\([^)]*\)", "]", text).split())):
        if names.search(re.sub("|".join(map(re.escape, TRUE)), "", clause)):
            yield clause


def _spoken(name: str) -> str:
    """`RateLimit` as `rate limit`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


def _commands_and_options() -> Iterator[str]:
    for name in COMMANDS:
        for path, command in walk(app.load(name), name):
            yield from (path, *(option for parameter in command.params for option in parameter.opts))
