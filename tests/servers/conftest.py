"""Our side of ejabberd, an Openfire that is played, one Prosody for all; a test that stops one asks for its own."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.servers.ejabberd import side_of
from tests.servers.openfire_sides import Open, sides_of
from tests.servers.openfire_talk import ROOM
from tests.servers.sides import Side
from tests.support.ejabberd import Ejabberd
from tests.support.openfire_chat.server import Openfire
from tests.support.prosody import Prosody
from tests.support.redis_server import RedisServer
from tests.support.roster_service import RosterService
from tests.support.xmpp import Clients


@pytest.fixture(scope="session")
def shared_prosody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prosody]:
    server = Prosody(tmp_path_factory.mktemp("prosody")).start()
    yield server
    server.kill()


@pytest.fixture
def prosody(shared_prosody: Prosody) -> Prosody:
    """The run's Prosody: nobody online and no accounts."""
    shared_prosody.reset()
    return shared_prosody


@pytest.fixture
def make_prosody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Prosody]]:
    """Starts a Prosody of the test's own: `make_prosody(roster_login="user:password@")`."""
    servers: list[Prosody] = []

    def make(**fields: object) -> Prosody:
        servers.append(Prosody(tmp_path_factory.mktemp("own-prosody"), **fields))  # type: ignore[arg-type]
        return servers[-1].start()

    yield make
    for server in servers:
        server.kill()


@pytest.fixture
def clients(prosody: Prosody) -> Iterator[Clients]:
    """XMPP clients of that Prosody."""
    with Clients(prosody.c2s_port, prosody.host) as clients:
        yield clients


@pytest.fixture
def roster_service(prosody: Prosody) -> Iterator[RosterService]:
    """The service from which that Prosody fetches rosters."""
    with RosterService(prosody.roster_port) as service:
        yield service


@pytest.fixture
async def admin(ejabberd: Ejabberd) -> AsyncIterator[Side]:
    async with side_of(ejabberd) as side:
        yield side


@pytest.fixture
def chat() -> Iterator[Openfire]:
    with Openfire() as server:
        server.state.register("romeo", "juliet", "nurse")
        server.state.befriend("romeo", "juliet")
        server.state.open_room("balcony")
        yield server


@pytest.fixture
def openfire() -> Iterator[Openfire]:
    """Nobody is there yet, and one room is."""
    with Openfire(heartbeat_s=0.2, ask_timeout_s=100.0) as server:
        server.state.open_room(ROOM)
        yield server


@pytest.fixture
def sides(tmp_path: Path, redis_server: RedisServer, chat: Openfire) -> Open:
    """As many brokers as a test wants, over one Redis."""
    return sides_of(tmp_path, redis_server, chat.url)
