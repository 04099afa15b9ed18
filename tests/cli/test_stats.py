"""`restbroker stats`: on a terminal what to do next; with `--watch` in a pipe, and as JSON, what has changed."""

import json
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from restbroker.operate import control
from restbroker.store import queues, sources
from restbroker.store.client import Client, mapping
from restbroker.store.sources import SourceState
from tests.cli.conftest import NOW_S, Shell, configure, put
from tests.cli.test_jobs import full
from tests.operate.pools import record, serve
from tests.support.process import clean_environment
from tests.support.redis_server import RedisServer
from tests.support.terminal import dialogue, on_a_terminal
from tests.support.wait import NEVER_S

Lines = Callable[[], list[str]]
DOWN = {"gate": "closed", "gate_reason": "Nobody listens there.", "gate_cure": "Start\nthe server."}


@pytest.fixture
def lines(place: Path) -> Lines:
    """What it prints on a terminal, without colours."""

    def printed() -> list[str]:
        drawn = re.sub(r"\x1b\[[\d;]*m", "", on_a_terminal(["stats"], place, columns=100))
        return [line.rstrip() for line in drawn.replace("\r\n", "\n").splitlines()]

    return printed


def test_the_last_line_says_what_to_do_next(store: Client, lines: Lines) -> None:
    assert lines()[-1] == "Next: `restbroker run` starts one."
    sources.write(store, [SourceState("mim", "mongooseim-amqp", "web1:7", "", 1.5, "RabbitMQAway", "It is.", "Wait.")])
    serve(store, "one", 77, ["one"], **DOWN)
    *_, of_target, of_source = lines()
    assert of_target.startswith("Next: one: Start the server. restbroker loses no job, ")
    assert of_target.endswith(" `restbroker check --target one` tests it.")
    assert of_source == "      mim: Wait."
    with full(store):
        printed = lines()
    assert printed[0].startswith("!! Redis is full: it uses ")
    assert printed[-3].startswith("Next: Redis: Raise maxmemory, or free memory")
    assert printed[-2].startswith("      one: Start the server. ")


def test_figures_are_shown_without_the_right_to_read_jobs(store: Client, lines: Lines, place: Path) -> None:
    for number in range(2):
        put(store, "dead", NOW_S, f"j{number}")
    store.command("ACL", "SETUSER", "figures", "on", ">pass", "~*", "+@all", "-zcount")
    try:
        url = json.loads((place / "env.json").read_text())["RedisURL"]
        configure(place, RedisURL=url.replace("//", "//figures:pass@"))
        printed = lines()
    finally:
        store.command("ACL", "DELUSER", "figures")
    assert "dead       2" in printed
    assert printed[-1] == "Next: `restbroker run` starts one."
    assert not [line for line in printed if "cause" in line]


def test_what_is_wrong_now_decides_how_stats_ends(store: Client, lines: Lines, shell: Shell) -> None:
    def ends(*words: str) -> tuple[int, list[str]]:
        done = shell("stats", "--problems", *words)
        return done.returncode, [row.split("\t")[2] for row in done.stdout.splitlines()]

    assert ends() == (1, ["NotRunning"])
    serve(store, "ejabberd", 77, ["rest"])
    assert ends() == (0, [])
    queues.push(store, "restt", [b"{}"])
    record(store, "node:77:abc", queues=["rest"], version="restbroker 1")
    assert (ends(), lines()[0]) == ((0, []), "Nothing needs you.")
    mark, since_s = mapping(store.command("HGETALL", store.keys.oldest_jobs))["restt"].split()
    store.command("HSET", store.keys.oldest_jobs, "restt", b"%b %d" % (mark, int(since_s) - 61))
    assert lines()[0].startswith("!! Queue restt: 1 job waits, and no process takes them. Processes take from")
    assert ends() == (1, ["QueueUnserved"])
    control.pause(store, "queue", "rest", "ann", "", None)
    assert ends() == (1, ["QueueUnserved", "QueuePaused"])
    store.command("DEL", "ns:queue:restt")
    assert ends() == (0, ["QueuePaused"])
    serve(store, "one", 78, ["one"], **DOWN)
    assert ends() == (5, ["TargetDown", "QueuePaused"])
    assert ends("--watch")[0] == 2


