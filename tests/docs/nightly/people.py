"""Who is at the other end of recipes: users of an ejabberd who read in a chat and a room, and a phone that is woken.

For test_recipes.py. Always holds: each server is one of its own, since clients can log in there, and is killed at the
end; what was read is compared with the page word for word.
"""

import base64
import json
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, Final

import attrs

from restbroker.store.client import StoreSettings, open_client
from restbroker.store.sources import read_states
from tests.support.ejabberd import Ejabberd
from tests.support.receiver import Answer, Receiver
from tests.support.wait import until
from tests.support.xmpp import Client, Clients

DOMAIN: Final = "example.org"
ROOMS: Final = f"conference.{DOMAIN}"
PUSH: Final = f"push.{DOMAIN}"
EVENTS: Final = f"events.{DOMAIN}"
YEAR_S: Final = 365 * 86_400
TOPIC: Final = "bobs-topic"
NTFY: Final = "https://ntfy.example.org"
GATEWAY: Final = "https://sms.example.org"
_ANNOUNCES: Final = """\
append_host_config:
  example.org:
    access_rules:
      announce: {allow: admin}
      protect_old_users: {allow: {user: bot@example.org}}
    modules:
      mod_adhoc: {}
      mod_announce: {access: announce}
"""
_OPENS: Final = (
    f"<stream:stream to='{DOMAIN}' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
)
_ENABLE: Final = f"<iq type='set' id='e'><enable xmlns='urn:xmpp:push:0' jid='{PUSH}' node='{TOPIC}'/></iq>"


@attrs.frozen
class Readers:
    """Users who are logged in."""

    clients: Sequence[Client] = ()

    def read(self, page: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """Return what was read at each address of the page, in order, once it is as much as there."""
        until(lambda: all(len(self._at(address)) >= len(texts) for address, texts in page.items()), "all is read", 60)
        return {address: self._at(address) for address in page}

    def _at(self, address: str) -> list[str]:
        """Return the texts that came to a user, or from a room."""
        came = [(client.jid, message) for client in self.clients for message in client.messages.all]
        return [
            message.body
            for jid, message in came
            if message.body and address == (message.sender.partition("/")[0] if message.kind == "groupchat" else jid)
        ]


@contextmanager
def readers(password: str) -> Iterator[tuple[Ejabberd, Readers]]:
    """Yield a server with the users `ops`, who is in the room `ops` too, and `dev`."""
    with _server(password, EVENTS, ("ops", "dev")) as server, Clients(server.c2s_port, DOMAIN) as clients:
        options = [{"name": name, "value": "true"} for name in ("persistent", "allow_subscription")]
        made = server.call("create_room_with_opts", name="ops", service=ROOMS, host=DOMAIN, options=options)
        assert made == (200, "0")
        ops, dev = (clients.login(user, password) for user in ("ops", "dev"))
        ops.join(f"ops@{ROOMS}/ops")
        ops.messages.wait_for(lambda came: any(ROOMS in message.sender for message in came), "the room's subject comes")
        yield server, Readers((ops, dev))


@contextmanager
def phone(password: str) -> Iterator[tuple[Ejabberd, Receiver]]:
    """Yield a server with `bob`, who is away and has a phone at ntfy, and that ntfy; it got one request at the end."""
    with (
        _server(password, PUSH, ("ann", "bob")) as server,
        Clients(server.c2s_port, DOMAIN) as clients,
        Receiver(lambda _: Answer(200)) as ntfy,
    ):
        bob = clients.login("bob", password)
        bob.send(_ENABLE)
        bob.ask(DOMAIN, "<ping xmlns='urn:xmpp:ping'/>")
        bob.logout()
        until(lambda: server.call("user_sessions_info", user="bob", host=DOMAIN) == (200, "[]"), "bob is away", 60)
        yield server, ntfy
        posts = [json.loads(request.body) for request in ntfy.received if request.method == "POST"]
        assert posts == [{"topic": TOPIC, "message": "New message"}]


@contextmanager
def guest(password: str) -> Iterator[tuple[Ejabberd, Readers]]:
    """Yield a server with `ann`, whose `phone` is logged in and sends receipts, with the room `tea`, and with `bob`."""
    with _server(password, EVENTS, ("ann", "bob")) as server, Clients(server.c2s_port, DOMAIN) as clients:
        options = [{"name": "persistent", "value": "true"}]
        assert server.call("create_room_with_opts", name="tea", service=ROOMS, host=DOMAIN, options=options)[0] == 200
        ann = clients.login("ann", password, resource="phone")
        ann.acknowledge()
        yield server, Readers((ann,))


@contextmanager
def house(password: str) -> Iterator[tuple[Ejabberd, Readers]]:
    """Yield a server with `ann`, who is logged in and in the room `tea`, and with others who are away, two for long."""
    users = ("ann", "bob", "bot", "clara")
    with _server(password, EVENTS, users, _ANNOUNCES) as server, Clients(server.c2s_port, DOMAIN) as clients:
        for user in ("bot", "clara"):
            then = int(time.time() - 2 * YEAR_S)
            assert server.call("set_last", user=user, host=DOMAIN, timestamp=then, status="")[0] == 200
        options = [{"name": "persistent", "value": "true"}]
        assert server.call("create_room_with_opts", name="tea", service=ROOMS, host=DOMAIN, options=options)[0] == 200
        ann = clients.login("ann", password, resource="phone")
        ann.join(f"tea@{ROOMS}/Ann")
        ann.messages.wait_for(lambda came: any(ROOMS in message.sender for message in came), "the room's subject comes")
        yield server, Readers((ann,))


def is_let_in(server: Ejabberd, user: str) -> bool:
    """Return whether the server lets the user in with the token that it issued last."""
    tokens = json.loads(server.call("oauth_list_tokens")[1])
    token = next(one["token"] for one in tokens if one["user"] == f"{user}@{DOMAIN}")
    given = base64.b64encode(f"\0{user}\0{token}".encode()).decode()
    with socket.create_connection(("127.0.0.1", server.c2s_port), timeout=60) as line, line.makefile("rb") as came:
        line.sendall(_OPENS.encode())
        _read_until(came, b"</stream:features>")
        line.sendall(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='X-OAUTH2'>{given}</auth>".encode())
        return b"<success" in _read_until(came, b">")


def _read_until(came: BinaryIO, end: bytes) -> bytes:
    read = b""
    while not read.endswith(end):
        more = came.read(1)
        assert more, f"It ended behind {read!r}"
        read += more
    return read


def enter(ann: Client, redis_url: str) -> None:
    """Enter `tea` twice, once a source is read."""
    with closing(open_client(StoreSettings(redis_url))) as store:
        until(lambda: any(state.is_reading for state in read_states(store)), "the source is read", 60)
    for _ in range(2):
        ann.join(f"tea@{ROOMS}/Ann")


@contextmanager
def _server(password: str, component: str, users: Sequence[str], added: str = "") -> Iterator[Ejabberd]:
    with TemporaryDirectory() as place:
        server = Ejabberd(Path(place), (DOMAIN,), password=password, component=component, added=added).start()
        try:
            for user in users:
                assert server.call("register", user=user, host=DOMAIN, password=password)[0] == 200
            yield server
        finally:
            server.kill()


def component_of(server: Ejabberd) -> dict[str, str]:
    """Return what of a page's source stands for the listener of this server."""
    name = f'"Name": "{server.component}"'
    return {name: f'"Address": "127.0.0.1:{server.component_port}", {name}'}
