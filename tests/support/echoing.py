"""A server that repeats what it was sent, the login too, in a way that each test chooses. In threads of the test.

Always holds: what it answers to a request is made of that request alone, and of `knows` if that is signed, so that
nobody else's secrets are in it.
"""

import base64
import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Self
from urllib.parse import quote

import attrs

from tests.support.receiver import Received, Receiver

_NO_LENGTH: Final = "transfer-encoding: chunked"


@attrs.frozen
class Asked:
    """One request: the header with its login, what that stands for (a password, a token, a session), and its body."""

    authorization: str
    login: str
    body: bytes

    @property
    def everything(self) -> str:
        return f"refused {self.authorization} that is {self.login} for {self.body.decode()}"


def _answer(status: str, body: str, *headers: str) -> bytes:
    raw = body.encode()
    length = [] if _NO_LENGTH in headers else [f"Content-Length: {len(raw)}"]
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, *length, "", ""]).encode() + raw


def _error(status: str, words: str) -> bytes:
    return _answer(status, json.dumps({"code": 1, "status": "error", "message": words}))


WAYS: Final[Mapping[str, Callable[[Asked], bytes]]] = MappingProxyType(
    {
        "bad-request": lambda asked: _error("400 Bad Request", asked.everything),
        "unauthorized": lambda asked: _error("401 Unauthorized", asked.everything),
        "forbidden": lambda asked: _error("403 Forbidden", asked.login),
        "not-found": lambda asked: _answer("404 Not Found", f"<title>{asked.everything}</title>"),
        "busy": lambda asked: _answer("503 Busy", asked.everything, "Retry-After: 1"),
        "failing": lambda asked: _error("500 Oops", asked.everything),
        "ok-json": lambda asked: _answer("200 OK", json.dumps(asked.everything)),
        "ok-page": lambda asked: _answer("200 OK", f"<h1>{asked.everything}</h1>"),
        "moved": lambda asked: _answer(
            "302 Found", "", f"Location: http://u:{quote(asked.login)}@h/{quote(asked.login)}"
        ),
        "reason": lambda asked: _answer(f"400 {asked.everything}", '"no"'),
        "header": lambda asked: _answer("400 Bad Request", '"no"', f"X-Said: {asked.everything}"),
        "bad-header": lambda asked: _answer("400 Bad Request", '"no"', f"X Said {asked.everything}\x00: 1"),
        "chunks": lambda asked: _answer("400 No", f"zz;{asked.everything}\r\n{asked.everything}\r\n", _NO_LENGTH),
        "url-encoded": lambda asked: _error("400 Bad Request", quote(asked.everything, safe="")),
        "base64": lambda asked: _error("400 Bad Request", base64.b64encode(asked.everything.encode()).decode()),
        "twice-json": lambda asked: _error("400 Bad Request", json.dumps(asked.everything)),
        "cut": lambda asked: _error("400 Bad Request", "x" * 290 + asked.login),
        "no-http": lambda asked: asked.everything.encode() + b"\r\n\r\n",
    }
)
"""How it answers everything it is asked, the probe too."""


_WELL: Final = _answer("200 OK", '"The node n@h is started. Status: startedejabberd 23.01-1 is running in that node"')


@attrs.define(eq=False)
class EchoServer:
    """Serves while its `with` block runs. Paths are /WAY/well/COMMAND, where only `register` and `note` are repeated,
    and /WAY/sick/COMMAND, where everything is. `knows`: the secret with which requests are signed.
    """

    knows: str = ""
    asked: set[str] = attrs.field(factory=set)
    _http: Receiver = attrs.field(init=False)

    @property
    def port(self) -> int:
        return self._http.port

    def __enter__(self) -> Self:
        self._http = Receiver(self._answer).__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.__exit__()

    def _answer(self, received: Received) -> bytes:
        _, way, probe, command = received.target.split("/")
        self.asked.add(received.target)
        is_well = probe == "well" and command not in ("register", "note")
        return _WELL if is_well else WAYS[way](_asked(received.headers, received.body, self.knows))


def _asked(headers: Mapping[str, str], body: bytes, knows: str) -> Asked:
    if "webhook-signature" in headers:
        return Asked(headers["webhook-signature"], knows, body)
    if session := headers.get("cookie"):
        return Asked(session, session.rpartition("session=")[2].partition(";")[0], body)
    authorization = headers.get("authorization") or headers.get("x-api-key", "")
    kind, _, rest = authorization.partition(" ")
    login = base64.b64decode(rest).decode().partition(":")[2] if kind == "Basic" else rest or kind
    return Asked(authorization, login, body)
