"""The Redis rights that docs/sidekiq.md names are those of the commands that restbroker gives, and no others.

That they are enough, with real processes: nightly/test_acl.py.
"""

import re
import shlex
from contextlib import closing
from typing import Final

import pytest

from restbroker.operate.check.redis import ONLY_ASKED_HERE
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.replies import items, text
from tools.pages import ROOT

NO_RIGHTS: Final = {"ROLE", "AUTH", "COMMAND", "LATENCY", "MEMORY", "READONLY"}
"""Commands by their name alone: with Sentinel only, allowed to everyone, headings of tables, and an error's code."""


def acl_commands() -> list[list[str]]:
    """The page's commands, each without its `redis-cli`."""
    page = (ROOT / "docs" / "sidekiq.md").read_text("utf-8").replace("\\\n", " ")
    return [shlex.split(line)[1:] for line in page.splitlines() if line.startswith("redis-cli ACL SETUSER")]


def test_what_check_takes_for_the_terminals_own_is_what_the_page_adds() -> None:
    assert {right[1:] for right in acl_commands()[1] if right.startswith("+")} == ONLY_ASKED_HERE


@pytest.mark.promise("Sidekiq: what is seen, and rights", "no right is for a command that restbroker does not give")
def test_each_command_that_the_page_names_is_one_that_restbroker_gives() -> None:
    named = {right[1:].lower() for command in acl_commands() for right in command if right.startswith("+")}
    assert len(named) > 40
    sources = [*(ROOT / "restbroker").rglob("*.py"), *(ROOT / "restbroker").rglob("*.lua")]
    code = "\n".join(source.read_text("utf-8") for source in sources)
    given = {name.lower() for name in re.findall(r"""["']([A-Z]{2,})["']""", code)}
    assert {name for name in named if not set(name.split("|")) <= given | {"client"}} == set()


def test_each_command_that_restbroker_gives_is_one_that_the_page_names(redis_url: str) -> None:
    named = {right[1:].split("|")[0].upper() for command in acl_commands() for right in command if right[0] == "+"}
    package = ROOT / "restbroker"
    scripts = "".join(file.read_text("utf-8") for file in package.rglob("*.lua"))
    assert set(re.findall(r"redis\.p?call\('(\w+)'", scripts)) <= named
    with closing(open_client(StoreSettings(redis_url))) as client:
        exist = {text(name).upper() for name in items(client.command("COMMAND", "LIST"))}
    modules = "".join(file.read_text("utf-8") for file in package.rglob("*.py") if "trial" not in file.parts)
    assert (set(re.findall(r"[\"']([A-Z]{3,})[\"']", modules)) & exist) - named == NO_RIGHTS
