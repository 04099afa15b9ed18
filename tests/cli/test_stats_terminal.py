"""`restbroker stats` on a terminal: a line for each target and process, causes of dead jobs, and what to do next."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from restbroker.store import heartbeats, jobs, sources
from restbroker.store.client import Client
from restbroker.store.identities import ProcessInfo
from restbroker.store.sources import SourceState
from tests.support.terminal import on_a_terminal

Lines = Callable[..., list[str]]
BEATING = {
    "gate": "open",
    "concurrency": 20,
    "workers": 20,
    "at_work": 3,
    "ahead": 17,
    "rate_per_s": 7.4,
    "p99_ms": 41.2,
    "delivered": 4280,
    "failed": 44,
}
DOWN = {"gate": "closed", "gate_reason": "Nobody listens there.", "gate_cure": "Start\nthe server."}


@pytest.fixture
def lines(place: Path) -> Lines:
    """What it prints, without colours."""

    def printed(columns: int = 100) -> list[str]:
        drawn = re.sub(r"\x1b\[\d*m", "", on_a_terminal(["stats"], place, columns=columns))
        return [line.rstrip() for line in drawn.replace("\r\n", "\n").splitlines()]

    return printed


def beat(store: Client, number: int, target: str, **more: object) -> None:
    """A process that serves a target, with its first beat."""
    identity = f"node:{number}:abc:{target}"
    assert jobs.register(store, identity, ProcessInfo(number, "node", "boot", "ns", 1, target), [target])
    assert heartbeats.write_heartbeats(
        store, [(identity, 1)], {identity: json.dumps({**BEATING, **more}).encode()}
    ) == [True]


def bury(store: Client, count: int, code: str, message: str = "User u{n}@e.org exists.") -> None:
    for n in range(count):
        args = ["register", {"user": f"u{n}", "password": "hush-hush-hush"}, "right-token"]
        fields = {"class": "Add", "jid": f"{code}{n}", "queue": "rest", "args": args, "error_class": code}
        store.command("ZADD", "ns:dead", n, json.dumps({**fields, "error_message": message.format(n=n)}))


def test_the_last_line_says_what_to_do_next(store: Client, lines: Lines) -> None:
    assert lines()[-1] == "Next: `restbroker run` starts one."
    sources.write(
        store, [SourceState("mim", "mongooseim-amqp", "web1:7", "", 1.5, "RabbitMQSilent", "It is.", "Wait.")]
    )
    beat(store, 77, "one", **DOWN)
    assert lines()[-2:] == ["Next: one: Start the server.", "      mim: Wait."]


def test_whoever_may_not_read_jobs_sees_the_figures(store: Client, lines: Lines, place: Path) -> None:
    bury(store, 2, "TimedOut")
    store.command("ACL", "SETUSER", "figures", "on", ">pass", "~*", "+@all", "-zcount")
    try:
        document = json.loads((place / "env.json").read_text())
        url = document["RedisURL"].replace("//", "//figures:pass@")
        (place / "env.json").write_text(json.dumps({**document, "RedisURL": url}))
        printed = lines()
    finally:
        store.command("ACL", "DELUSER", "figures")
    assert "dead       2" in printed
    assert printed[-1] == "Next: `restbroker run` starts one."
    assert not [line for line in printed if "cause" in line]


def test_a_full_redis_comes_first_of_what_to_do(store: Client, lines: Lines) -> None:
    beat(store, 77, "one", **DOWN)
    store.command("CONFIG", "SET", "maxmemory", "1")
    try:
        printed = lines()
    finally:
        store.command("CONFIG", "SET", "maxmemory", "0")
    assert printed[0].startswith("Redis is full: it uses ")
    assert printed[-2].startswith("Next: Redis: Raise maxmemory, or free memory")
    assert printed[-1] == "      one: Start the server."
