"""examples/four as it stands there: one broker for four servers at once, one of them down, one slow.

ejabberd and Prosody are real; for MongooseIM and Openfire, which no distribution packages, recorded answers are played.
Each is behind a network of the test's that can be cut and slowed. Only ports, the folder and the address of Redis are
others than in the example.
"""

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final, TypeAlias

import attrs
import pytest

from dev.tools.pages import ROOT, blocks
from restbroker.store import queues
from restbroker.store.client import Client, StoreSettings, integer, open_client
from tests.servers.mongooseim import exchanges, sent
from tests.servers.openfire_rest import named
from tests.support import unfinished_jobs
from tests.support.ejabberd import Ejabberd
from tests.support.example import assert_well, moved, with_secrets
from tests.support.player import Player, recorded
from tests.support.process import run, started
from tests.support.prosody import Prosody
from tests.support.redis_server import RedisServer
from tests.support.tcp_proxy import TcpProxy
from tests.support.wait import until
from tests.support.xmpp import Clients

EXAMPLE: Final = ROOT / "examples" / "four"
ENV: Final[dict[str, Any]] = json.loads((EXAMPLE / "env.json").read_text("utf-8"))
DOMAINS: Final[Mapping[str, str]] = {
    name: target["Domain"] for name, target in ENV["Targets"].items() if "Domain" in target
}
PORTS: Final = {"ejabberd": "5281", "prosody": "5280", "mongooseim": "5551", "openfire": "9090"}
SECRETS: Final = ("token", *(f"{name}_password" for name in PORTS))
JOBS: Final = 40
SLOW_S: Final = 1.0
"""How long each piece of a request, and of an answer, is on its way to and from the slow one."""
IN_THE_BACKGROUND_S: Final = 180.0

Done: TypeAlias = Callable[[], Counter[str]]
"""How often each job's name is found at the server."""


@attrs.frozen
class Server:
    """One of the four. `job` makes a command and its arguments of a name."""

    job: Callable[[str], tuple[str, dict[str, str]]]
    done: Done
    network: TcpProxy


@attrs.frozen
class Four:
    """A machine on which the README was followed, but for starting restbroker."""

    env: Path
    servers: Mapping[str, Server]
    store: Client

    def push(self, name: str) -> None:
        """Pushes the jobs of one server."""
        token = (self.env.parent / "token").read_text()
        jobs = []
        for number in range(JOBS):
            command, arguments = self.servers[name].job(f"user{number}")
            job = {"class": "Add", "jid": f"{name}{number}", "args": [command, arguments, token], "retry": True}
            jobs.append(json.dumps({**job, "queue": name}).encode())
        queues.push(self.store, name, jobs)

    def left(self, name: str) -> int:
        """How many jobs of a server it has not done."""
        return JOBS - len(self.servers[name].done())

    def is_all_done(self) -> bool:
        """Whether no job is anywhere, neither waiting nor in progress."""
        return not unfinished_jobs.count(self.store)


@pytest.fixture
def passwords(tmp_path: Path) -> Mapping[str, str]:
    """As the README has one make them."""
    return with_secrets(tmp_path, SECRETS)


@pytest.fixture
def four(tmp_path: Path, passwords: Mapping[str, str], redis_server: RedisServer) -> Iterator[Four]:
    made = (_ejabberd, _prosody, _mongooseim, _openfire)
    with ExitStack() as stack:
        servers = {
            name: make(stack, tmp_path / name, passwords[f"{name}_password"])
            for name, make in zip(PORTS, made, strict=True)
        }
        ports = {port: servers[name].network.port for name, port in PORTS.items()}
        (tmp_path / "env.json").write_text(moved(EXAMPLE / "env.json", tmp_path, redis_server.url, ports))
        store = stack.enter_context(closing(open_client(StoreSettings(redis_server.url))))
        yield Four(tmp_path / "env.json", servers, store)


def _ejabberd(stack: ExitStack, folder: Path, password: str) -> Server:
    domain = DOMAINS["ejabberd"]
    server = Ejabberd(folder, (domain,), password=password).start()
    stack.callback(server.kill)

    def done() -> Counter[str]:
        users = json.loads(server.call("registered_users", host=domain)[1])
        return Counter(user for user in users if user.startswith("user"))

    return Server(
        lambda name: ("register", {"user": name, "password": "s3cret"}),
        done,
        stack.enter_context(TcpProxy(server.port)),
    )


