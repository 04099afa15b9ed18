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
from restbroker.servers.ejabberd.check import find_api, logins
from restbroker.servers.ejabberd.check.server import check
from restbroker.servers.ejabberd.options import Options
from restbroker.servers.findings import Finding, worst_cause
from tests.support import ejabberd as ejabberd_support
from tests.support.ejabberd import Ejabberd
from tests.support.ports import free_port
from tests.support.recorder import answer, raw, recording, reset, stall

Found = dict[str, Finding]
LOGIN = Basic("admin@localhost", Secret("hush-hush"))
RUNNING = b'"The node n is started. Status: startedejabberd 23.01-1 is running in that node"'


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine makes some answers slow, but not the fastest of so many; and a connection may take its time."""
    monkeypatch.setattr(logins, "SAMPLES", 40)
    monkeypatch.setattr(find_api, "CONNECT_TIMEOUT_S", 20.0)
    monkeypatch.setattr(find_api, "TIMEOUT_S", 20.0)


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


async def looked(target: Target, *ports: tuple[str, int]) -> Found:
    found = await check(target, ports)
    assert "hush" not in repr(found)
    assert all(finding.hint or finding.level == "ok" for finding in found)
    return {finding.code: finding for finding in found}


async def changed(server: Ejabberd, change: Callable[[str], str]) -> None:
    """Have the running server take a changed ejabberd.yml."""
    path = server.directory / "ejabberd.yml"
    path.write_text(change(path.read_text()))
    assert (await trio.to_thread.run_sync(server.call, "reload_config"))[0] == 200


async def permitted(server: Ejabberd, found: Finding) -> None:
    """Have the running server take the lines of a hint."""
    section, lines = "api_permissions:\n", (found.hint or "").partition("\n")[2]
    await changed(server, lambda text: text.replace(section, f"{section}{lines}\n"))


@pytest.mark.nightly
async def test_of_a_right_ejabberd_all_is_ok_and_nothing_is_changed(ejabberd: Ejabberd) -> None:
    # Somebody may well have each name that a check could think of, with whichever password.
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
async def test_a_login_that_may_too_little_may_enough_after_the_cure(own_ejabberd: Ejabberd) -> None:
    target = target_of(own_ejabberd, own_ejabberd.limited)
    found = (await looked(target))["Forbidden"]
    assert (found.level, found.cause) == ("problem", "refused")
    await permitted(own_ejabberd, found)
    healed = await looked(target)
    assert "Rights" in healed
    # What was not asked for stays forbidden, and is named with its own lines.
    assert "registered_vhosts" in (healed["HostsHidden"].hint or "")


@pytest.mark.nightly
async def test_a_missing_module_is_named_with_the_lines_that_load_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # From the start: 23.01 keeps the commands of a module that a reload took out of the configuration.
    monkeypatch.setattr(ejabberd_support, "CONFIG", ejabberd_support.CONFIG.replace("  mod_admin_extra: {{}}\n", ""))
    server = Ejabberd(tmp_path)
    await trio.to_thread.run_sync(server.start)
    try:
        found = (await looked(target_of(server)))["ModuleMissing"]
    finally:
        await trio.to_thread.run_sync(server.kill)
    assert "send_message" in found.message
    assert found.hint == "modules:\n  mod_admin_extra: {}"


@pytest.mark.nightly
async def test_what_is_configured_otherwise_is_told_with_what_fits(ejabberd: Ejabberd) -> None:
    rows: list[tuple[dict[str, object], str, str]] = [
        ({"default_host": "exmaple.org"}, "UnknownHost", '"JabberDomain": "example.org"'),
        ({"default_host": None}, "NoDomain", '"JabberDomain": "localhost"'),
        ({"options": Options(server_version="19.05")}, "OtherVersion", '"ServerVersion": "auto"'),
    ]
    for path in ("", "/rest", "/api/v1/more"):
        wrong = Url("http", "127.0.0.1", ejabberd.port, path)
        rows.append(({"url": wrong}, "FoundElsewhere", f'"RestURL": "{ejabberd.url}"'))
    for changes, code, hint in rows:
        found = await looked(target_of(ejabberd, **changes))  # type: ignore[arg-type]
        assert found[code].hint == hint
        assert code != "FoundElsewhere" or worst_cause(found.values()) == "target"
    found = await looked(target_of(ejabberd, options=Options(api_version=1)))
    version = re.search(r"ejabberd (\d+)\.(\d+)", found["Version"].message)
    assert version is not None
    old = found.get("NoApiVersions")
    assert (old is None) == ((int(version[1]), int(version[2])) >= (24, 2))
    if old is not None:
        assert (old.level, old.cause, "Remove ApiVersion" in (old.hint or "")) == ("problem", "config", True)


def tokens(server: Ejabberd) -> set[str]:
    """What the server has issued and not taken back."""
    return {one["token"] for one in json.loads(server.call("oauth_list_tokens")[1])}


def issued(server: Ejabberd, fallback: bool) -> IssuedLogin:
    return IssuedLogin(Basic(server.admin, Secret(server.password)), fallback)


@pytest.mark.nightly
async def test_a_slow_login_to_a_server_that_issues_no_tokens_is_told_with_the_lines_that_have_it_issue_them(
    tmp_path: Path,
) -> None:
    server = Ejabberd(tmp_path, scram=True, tokens=False)
    await trio.to_thread.run_sync(server.start)
    try:
        hint = (await looked(target_of(server)))["SlowLogin"].hint or ""
        first, _, rest = hint.partition("oauth_access: restbroker\naccess_rules:\n")
        assert "oauth_access" in first
        rule = "".join(f"{line}\n" for line in rest.splitlines()[:3])
        text = partial(re.sub, "access_rules:\n", f"access_rules:\n{rule}")
        await changed(server, lambda old: text(old.replace("oauth_access: none", "oauth_access: restbroker")))
        assert "ejabberd can issue tokens" in ((await looked(target_of(server)))["SlowLogin"].hint or "")
        assert await trio.to_thread.run_sync(tokens, server) == set()
        found = await looked(target_of(server, credentials=issued(server, True)))
        assert {finding.level for finding in found.values()} == {"ok"}
    finally:
        await trio.to_thread.run_sync(server.kill)


@pytest.mark.parametrize(("fallback", "level"), [(False, "problem"), (True, "warning")])
@pytest.mark.nightly
async def test_tokens_that_are_not_to_be_had_or_may_nothing_are_told(
    own_ejabberd: Ejabberd,
    fallback: bool,
    level: str,
) -> None:
    target = target_of(own_ejabberd, credentials=issued(own_ejabberd, fallback))
    await changed(own_ejabberd, lambda text: text.replace("oauth_access: all", "oauth_access: none"))
    found = (await looked(target))["NoToken"]
    assert (found.level, "oauth_access: restbroker" in (found.hint or "")) == (level, True)

    def forbid(text: str) -> str:
        text = text.replace("oauth_access: none", "oauth_access: all")
        return re.sub(r'  "admin.s tokens":.*?(?=  "by address")', "", text, flags=re.DOTALL)

    await changed(own_ejabberd, forbid)
    weak = (await looked(target))["TokenForbidden"]
    assert weak.level == level
    await permitted(own_ejabberd, weak)
    assert (await looked(target))["Speed"].level == "ok"


@pytest.mark.nightly
async def test_a_wrong_port_is_answered_with_the_right_url_or_with_the_lines_that_offer_the_api(
    ejabberd: Ejabberd,
) -> None:
    wrong = target_of(ejabberd, url=Url("http", "127.0.0.1", free_port(), "/api"))
    found = await looked(wrong, ("https", free_port()), ("http", ejabberd.port))
    assert found["Unreachable"].level == "problem"
    assert found["FoundElsewhere"].hint == f'"RestURL": "{ejabberd.url}"'
    assert "mod_http_api" in ((await looked(wrong))["FoundNowhere"].hint or "")


async def test_the_login_is_never_sent_to_where_the_operator_did_not_point() -> None:
    async with recording() as there:
        wrong = target_at(free_port())
        await looked(wrong, ("http", there.port))
        assert there.requests
        assert not any("authorization" in request.headers for request in there.requests)


async def test_a_server_that_is_no_ejabberd_is_called_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row but one lets a handshake of TLS wait for its end."""
    monkeypatch.setattr(find_api, "CONNECT_TIMEOUT_S", 0.2)
    rows: list[tuple[object, str]] = [
        (answer(301, b"", (("Location", "http://127.0.0.1:1/api/status"),)), "Redirect"),
        (answer(200, b"<html>hello</html>"), "NotTheApi"),
        (answer(503, b"<h1>503</h1>"), "Unwell"),
        (raw(b"SSH-2.0-OpenSSH\r\n"), "HangsUp"),
        (reset(), "HangsUp"),
        (stall(), "Silent"),
    ]
    for action, code in rows:
        async with recording() as there:
            there.default = action  # type: ignore[assignment]  # an action of the recorder
            target = target_at(there.port, timeout_s=1.0)
            assert code in await looked(target)


async def test_a_server_that_hangs_is_asked_once_and_not_told_how_to_offer_its_api() -> None:
    async with recording() as there:
        there.default = stall()
        target = target_at(there.port, timeout_s=1.0)
        found = await looked(target, ("http", free_port()))
        assert (list(found), len(there.requests)) == (["Silent"], 1)
        assert "the check stopped here" in str(found["Silent"].hint)
        assert worst_cause(found.values()) == "target"


async def test_the_check_of_a_slow_server_ends_in_time_with_what_is_known() -> None:
    async with recording() as there:
        there.script.append(answer(200, RUNNING))
        there.default = stall()
        target = target_at(there.port, timeout_s=600.0)
        with trio.fail_after(60):
            found = await check(target, (), limit_s=2.0)
            nothing = await check(target, (), limit_s=2.0)
        assert [(one.code, one.level) for one in found][-1] == ("Unfinished", "warning")
        assert [one.code for one in found][:2] == ["Reachable", "Version"]
        assert [(one.code, one.cause) for one in nothing] == [("Silent", "target")]
