"""What `restbroker check` says of a target of the Chat API: right, wrong port, wrong path, wrong login, no server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Target, Url
from restbroker.servers import registry
from restbroker.servers.findings import Finding
from restbroker.servers.openfire.chat import check as looked
from restbroker.servers.openfire.chat.options import Settings
from tests.support.openfire.server import Openfire
from tests.support.ports import free_port
from tests.support.rows import rows


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch) -> Iterator[Openfire]:
    with Openfire() as server:
        monkeypatch.setattr(looked, "_PORTS", (("http", server.chat_port), ("https", free_port())))
        # A starved machine answers late.
        monkeypatch.setattr(looked, "_LOOK_S", 20.0)
        monkeypatch.setattr(looked, "_CONNECT_S", 10.0)
        yield server


def target(chat: Openfire, path: str = "/rest/api", port: int | None = None, **changed: Any) -> Target:
    url = Url("http", "127.0.0.1", port or chat.chat_port, path)
    made = Target(
        "chat", "openfire-chat", url, ("chat",), Basic("admin", Secret("secret")), options=Settings(), timeout_s=30.0
    )
    return attrs.evolve(made, **changed)


async def only(asked: Target) -> Finding:
    (found,) = await registry.check(asked)
    return found


async def test_a_server_that_works_is_well_and_nobody_is_logged_in(chat: Openfire) -> None:
    found = await only(target(chat))
    assert (found.level, found.code) == ("ok", "Reachable")
    assert not chat.world.logins


async def test_the_port_of_the_console_is_told_from_that_of_the_chat_api(chat: Openfire) -> None:
    for is_up in (True, False):
        chat.redirects = not is_up
        found = await only(target(chat, port=chat.rest_port))
        assert (found.level, found.code) == ("problem", "NotTheApi")
        assert found.cure is not None
        assert f'"URL": "{chat.chat_url}"' in found.cure
    assert "admin console" in found.message


async def test_another_path_is_told_where_the_api_is(chat: Openfire) -> None:
    found = await only(target(chat, "/api"))
    assert found.code == "NotTheApi"
    assert found.cure is not None
    assert f'"URL": "{chat.chat_url}"' in found.cure


async def test_where_nothing_answers_the_usual_ports_are_tried_without_the_login(chat: Openfire) -> None:
    found = await only(target(chat, port=free_port()))
    assert found.code == "Unreachable"
    assert found.cure is not None
    assert chat.chat_url in found.cure
    assert [one.headers.get("authorization") for one in chat.asked] == [None]


@rows(
    ("changed", "cure"),
    [
        ({"credentials": Basic("admin", Secret("wr0ng-one"))}, "an administrator's"),
        ({"credentials": None, "options": Settings(Secret("wr0ng-one"))}, "plugin.ofchat.secret"),
        ({"credentials": None}, "Give Auth"),
    ],
)
async def test_a_login_that_is_refused_says_what_to_correct(chat: Openfire, changed: dict[str, Any], cure: str) -> None:
    found = await only(target(chat, **changed))
    assert (found.code, found.cause) == ("LoginRefused", "refused")
    assert found.cure is not None
    assert cure in found.cure
    assert "wr0ng" not in repr(found)


async def test_a_plugin_that_is_switched_off_is_no_refused_login(chat: Openfire) -> None:
    chat.is_enabled = False
    found = await only(target(chat))
    assert (found.level, found.code, found.cause) == ("problem", "PluginDisabled", "target")
    assert found.cure is not None
    assert "plugin.ofchat.enabled" in found.cure


async def test_a_file_of_passwords_is_looked_at(chat: Openfire, tmp_path: Path) -> None:
    file = tmp_path / "passwords"
    asked = target(chat, options=Settings(passwords=Secret(path=file)))
    file.write_text("romeo:secret\n")
    assert [one.code for one in await registry.check(asked)] == ["Reachable", "Passwords"]
    file.write_text("romeo\n")
    last = (await registry.check(asked))[-1]
    assert (last.code, last.level) == ("BadLogin", "problem")
    file.unlink()
    assert (await registry.check(asked))[-1].code == "BadLogin"


async def test_a_login_that_is_no_administrators_is_found(chat: Openfire, tmp_path: Path) -> None:
    chat.world.register("romeo", password="secret")
    file = tmp_path / "passwords"
    file.write_text("juliet:secret\n")
    asked = target(chat, credentials=Basic("romeo", Secret("secret")))
    assert [(one.level, one.code) for one in await registry.check(asked)][1:] == [("problem", "NotAdministrator")]
    asked = attrs.evolve(asked, options=Settings(passwords=Secret(path=file)))
    assert [(one.level, one.code) for one in await registry.check(asked)][1:] == [
        ("warning", "NotAdministrator"),
        ("ok", "Passwords"),
    ]
    assert not chat.world.logins


async def test_a_whole_jid_as_login_which_takes_the_probe_and_no_users_login_is_found(chat: Openfire) -> None:
    found = await registry.check(target(chat, credentials=Basic("admin@example.org", Secret("secret"))))
    assert [(one.level, one.code) for one in found] == [("ok", "Reachable"), ("problem", "NotAdministrator")]
    assert found[1].cure is not None
    assert "name alone" in found[1].cure


async def test_a_server_that_stopped_is_not_reached(chat: Openfire) -> None:
    chat.stop()
    found = await only(target(chat))
    assert (found.code, found.cause) == ("Unreachable", "target")