def _prosody(stack: ExitStack, folder: Path, password: str) -> Server:
    domain = DOMAINS["prosody"]
    server = Prosody(folder, domain, modules=("rest",)).start()
    stack.callback(server.kill)
    server.register(ENV["Targets"]["prosody"]["Auth"]["Basic"]["User"], password=password)
    server.register("john")
    john = stack.enter_context(Clients(server.c2s_port, domain)).login("john", roster=False)
    return Server(
        lambda name: ("message", {"to": f"john@{domain}", "type": "chat", "body": name}),
        lambda: Counter(message.body or "" for message in john.messages.all),
        stack.enter_context(TcpProxy(server.port)),
    )


def _mongooseim(stack: ExitStack, _folder: Path, password: str) -> Server:
    others = {"localhost": DOMAINS["mongooseim"], "p4ssw0rd!": "s3cret"}
    answers = exchanges("health", others=others, password=password)
    for number in range(JOBS):
        answers += exchanges("account", others={**others, "carol": f"user{number}"}, password=password)
    server = stack.enter_context(Player(answers))
    return Server(
        lambda name: ("account.registerUser", {"username": name, "password": "s3cret"}),
        # Each once, as the server has an account: it is there already for one that comes again.
        lambda: Counter({str(call["username"]) for call in sent(server, "registerUser")}),
        stack.enter_context(TcpProxy(server.port)),
    )


def _openfire(stack: ExitStack, _folder: Path, password: str) -> Server:
    made, stats = named("1.3.10", "create xml", "stats")
    body = "<user><username>{}</username><password>s3cret</password></user>"
    bodies = {body.format(name): name for name in (f"user{number}" for number in range(JOBS))}
    login = b64encode(f"admin:{password}".encode()).decode()
    known = [*(attrs.evolve(made, body=body) for body in bodies), stats]
    known = [attrs.evolve(exchange, headers={"Authorization": f"Basic {login}"}) for exchange in known]
    server = stack.enter_context(Player([*known, *recorded("openfire-rest/1.2.5/without_login")]))
    return Server(
        lambda name: ("create_user", {"username": name, "password": "s3cret"}),
        lambda: Counter(bodies[exchange.body] for exchange in list(server.played) if exchange.body),
        stack.enter_context(TcpProxy(server.port)),
    )


@pytest.mark.parametrize(
    ("down", "slow"),
    [("openfire", "mongooseim"), ("prosody", "ejabberd")],
)
def test_others_finish_while_one_is_down_and_one_is_slow(four: Four, tmp_path: Path, down: str, slow: str) -> None:
    """Then these two finish theirs."""
    well = [name for name in PORTS if name not in (down, slow)]
    networks = {name: server.network for name, server in four.servers.items()}
    networks[down].cut()
    networks[slow].delay_s = SLOW_S
    for name in (down, slow, *well):
        four.push(name)
    with started(["run", "--config", str(four.env)], directory=tmp_path / "broker") as broker:
        broker.wait_for(rf"target\.down target={down} code=TargetUnreachable", timeout_s=IN_THE_BACKGROUND_S)
        until(lambda: not any(map(four.left, well)), f"{well} have done all their jobs", IN_THE_BACKGROUND_S)
        assert four.left(slow) > 0
        assert four.left(down) == JOBS
        networks[slow].delay_s = 0.0
        networks[down].mend()
        until(four.is_all_done, "all jobs are done", IN_THE_BACKGROUND_S)
        assert broker.stop() == 0
    expected = Counter(f"user{number}" for number in range(JOBS))
    assert {name: server.done() for name, server in four.servers.items()} == dict.fromkeys(PORTS, expected)
    assert integer(four.store.command("ZCARD", "dead")) == 0


def test_all_four_servers_do_each_job_of_the_readme(four: Four, tmp_path: Path) -> None:
    (listing,) = blocks(EXAMPLE / "README.md", "sh")
    (tmp_path / "password_file").write_text("s3cret")
    with started(["run", "--config", str(four.env)], directory=tmp_path / "broker") as broker:
        broker.wait_for(r"broker\.started", timeout_s=IN_THE_BACKGROUND_S)
        assert_well(four.env)
        for line in listing.strip().splitlines():
            program, *words = line.split()
            assert program == "restbroker"
            done = run(words, directory=tmp_path, timeout_s=IN_THE_BACKGROUND_S)
            assert done.returncode == 0, (line, done.stdout, done.stderr)
        assert broker.stop() == 0
    assert {name for name, server in four.servers.items() if "user1" in server.done()} == set(PORTS)
