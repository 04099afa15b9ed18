"""What the pages of the servers show: the job becomes the request, and ejabberd takes what is written for it."""

import base64
import http.client
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Final

import pytest
import trio

from dev.tools.pages import ROOT, blocks
from restbroker.config.load import load
from restbroker.config.target import Target, Url
from restbroker.job.command import Call, Command
from restbroker.job.outcome import Delivered
from restbroker.servers import registry
from restbroker.servers.contract import Ports
from restbroker.servers.in_redis import LoginsInRedis, logins_of
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.connection import Connection
from restbroker.transport.client import open_transport
from restbroker.transport.message import Request
from tests.support import ejabberd as support
from tests.support.ejabberd import PASSWORD, Ejabberd
from tests.support.link import Direct
from tests.support.process import run, started
from tests.support.receiver import Answer, Receiver
from tests.support.redis_server import RedisServer

SECRETS: Final = {"shop": "b", "signing": "whsec_" + "QUJD" * 10}
USER_MADE: Final = Answer(200, b'{"data":{"account":{"registerUser":{"jid":"a@b"}}}}')
# Each page with the address in its configuration, what its blocks have in them, and what the server says to the job,
# which may stand on its page of details.
PAGES: Final[Mapping[str, tuple[str, str, str, Answer]]] = {
    "http.md": ("https://api.example.org", "shop", "note", Answer(200, b"")),
    "servers/prosody.md": ("http://127.0.0.1:5280", "", "", Answer(202, b"")),
    "servers/mongooseim.md": ("http://localhost:5551", "", "", USER_MADE),
    "servers/openfire.md": ("http://127.0.0.1:9090", "", "", Answer(201, b"")),
    "servers/openfire-chat.md": ("http://127.0.0.1:7070", "", "", Answer(200, b"")),
}


@pytest.mark.parametrize("name", PAGES)
async def test_the_job_of_a_page_becomes_the_request_that_it_shows(
    name: str, tmp_path: Path, redis_server: RedisServer
) -> None:
    address, kind, command, said = PAGES[name]
    set_up = ROOT / "docs" / name
    pages = [page for page in (set_up, set_up.with_stem(f"{set_up.stem}-details")) if page.exists()]
    ours = (block for page in pages for block in blocks(page, "json") if (kind in block or command in block))
    configuration, job = map(json.loads, ours)
    for secret in ("token", "key", "prosody", "prosody_admin", "mongooseim", "openfire", *SECRETS):
        (tmp_path / secret).write_text(SECRETS.get(secret, "t"))
    stream = Answer(200, b"STREAM")
    with Receiver(lambda request: stream if request.target.endswith("/login") else said) as receiver:
        written = json.dumps(configuration).replace("/etc/restbroker/", f"{tmp_path}/")
        written = written.replace(address, receiver.url).replace('"Probe"', '"AllowPrivate": true, "Probe"')
        (tmp_path / "env.json").write_text(written)
        (target,) = load(tmp_path / "env.json", {}, {}, registry.kinds()).config.targets
        transport, settings = open_transport(target), StoreSettings(f"redis://127.0.0.1:{redis_server.port}")
        book = logins_of(target, lambda: Connection(open_client(settings)))
        ports = Ports(lambda _: None, trio.current_time, transport, {LoginsInRedis: book})
        connector = registry.open_connector(target, ports)
        endpoint, arguments, _ = job["args"]
        outcome = await connector.deliver(Call(Command(endpoint, arguments), identity=job["jid"]), Direct(transport))
        await transport.aclose()
        if book is not None:
            await book.aclose()
        *_, got = receiver.received
    assert isinstance(outcome, Delivered)
    text = "".join(page.read_text("utf-8") for page in pages)
    assert f"`{got.method} {got.target}`" in text
    assert got.body.decode() in text


Serve = Callable[[str], AbstractContextManager[Ejabberd]]
[SET_UP] = blocks(ROOT / "docs" / "servers" / "ejabberd.md", "yaml")
LISTEN, _, BY_ACCOUNT = SET_UP.partition("acl:\n")
BY_ACCOUNT = f"acl:\n{BY_ACCOUNT}"
TOKENS, BY_ADDRESS, SOCKET = blocks(ROOT / "docs" / "servers" / "ejabberd-login.md", "yaml")
HOST: Final = "example.org"
# The fixture makes its accounts from another loopback address; a later permission does not take from an earlier one.
REST: Final = """\
  "for the test":
    who:
      ip: "127.0.0.2/32"
    what: "*"
hosts: {hosts}
auth_method: internal
registration_timeout: infinity
modules:
  mod_admin_extra: {{}}
  mod_http_api: {{}}
"""


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Starts an ejabberd with the page's listener and these rights."""

    @contextmanager
    def start(rights: str) -> Iterator[Ejabberd]:
        _, of_list, socket = SOCKET.partition("listen:\n")
        assert of_list
        listen = LISTEN.replace("5281", "{port}") + socket.replace("/run/ejabberd/http.sock", str(tmp_path / "s"))
        monkeypatch.setattr(support, "CONFIG", listen + rights + REST)
        server = Ejabberd(tmp_path / "ejabberd", (HOST,)).start()
        try:
            yield server
        finally:
            server.kill()

    return start


