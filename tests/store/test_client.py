"""The connection: nothing is sent twice unasked, errors are named, secrets are not."""

import errno
import select
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from restbroker.config.secret import Secret
from restbroker.errors import ConnectionEnded, StoreRefused, StoreUnavailable
from restbroker.store.client import Client, StoreSettings, integer, open_client
from tests.store.pools import Server, on_both
from tests.support.process import Stopwatch
from tests.support.redis_server import RedisServer
from tests.support.wait import until


@on_both
def test_a_key_of_another_type_is_left_to_check(server: Server, client: Client) -> None:
    server.raw.set("ns:dead", "x")
    calls: tuple[Callable[[], object], ...] = (
        lambda: client.commands([("PING",), ("ZCARD", "ns:dead"), ("ECHO", "left over")]),
        lambda: client.run("page", ["ns:dead"], ["up", "", 0, "", 1, 1]),
        lambda: client.transaction([("PING",), ("ZCARD", "ns:dead")]),
    )
    for refused in calls:
        with pytest.raises(StoreRefused, match="a key is of another type than restbroker needs") as caught:
            refused()
        assert "restbroker check names the key" in str(caught.value.hint)
    assert client.command("ECHO", "mine") == b"mine"


def test_refused_connection_is_unavailable_and_then_reconnects(
    make_redis: Callable[..., RedisServer],
) -> None:
    own = make_redis()
    client = open_client(StoreSettings(own.url))
    client.command("PING")
    own.stop()
    with pytest.raises(StoreUnavailable):
        client.command("PING")
    with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{own.port} cannot be reached"):
        client.command("PING")
    own.start()
    assert client.command("PING") == b"PONG"
    client.close()


def test_impossible_host_name_is_unavailable_like_an_unknown_one() -> None:
    for host in ("a" * 64, "a..b"):
        client = open_client(StoreSettings(f"redis://{host}:6379"))
        with pytest.raises(StoreUnavailable, match=f"{host}:6379 cannot be reached"):
            client.command("PING")


def test_a_frozen_redis_is_unavailable_after_the_time_out(make_redis: Callable[..., RedisServer]) -> None:
    own = make_redis()
    client = open_client(StoreSettings(own.url), timeout_s=0.2)
    client.command("PING")
    own.suspend()
    watch = Stopwatch.start()
    with pytest.raises(StoreUnavailable, match="did not answer in time"):
        client.command("PING")
    assert watch.took_s() < 20
    assert not client.is_open
    own.resume()
    assert client.command("ECHO", "x") == b"x"
    client.close()


def test_a_wrong_password_is_named_without_showing_it(make_redis: Callable[..., RedisServer]) -> None:
    own = make_redis()
    own.command("CONFIG SET requirepass right")
    url = f"redis://:hunter2@127.0.0.1:{own.port}"
    for address in (url, url.replace("//", "//user")):
        client = open_client(StoreSettings(address))
        with pytest.raises(StoreUnavailable, match="does not accept the login") as caught:
            client.command("PING")
        assert "hunter2" not in str(caught.value) + repr(client)
        told = str(caught.value)
        assert "RedisURL, and RedisPass or RedisPassFile if given. restbroker reads a new password in a file" in told
    with pytest.raises(StoreUnavailable, match="does not accept the login"):
        open_client(StoreSettings(own.url)).command("PING")
    allowed = open_client(StoreSettings(url, password=Secret("right")))
    assert allowed.command("PING") == b"PONG"
    allowed.close()


def test_a_refused_password_is_read_again_from_its_file(make_redis: Callable[..., RedisServer], tmp_path: Path) -> None:
    """As in a broker that runs while an operator rotates the password; one wrong try more at most for each connect."""
    own, file = make_redis(), tmp_path / "password"
    operator = open_client(StoreSettings(own.url))
    operator.command("CONFIG", "SET", "requirepass", "first-4711")
    file.write_text("first-4711\n")
    settings = StoreSettings(own.url, password=Secret(path=file))
    clients = [open_client(settings) for _ in range(2)]
    assert [client.command("PING") for client in clients] == [b"PONG"] * 2
    file.write_text("second-4711\n")
    clients[0].close()
    assert clients[0].command("PING") == b"PONG", "Redis still wants the old one"
    operator.command("CONFIG", "SET", "requirepass", "second-4711")
    for client in clients:
        client.close()
        assert client.command("PING") == b"PONG"
        client.close()
    operator.command("CONFIG", "SET", "requirepass", "third-4711")
    for written in ("second-4711\n", "", None):
        file.unlink() if written is None else file.write_text(written)
        with pytest.raises(StoreUnavailable, match="does not accept the login") as caught:
            clients[0].command("PING")
        assert "4711" not in str(caught.value)
    file.write_text("third-4711\n")
    assert clients[0].command("PING") == b"PONG"
    refused = str(operator.command("INFO", "errorstats"))
    assert "errorstat_WRONGPASS:count=5" in refused, "one for each try, and none more where the file is as it was"
    for client in (clients[0], operator):
        client.close()


def test_connecting_reads_no_file(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It works as soon as there is one descriptor."""

    def read(_name: str) -> str:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(metadata, "version", read)
    client = open_client(server.settings)
    assert client.command("PING") == b"PONG"
    client.close()


def test_a_unix_socket_can_be_used(make_redis: Callable[..., RedisServer], tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    make_redis(unixsocket=str(path))
    client = open_client(StoreSettings(f"unix://{path}?db=3"))
    client.command("SET", "x", "y")
    assert client.command("CLIENT", "GETNAME") == b"restbroker"
    assert b"db3" in str(client.command("INFO", "keyspace")).encode()
    client.close()


@on_both
def test_a_full_redis_is_waited_for_when_pushing(client: Client, server: Server) -> None:
    server.raw.config_set("maxmemory", 1)
    with pytest.raises(StoreUnavailable, match="full"):
        client.command("SET", "x", "y")


def test_connection_that_ended_idle_is_replaced_and_no_outage(client: Client, server: Server) -> None:
    number = integer(client.command("CLIENT", "ID"))
    server.raw.client_kill_filter(_id=str(number))
    until(lambda: select.select([client.descriptor], [], [], 0)[0], "the end has come")
    with pytest.raises(ConnectionEnded):
        client.command("SET", "x", "sent")
    assert client.command("EXISTS", "x") == 0
    assert client.command("CLIENT", "ID") != number
