"""A real ejabberd whose listener has `tls: true`: it is read if the authority that is named knows it, else not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from restbroker.store.client import Client
from tests.events.component.mix import HOST, NAME
from tests.events.component.test_ejabberd import checked, configure, reads
from tests.events.conftest import events_in
from tests.support.ejabberd import SECRET, Ejabberd
from tests.support.process import started
from tests.support.redis_server import RedisServer
from tests.support.tcp_proxy import Hold, TcpProxy
from tests.support.wait import NEVER_S, until
from tests.transport.authority import Authority

_HELLO: Final = b"\x16\x03\x01"
"""How a TLS client begins."""


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, ours: Authority) -> Iterator[Ejabberd]:
    folder = tmp_path_factory.mktemp("secured")
    both = folder / "both.pem"
    both.write_text("".join(path.read_text() for path in ours.pair("server")))
    server = Ejabberd(folder, component=NAME, certificate=both).start()
    yield server
    server.kill()


def refused(place: Path, server: Ejabberd) -> str:
    """What is said of a server that is tried three times."""
    hellos = [Hold(_HELLO) for _ in range(3)]
    for hello in hellos:
        hello.release.set()
    with TcpProxy(server.component_port, holds=[*hellos]) as proxy:
        configured = place / "env.json"
        port, own = str(server.component_port), str(proxy.port)
        configured.write_text(configured.read_text().replace(f"127.0.0.1:{port}", f"127.0.0.1:{own}"))
        with started(["run"], directory=place) as broker:
            assert hellos[-1].reached.wait(NEVER_S)
            assert broker.stop() == 0
    assert SECRET not in broker.output()
    (said,) = [line for line in broker.output().splitlines() if "WARN" in line and "TLS" in line]
    return said


@pytest.mark.promise
def test_a_real_server_of_our_authority_is_read(
    secured: Ejabberd, ours: Authority, redis_server: RedisServer, store: Client, tmp_path: Path
) -> None:
    configure(tmp_path, secured, redis_server, Rooms=[], TLS=True, CAFile=str(ours.ca))
    assert checked(tmp_path) == ["Component", "EventCame", "NotServing"]
    with started(["run"], directory=tmp_path) as broker:
        reads(broker)
        given = {"type": "chat", "from": f"bot@{HOST}", "to": f"admin@{HOST}", "subject": "", "body": "one"}
        assert secured.call("send_message", **given)[0] == 200
        until(lambda: [event["body"] for event in events_in(store)] == ["one"], "it is reported", 60)
        assert broker.stop() == 0


@pytest.mark.promise
def test_a_real_server_of_another_authority_is_not_read(
    secured: Ejabberd, ours: Authority, redis_server: RedisServer, tmp_path: Path
) -> None:
    stranger, _ = ours.pair("stranger")
    configure(tmp_path, secured, redis_server, Rooms=[], TLS=True, CAFile=str(stranger))
    assert checked(tmp_path) == ["ComponentAway"]
    assert "CERTIFICATE_VERIFY_FAILED" in refused(tmp_path, secured)


@pytest.mark.promise
def test_a_real_server_in_clear_text_is_not_read(
    ours: Authority, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    server = Ejabberd(tmp_path_factory.mktemp("clear"), component=NAME).start()
    try:
        configure(tmp_path, server, redis_server, Rooms=[], TLS=True, CAFile=str(ours.ca))
        assert checked(tmp_path) == ["ComponentAway"]
        assert "WRONG_VERSION_NUMBER" in refused(tmp_path, server)
    finally:
        server.kill()
