"""What `check` finds at a real ejabberd, and at servers that are none."""

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from restbroker.config.secret import Secret
from restbroker.config.target import Basic, IssuedLogin, Target, Url
from restbroker.servers.ejabberd import session
from restbroker.servers.ejabberd.check import check
from restbroker.servers.ejabberd.options import Options
from restbroker.servers.findings import Finding, worst_cause
from tests.support import ejabberd as ejabberd_support
from tests.support.ejabberd import Ejabberd
from tests.support.recorder import answer, raw, recording, reset, stall

Found = dict[str, Finding]
LOGIN = Basic("admin@localhost", Secret("hush-hush"))


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine makes some answers slow, but not the fastest of so many."""
    monkeypatch.setattr(session, "_SAMPLES", 40)


def target_of(server: Ejabberd, user: str | None = None, **changes: object) -> Target:
    return target_at(server.port, Basic(user or server.admin, Secret(server.password)), **changes)


def target_at(port: int, login: Basic = LOGIN, **changes: object) -> Target:
    target = Target(
        "t",
        "ejabberd",
        Url("http", "127.0.0.1", port, "/api"),
        ("rest",),
        login,
        host_header="localhost",
        default_host="localhost",
        options=Options(),
    )
    return attrs.evolve(target, **changes)  # type: ignore[arg-type]  # the tests name real fields


async def looked(target: Target) -> Found:
    found = await check(target)
    assert "hush" not in repr(found)
    assert all(finding.hint or finding.level == "ok" for finding in found)
    return {finding.code: finding for finding in found}


async def changed(server: Ejabberd, change: Callable[[str], str]) -> None:
    """Have the running server take a changed ejabberd.yml."""
    path = server.directory / "ejabberd.yml"
    path.write_text(change(path.read_text()))
    assert (await trio.to_thread.run_sync(server.call, "reload_config"))[0] == 200


@pytest.mark.nightly
async def test_right_ejabberd_is_ok_and_stays_unchanged(ejabberd: Ejabberd) -> None:
    # A user may well have each name that a check could think of, with whichever password.
    person = {"user": "restbroker-check", "host": "localhost", "password": "theirs"}
    assert await trio.to_thread.run_sync(partial(ejabberd.call, "register", **person))

    def state() -> list[object]:
        accounts = [ejabberd.call("registered_users", host=host) for host in ejabberd.hosts]
        sessions = [ejabberd.call(name) for name in ("connected_users", "connected_users_number")]
        return [*accounts, *sessions, ejabberd.call("check_password", **person), tokens(ejabberd)]

    before = await trio.to_thread.run_sync(state)
    for login in (Basic(ejabberd.admin, Secret(ejabberd.password)), issued(ejabberd, False), issued(ejabberd, True)):
        found = await looked(target_of(ejabberd, credentials=login))
        assert {finding.level for finding in found.values()} == {"ok"}
        assert set(found) == {"Reachable", "Version", "Rights", "Host", "Speed"}
        assert found["Speed"].message.startswith("ejabberd issues tokens: ") == isinstance(login, IssuedLogin)
    assert await trio.to_thread.run_sync(state) == before


@pytest.mark.nightly
async def test_a_missing_module_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # From the start: 23.01 keeps the commands of a module that a reload took out of the configuration.
    monkeypatch.setattr(ejabberd_support, "CONFIG", ejabberd_support.CONFIG.replace("  mod_admin_extra: {{}}\n", ""))
    server = Ejabberd(tmp_path)
    await trio.to_thread.run_sync(server.start)
    try:
        found = (await looked(target_of(server)))["ModuleMissing"]
    finally:
        await trio.to_thread.run_sync(server.kill)
    assert "send_message" in found.message
    assert "mod_admin_extra" in (found.hint or "")


@pytest.mark.nightly
async def test_wrong_configuration_is_reported_with_what_fits(ejabberd: Ejabberd) -> None:
    rows: list[tuple[dict[str, object], str, str]] = [
        ({"default_host": "exmaple.org"}, "UnknownHost", '"JabberDomain": "example.org"'),
        ({"default_host": None}, "NoDomain", '"JabberDomain": "localhost"'),
        ({"options": Options(server_version="19.05")}, "OtherVersion", '"ServerVersion": "auto"'),
    ]
    for changes, code, hint in rows:
        assert (await looked(target_of(ejabberd, **changes)))[code].hint == hint  # type: ignore[arg-type]
    for path in ("", "/rest", "/api/v1/more"):
        (wrong,) = (await looked(target_of(ejabberd, url=Url("http", "127.0.0.1", ejabberd.port, path)))).values()
        # Below the API's path 24.12 says what a server that stops says.
        assert wrong.code == "NotTheApi" or (wrong.code == "Unwell" and path == "/api/v1/more"), path
        assert (wrong.cause, "must lead to mod_http_api" in (wrong.hint or "")) == ("target", True), path
    found = await looked(target_of(ejabberd, options=Options(api_version=1)))
    old = found.get("NoApiVersions")
    assert (old is None) == ("Version" in found)
    if old is not None:
        assert (old.level, old.cause, "Remove ApiVersion" in (old.hint or "")) == ("problem", "config", True)


def tokens(server: Ejabberd) -> set[str]:
    """What the server has issued and not taken back."""
    return {row["token"] for row in json.loads(server.call("oauth_list_tokens")[1])}


def issued(server: Ejabberd, fallback: bool) -> IssuedLogin:
    return IssuedLogin(Basic(server.admin, Secret(server.password)), fallback)


@pytest.mark.nightly
async def test_slow_login_is_reported_until_tokens_are_issued(tmp_path: Path) -> None:
    server = Ejabberd(tmp_path, scram=True)
    await trio.to_thread.run_sync(server.start)
    try:
        slow = (await looked(target_of(server)))["SlowLogin"]
        assert (slow.level, '"RestAuth": "auto"' in (slow.hint or "")) == ("warning", True)
        found = await looked(target_of(server, credentials=issued(server, True)))
        assert {finding.level for finding in found.values()} == {"ok"}
        assert await trio.to_thread.run_sync(tokens, server) == set()
    finally:
        await trio.to_thread.run_sync(server.kill)


@pytest.mark.parametrize(("fallback", "level"), [(False, "problem"), (True, "warning")])
@pytest.mark.nightly
async def test_tokens_that_are_not_to_be_had_or_may_nothing(own_ejabberd: Ejabberd, fallback: bool, level: str) -> None:
    target = target_of(own_ejabberd, credentials=issued(own_ejabberd, fallback))
    await changed(own_ejabberd, lambda text: text.replace("oauth_access: all", "oauth_access: none"))
    found = await looked(target)
    assert (found["NoToken"].level, "oauth_access" in (found["NoToken"].hint or "")) == (level, True)
    assert ("Rights" in found) == fallback

    def forbid(text: str) -> str:
        text = text.replace("oauth_access: none", "oauth_access: all")
        return re.sub(r'  "admin.s tokens":.*?(?=  "by address")', "", text, flags=re.DOTALL)

    await changed(own_ejabberd, forbid)
    (weak,) = (await looked(target)).values()
    assert (weak.code, weak.level) == ("TokenForbidden" if fallback else "CommandForbidden", level)


async def test_login_is_never_sent_where_the_operator_did_not_point() -> None:
    """Nor is anything else: the check asks at the configured URL alone."""
    async with recording() as there:
        there.default = answer(301, b"", (("Location", f"http://127.0.0.1:{there.port}/other/status"),))
        await looked(target_at(there.port))
        assert [request.line for request in there.requests] == ["POST /api/status HTTP/1.1"]


async def test_a_server_that_is_no_ejabberd_is_called_what_it_is() -> None:
    rows: list[tuple[object, str]] = [
        (answer(301, b"", (("Location", "http://127.0.0.1:1/api/status"),)), "Redirect"),
        (answer(200, b"<html>hello</html>"), "NotTheApi"),
        (answer(200, b'{"app":"other"}'), "NotTheApi"),
        (answer(503, b"<h1>503</h1>"), "Unwell"),
        (raw(b"SSH-2.0-OpenSSH\r\n"), "Unreachable"),
        (reset(), "Unreachable"),
        (stall(), "Unreachable"),
    ]
    for action, code in rows:
        async with recording() as there:
            there.default = action  # type: ignore[assignment]  # an action of the recorder
            found = await looked(target_at(there.port, timeout_s=1.0))
            assert (list(found), worst_cause(found.values())) == ([code], "target")
            assert len(there.requests) <= 1
