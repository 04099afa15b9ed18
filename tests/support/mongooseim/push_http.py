"""MongooseIM's event pusher over HTTP (`mod_event_pusher.http`), as 6.8 was seen to post.

Always holds: a status, whichever it is, counts as sent; the same bytes are posted three times in all where the receiver
hangs up without an answer, and once otherwise; who pushes waits.
"""

import http.client
import ssl
from typing import Final, Self
from urllib.parse import urlencode

import attrs

_TRIES: Final = 3


@attrs.define(eq=False)
class HttpPusher:
    """`trust`: the file of an authority's certificate, where the pool's host begins with https. `sent`: its counter."""

    port: int
    path: str
    host: str = "127.0.0.1"
    trust: str | None = None
    timeout_s: float = 30.0
    sent: int = 0
    _line: http.client.HTTPConnection = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        if self.trust is None:
            self._line = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout_s)
        else:
            context = ssl.create_default_context(cafile=self.trust)
            self._line = http.client.HTTPSConnection(self.host, self.port, timeout=self.timeout_s, context=context)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._line.close()

    def push(self, author: str, server: str, receiver: str, message: str) -> bool:
        """Post a message, and return whether it counts as sent."""
        fields = {"author": author, "server": server, "receiver": receiver, "message": message}
        return self.post(urlencode(fields).encode())

    def post(self, form: bytes) -> bool:
        """Post this form as it stands, and return whether it counts as sent."""
        was_sent = any(self._is_answered(form) for _ in range(_TRIES))
        self.sent += was_sent
        return was_sent

    def _is_answered(self, form: bytes) -> bool:
        try:
            self._line.putrequest("POST", self.path, skip_accept_encoding=True)
            self._line.putheader("Content-Length", str(len(form)))
            self._line.putheader("content-type", "application/x-www-form-urlencoded")
            self._line.endheaders(form)
            self._line.getresponse().read()
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            self._line.close()
            return False
        return True
