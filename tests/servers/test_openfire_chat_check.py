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
from restbroker.servers.openfire.chat.options import Options
from tests.support.openfire_chat.server import Openfire
from tests.support.ports import free_port
from tests.support.receiver import Kind


@pytest.fixture
def chat() -> Iterator[Openfire]:
    with Openfire() as server:
        yield server


def target(chat: Openfire, path: str = "/rest/api", port: int | None = None, **changed: Any) -> Target:
    url = Url("http", "127.0.0.1", port or chat.port, path)
    made = Target(
        "chat", "openfire-chat", url, ("chat",), Basic("admin", Secret("secret")), options=Options(), timeout_s=30.0
    )
    return attrs.evolve(made, **changed)


async def only(entry: Target) -> Finding:
    (found,) = await registry.check(entry)
    return found


async def test_working_server_is_well_and_logs_no_user_in(chat: Openfire) -> None:
    found = await only(target(chat))
    assert (found.level, found.code) == ("ok", "Reachable")
    assert not chat.state.logins


async def test_problem_is_reported_with_its_cure(chat: Openfire) -> None:
    wrong, where = Secret("wr0ng-one"), "http://HOST:7070/rest/api"
    rows: list[tuple[Target, str, str]] = [
        (target(chat, "/api"), "NotTheApi", where),
        (target(chat, port=free_port()), "Unreachable", where),
        (target(chat, credentials=Basic("admin", wrong)), "LoginRefused", "an administrator's"),
        (target(chat, credentials=None, options=Options(wrong)), "LoginRefused", "plugin.ofchat.secret"),
    ]
    for entry, code, hint in rows:
        found = await only(entry)
        assert (found.level, found.code) == ("problem", code)
        assert hint in (found.hint or ""), code
        assert "wr0ng" not in repr(found), code


async def test_a_file_of_passwords_is_looked_at(chat: Openfire, tmp_path: Path) -> None:
    file = tmp_path / "passwords"
    entry = target(chat, options=Options(passwords=Secret(path=file)))
    file.write_text("romeo:secret\n")
    assert [finding.code for finding in await registry.check(entry)] == ["Reachable", "Passwords"]
    file.write_text("romeo\n")
    last = (await registry.check(entry))[-1]
    assert (last.code, last.level) == ("BadLogin", "problem")
    file.unlink()
    assert (await registry.check(entry))[-1].code == "BadLogin"


async def test_a_login_that_is_no_administrators_is_found(chat: Openfire, tmp_path: Path) -> None:
    chat.state.register("romeo", password="secret")
    file = tmp_path / "passwords"
    file.write_text("juliet:secret\n")
    entry = target(chat, credentials=Basic("romeo", Secret("secret")))
    assert [(row.level, row.code) for row in await registry.check(entry)][1:] == [("problem", "NotAdministrator")]
    entry = attrs.evolve(entry, options=Options(passwords=Secret(path=file)))
    assert [(row.level, row.code) for row in await registry.check(entry)][1:] == [
        ("warning", "NotAdministrator"),
        ("ok", "Passwords"),
    ]
    assert not chat.state.logins


async def test_whole_jid_as_login_is_found_to_suit_only_the_probe(chat: Openfire) -> None:
    found = await registry.check(target(chat, credentials=Basic("admin@example.org", Secret("secret"))))
    assert [(finding.level, finding.code) for finding in found] == [
        ("ok", "Reachable"),
        ("problem", "NotAdministrator"),
    ]
    assert found[1].hint is not None
    assert "only the administrator's name" in found[1].hint


async def test_server_broken_at_rooms_names_the_plugin_that_does_it(chat: Openfire) -> None:
    """The plugin REST API in the same Openfire has classes of the same names (measured)."""
    chat.faults.add(Kind.EMPTY, "GET */chat/rooms/*")
    well, broken = await registry.check(target(chat))
    assert well.level == "ok"
    assert (broken.level, broken.code, broken.cause) == ("problem", "RoomsBroken", "target")
    assert broken.hint is not None
    assert "plugin REST API" in broken.hint
