"""A real ejabberd whose listener has `tls: true` is read. Who is refused: test_tls.py beside this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from restbroker.store.client import Client
from tests.events.component.mix import HOST, NAME
from tests.events.component.test_ejabberd import checked, configure, reads
from tests.events.conftest import events_in
from tests.support.ejabberd import Ejabberd
from tests.support.process import started
from tests.support.redis_server import RedisServer
from tests.support.wait import until
from tests.transport.authority import Authority


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, ours: Authority) -> Iterator[Ejabberd]:
    folder = tmp_path_factory.mktemp("secured")
    both = folder / "both.pem"
    both.write_text("".join(path.read_text() for path in ours.pair("server")))
    server = Ejabberd(folder, component=NAME, certificate=both).start()
    yield server
    server.kill()


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
