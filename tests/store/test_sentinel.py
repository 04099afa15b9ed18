# ruff: noqa: SLF001 - an interval that is over without waiting for it, or an address that is otherwise
"""Sentinels lead to the master alone, and what they said is reported without their password."""

import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from restbroker.config.secret import Secret
from restbroker.errors import ConnectionEnded, StoreRefused, StoreUnavailable
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.redis import RedisLink, Steps, run_blocking
from restbroker.store.sentinel import Address, Sentinels, open_sentinels
from restbroker.store.settings import Endpoint
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.sentinel import MASTER, PASSWORD, Group, Sentinel, start_group
from tests.support.wait import until_async

Make = Callable[..., RedisServer]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    """A group that no test breaks."""
    group = start_group(tmp_path_factory.mktemp("watched"))
    yield group
    group.close()


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Group]:
    group = start_group(tmp_path)
    yield group
    group.close()


def client_of(
    *places: tuple[str, int], url: str = "redis://unused/0", password: str | None = PASSWORD, master: str = MASTER
) -> Client:
    secret = None if password is None else Secret(password)
    return open_client(StoreSettings(url, sentinels=places, master=master, sentinel_password=secret))


def sentinels_at(*places: tuple[str, int]) -> Sentinels:
    found = open_sentinels(StoreSettings("redis://unused", sentinels=places, master=MASTER))
    assert found is not None
    return found


def unused_address() -> tuple[str, int]:
    return ("127.0.0.1", free_port())


def sentinel_that_names(make_redis: Make, host: str, port: str) -> tuple[str, int]:
    """What answers to the one question that sentinels are asked, with whatever two texts."""
    own = make_redis(rename_command="MGET SENTINEL")
    own.command(f"SET GET-MASTER-ADDR-BY-NAME {host}")
    own.command(f"SET {MASTER} {port}")
    return ("127.0.0.1", own.port)


def only_numbers(host: str | bytes, port: int, *_how: object, **_more: object) -> list[Any]:
    """In place of `socket.getaddrinfo`: asks no name server."""
    if host not in ("127.0.0.1", b"127.0.0.1"):
        raise socket.gaierror("No such name.")
    return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))]


def test_the_first_sentinel_that_answers_leads_to_the_master(watched: Group) -> None:
    client = client_of(unused_address(), watched.addresses[2])
    client.command("SET", "x", "y")
    assert client.address == f"127.0.0.1:{watched.master.port}"
    client.close()


def test_url_gives_the_database_which_sentinels_never_see(watched: Group) -> None:
    client = client_of(*watched.addresses, url="redis://unused/5")
    assert b"db=5" in bytes(client.command("CLIENT", "INFO"))  # type: ignore[arg-type]
    client.close()


def test_answers_of_sentinels_are_reported_without_passwords(watched: Group, make_redis: Make) -> None:
    plain = make_redis()
    away = unused_address()
    client = client_of(away, watched.addresses[0], ("127.0.0.1", plain.port), password="hunter2")
    with pytest.raises(StoreUnavailable) as caught:
        client.command("PING")
    message = caught.value.message
    assert f"127.0.0.1:{away[1]} cannot be reached" in message
    assert f"127.0.0.1:{watched.addresses[0][1]} does not accept the login" in message
    assert f"127.0.0.1:{plain.port}" in message
    assert "hunter2" not in str(caught.value) + repr(client)


