"""The servers that other tests break behave as those tests believe."""

from collections.abc import Callable

import pytest

from tests.support.ports import accepts
from tests.support.redis_server import RedisServer

Make = Callable[..., RedisServer]


@pytest.mark.parametrize("keep_data", [True, False])
def test_a_restart_keeps_the_port_and_the_data_only_if_told(make_redis: Make, keep_data: bool) -> None:
    server = make_redis()
    port = server.port
    server.command("SET k v")
    server.restart(keep_data=keep_data)
    assert server.port == port
    assert server.command("EXISTS k") == f":{int(keep_data)}\r\n"


def test_a_killed_server_finds_what_its_aof_holds(make_redis: Make) -> None:
    server = make_redis(appendonly="yes", appendfsync="always")
    server.command("SET k v")
    server.kill()
    assert not accepts(server.port)
    server.start()
    assert server.command("EXISTS k") == ":1\r\n"


def test_a_suspended_server_accepts_and_stays_silent_until_resumed(make_redis: Make) -> None:
    server = make_redis()
    server.suspend()
    assert accepts(server.port)
    with pytest.raises(TimeoutError):
        server.command("PING", timeout_s=0.1)
    server.resume()
    assert server.command("PING") == "+PONG\r\n"


def test_options_reach_the_server(make_redis: Make) -> None:
    assert "1048576" in make_redis(maxmemory="1mb").command("CONFIG GET maxmemory")


def test_a_test_gets_the_shared_servers_empty(redis_server: RedisServer, valkey_server: RedisServer) -> None:
    for server in (redis_server, valkey_server):
        assert server.command("DBSIZE") == ":0\r\n"
        server.command("SET left behind")
        server.flush()
        assert server.command("DBSIZE") == ":0\r\n"
