"""Sidekiq Web as a real server, and a visitor who reads its pages, follows their links and presses their buttons.

Used by the tests of tests/sidekiq/. Always holds: whatever is asked for or sent comes out of a page that the server
rendered (addresses of links, hidden fields, the token against forgery), as with a browser; and a page that breaks
fails the test with what Ruby said.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import attrs
import httpx

from tests.support.answering import Arrival
from tests.support.html_page import Form, Page, parse
from tests.support.process import Running, started
from tests.support.redis_server import RedisServer, redis_binary
from tests.support.ruby import SCRIPTS, environment, ruby
from tests.support.scripted import Citizen, ready
from tests.support.wait import until

_LOG_LINES: Final = 40


@attrs.define(eq=False)
class SidekiqWeb:
    """One visitor of a running Sidekiq Web, with a session."""

    server: Running
    client: httpx.Client

    def open(self, path: str) -> Page:
        """The page at `path`, redirects followed as a browser does; fails if it breaks."""
        return self._page(self.client.get(path))

    def press(self, page: Page, form: Form, button: str, check: Sequence[str] = ()) -> Page:
        """The page that follows the button named `button` of a form on `page`, with these boxes checked.

        Fails where the page offers no such button or box.
        """
        fields = form.filled(button, check)
        where = httpx.URL(page.url).join(form.action) if form.action else page.url
        # Sidekiq Web goes back to where the visitor was, and so needs to know it.
        answer = self.client.request(form.method, where, data=fields, headers={"Referer": page.url})
        return self._page(answer)

    def json(self, path: str) -> dict[str, object]:
        """The object at `path`, which the pages' scripts ask for."""
        answer = self.client.get(path)
        assert answer.status_code == 200, self._said(answer)
        found = answer.json()
        assert isinstance(found, dict)
        return found

    def _page(self, answer: httpx.Response) -> Page:
        assert answer.status_code == 200, self._said(answer)
        return parse(str(answer.url), answer.text)

    def _said(self, answer: httpx.Response) -> str:
        log = "\n".join(self.server.output().splitlines()[-_LOG_LINES:])
        return f"{answer.request.method} {answer.url}: {answer.status_code}\n{log}"


@contextmanager
def visiting(redis_url: str, directory: Path) -> Iterator[SidekiqWeb]:
    """Starts Sidekiq Web on a Redis, in `directory`, and visits it; both end with the block."""
    variables = environment(redis_url)
    with started([str(SCRIPTS / "web.rb")], directory=directory, environ=variables, command=[ruby()]) as server:
        port = server.wait_for(r"^(\d+)$")[1]
        address = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=address, follow_redirects=True, timeout=60, trust_env=False) as client:
            until(lambda: _answers(client), "Sidekiq Web answers")
            yield SidekiqWeb(server, client)
        assert server.stop() == 0, server.output()


@contextmanager
def among_ruby(directory: Path, body: Callable[[Arrival], bytes]) -> Iterator[tuple[Citizen, SidekiqWeb]]:
    """A Redis, a scripted server that says `body`, and a visited Sidekiq Web, for all tests of a file."""
    with (
        closing(RedisServer(redis_binary(), directory / "redis").start()) as redis,
        ready(directory, redis) as citizen,
        visiting(redis.url, directory / "web") as web,
    ):
        citizen.server.body = body
        yield citizen, web


def _answers(client: httpx.Client) -> bool:
    try:
        return client.head("/").status_code == 200
    except httpx.TransportError:
        return False
