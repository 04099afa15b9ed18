"""Who visits a broker while it is measured: an open overview, searches without a pause, a sender of few posts.

Always holds: each runs in a thread of the measuring process, so that its CPU time is in no figure; a visitor of pages
has had an answer before the measurement begins, and one who got none is a failure.
"""

import http.client
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Final
from urllib.parse import urlsplit

import attrs

from dev.benchmarks.floor import NUMBER
from dev.benchmarks.surroundings import wait_for

_PATIENCE_S: Final = 30.0
_LIVE_S: Final = 1.5
"""How often the script of an open page requests its parts."""
_POST_S: Final = 0.1
_OPEN, _SEARCH = "/live?page=overview", "/dead?where=jid+%3D+nobody"
VISITS: Final[Mapping[str, str]] = {"pages on, overview open": _OPEN, "pages on, a search all the time": _SEARCH}


@attrs.define(eq=False)
class _Visit:
    address: str
    port: int
    answers: int = 0
    is_over: bool = False
    failure: str = "nothing was answered"

    def run(self) -> None:
        headers = {"Host": "localhost", "Accept": "text/html"}
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE_S)) as client:
            try:
                while not self.is_over:
                    client.request("GET", self.address, headers=headers)
                    with client.getresponse() as answer:
                        answer.read()
                    if answer.status not in (http.HTTPStatus.OK, http.HTTPStatus.NOT_MODIFIED):
                        raise ConnectionError(f"answered with {answer.status}")
                    headers["If-None-Match"] = answer.getheader("ETag", "")
                    self.answers += 1
                    time.sleep(_LIVE_S if self.address == _OPEN else 0)
            except (OSError, http.client.HTTPException) as error:
                self.failure = str(error) or type(error).__name__
                self.answers *= self.is_over  # at the end the broker may be gone first


@contextmanager
def visited(port: int, address: str) -> Iterator[None]:
    """Let a visitor look at the page within the block."""
    wait_for(port, _PATIENCE_S)
    visit = _Visit(address, port)
    thread = threading.Thread(target=visit.run, daemon=True)
    thread.start()
    deadline_s = time.monotonic() + _PATIENCE_S
    while not visit.answers and thread.is_alive() and time.monotonic() < deadline_s:
        time.sleep(0.02)
    try:
        yield
    finally:
        visit.is_over = True
        thread.join(_PATIENCE_S)
    if not visit.answers:
        raise SystemExit(f"{address} could not be looked at: {visit.failure}")


@contextmanager
def slowly_posted(url: str, body: Mapping[str, object]) -> Iterator[list[float]]:
    """Post this ten times a second within the block, over a connection each; yield the ms that each answer took."""
    waits_ms: list[float] = []
    failures: list[str] = []
    is_over = threading.Event()

    def post() -> None:
        while not (failures or is_over.wait(_POST_S)):
            number = f"{90_000_000 + len(waits_ms)}"
            content = json.dumps(body).replace(NUMBER.decode(), number)
            began_s = time.perf_counter()
            try:
                with closing(http.client.HTTPConnection(parts.netloc, timeout=_PATIENCE_S)) as client:
                    client.request("POST", parts.path, content, {"Content-Type": "application/json"})
                    if (status := client.getresponse().status) >= http.HTTPStatus.BAD_REQUEST:
                        failures.append(f"answered with {status}")
            except (OSError, http.client.HTTPException) as error:
                failures.append(str(error) or type(error).__name__)
            waits_ms.append((time.perf_counter() - began_s) * 1000)

    parts = urlsplit(url)
    thread = threading.Thread(target=post, daemon=True)
    thread.start()
    try:
        yield waits_ms
    finally:
        is_over.set()
        thread.join(_PATIENCE_S)
    if failures:
        raise SystemExit(f"{url} did not take it: {failures[0]}")
