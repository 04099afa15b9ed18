"""What strangers put into Redis, and into addresses, on every page: none of it acts in a browser, or on a terminal."""

import html
import re
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial
from html.parser import HTMLParser
from typing import Final
from urllib.parse import quote, unquote

import pytest
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from restbroker.config.load import load
from restbroker.operate.context import context_of
from restbroker.servers import registry
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.telemetry.events import Event, OperatorWarning
from restbroker.telemetry.metrics import Samples
from restbroker.web.guard import PageSettings
from restbroker.web.metrics import add_metrics, read_redis
from restbroker.web.metrics_view import in_all_processes, live_figures, metrics
from restbroker.web.pages import SET, SETS
from restbroker.web.route import Route, routes_of
from restbroker.web.views import samples
from tests.support.hostile import TEXT, fill, hold_keys
from tests.web.conftest import pages_app

CONFIG: Final = load(
    None,
    {
        "RESTBROKER_RestQueue": "rest",
        "RESTBROKER_Token": "right-token",
        "RESTBROKER_OrderBy": "order_key",
        "RESTBROKER_Periodic": '{"n": {"Cron": "30 4 * * *", "Command": "status"}}',
    },
    {},
    registry.kinds(),
).config
RAW: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x80-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
)
FURTHER: Final = ("where", "after", "about", "command", "thread", "do")
"""What addresses may ask for besides what the documentation shows."""


class Forged(HTMLParser):
    """Finds an element or an attribute of a stranger's."""

    found = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= "x-forged" in (tag, *(name for name, _ in attrs))


def harm(content_type: str, text: str) -> list[str]:
    """What of a stranger's text acts in an answer."""
    reader = Forged()
    if content_type.startswith("text/html"):
        reader.feed(text)
    return [*map(ascii, RAW.findall(text)), *(["markup"] if reader.found else [])]


def shown_routes(app: QuartTrio) -> set[Route]:
    routes = {route for view in app.view_functions.values() for route in routes_of(view)}
    return {route for route in routes if route.method == "GET"}


def hostile_addresses(app: QuartTrio) -> Iterator[str]:
    """Each page's address with a stranger's text in each of its places, and as each member of a query."""
    routes, text = shown_routes(app), quote(TEXT, safe="")
    asked = {*FURTHER, *re.findall(r"[?&](\w+)=", " ".join(route.shown for route in routes))}
    for route in routes:
        for name in SETS if SET in route.path else ("",):
            path = re.sub(r"<\w+>", text, route.path.replace(SET, name))
            yield from (path, *(f"{path}?{member}={text}" for member in asked))


def links(page: str) -> Iterator[str]:
    yield from map(html.unescape, re.findall(r'(?:href|src|data-fragment)="(/[^"]*)"', page))


@pytest.mark.promise("Security: who can reach the ports", "as a producer, to put a script into a page")
async def test_no_text_of_a_stranger_acts_on_a_page(redis_url: str) -> None:
    """From every address that has a view along all links: a new page is walked by itself, or is missed in `reached`."""
    known, events = context_of(CONFIG), list[Event]()
    jobs = in_all_processes(lambda: known)
    app, watch = pages_app(
        redis_url,
        PageSettings("127.0.0.1"),
        known,
        lambda: partial(metrics, served=("rest",), in_delivery=jobs),
        lambda: partial(live_figures, config=CONFIG),
        events.append,
        config=CONFIG,
    )

    def read(client: Client) -> Samples:
        return {**read_redis(client, ("rest",), {"ejabberd": ("rest",)}), **samples(watch.state)}

    add_metrics(app, watch.connection, dict, lambda: read)
    with closing(open_client(StoreSettings(redis_url))) as client:
        hold_keys(client)
        fill(client)
    left = [(path, "text/html") for path in (*hostile_addresses(app), "/find?q=x-forged")]
    left += [(path, "*/*") for path, _ in left if "?" not in path]
    walked, harmful = set[tuple[str, str]](), list[tuple[object, ...]]()
    reached, showing = set[str](), set[str]()
    async with app.test_app():
        visitor, rules = app.test_client(), app.url_map.bind("")
        while left:
            path, accepted = left.pop()
            if (path, accepted) in walked:
                continue
            walked.add((path, accepted))
            answer = await visitor.get(path, headers={"Host": "127.0.0.1", "Accept": accepted})
            text = await answer.get_data(as_text=True)
            if found := harm(answer.content_type or "", text):
                harmful.append((path, accepted, answer.status_code, found))
            with suppress(HTTPException):
                endpoint, _ = rules.match(unquote(path.partition("?")[0]), "GET")
                reached |= {endpoint} if answer.status_code not in (400, 404) else set()
                showing |= {endpoint} if "x-forged" in text and answer.status_code == 200 else set()
            left += [(link, accepted) for link in links(text)]
    assert not harmful
    assert reached == {f"GET {route.path}" for route in shown_routes(app)}
    assert reached - showing == {"GET /static/<name>", "GET /healthz", "GET /readyz"}
    assert [event for event in events if isinstance(event, OperatorWarning)] == []
