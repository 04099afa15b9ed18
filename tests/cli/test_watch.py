"""`restbroker stats --watch` where nobody looks at a screen: in a pipe, and as JSON."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from restbroker.store.client import Client
from tests.cli.conftest import Shell
from tests.support.process import clean_environment
from tests.support.redis_server import RedisServer
from tests.support.wait import NEVER_S


@contextmanager
def watching(place: Path, *words: str, every: str = "200ms") -> Iterator[subprocess.Popen[str]]:
    """A watch whose lines are read from `stdout`; killed at the end."""
    command = [sys.executable, "-m", "restbroker", "stats", "--watch", "--every", every, *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=place, env=clean_environment()
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def block(process: subprocess.Popen[str]) -> list[list[str]]:
    """The next block's lines, as cells."""
    assert process.stdout is not None
    return [line.rstrip("\n").split("\t") for line in iter(process.stdout.readline, "\n")]


def line(process: subprocess.Popen[str]) -> dict[str, dict[str, object] | None]:
    assert process.stdout is not None
    found: dict[str, dict[str, object] | None] = json.loads(process.stdout.readline())
    return found


def test_in_a_pipe_each_look_is_a_block_of_the_same_lines_as_without_watch(
    place: Path, store: Client, shell: Shell
) -> None:
    with watching(place) as process:
        first = block(process)
        store.command("SET", "ns:stat:processed", 5000)
        blocks = [block(process), block(process), block(process)]
    assert [cells[0] for cells in first] == ["time", *["total"] * 5, "queue"]
    assert ["total", "processed", "5000"] in blocks[-1]
    assert [cells[:2] for cells in blocks[-1][1:3]] == [["rate", "processed"], ["rate", "failed"]]
    rates = [float(found[1][2]) for found in blocks]
    assert max(rates) > 1000
    assert rates[-1] == 0.0
    plain = [row.split("\t") for row in shell("stats").stdout.splitlines()]
    assert blocks[-1][3:] == plain


def test_ctrl_c_ends_it_with_0_and_without_a_word(place: Path) -> None:
    with watching(place, every="1h") as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=NEVER_S)
    assert (process.returncode, told) == (0, "")


def test_while_redis_is_away_each_line_says_so_and_the_next_looks_find_it_again(
    place: Path, make_redis: Callable[..., RedisServer]
) -> None:
    server = make_redis()
    file = place / "env.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "RedisURL": server.url}))
    with watching(place) as blocks, watching(place, "--json") as lines:
        assert ["total", "processed", "0"] in block(blocks)
        assert line(lines)["totals"]
        server.kill()
        found = next(one for _ in range(20) if (one := block(blocks))[1][0] == "error")
        assert "cannot be reached" in found[1][1]
        told = next(seen for _ in range(20) if (seen := line(lines))["error"])
        assert (told["totals"], told["queues"], told["targets"], told["per_s"]) == (None, None, None, {})
        server.start()
        assert next(True for _ in range(50) if ["total", "processed", "0"] in block(blocks))
        assert next(True for _ in range(50) if line(lines)["totals"])
