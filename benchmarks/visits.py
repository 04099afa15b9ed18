"""Who looks at a broker's pages while it is measured: an open overview, or searches without a pause.

`benchmarks.watched` uses it. Always holds: it runs in a thread of the measuring process, so that its CPU time is in no
figure; it has seen something before the measurement begins, and whether it saw something until the end is told.
"""

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Final, TypeAlias

import attrs

_PATIENCE_S: Final = 30.0
_LOOK_S: Final = 0.02
_LIVE_S: Final = 1.5
"""How often the script of an open page requests its parts."""


@attrs.define(eq=False)
class Visit:
    """One visitor of the pages on this port. `seen`: how many messages or pages came."""

    port: int
    seen: int = 0
    is_over: bool = False
    broke: str | None = None

    def follow(self) -> None:
        """The overview, open and live, as in a browser."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE_S)) as client:
            headers = {"Host": "localhost"}
            while not self.is_over:
                client.request("GET", "/live?page=overview", headers=headers)
                with client.getresponse() as answer:
                    answer.read()
                    if answer.status not in (http.HTTPStatus.OK, http.HTTPStatus.NOT_MODIFIED):
                        raise ConnectionError(f"a look was answered with {answer.status}")
                    headers["If-None-Match"] = answer.getheader("ETag", "")
                self.seen += answer.status == http.HTTPStatus.OK
                time.sleep(_LIVE_S)

    def search(self) -> None:
        """The dead set, for a job that is not there: each search looks at as many as it may, and the next begins."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE_S)) as client:
            while not self.is_over:
                client.request("GET", "/dead?where=jid+%3D+nobody", headers={"Accept": "text/html"})
                with client.getresponse() as answer:
                    if answer.status != http.HTTPStatus.OK:
                        raise ConnectionError(f"a search was answered with {answer.status}")
                    answer.read()
                self.seen += 1


Kind: TypeAlias = Callable[[Visit], None]


@contextmanager
def visited(port: int, kind: Kind | None) -> Iterator[Visit]:
    """Within the block somebody looks; None: nobody does. Raises SystemExit where he could not until the end."""
    visit = Visit(port)
    if kind is None:
        yield visit
        return
    _wait_for(port)
    thread = threading.Thread(target=_run, args=(visit, kind), daemon=True)
    thread.start()
    deadline_s = time.monotonic() + _PATIENCE_S
    while not visit.seen and visit.broke is None and time.monotonic() < deadline_s:
        time.sleep(_LOOK_S)
    try:
        yield visit
    finally:
        visit.is_over = True
        thread.join(_PATIENCE_S)
    if visit.broke is not None or not visit.seen:
        raise SystemExit(f"nobody could look at the pages on port {port}: {visit.broke or 'nothing came'}")


def _run(visit: Visit, kind: Kind) -> None:
    try:
        kind(visit)
    except (OSError, http.client.HTTPException) as error:
        # At the end the broker may be gone first.
        if not visit.is_over:
            visit.broke = str(error) or type(error).__name__


def _wait_for(port: int) -> None:
    deadline_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(_LOOK_S)
        else:
            return
