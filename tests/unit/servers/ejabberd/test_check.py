"""What `check` says of an ejabberd, to what 23.01, 24.12 and 26.07 were recorded to answer.

The files `tests/recorded/ejabberd/VERSION/check-LOGIN.json` are of servers with the hosts localhost and example.org:
of `admin`, who may everything and is an administrator; of `full`, who may everything by `api_permissions` alone; of
`limited`, who may call `check_account` and `registered_users`; and of an address that may everything.
"""

import json
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import attrs
import pytest

from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Target, Url
from restbroker.servers.api.checks import finding
from restbroker.servers.ejabberd import session
from restbroker.servers.ejabberd.check import check, hosts_findings
from restbroker.servers.ejabberd.connector import health_of
from restbroker.servers.ejabberd.options import Options
from restbroker.servers.findings import Finding
from restbroker.transport.message import Response
from tests.support.player import Exchange, Player, recorded

COMMANDS: Final = "register, unregister, check_account, change_password, kick_user"
ALL: Final = f"The login may call {COMMANDS}, send_message, send_stanza, connected_users_number."
RUNNING = "The node n@h is started. Status: startedejabberd 23.01-1 is running in that node"
FORBIDDEN = '{"status":"error","code":32,"message":"AccessRules: Account does not have the right."}'


@pytest.fixture(autouse=True)
def no_login_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A login may seem slow by the clock of a busy machine."""
    monkeypatch.setattr(session, "SLOW_LOGIN_S", float("inf"))


def exchanges(version: str, login: str, other: dict[str, tuple[int, str]]) -> Iterator[Exchange]:
    """What this version answers to everyone: as to this login, but for these commands."""
    for exchange in recorded(f"ejabberd/{version}/check-{login}", f"ejabberd/{version}/check-elsewhere"):
        command = exchange.path.rpartition("/")[2]
        status, body = exchange.status, exchange.answer
        if command in other and "zz_probe" not in (exchange.body or ""):
            status, body = other[command]
        yield attrs.evolve(exchange, headers={}, status=status, answer=body)


@contextmanager
def standing_in(version: str, login: str, **other: tuple[int, str]) -> Iterator[tuple[Target, Player]]:
    """A server that answers as this version did, but for these commands, and a target of it."""
    with Player(list(exchanges(version, login, other))) as server:
        credentials = Basic(f"{login}@localhost", Secret("test"))
        url = Url("http", "127.0.0.1", server.port, "/api")
        options = Options()
        yield Target("t", "ejabberd", url, ("rest",), credentials, default_host="localhost", options=options), server


async def looked(target: Target) -> dict[str, Finding]:
    return {finding.code: finding for finding in await check(target)}


def response(status: int, body: str, **headers: str) -> Response:
    return Response(status, headers, body.encode(), 0.0)


async def test_further_needs_of_26_07_from_an_account_are_reported() -> None:
    with standing_in("26.07", "full") as (target, _):
        found = (await looked(target))["SomeForbidden"]
    assert (found.level, found.message) == ("warning", f"The login may not call {COMMANDS}.")
    assert "administrator of the host (access rule configure)" in (found.hint or "")


async def test_rights_are_tested_with_a_real_host_and_impossible_user() -> None:
    with standing_in("26.07", "admin") as (target, server):
        await looked(attrs.evolve(target, default_host="nowhere.example"))
    bodies = [json.loads(request.body) for request in server.requests]
    persons = [(body["user"], body["host"]) for body in bodies if "user" in body]
    assert persons == [("@", "localhost")] * 5
    assert {body["to"] for body in bodies if "to" in body} == {"@"}


async def test_name_refused_before_the_rights_says_nothing_of_them() -> None:
    with standing_in("24.12", "admin", kick_user=(400, '"Malformed username"')) as (target, _):
        found = await looked(target)
    assert "SomeForbidden" not in found
    assert found["Rights"].message.endswith("restbroker could not check whether it may call kick_user.")


@pytest.mark.parametrize("version", ["23.01", "24.12", "26.07"])
async def test_a_missing_right_to_send_stanza_is_named(version: str) -> None:
    """What restbroker makes of a message with `id` or `receipts`."""
    with standing_in(version, "admin", send_stanza=(403, FORBIDDEN)) as (target, _):
        found = (await looked(target))["SomeForbidden"]
    assert found.message == "The login may not call send_stanza."
    assert "`send_message` with `id` or `receipts`" in (found.why or "")


async def test_refusal_on_a_doubtful_host_says_nothing_of_rights() -> None:
    with standing_in("26.07", "admin", registered_vhosts=(403, FORBIDDEN)) as (target, _):
        known = await looked(target)
        # A login that does not say on which host its account is.
        vague = attrs.evolve(target, credentials=Basic("admin", Secret("test")), default_host="restbroker.invalid")
        unknown = await looked(vague)
    assert (known["Rights"].message, known["HostsHidden"].level) == (ALL, "note")
    assert unknown["Rights"].message.endswith(f"restbroker could not check whether it may call {COMMANDS}.")


async def test_commands_the_server_lacks_are_named_with_their_module() -> None:
    with standing_in("24.12", "admin", kick_user=(404, '{"code":44,"message":"Endpoint not found."}')) as (target, _):
        found = (await looked(target))["ModuleMissing"]
    assert (found.level, found.message) == ("warning", "The server has no kick_user.")
    assert "mod_admin_extra" in (found.hint or "")


def test_hosts_do_not_show_the_login() -> None:
    said = (("Authorization", "Basic " + b64encode(b"bob@h:l0gin-p4ss-w0rdZ").decode()),)
    hosts = attrs.evolve(response(200, '["l0gin-p4ss-w0rdZ", "example.org"]'), request_pairs=said)
    for domain, code in (("l0gin-p4ss-w0rdx", "UnknownHost"), (None, "NoDomain")):
        (found,) = hosts_findings(
            Target("t", "ejabberd", Url("https", "h", 443), ("rest",), default_host=domain), hosts
        )
        assert found.code == code
        assert "***, example.org" in found.message, domain
        assert found.hint == '"JabberDomain": "***"', domain


@pytest.mark.parametrize(
    ("answer", "code", "cause"),
    [
        (response(200, "<html>hello</html>"), "NotTheApi", "target"),
        (response(404, "<h1>404 Not Found</h1>"), "NotTheApi", "target"),
        (response(301, "", location="https://x:y@other/api/status?z=1"), "Redirect", "target"),
        (response(401, '{"code":10,"message":"You are not authorized"}'), "LoginRefused", "refused"),
        (response(403, "<h1>403 Forbidden</h1>"), "Refused", "refused"),
        (response(400, '"unknown_command"'), "Unwell", "target"),
        (response(200, '"The node n@h is stopped. Status: stopped"'), "Unwell", "target"),
    ],
)
def test_each_wrong_answer_has_its_name_and_cure(answer: Response, code: str, cause: str) -> None:
    target = Target("t", "ejabberd", Url("https", "h", 443, "/api"), ("rest",), options=Options())
    found = finding(target, health_of(target, answer))
    assert (found.code, found.cause, found.level) == (code, cause, "problem")
    assert found.hint
    assert answer.status != 400 or "must lead to mod_http_api" in found.hint
    assert "x:y" not in repr(found)