def test_stats_reads_the_sources_of_the_file(store: Client, lines: Lines, place: Path) -> None:
    """A queue of events may wait for longer than others; a source needs a process."""
    source = {"Kind": "webhook", "Path": "/hook", "Queue": "events", "Class": "Event"}
    configure(place, Events={"Listen": "127.0.0.1:1", "Sources": {"hook": source}})
    serve(store, "ejabberd", 77, ["rest"])
    queues.push(store, "events", [b"{}"])
    record(store, "node:77:abc", queues=["rest"], version="restbroker 1")
    mark, since_s = mapping(store.command("HGETALL", store.keys.oldest_jobs))["events"].split()
    store.command("HSET", store.keys.oldest_jobs, "events", b"%b %d" % (mark, int(since_s) - 61))
    assert lines()[:2] == ["!! Source hook: no process takes its events", ""]
    sources.write(store, [SourceState("hook", "webhook", "node:77")])
    assert lines()[0] == "Nothing needs you."


@contextmanager
def watching(place: Path, *words: str, every: str = "200ms") -> Iterator[Popen[str]]:
    """A watch whose lines are read from `stdout`; killed at the end."""
    command = [sys.executable, "-m", "restbroker", "stats", "--watch", "--every", every, *words]
    with Popen(command, stdout=PIPE, stderr=PIPE, text=True, cwd=place, env=clean_environment()) as process:
        try:
            yield process
        finally:
            process.kill()


def block(process: Popen[str]) -> list[list[str]]:
    """The next block's lines, as cells."""
    assert process.stdout is not None
    return [line.rstrip("\n").split("\t") for line in iter(process.stdout.readline, "\n")]


def line(process: Popen[str]) -> dict[str, dict[str, object] | None]:
    assert process.stdout is not None
    found: dict[str, dict[str, object] | None] = json.loads(process.stdout.readline())
    return found


def test_in_a_pipe_each_look_is_a_block_of_stats_own_lines(place: Path, store: Client, shell: Shell) -> None:
    with watching(place) as process:
        first = block(process)
        store.command("SET", "ns:stat:processed", 5000)
        blocks = [block(process), block(process), block(process)]
    assert [cells[0] for cells in first] == ["time", *["total"] * 5, "queue"]
    assert [cells[:2] for cells in blocks[-1][1:3]] == [["rate", "processed"], ["rate", "failed"]]
    rates = [float(found[1][2]) for found in blocks]
    assert max(rates) > 1000
    assert rates[-1] == 0.0
    plain = [row.split("\t") for row in shell("stats").stdout.splitlines()]
    assert ["total", "processed", "5000"] in plain
    assert blocks[-1][3:] == plain


def test_ctrl_c_ends_a_watch_with_0_and_without_a_word(place: Path) -> None:
    with watching(place, every="1h") as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=NEVER_S)
    assert (process.returncode, errors) == (0, "")


def test_a_watch_says_that_redis_is_away_and_finds_it_again(
    place: Path, make_redis: Callable[..., RedisServer]
) -> None:
    server = make_redis()
    configure(place, RedisURL=server.url)
    with watching(place) as blocks, watching(place, "--json") as lines:
        assert ["total", "processed", "0"] in block(blocks)
        assert line(lines)["totals"]
        server.kill()
        found = next(one for _ in range(20) if (one := block(blocks))[1][0] == "error")
        assert "cannot be reached" in found[1][1]
        frame = next(last for _ in range(20) if (last := line(lines))["error"])
        assert (frame["totals"], frame["queues"], frame["targets"], frame["per_s"]) == (None, None, None, {})
        server.start()
        assert next(True for _ in range(50) if ["total", "processed", "0"] in block(blocks))
        assert next(True for _ in range(50) if line(lines)["totals"])


def test_screen_without_dead_jobs_is_redrawn_only_after_a_read(place: Path, store: Client) -> None:
    """Where no job can be selected, too, it waits between its reads."""
    serve(store, "one", 77, ["one"])
    with dialogue(["stats", "--watch", "--every", "300ms"], place) as screen:
        screen.until("Ctrl-C ends")
        began_s = time.monotonic()
        for _ in range(3):
            screen.until("Ctrl-C ends")
    assert time.monotonic() - began_s > 0.6