def test_a_sentinel_that_refuses_its_password_has_it_read_again(watched: Group, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("before")
    secret = Secret(path=file)
    assert secret.last_text == "before"
    client = open_client(
        StoreSettings("redis://unused", sentinels=watched.addresses[:1], master=MASTER, sentinel_password=secret)
    )
    file.write_text(PASSWORD)
    assert client.command("PING") == b"PONG"
    client.close()


def test_name_unknown_to_every_sentinel_is_reported(watched: Group) -> None:
    client = client_of(watched.addresses[0], master="other")
    with pytest.raises(StoreUnavailable, match=r"master other.*knows no master of this name"):
        client.command("PING")


def test_cut_off_sentinel_naming_a_former_master_is_skipped(watched: Group, make_redis: Make, tmp_path: Path) -> None:
    demoted = make_redis(replicaof=f"127.0.0.1 {make_redis().port}")
    stale = Sentinel(tmp_path)
    try:
        stale.start(demoted.port, down_after_ms=60_000)
        with pytest.raises(StoreUnavailable, match=f"names 127.0.0.1:{demoted.port}, which is a replica"):
            client_of(("127.0.0.1", stale.port)).command("PING")
        client = client_of(("127.0.0.1", stale.port), watched.addresses[0])
        client.command("SET", "x", "y")
        assert client.address == f"127.0.0.1:{watched.master.port}"
        client.close()
    finally:
        stale.close()


@pytest.mark.parametrize(
    ("host", "port", "message"),
    [
        ("127.0.0.1", "1", "names 127.0.0.1:1, which cannot be reached"),
        ("\u00e9", "1", r"names \xc3\xa9:1, which cannot be reached"),
        ("127.0.0.1", "no-port", "answers unlike a sentinel"),
        ("127.0.0.1", "65536", "answers unlike a sentinel"),
        ("127.0.0.1", "9" * 5000, "answers unlike a sentinel"),
    ],
)
def test_sentinel_naming_no_server_is_reported_and_skipped(
    make_redis: Make, monkeypatch: pytest.MonkeyPatch, host: str, port: str, message: str
) -> None:
    odd, right = sentinel_that_names(make_redis, host, port), make_redis()
    monkeypatch.setattr(socket, "getaddrinfo", only_numbers)
    with pytest.raises(StoreUnavailable, match=re.escape(f"{odd[1]} {message}")) as caught:
        client_of(odd, password=None).command("PING")
    assert "RedisMaster" in (caught.value.hint or "")
    client = client_of(odd, sentinel_that_names(make_redis, "127.0.0.1", str(right.port)), password=None)
    assert client.command("PING") == b"PONG"
    assert client.address == f"127.0.0.1:{right.port}"
    client.close()


def test_a_look_goes_to_no_master_that_is_known_already(make_redis: Make) -> None:
    own = make_redis()
    sentinels = sentinels_at(unused_address(), sentinel_that_names(make_redis, "127.0.0.1", str(own.port)))
    run_blocking(sentinels.check_master())
    first = sentinels.master
    assert str(first) == f"127.0.0.1:{own.port}"
    run_blocking(sentinels.check_master())
    assert sentinels.master == first
    assert "cmdstat_role:calls=1," in own.command("INFO commandstats")


def test_a_look_closes_the_connection_to_a_new_master(make_redis: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The garbage collector would close it too, some time: the link is kept alive here."""
    links: list[RedisLink] = []

    def connect(sentinels: Sentinels, endpoint: Endpoint) -> Steps[tuple[RedisLink, Address]]:
        link, master = yield from real(sentinels, endpoint)
        links.append(link)
        return link, master

    real = Sentinels.connect
    monkeypatch.setattr(Sentinels, "connect", connect)
    run_blocking(sentinels_at(sentinel_that_names(make_redis, "127.0.0.1", str(make_redis().port))).check_master())
    assert [link.socket.fileno() for link in links] == [-1]


def test_unanswered_look_keeps_the_named_master(make_redis: Make) -> None:
    own = make_redis()
    sentinels = sentinels_at(sentinel_that_names(make_redis, "127.0.0.1", str(own.port)))
    run_blocking(sentinels.check_master())
    named, sentinels._places = sentinels.master, [Address(*unused_address())]
    run_blocking(sentinels.check_master())
    assert sentinels.master == named is not None


def test_master_refusing_login_or_role_command_is_reported(group: Group) -> None:
    group.master.command("ACL SETUSER default -role")
    with pytest.raises(StoreRefused, match="role"):
        client_of(*group.addresses).command("PING")
    group.master.command("CONFIG SET requirepass right")
    client = client_of(*group.addresses, url="redis://:hunter2@unused/0")
    with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{group.master.port} does not accept the login") as caught:
        client.command("PING")
    assert "hunter2" not in str(caught.value)


async def test_replaced_master_is_left_before_anything_is_sent(group: Group) -> None:
    settings = StoreSettings(
        "redis://unused", sentinels=group.addresses, master=MASTER, sentinel_password=Secret(PASSWORD)
    )
    sentinels = open_sentinels(settings)
    assert sentinels is not None
    client = open_client(settings, sentinels=sentinels)
    client.command("SET", "x", "y")
    first = sentinels.master
    group.failover()

    def moved() -> bool:
        run_blocking(sentinels.check_master())
        return sentinels.master != first

    await until_async(moved, "the sentinels name another master")
    assert "master" in group.master.command("ROLE"), "the old one would take writes"
    with pytest.raises(ConnectionEnded):
        client.command("SET", "z", "1")
    client.command("SET", "z", "2")
    assert client.address == f"127.0.0.1:{group.replica.port}"
    assert group.master.command("EXISTS z") == ":0\r\n"
    client.close()


def test_demoted_master_loses_its_connection_by_a_refused_write(make_redis: Make) -> None:
    own = make_redis()
    client = open_client(StoreSettings(own.url))
    number = client.command("CLIENT", "ID")
    own.command("REPLICAOF 127.0.0.1 1")
    with pytest.raises(StoreUnavailable, match="read only replica"):
        client.command("SET", "x", "y")
    assert not client.is_open
    own.command("REPLICAOF NO ONE")
    client.command("SET", "x", "y")
    assert client.command("CLIENT", "ID") != number
    client.close()
