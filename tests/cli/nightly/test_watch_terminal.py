"""The live screen of `restbroker stats --watch`, in a real terminal: tmux types the keys and reads the screen."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from restbroker.store.client import Client
from tests.operate.pools import serve
from tests.support.redis_server import RedisServer
from tests.support.tmux import Pane, shell

WATCH = f"{sys.executable} -m restbroker stats --watch --every 200ms"


@pytest.fixture
def pane(place: Path) -> Iterator[Pane]:
    with shell(place) as pane:
        yield pane


def test_changes_in_redis_appear_without_a_key_pressed(pane: Pane, store: Client) -> None:
    pane.type(WATCH)
    screen = pane.shows("!! No restbroker runs on this Redis.", "processed 0", "Ctrl-C ends")
    assert len(screen.splitlines()) <= 24
    serve(store, "server-77", 77, ["rest"], gate="closed", gate_reason="Nobody listens there.", gate_cure="Start it.")
    pane.shows("!! server-77 is down: Nobody listens there. Start it.")
    store.command("LPUSH", "ns:queue:rest", *(['{"enqueued_at":1.5}'] * 1234))
    pane.shows("!! server-77 is down (1,234 jobs wait): Nobody listens there.")
    store.command("SET", "ns:stat:processed", 5000)
    store.command("ZADD", "ns:dead", 1, "{}", 2, "[]")
    pane.shows("processed 5,000", "dead 2")


def test_the_selected_dead_job_is_explained(pane: Pane, store: Client) -> None:
    for number in (1, 2):
        job = {"class": "Add", "jid": f"job{number}", "queue": "rest", "args": ["status"], "error_class": "TimedOut"}
        store.command("ZADD", "ns:dead", number, json.dumps(job))
    pane.type(WATCH)
    pane.shows("job2", "job1")
    pane.press("Down", "Down", "Enter")
    assert "restbroker dead retry job1" in pane.shows("It died at", "Any key goes back.")
    pane.press("x")
    pane.shows("processed 0", "job2")
    pane.press("Enter")
    pane.shows("Any key goes back.")
    pane.press("C-c")
    pane.type("echo $? ended")
    pane.shows("0 ended")


def test_last_figures_stay_with_their_age_while_redis_is_away(
    pane: Pane, make_redis: Callable[..., RedisServer]
) -> None:
    server = make_redis()
    server.command("SET ns:stat:processed 4321")
    pane.type(f"RESTBROKER_REDISURL={server.url} {WATCH}")
    pane.shows("processed 4,321")
    server.kill()
    pane.shows("cannot be reached", "processed 4,321", "old.")
    figures = next(line for line in pane.screen(styled=True).splitlines() if "processed" in line)
    assert "\x1b[2m" in figures, "greyed"
    server.start()
    pane.shows("processed 0")
    assert "old." not in pane.screen()
    pane.press("C-c")
    pane.shows("ready>")
