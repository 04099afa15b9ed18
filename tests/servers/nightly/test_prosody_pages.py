"""The set-up pages of Prosody as a reader follows them: their blocks in a real Prosody, their commands on a terminal.

Only ports and folders are others; modules that Debian does not package are stand-ins.
"""

import copy
import json
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from dev.tools.pages import ROOT, blocks
from tests.docs.nightly.surroundings import REDIS
from tests.servers.nightly.page_reader import assert_prints, reader, steps
from tests.support.example import assert_well
from tests.support.ports import free_port
from tests.support.process import run
from tests.support.prosody import Prosody
from tests.support.redis_server import RedisServer
from tests.support.xmpp import Clients

SET_UP: Final = ROOT / "docs" / "servers" / "prosody.md"
EVENTS: Final = ROOT / "docs" / "servers" / "prosody-events.md"
API, HOOK = "127.0.0.1:5280", "127.0.0.1:8081"
PASSWORD: Final = "PASSWORD"
SECRETS: Final = {"token": "a-token-of-the-page", "prosody": PASSWORD}
SET_UP_LUA: Final = blocks(SET_UP, "lua")[0]
SET_UP_ENV: Final[dict[str, Any]] = json.loads(blocks(SET_UP, "json")[0])
EVENTS_LUA: Final = blocks(EVENTS, "lua")[0]
EVENTS_ENV: Final[dict[str, Any]] = json.loads(blocks(EVENTS, "json")[0])
SET_UP_TEXT: Final = SET_UP.read_text("utf-8")
[ASKS], (TAILS, CHECKS) = steps(SET_UP), steps(EVENTS)


@pytest.fixture
def addresses(redis_server: RedisServer) -> dict[str, str]:
    """What stands for the addresses of the pages."""
    return {API: f"127.0.0.1:{free_port()}", HOOK: f"127.0.0.1:{free_port()}", REDIS: redis_server.url}


def served(make_prosody: Callable[..., Prosody], addresses: dict[str, str], lua: str) -> Prosody:
    """Return a Prosody with the page's blocks, and the account that the page makes."""
    port = addresses[API].rpartition(":")[2]
    lua = lua.replace("5280", port).replace(HOOK, addresses[HOOK])
    server = make_prosody(port=int(port), included=lua)
    [line] = re.findall(r"^    (prosodyctl register .*)$", SET_UP_TEXT, re.MULTILINE)
    typed(server, line)
    return server


def typed(server: Prosody, command: str) -> str:
    """Return what `prosodyctl` prints."""
    command = command.replace("prosodyctl", f"prosodyctl --config {server.directory}/prosody.cfg.lua", 1)
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_set_up_page_ends_with_the_output_that_it_shows(
    make_prosody: Callable[..., Prosody], addresses: dict[str, str], tmp_path: Path
) -> None:
    server = served(make_prosody, addresses, SET_UP_LUA)
    server.register("juliet")
    with reader(tmp_path, SET_UP_ENV, addresses, SECRETS) as at, Clients(server.c2s_port, server.host) as clients:
        assert_well(tmp_path / "env.json")
        assert_prints(at, ASKS)
        [line] = re.findall(r"^    restbroker (enqueue message .*)$", SET_UP_TEXT, re.MULTILINE)
        juliet = clients.login("juliet", roster=False)
        done = run([*shlex.split(line), "--wait", "--config", str(tmp_path / "env.json")])
        assert done.returncode == 0, done.stdout + done.stderr
        assert [message.body for message in juliet.messages.wait_for_number(1)] == ["hi"]


def test_each_module_of_the_set_up_page_serves_its_commands(
    make_prosody: Callable[..., Prosody], addresses: dict[str, str], tmp_path: Path
) -> None:
    _, _, more = SET_UP_TEXT.partition("## More commands\n")
    modules, options = re.findall(r'\| `("\w+")`', more), re.findall(r'`("\w+": "[^`]+")`', more)
    assert (len(modules), len(options)) == (3, 3)
    [admins] = re.findall(r"`(admins = .*?)`", more)
    lua = SET_UP_LUA.replace('"rest"', f'"rest", {", ".join(modules)}') + f"    {admins}\n"
    server = served(make_prosody, addresses, lua)
    [recipe, _] = re.findall(r"^prosodyctl shell .*$", SET_UP_TEXT, re.MULTILINE)
    _, found, token = typed(server, recipe).partition("Result: ")
    assert found
    env = copy.deepcopy(SET_UP_ENV)
    env["Targets"]["prosody"]["Options"] = json.loads(f"{{{', '.join(options)}}}")
    with reader(tmp_path, env, addresses, {**SECRETS, "prosody_admin": token.strip()}):
        assert_well(tmp_path / "env.json")
        for words in ("register user=ann password=secret", "users", "msg to=ann@example.org body=hi"):
            done = run(["enqueue", "--wait", *words.split(), "--config", str(tmp_path / "env.json")])
            assert done.returncode == 0, done.stdout + done.stderr


def test_events_page_shows_what_its_commands_print(
    make_prosody: Callable[..., Prosody], addresses: dict[str, str], tmp_path: Path
) -> None:
    """First with its own block alone, then with the target of the other page."""
    server = served(make_prosody, addresses, SET_UP_LUA + EVENTS_LUA)
    server.register("ann")
    (tmp_path / "alone").mkdir()
    alone = {"RedisURL": REDIS, **EVENTS_ENV}
    with reader(tmp_path / "alone", alone, addresses, SECRETS) as at, Clients(server.c2s_port, server.host) as clients:
        clients.login("ann", resource="phone", roster=False).say("bot@bots.example.org", "hi")
        assert_prints(at, TAILS)
    (tmp_path / "both").mkdir()
    both = {**SET_UP_ENV, "Events": EVENTS_ENV["Events"]}
    with reader(tmp_path / "both", both, addresses, SECRETS) as at:
        assert_prints(at, CHECKS)
