"""Asks the stand-in, as a client that knows nothing: requests as they are, and the whole answer.

Used by the tests of the stand-in. Always holds: each request goes over a connection of its own.
"""

import base64
import http.client
import json
from collections.abc import Mapping
from typing import Any, Final

import attrs

from tests.support.mongooseim.server import PATH, MongooseIM

REGISTER: Final = """mutation($domain: DomainName!, $username: UserName, $password: String!) {
  account { registerUser(domain: $domain, username: $username, password: $password) { jid message } } }"""
SEND: Final = """mutation($from: JID!, $to: JID!, $body: String!) {
  stanza { sendMessage(from: $from, to: $to, body: $body) { id } } }"""


@attrs.frozen
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)

    @property
    def errors(self) -> list[Any]:
        """What is said to be wrong."""
        found = self.json.get("errors", [])
        assert isinstance(found, list)
        return found

    @property
    def code(self) -> str | None:
        """The first error's."""
        codes = [one["extensions"]["code"] for one in self.errors]
        return codes[0] if codes else None


def basic(user: str, password: str) -> str:
    """A login as a header has it."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@attrs.frozen
class Asker:
    """Sends requests to one server, as its administrator unless a header says otherwise."""

    server: MongooseIM

    def send(
        self, body: bytes | None, method: str = "POST", path: str = PATH, host: str = "localhost", **headers: str
    ) -> Answer:
        """One request; headers are named with `_` for `-`, and one that is empty is left out."""
        line = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        given = {
            "Host": f"{host}:{self.server.port}",
            "Content-Type": "application/json",
            "Authorization": basic("admin", "secret"),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        try:
            line.request(method, path, body, {name: value for name, value in given.items() if value})
            got = line.getresponse()
            return Answer(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read())
        finally:
            line.close()

    def ask(self, query: str, **variables: Any) -> Answer:
        """A document with its variables."""
        return self.send(json.dumps({"query": query, "variables": variables}).encode())
