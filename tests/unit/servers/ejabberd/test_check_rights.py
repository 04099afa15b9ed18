"""What `check` says of a login's rights, to what ejabberd 23.01, 24.12 and 26.07 were recorded to answer.

The files `tests/recorded/ejabberd/VERSION/check-LOGIN.json` are of servers with the hosts localhost and example.org:
of `admin`, who may everything and is an administrator; of `full`, who may everything by `api_permissions` alone; of
`limited`, who may call `check_account` and `registered_users`; and of an address that may everything.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import attrs
import pytest
import yaml

from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Target, Url
from restbroker.servers.ejabberd.check import logins
from restbroker.servers.ejabberd.check.server import check
from restbroker.servers.ejabberd.options import Options
from restbroker.servers.findings import Finding
from tests.support.player import Exchange, Player, recorded

COMMANDS: Final = "register, unregister, check_account, change_password, kick_user"
ALL: Final = f"The login may call {COMMANDS}, send_message, connected_users_number."


@pytest.fixture(autouse=True)
def no_login_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A login that seems slow by the clock, as any on a busy machine, has a token asked for."""
    monkeypatch.setattr(logins, "SLOW_LOGIN_S", float("inf"))


def exchanges(version: str, login: str, other: dict[str, tuple[int, str]]) -> Iterator[Exchange]:
    """What this version answers to whoever asks: as to this login, but for these commands."""
    for one in recorded(f"ejabberd/{version}/check-{login}", f"ejabberd/{version}/check-elsewhere"):
        command = one.path.rpartition("/")[2]
        status, body = one.status, one.answer
        if command in other and "zz_probe" not in (one.body or ""):
            status, body = other[command]
        yield attrs.evolve(one, headers={}, status=status, answer=body)


@contextmanager
def standing_in(version: str, login: str | None, **other: tuple[int, str]) -> Iterator[tuple[Target, Player]]:
    """A server that answers as this version did, but for these commands, and a target of it."""
    with Player(list(exchanges(version, login or "address", other))) as server:
        credentials = None if login is None else Basic(f"{login}@localhost", Secret("test"))
        url = Url("http", "127.0.0.1", server.port, "/api")
        options = Options()
        yield Target("t", "ejabberd", url, ("rest",), credentials, default_host="localhost", options=options), server


async def looked(target: Target) -> dict[str, Finding]:
    return {finding.code: finding for finding in await check(target, ())}


async def test_an_account_that_is_no_administrator_is_told_what_26_07_wants_besides() -> None:
    with standing_in("26.07", "full") as (target, _):
        found = (await looked(target))["SomeForbidden"]
    assert (found.level, found.message) == ("warning", f"The login may not call {COMMANDS}.")
    assert "administrator of the host, here localhost" in (found.why or "")
    assert (found.hint or "").endswith('access_rules:\n  configure:\n    allow:\n      - user: "full@localhost"')


async def test_rights_are_asked_with_a_host_that_the_server_has_and_a_user_that_it_cannot_have() -> None:
    with standing_in("26.07", "admin") as (target, server):
        await looked(attrs.evolve(target, default_host="nowhere.example"))
    bodies = [json.loads(request.body) for request in server.requests]
    persons = [(body["user"], body["host"]) for body in bodies if "user" in body]
    assert persons == [("@", "localhost")] * 5
    assert {body["to"] for body in bodies if "to" in body} == {"@"}


async def test_a_login_that_may_not_ask_for_the_version_is_told_too_what_26_07_alone_wants_besides() -> None:
    with standing_in("26.07", "limited") as (target, _):
        found = (await looked(target))["Forbidden"]
    assert "also require the account to be an administrator of the host, here localhost" in (found.why or "")
    rights, _, besides = (found.hint or "").partition("\n\n")
    assert list(yaml.safe_load(rights)) == ["api_permissions"]
    assert yaml.safe_load(besides) == {"access_rules": {"configure": {"allow": [{"user": "limited@localhost"}]}}}
    forbidden = (403, '{"code":32,"message":"no"}')
    with (
        standing_in("24.12", "limited") as (older, _),
        standing_in("26.07", None, status=forbidden, connected_users_number=forbidden) as (address, _),
    ):
        for other in (older, address):
            found = (await looked(other))["Forbidden"]
            assert list(yaml.safe_load(found.hint or "")) == ["api_permissions"]
            assert "administrator" not in (found.why or "")


async def test_what_24_12_forbids_is_cured_by_rights_alone() -> None:
    with standing_in("24.12", "full", kick_user=(403, '{"code":32,"message":"no"}')) as (target, _):
        found = (await looked(target))["SomeForbidden"]
    assert found.message == "The login may not call kick_user."
    assert "access_rules" not in (found.hint or "")


async def test_a_name_that_is_refused_before_the_rights_are_looked_at_tells_nothing_of_them() -> None:
    with standing_in("24.12", "admin", kick_user=(400, '"Malformed username"')) as (target, _):
        found = await looked(target)
    assert "SomeForbidden" not in found
    may = "register, unregister, check_account, change_password, send_message, connected_users_number"
    assert (
        found["Rights"].message
        == f"The login may call {may}. restbroker could not check whether it may call kick_user."
    )


async def test_where_the_hosts_are_hidden_a_refusal_of_a_host_that_may_not_be_there_tells_nothing_of_rights() -> None:
    hidden = (403, '{"code":32,"message":"no"}')
    with standing_in("26.07", "admin", registered_vhosts=hidden) as (target, _):
        known = await looked(target)
        # A login that does not say on which host its account is.
        vague = attrs.evolve(target, credentials=Basic("admin", Secret("test")), default_host="restbroker.invalid")
        unknown = await looked(vague)
    assert (known["Rights"].message, known["HostsHidden"].level) == (ALL, "note")
    assert unknown["Rights"].message.endswith(f"restbroker could not check whether it may call {COMMANDS}.")
