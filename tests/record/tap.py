"""Stands between restbroker and a real server, passes on what each says, and notes it as `tests.support.player` wants.

Used by `python -m tests.record`. Always holds: what is noted is what went over the wire, but for texts that are
`hidden`; headers that say nothing of the request or the answer are left out.
"""

import contextlib
import http.client
import json
from collections.abc import Mapping
from typing import Any, Final

import attrs

from tests.support.receiver import Answer, Received

_LEFT_OUT: Final = frozenset(
    {"host", "user-agent", "accept-encoding", "connection", "keep-alive", "content-length", "transfer-encoding"}
)
_ANSWERED: Final = frozenset({"content-type", "retry-after", "location", "www-authenticate", "allow"})


@attrs.define(eq=False)
class Tap:
    """What `tests.support.receiver.Receiver` acts by. `source`: the address that the server sees."""

    port: int
    hidden: Mapping[str, str] = attrs.field(factory=dict)
    """What restbroker says, and is noted, in the place of these texts."""
    source: str = "127.0.0.1"
    _exchanges: list[dict[str, Any]] = attrs.field(factory=list)

    def __call__(self, request: Received) -> Answer:
        """Return what the server answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60, source_address=(self.source, 0))
        with contextlib.closing(connection):
            connection.putrequest(request.method, self._real(request.target), skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers.items():
                connection.putheader(name, self._real(value))
            connection.endheaders(request.body)
            response = connection.getresponse()
            body = response.read()
        headers = {name.lower(): value for name, value in response.getheaders() if name.lower() in _ANSWERED}
        given = {name: value for name, value in request.headers.items() if name not in _LEFT_OUT}
        sent = {"method": request.method, "path": request.target, "headers": given, "body": request.body.decode()}
        said = {"status": response.status, "headers": headers, "body": body.decode()}
        self._exchanges.append({"request": self._shown(sent), "response": self._shown(said)})
        return Answer(response.status, body, headers)

    def taken(self) -> list[dict[str, Any]]:
        """Return what was noted since the last call."""
        taken, self._exchanges = self._exchanges, []
        return taken

    def _real(self, value: str) -> str:
        for text, word in self.hidden.items():
            value = value.replace(word, text)
        return value

    def _shown(self, part: Mapping[str, Any]) -> dict[str, Any]:
        text = json.dumps({name: value for name, value in part.items() if value not in ("", {})})
        for hidden, word in self.hidden.items():
            text = text.replace(hidden, word)
        shown: dict[str, Any] = json.loads(text)
        return shown
