"""The witness of `restbroker verify`: it sees what is lost, sends nothing twice, and removes only its own keys."""

import re
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import RedisError

from restbroker.config.secret import Secret
from restbroker.store.settings import StoreSettings
from restbroker.trial.result import verdict_of
from restbroker.trial.witness import QUEUE, Witness, job_id, new_namespace, open_redis, payload
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.transport.authority import authority


@contextmanager
def witness_of(server: RedisServer, namespace: str | None = None) -> Iterator[Witness]:
    with open_redis(StoreSettings(server.url)) as redis:
        yield Witness(redis, new_namespace() if namespace is None else namespace)


@contextmanager
def cutting_server(received: list[bytes]) -> Iterator[str]:
    """The URL of a server that answers OK to everything until a push comes, and then cuts the connection."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while data := self.request.recv(65536):
                received.append(data)
                if b"LPUSH" in data:
                    return
                self.request.sendall(b"+OK\r\n" * len(re.findall(rb"\*\d+\r\n", data)))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"redis://127.0.0.1:{server.server_address[1]}/0"
        finally:
            server.shutdown()
            thread.join()


def test_a_ticket_that_is_gone_is_a_lost_job(redis_server: RedisServer) -> None:
    jobs = [job_id(number) for number in range(4)]
    with witness_of(redis_server) as witness:
        in_progress = witness.key("restbroker:ip:host:7:nonce:ejabberd")
        witness.redis.hset(witness.key("restbroker:beats"), "host:7:nonce:ejabberd", "1")
        for place in range(3):
            witness.redis.hset(in_progress, f"{place + 1}:1", payload(place, "token"))
        witness.redis.hset(in_progress, "hwm", "3")
        witness.push(QUEUE, [payload(3, "token")])
        assert witness.count_unfinished(QUEUE) == 4
        witness.redis.hdel(in_progress, "2:1")
        assert list(map(set, witness.jobs_in_progress(7).values())) == [{jobs[0], jobs[2]}]
        places = witness.count_locations(QUEUE)
    assert places == {jobs[0]: 1, jobs[2]: 1, jobs[3]: 1}
    assert verdict_of(jobs, jobs, {}, places, []).lost == 1


def test_a_push_is_sent_once_over_a_connection_that_is_cut() -> None:
    """By itself redis-py sends it again, so that its job would be there twice."""
    received: list[bytes] = []
    with cutting_server(received) as url, open_redis(StoreSettings(url)) as redis, pytest.raises(RedisError):
        Witness(redis).push(QUEUE, [payload(0, "token")])
    assert b"".join(received).count(b"LPUSH") == 1


def test_witness_reaches_redis_by_user_socket_and_tls(make_redis: Callable[..., RedisServer], tmp_path: Path) -> None:
    made, port, path = authority(tmp_path), free_port(), tmp_path / "redis.sock"
    certificate, key = made.pair("server")
    files = {"tls_cert_file": str(certificate), "tls_key_file": str(key)}
    server = make_redis(unixsocket=str(path), tls_port=str(port), tls_auth_clients="no", **files)
    assert server.command("ACL SETUSER judge on >a-p@ss ~* +@all").startswith("+OK")
    login = Secret("a-p@ss")
    for settings in (
        StoreSettings(f"unix://judge@{path}?db=3", password=login, client_name="trial"),
        StoreSettings(f"rediss://judge@127.0.0.1:{port}/3", password=login, ca_file=made.ca, client_name="trial"),
    ):
        with open_redis(settings) as redis:
            found = redis.client_info()
            assert (found["user"], found["db"], found["name"]) == ("judge", 3, "trial")


def test_a_sweep_removes_its_own_namespace_and_nothing_else(redis_server: RedisServer) -> None:
    with witness_of(redis_server) as witness:
        other = f"{new_namespace()}:queue:rest"
        own = [witness.key(str(number)) for number in range(3000)]
        witness.redis.mset(dict.fromkeys([*own, other, witness.namespace], 1))
        witness.sweep()
        assert witness.redis.dbsize() == 2


def test_a_sweep_of_any_other_namespace_is_refused(redis_server: RedisServer) -> None:
    with witness_of(redis_server, "sidekiq") as witness:
        witness.redis.set("sidekiq:queue:rest", 1)
        with pytest.raises(ValueError, match="not the namespace of a run"):
            witness.sweep()
        assert witness.redis.dbsize() == 1