def ask(server: Ejabberd, command: str, login: str = "", **arguments: object) -> tuple[int, bytes]:
    """The status and body that a command gets, from 127.0.0.1; `login` is an account's name or a whole header."""
    basic = "Basic " + base64.b64encode(f"{login}:{PASSWORD}".encode()).decode()
    headers = {"Authorization": login if " " in login else basic} if login else {}
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        connection.request("POST", f"/api/{command}", json.dumps(arguments), {"Host": HOST, **headers})
        response = connection.getresponse()
        return response.status, response.read()


@pytest.mark.nightly
def test_documented_rights_admit_the_account_and_no_other(serve: Serve) -> None:
    outside, section, rights = TOKENS.partition("api_permissions:\n")
    assert section
    wanted = {"ttl": 60, "scopes": "ejabberd:admin"}
    with serve(outside + BY_ACCOUNT + rights) as server:
        attempts = [("status", server.admin), ("connected_users_number", server.admin), ("stop", server.admin)]
        attempts += [("status", server.limited), ("status", "admin"), ("status", "")]
        assert [ask(server, *attempt)[0] for attempt in attempts] == [200, 200, 403, 403, 401, 403]
        status, body = ask(server, "oauth_issue_token", server.admin, jid=server.admin, **wanted)
        assert status == 200
        bearer = f"Bearer {json.loads(body)['token']}"
        assert [ask(server, command, bearer)[0] for command in ("status", "stop")] == [200, 403]
        refused = ask(server, "oauth_issue_token", server.admin, jid=server.limited, **wanted)
        assert refused == (400, b'"badpass"')


@pytest.mark.nightly
def test_the_page_of_ejabberd_ends_with_the_output_that_it_shows(
    serve: Serve, tmp_path: Path, redis_server: RedisServer
) -> None:
    page = ROOT / "docs" / "servers" / "ejabberd.md"
    [written] = blocks(page, "json")
    _, _, after = page.read_text("utf-8").partition("    restbroker enqueue --wait connected_users_number\n")
    place = tmp_path / "place"
    place.mkdir()
    with serve(BY_ACCOUNT) as server:
        for secret, text in (("token", "a-token-of-the-page"), ("ejabberd", PASSWORD)):
            (place / secret).write_text(text)
            (place / secret).chmod(0o600)
        ours = written.replace("/etc/restbroker/", f"{place}/").replace("127.0.0.1:5281", f"127.0.0.1:{server.port}")
        (place / "env.json").write_text(ours.replace("redis://127.0.0.1:6379/0", redis_server.url))
        env = ("--config", str(place / "env.json"))
        with started(["run", *env], directory=place) as broker:
            broker.wait_for("broker.started")
            done = run(["enqueue", "--wait", "connected_users_number", *env], directory=place)
            assert (done.returncode, done.stdout.rstrip()) == (0, after.partition("\n")[0].strip()), done.stderr
            broker.stop()


@pytest.mark.nightly
def test_the_rights_by_address_need_no_login(serve: Serve) -> None:
    with serve(BY_ADDRESS) as server:
        commands = ("status", "connected_users_number", "stop")
        assert [ask(server, command)[0] for command in commands] == [200, 200, 403]


@pytest.mark.nightly
async def test_over_the_socket_a_login_is_let_in_and_no_address(serve: Serve, tmp_path: Path) -> None:
    with serve(BY_ACCOUNT + BY_ADDRESS.partition("api_permissions:\n")[2]) as server:
        assert ask(server, "status")[0] == 200
        url = Url("http", "localhost", 80, "/api", str(tmp_path / "s"))
        transport = open_transport(Target("ejabberd", "ejabberd", url, ("rest",)))
        login = ("Authorization", server.authorization())
        for headers, status in (((), 403), ((login,), 200)):
            response = await transport.send(Request("POST", "/api/status", 30.0, headers=headers, body=b"{}"))
            assert response.status == status
        await transport.aclose()
